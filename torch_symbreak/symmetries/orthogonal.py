"""Orthogonal maps of the columns of a factor, ``f(X Q) = f(X)`` for ``f(X) = X X^T``, and how to break them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak._items import (
    TIE,
    batch_shape,
    finite_items,
    flat_parts,
    margins_of,
    resolved,
    unit_scale,
    wide,
)
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Canonicalizer, Symmetry, check_element_batch, part_of


@dataclass(frozen=True)
class Orthogonal(Symmetry):
    """The orthogonal matrices Q acting on the last axis, ``X -> X Q``: the group O(r), rotations and reflections.

    For complex items the matrices are unitary: the group U(r). The Gram matrix ``X X^T`` (complex: ``X X^H``)
    determines X up to this group.

    Alignment is orthogonal Procrustes: ``Q = U V^H`` of the singular value decomposition ``X^H T = U S V^H``. The gain
    is the sum of the singular values. :meth:`gap` is twice the smallest one. The matrix that reverses the weakest
    direction gains that much less: for real items, it is the best matrix of the other determinant. If
    ``X^H T`` is singular, several matrices are best, and the gap is 0.

    Shape: targets (*batch, *channels, *event), the event (n, r), or any shape with r at its end; elements (*batch, r,
    r), in double precision.

    Args:
        event_dims: Trailing dimensions of one item, at least 2. Default 2.
        channel_dims: Dimensions before the event that share one matrix. Default 0.

    Example: a rotation by 90 degrees changes the points and keeps their inner products.
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
        >>> moved = Orthogonal().act(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), x)
        >>> moved
        tensor([[ 0.,  1.],
                [-3.,  2.]])
        >>> torch.equal(moved @ moved.T, x @ x.T)
        True

    References: Schönemann, Psychometrika 31, 1 (1966), Procrustes; Mezzadri, Notices AMS 54, 592 (2007), uniform draws.
    """

    event_dims: int = 2
    least_dims = 2
    counted = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw one matrix per item from the uniform (Haar) distribution."""
        self.check(x)
        shape = (*batch_shape(x, self.item_dims), x.shape[-1], x.shape[-1])
        # Normal numbers by Box and Muller: log1p(-u) is finite for u in [0, 1).
        radius, angle = (uniform(shape, x.device, generator) for _ in range(2))
        normal = torch.polar((-2 * torch.log1p(-radius)).sqrt(), 2 * math.pi * angle)
        return _turn(normal if x.is_complex() else normal.real)[0]

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check(x)
        owner, r = type(self).__name__, x.shape[-1]
        if part_of(owner, g).shape[-2:] != (r, r):
            raise ValueError(f"{owner} needs elements (*batch, {r}, {r}) for {describe(x)}, but got {tuple(g.shape)}.")
        check_element_batch(owner, batch_shape(x, self.item_dims), g.shape[:-2])
        if g.is_complex() and not x.is_complex():
            raise TypeError(f"{owner} cannot turn a real target by a complex element, {g.dtype}.")
        # In double precision, which no autocast and no TF32 rounds.
        matrix = g.to(wide(x)).reshape(*g.shape[:-2], *[1] * (self.item_dims - 2), r, r)
        return (x.to(wide(x)) @ matrix).to(x.dtype)

    def inverse(self, g: Tensor) -> Tensor:
        return resolved(g.mH)

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g1 @ g2

    def identity(self, x: Tensor) -> Tensor:
        r = x.shape[-1]
        return torch.eye(r, dtype=wide(x), device=x.device).repeat(*batch_shape(x, self.item_dims), 1, 1)

    def candidates(self, x: Tensor, reference: Tensor) -> Iterator[Tensor]:
        """Yield the matrix that takes ``x`` nearest to the reference, or the identity if one of them is not finite."""
        self.check(x)
        here, there = (unit_scale(z, self.item_dims) for z in (x, reference))
        left, _, right = torch.linalg.svd(_cross(here, there, self.item_dims))
        yield left @ right

    def gap(self, x: Tensor, reference: Tensor) -> Tensor:
        return 2 * torch.linalg.svdvals(_cross(x, reference, self.item_dims))[..., -1]


class FixOrthogonal(Canonicalizer[Orthogonal]):
    """Turn every factor so that it is lower trapezoidal with a positive diagonal.

    ``C(X) = X Q`` with ``X_r^H = Q R``, the QR decomposition of the first r rows. So the first row of C(X) lies on the
    first axis, the second one in the plane of the first two, and so on. The first r rows of C(X) are the Cholesky
    factor of their Gram matrix. Entries above the diagonal are zero to rounding. Differentiable away from ties.

    Convexity: such matrices are a convex cone.

    Ties: items whose first r rows are linearly dependent. A diagonal entry, called pivot, is then 0. :meth:`margin` is
    the smallest pivot over ||X||. Ties are turned all the same, and stay finite.

    Shape: (*batch, *channels, *event), real or complex, to the same; :meth:`element` (*batch, r, r), in double
    precision; :meth:`margin` (*batch,). Rows are counted over channels and event, in their order in memory.

    Args:
        event_dims: Trailing dimensions of one item, at least 2. Default 2.
        channel_dims: Dimensions before the event that share one matrix. Default 0.

    Raises:
        ValueError: If an item has fewer rows than columns.

    Example: X and X Q get one representative.
        >>> import torch
        >>> fix = FixOrthogonal()
        >>> x = torch.tensor([[0.0, -2.0], [3.0, 4.0], [1.0, 1.0]])
        >>> fix(x)
        tensor([[ 2.,  0.],
                [-4.,  3.],
                [-1.,  1.]])
        >>> torch.allclose(fix(x.flip(-1)), fix(x))
        True
    """

    convex = True

    def __init__(self, event_dims: int = 2, *, channel_dims: int = 0) -> None:
        super().__init__(Orthogonal(event_dims, channel_dims=channel_dims))

    def check(self, x: Any) -> None:
        super().check(x)
        rows, r = math.prod(x.shape[x.dim() - self.symmetry.item_dims : -1]), x.shape[-1]
        if rows < r:
            raise ValueError(
                f"FixOrthogonal needs factors (n, r) with n >= r, but got {describe(x)}, items of {rows} x {r}. A "
                f"factor of {rows} columns has the same X X^T: pass x @ torch.linalg.qr(x.mH)[0] for items (n, r)."
            )

    def element(self, x: Tensor) -> Tensor:
        self.check(x)
        block = self._block(x)
        if block.requires_grad and torch.is_grad_enabled():
            # The derivative of a QR decomposition divides by the pivots.
            tie = _turn(block.detach())[1].amin(-1) <= TIE
            block = torch.where(tie[..., None, None], block.detach(), block)
        return _turn(block)[0]

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        x = x.detach()
        pivots, dims = _turn(self._block(x))[1], self.symmetry.item_dims
        norm = torch.linalg.vector_norm(flat_parts(unit_scale(x.to(wide(x)), dims), dims), dim=-1)
        margin = (pivots.amin(-1) / torch.where(norm > 0, norm, 1)).clamp(max=1)
        return margins_of(x, margin.to(x.real.dtype), dims)

    def _block(self, x: Tensor) -> Tensor:
        """Return the first r rows in units of the largest entry, (*batch, r, r); the identity if x is not finite."""
        dims, r = self.symmetry.item_dims, x.shape[-1]
        rows = _rows(unit_scale(x.to(wide(x)), dims), dims)[..., :r, :]
        return _finite_or_one(rows, x, item_dims=dims)


def _turn(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q that makes ``matrix @ Q`` lower triangular with a diagonal >= 0, and that diagonal, (..., r).

    The Q of a matrix of independent normal numbers is uniform.
    """
    q, upper = torch.linalg.qr(matrix.mH)
    diagonal = upper.diagonal(dim1=-2, dim2=-1)
    unit = torch.where(diagonal == 0, 1, torch.sgn(diagonal))
    return q * unit[..., None, :], diagonal.abs()


def _rows(x: Tensor, item_dims: int) -> Tensor:
    """Return the rows of every item, (*batch, n, r)."""
    return x.reshape(*batch_shape(x, item_dims), math.prod(x.shape[x.dim() - item_dims : -1]), x.shape[-1])


def _cross(x: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return ``X^H T``, (*batch, r, r), in double precision; the identity if one of them is not finite."""
    dtype = torch.promote_types(wide(x), wide(reference))
    here, there = (_rows(z.to(dtype), item_dims) for z in (x, reference))
    return _finite_or_one(here.mH @ there, x, reference, item_dims=item_dims)


def _finite_or_one(matrix: Tensor, *tensors: Tensor, item_dims: int) -> Tensor:
    """Replace the matrices, (*batch, r, r), of items that are not finite by the identity.

    A decomposition of them would fail.
    """
    finite = torch.stack([finite_items(z, item_dims) for z in tensors]).all(0)
    return torch.where(
        finite[..., None, None], matrix, torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    )
