"""Blind source separation: ``Y = A S``, with both the mixing matrix and the sources unknown."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import check_target, check_tensor, check_whole, describe
from torch_symbreak._items import autocast_type, peak, wide
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import FixSignedPermutation, SignedPermutation


class Mixture(NamedTuple):
    """The two parts of a target of :class:`LinearMixing`.

    Example:
        >>> model = LinearMixing(2)
        >>> mixture = model.split(model.join(torch.eye(2), torch.randn(2, 5)))
        >>> mixture.A.shape, mixture.S.shape
        (torch.Size([2, 2]), torch.Size([2, 5]))
    """

    A: Tensor  #: (*batch, sensors, r), the mixing matrix
    S: Tensor  #: (*batch, r, samples), the sources


class LinearMixing(ForwardModel):
    """Measure mixtures of r sources, ``Y = A S``. The order and the signs of the sources cannot be measured.

    A target is one tensor. Each row holds one source: its column of A, then its signal, ``[a_j, s_j]``. A signed
    permutation of the rows, the symmetry of this model, moves both parts and leaves ``A S`` as it is. :meth:`join`
    makes a target, and :meth:`split` takes it apart. ``canonicalizer()`` sorts the rows by their sums.

    A column of A can also grow while its signal shrinks. Scaling changes distances, so a template cannot remove it.
    :meth:`join` does: it gives every signal the norm 1 and multiplies its column of A by the old norm.

    Y alone does not determine the sources: ``Y = (A M)(M^-1 S)`` for every invertible M. Knowledge of the sources, such
    as independence or their shape, has to rule out all M but the signed permutations.

    If you only want the sources, (*batch, r, samples), use ``SignedPermutation()`` without a model.

    Shape: real (*batch, r, sensors + samples) to (*batch, sensors, samples).

    Args:
        sensors: Number of sensors, the rows of A.

    Raises:
        TypeError: If ``sensors`` is no int, or the target is no real floating-point tensor.
        ValueError: If ``sensors`` is not positive, or rows have no entry behind those of A.

    Example: the order and the signs of sources cannot be measured.
        >>> import torch
        >>> model = LinearMixing(4)
        >>> x = model.join(torch.randn(4, 3), torch.randn(3, 50))
        >>> x.shape, model(x).shape
        (torch.Size([3, 54]), torch.Size([4, 50]))
        >>> torch.allclose(model(-x[[2, 0, 1]]), model(x), atol=1e-6)
        True

    References: Comon, Signal Processing 36, 287 (1994).
    """

    def __init__(self, sensors: int) -> None:
        super().__init__()
        self.sensors = check_whole("LinearMixing", "sensors", sensors, least=1)

    @property
    def symmetries(self) -> tuple[SignedPermutation]:
        return (SignedPermutation(2),)

    def canonicalizer(self) -> FixSignedPermutation:
        return FixSignedPermutation(2)

    def join(self, A: Tensor, S: Tensor) -> Tensor:
        """Return the target of a mixing matrix and sources, ``[a_j |s_j|, s_j / |s_j|]`` in row j.

        A source of zeros gives a row of zeros, which is a tie.

        Args:
            A: (*batch, sensors, r), real.
            S: (*batch, r, samples), real.

        Returns:
            The target, (*batch, r, sensors + samples).

        Raises:
            TypeError: If a part is no real floating-point tensor.
            ValueError: If the parts differ in batch or number of sources, or A has another number of sensors.

        Example:
            >>> import torch
            >>> LinearMixing(2).join(torch.eye(2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
            tensor([[5.0000, 0.0000, 0.6000, 0.8000],
                    [0.0000, 0.0000, 0.0000, 0.0000]])
        """
        for part, name in ((A, "A"), (S, "S")):
            check_tensor("LinearMixing.join", part, what=name, name=name)
            if part.is_complex():
                raise TypeError(
                    f"LinearMixing.join needs a real {name}, but got {describe(part)}. Complex sources have phases, "
                    "which SignedPermutation does not move."
                )
        if min(A.dim(), S.dim()) < 2 or 0 in S.shape[-2:] or A.shape[:-2] != S.shape[:-2] or A.shape[-1] != S.shape[-2]:
            raise ValueError(
                f"LinearMixing.join needs A of shape (*batch, {self.sensors}, r) and S of shape (*batch, r, samples), "
                f"but got {tuple(A.shape)} and {tuple(S.shape)}."
            )
        if A.shape[-2] != self.sensors:
            raise ValueError(f"LinearMixing({self.sensors}) got A of shape {tuple(A.shape)}: give it {A.shape[-2]}.")
        # In double precision, because squares of large single-precision numbers overflow.
        largest = peak(S, item_dims=1)[..., None].to(wide(S))
        unit = S.to(wide(S)) / largest
        norm = torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
        columns = A.to(wide(A)).mT * (norm * largest)
        return torch.cat([columns, unit / torch.where(norm > 0, norm, 1)], -1).to(torch.promote_types(A.dtype, S.dtype))

    def split(self, x: Tensor) -> Mixture:
        """Return the mixing matrix and the sources of targets, (*batch, r, sensors + samples).

        Raises:
            TypeError: As for the class.
            ValueError: As for the class.
        """
        self._check(x)
        return Mixture(x[..., : self.sensors].mT, x[..., self.sensors :])

    def forward(self, x: Tensor) -> Tensor:
        A, S = self.split(x)
        with torch.autocast(autocast_type(x), enabled=False):  # half precision is too coarse for a measurement
            return A @ S

    def _check(self, x: Any) -> None:
        check_target("LinearMixing", x, 2, least=2)
        SignedPermutation(2).check(x)
        if x.shape[-1] <= self.sensors:
            raise ValueError(
                f"LinearMixing({self.sensors}) needs targets (*batch, r, {self.sensors} + samples), but got "
                f"{describe(x)}. Make them by join(A, S)."
            )

    def extra_repr(self) -> str:
        return f"sensors={self.sensors}"
