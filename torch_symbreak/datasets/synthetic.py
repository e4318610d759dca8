"""Synthetic pairs for the square root and for Gaussian phase retrieval."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak._random import item_normal, item_uniform
from torch_symbreak.datasets.base import Pairs, Transform
from torch_symbreak.forward import ElementwiseSquare, GaussianIntensity


class SquareRoots(Pairs):
    """Draw pairs (y, x) with y = x² and x uniform on [-1, 1]: the talk's first example.

    Shape: y and x (dim,), float32.

    Args:
        size: Number of pairs.
        dim: Entries of x. Default 1.
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``FixSign(0)`` breaks the symmetry. Default: none.
        device: Device on which items are made. Default "cpu".

    Example:
        >>> from torch_symbreak import FixSign
        >>> y, x = SquareRoots(100, target_transform=FixSign(0))[7]
        >>> bool(x >= 0), bool(x * x == y)
        (True, True)
    """

    def __init__(
        self,
        size: int,
        *,
        dim: int = 1,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(size, ElementwiseSquare(), seed, transform, target_transform, device)
        if not isinstance(dim, int) or dim < 1:
            raise ValueError(f"SquareRoots needs dim >= 1, but got {dim!r}.")
        self.dim = dim

    def objects(self, index: Tensor) -> Tensor:
        return (2 * item_uniform(self.seed, index, (self.dim,)) - 1).float()


class GaussianPairs(Pairs):
    """Draw pairs (y, x) with y = |A x|² and x uniform on the unit sphere of R^n or C^n.

    Training and test set share the model: pass the same one, with different seeds.

    Shape: y (m,), x (n,), in the dtype of A.

    Args:
        size: Number of pairs.
        forward: The model, ``GaussianIntensity.draw(m, n)``; m = 4 n is usual.
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``forward.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device on which items are made. The model must be there. Default "cpu".

    Example:
        >>> import torch
        >>> model = GaussianIntensity.draw(20, 5, generator=torch.Generator().manual_seed(0))
        >>> y, x = GaussianPairs(100, model, target_transform=model.canonicalizer())[3]
        >>> y.shape, bool(x[-1] > 0), round(float(x.norm()), 5)
        (torch.Size([20]), True, 1.0)
    """

    def __init__(
        self,
        size: int,
        forward: GaussianIntensity,
        *,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(forward, GaussianIntensity):
            raise TypeError(f"GaussianPairs needs a GaussianIntensity model, but got {forward!r}.")
        super().__init__(size, forward, seed, transform, target_transform, device)

    def objects(self, index: Tensor) -> Tensor:
        matrix: Tensor = self.forward_model.A  # type: ignore[assignment]
        normal = item_normal(self.seed, index, (matrix.shape[1], 2 if matrix.is_complex() else 1))
        x = torch.view_as_complex(normal) if matrix.is_complex() else normal[..., 0]
        return (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)).to(matrix.dtype)
