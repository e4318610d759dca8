"""Signed permutations of the rows of real targets, as in blind source separation, and how to break them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak._items import batch_shape, margins_of, unit_scale, wide
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Canonicalizer, Symmetry, check_element_batch, part_of


class Rows(NamedTuple):
    """An element of :class:`SignedPermutation`: row i of ``g . x`` is ``sign[i] * x[order[i]]``.

    Example: exchange two rows, and change the sign of the second.
        >>> g = Rows(torch.tensor([1, 0]), torch.tensor([1, -1]))
        >>> SignedPermutation().act(g, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[ 3.,  4.],
                [-1., -2.]])

    Signs belong to the rows in their new order.
    """

    order: Tensor  #: (*batch, r) int64, a permutation of 0, ..., r - 1
    sign: Tensor  #: (*batch, r) int64, entries +1 or -1


@dataclass(frozen=True)
class SignedPermutation(Symmetry):
    """Permute the rows of an item, and change the signs of some. With r rows the group has 2^r r! elements.

    In blind source separation, ``Y = A S``, each row is one source: its column of A, then its signal, ``[a_j, s_j]``. Y
    fixes neither the order nor the signs of the sources. Permutations and changes of sign do not commute, so they are
    one symmetry and not a ``Product`` of two.

    Alignment is exact. The best order is the one with the largest sum of ``|<x_i, r_j>|``, an assignment problem, which
    SciPy solves on the CPU, item by item. Each sign is then that of its own product.

    Shape: real targets (*batch, *channels, r, *rest). The first event dimension counts the rows. Elements are
    :class:`Rows`, (*batch, r) each.

    Args:
        event_dims: Trailing dimensions of one item. The first of them counts the rows. Default 2: items (r, D).
        channel_dims: Dimensions before the event that share one element. Default 0.

    Raises:
        TypeError: If the target is complex.
        ValueError: If an element has another batch shape or another number of rows than the target.
        ModuleNotFoundError: If SciPy is missing. Only alignments need it.

    Example: row 0 becomes -1 times row 1.
        >>> import torch
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> g = Rows(torch.tensor([1, 0]), torch.tensor([-1, 1]))
        >>> SignedPermutation().act(g, x)
        tensor([[-3., -4.],
                [ 1.,  2.]])

    References: Comon, Signal Processing 36, 287 (1994): sources are found up to order, sign and scale.
    """

    event_dims: int = 2

    least_dims: ClassVar[int] = 1
    counted = True

    def check(self, x: Any) -> None:
        super().check(x)
        if x.is_complex():
            raise TypeError(
                f"{type(self).__name__} needs a real target, but got {describe(x)}. If only the signs of the "
                "rows are unknown, not their phases, pass torch.view_as_real(x) and raise event_dims by one."
            )

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Rows:
        self.check(x)
        shape = (*batch_shape(x, self.item_dims), x.shape[-self.event_dims])
        order, sign = (uniform(shape, x.device, generator) for _ in range(2))
        return Rows(order.argsort(-1), torch.where(sign < 0.5, -1, 1))

    def act(self, g: Rows, x: Tensor) -> Tensor:
        self.check(x)
        owner = type(self).__name__
        check_element_batch(owner, batch_shape(x, self.item_dims), part_of(owner, g, "order").shape[:-1])
        if g.order.shape[-1] != x.shape[-self.event_dims]:
            raise ValueError(
                f"{owner} has an element for {g.order.shape[-1]} rows, but the target has "
                f"{x.shape[-self.event_dims]}: {describe(x)}."
            )
        batch, rows = g.order.shape[:-1], g.order.shape[-1]
        shape = (*batch, *[1] * self.channel_dims, rows, *[1] * (self.event_dims - 1))
        return torch.take_along_dim(x, g.order.reshape(shape), -self.event_dims) * g.sign.reshape(shape).to(x.dtype)

    def inverse(self, g: Rows) -> Rows:
        order = g.order.argsort(-1)
        return Rows(order, g.sign.gather(-1, order))

    def compose(self, g2: Rows, g1: Rows) -> Rows:
        return Rows(g1.order.gather(-1, g2.order), g2.sign * g1.sign.gather(-1, g2.order))

    def candidates(self, x: Tensor, reference: Tensor) -> Iterator[Rows]:
        products = self._products(x, reference)
        order = _assigned(products.abs())
        yield Rows(order, torch.where(_chosen(products, order) < 0, -1, 1))

    def gap(self, x: Tensor, reference: Tensor) -> Tensor:
        sizes = self._products(x, reference).abs()
        best = _assigned(sizes)
        chosen = _chosen(sizes, best)
        losses = [2 * chosen.amin(-1)]  # the same order, one sign changed
        for row in range(best.shape[-1]) if best.shape[-1] > 1 else ():
            pair = torch.zeros_like(sizes, dtype=torch.bool)
            pair[..., row, :] = torch.arange(best.shape[-1], device=best.device) == best[..., row, None]
            without = sizes.masked_fill(pair, -torch.inf)  # another order lacks at least one of the best pairs
            losses.append(chosen.sum(-1) - _chosen(sizes, _assigned(without)).sum(-1))
        return torch.stack(losses).amin(0).clamp(min=0)

    def _products(self, x: Tensor, reference: Tensor) -> Tensor:
        """Return <r_i, x_j> for all rows i and j, (*batch, r, r); 0 for items that are not finite."""
        products = self.rows_of(reference.detach()) @ self.rows_of(x.detach()).mT
        return torch.where(products.isfinite().all(-1).all(-1)[..., None, None], products, 0)

    def rows_of(self, x: Tensor) -> Tensor:
        """Return the rows of x as vectors, (*batch, r, P), in the precision of decisions."""
        rows = x.to(wide(x)).movedim(-self.event_dims, x.dim() - self.item_dims)
        return rows[..., None].flatten(x.dim() - self.item_dims + 1)


def _chosen(tables: Tensor, order: Tensor) -> Tensor:
    """Return the entry of each row in its column, (*batch, r)."""
    return tables.take_along_dim(order[..., None], -1)[..., 0]


# An operator, so that compilers and function transforms, which have no values to look at, let it through.
@torch.library.custom_op("torch_symbreak::assigned", mutates_args=(), schema="(Tensor tables) -> Tensor")
def _assigned(tables: Tensor) -> Tensor:
    """Assign a column of its own to each row of (*batch, r, r), so that the sum of the chosen entries is largest."""
    try:
        from scipy.optimize import linear_sum_assignment  # only alignments need SciPy
    except ModuleNotFoundError as error:
        message = "SignedPermutation needs SciPy to be aligned over: pip install scipy"
        raise ModuleNotFoundError(message, name=error.name) from error
    flat = tables.reshape(-1, *tables.shape[-2:]).cpu().numpy()
    columns = np.array([linear_sum_assignment(table, maximize=True)[1] for table in flat], dtype=np.int64)
    return torch.from_numpy(columns.reshape(tables.shape[:-1])).to(tables.device)


@_assigned.register_fake
def _assigned_fake(tables: Tensor) -> Tensor:
    return torch.empty(tables.shape[:-1], dtype=torch.int64, device=tables.device)


@_assigned.register_vmap
def _assigned_vmap(info: Any, dims: tuple[int], tables: Tensor) -> tuple[Tensor, int]:
    return _assigned(tables.movedim(dims[0], 0)), 0


class FixSignedPermutation(Canonicalizer[SignedPermutation]):
    """Make the sum of every row positive, and sort the rows by their sums, the largest first.

    Ties: a row with the sum zero, or two rows with sums of equal magnitude. So a row of zeros is a tie, and so are two
    equal rows. :meth:`margin` is the smallest sum, or the smallest gap between two sorted sums if that is less. It is
    divided by the largest sum of magnitudes of a row.

    Convexity: means of canonical points are canonical. The sums of canonical points fill a convex cone, a Weyl chamber
    of type B.

    Shape: real (*batch, *channels, r, *rest) to the same. :meth:`element` returns :class:`Rows`, :meth:`margin`
    (*batch,).

    Args:
        event_dims: Trailing dimensions of one item. The first of them counts the rows. Default 2: items (r, D).
        channel_dims: Dimensions before the event that share one element. Default 0.

    Raises:
        TypeError: If the target is complex.

    Example: rows in another order and with other signs get one representative.
        >>> import torch
        >>> fix = FixSignedPermutation()
        >>> fix(torch.tensor([[1.0, 2.0], [-3.0, -4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
        >>> fix(torch.tensor([[3.0, 4.0], [-1.0, -2.0]]))
        tensor([[3., 4.],
                [1., 2.]])

    References: Humphreys, Reflection Groups and Coxeter Groups, section 1.12: Weyl chambers are fundamental domains.
    """

    convex = True

    def __init__(self, event_dims: int = 2, *, channel_dims: int = 0) -> None:
        super().__init__(SignedPermutation(event_dims, channel_dims=channel_dims))

    def check(self, x: Any) -> None:
        self.symmetry.check(x)

    def element(self, x: Tensor) -> Rows:
        self.check(x)
        sums = self._rows(x).sum(-1)
        order = sums.abs().argsort(dim=-1, descending=True, stable=True)
        return Rows(order, torch.where(sums < 0, -1, 1).gather(-1, order))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        rows = self._rows(x)
        sums = rows.sum(-1).abs().sort(-1, descending=True).values
        gaps = sums - torch.nn.functional.pad(sums[..., 1:], (0, 1))  # the last one is the smallest sum
        size = rows.abs().sum(-1).amax(-1)
        return margins_of(x, gaps.amin(-1) / torch.where(size > 0, size, 1), self.symmetry.item_dims)

    def _rows(self, x: Tensor) -> Tensor:
        """Return the rows, scaled so that no sum overflows."""
        return unit_scale(self.symmetry.rows_of(x.detach()), 2)
