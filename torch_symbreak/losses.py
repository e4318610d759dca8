"""Losses that need no symmetry breaking: up to the symmetries of a target, or without targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torch_symbreak._checks import check_same_shape, check_tensor, describe, masked
from torch_symbreak._items import root
from torch_symbreak.alignment import align
from torch_symbreak.symmetries import Product, Symmetry

__all__ = ["MagnitudeLoss", "OrbitMinLoss"]

Base = Literal["mse", "l1"] | Callable[[Tensor, Tensor], Tensor]


class OrbitMinLoss(nn.Module):
    """Compute the smallest loss over the orbit of the target, ``min_g base(x, g . r)``, averaged over the batch.

    Each target is moved to the point of its orbit that is nearest to the prediction. The group element is a constant
    for autograd. By the envelope theorem the gradient of "mse" is exact wherever the nearest point is unique.
    For another base the element is still the nearest in the Euclidean sense. The gradient then leaves out how a
    continuous phase follows the prediction.

    Shape: x and target (*batch, *channels, *event); a scalar, in single precision for half-precision items. An empty
    batch gives NaN, as in torch's own losses.

    Args:
        symmetries: Symmetries that count as no error, e.g. ``FarField().symmetries``.
        base: "mse" (default), "l1" (mean magnitude of the difference), or a callable of prediction and moved target.
            "mse" equals the SA-MSE of the target, so content that a shift pushes out of the frame counts as error.

    Example: the twin of the target is a perfect prediction.
        >>> import torch
        >>> from torch_symbreak.symmetries import ConjugateFlip
        >>> target = torch.tensor([[1.0, 2.0 + 1.0j, 3.0, 0.0]])
        >>> twin = torch.tensor([[3.0, 2.0 - 1.0j, 1.0, 0.0]])
        >>> OrbitMinLoss(ConjugateFlip(1))(twin, target)
        tensor(0.)

    References: Masto et al. (2025), arXiv 2507.06644, train with such a loss.
    """

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], base: Base = "mse") -> None:
        super().__init__()
        if base not in ("mse", "l1") and (isinstance(base, type) or not callable(base)):
            hint = f" Pass an instance: {base.__name__}()." if isinstance(base, type) else ""
            raise ValueError(f'OrbitMinLoss needs base="mse", base="l1" or a callable, but got {base!r}.{hint}')
        self.symmetry = Product(symmetries)
        self.base = base

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        check_same_shape("OrbitMinLoss", x, target, names=("x", "target"))
        single = torch.promote_types(x.real.dtype, torch.float32)
        if self.base == "mse":
            # In double precision until here: squares of single precision overflow, and so would their gradient.
            return align(target.detach(), x, self.symmetry).error.mean().to(single)
        with torch.no_grad():
            aligned = align(target, x, self.symmetry).aligned
        if self.base == "l1":
            common = torch.promote_types(x.dtype, single)
            return (x.to(common) - aligned.to(common)).abs().mean()
        return self.base(x, aligned)

    def extra_repr(self) -> str:
        return f"{list(self.symmetry.symmetries)!r}, base={self.base!r}"


class MagnitudeLoss(nn.Module):
    """Compute the mean squared difference of measured and modeled magnitudes, ``(sqrt(y) - sqrt(f(x)))²``.

    This loss measures data consistency. It needs no target and is the same for all points of an orbit. Its gradient is
    finite where the model gives 0. Negative intensities, as a subtracted background leaves them, count as zero. NaN
    pixels of y, such as dead ones, are left out of the mean. An empty batch gives NaN, as in torch's own losses, and so
    does one without measured pixels.

    Shape: x as ``forward`` takes it, y as ``forward`` returns it; a scalar, in single precision for half-precision
    measurements.

    Args:
        forward: The model, or any function from a batch to its intensities.
        mask: True where y is measured, with the shape of y's last dimensions. Other pixels are left out. Default: all
            but NaN.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(1)
        >>> x = torch.tensor([1.0, 2.0 + 1.0j, 3.0, 0.0])
        >>> bool(MagnitudeLoss(model)(1j * x, model(x)) < 1e-10)
        True
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], *, mask: Tensor | None = None) -> None:
        super().__init__()
        if isinstance(forward, type) or not callable(forward):
            raise TypeError(
                f"MagnitudeLoss needs a ForwardModel, such as FarField(), or a function, but got {describe(forward)}."
            )
        self.model = forward
        self.register_buffer("mask", None if mask is None else torch.as_tensor(mask), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        check_tensor("MagnitudeLoss", x, what="x")
        modeled = self.model(x)
        check_same_shape("MagnitudeLoss", modeled, y, names=("f(x)", "y"))
        dtype = torch.promote_types(torch.promote_types(modeled.dtype, y.dtype), torch.float32)
        seen = ~masked("MagnitudeLoss", y, self.mask).isnan()
        # Before the root, whose gradient at NaN would be NaN even where its value is left out.
        measured = torch.where(seen, y, 0).to(dtype)
        squares = torch.where(seen, root(modeled.to(dtype)) - root(measured), 0).square()
        return squares.sum() / seen.sum()
