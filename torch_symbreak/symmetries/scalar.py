"""Scalars: one number per item, which multiplies it; and what the canonicalizers of sign and phase share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torch_symbreak._content import Box
from torch_symbreak._frequencies import WEAK, fallbacks, low_frequencies
from torch_symbreak._items import (
    NOISE,
    TIE,
    batch_shape,
    divided,
    first_above,
    flat_items,
    flat_parts,
    items_within,
    margins_of,
    peak,
    per_item,
    power,
    resolved,
    tangible,
    wide,
)
from torch_symbreak.symmetries.base import Canonicalizer, S, Symmetry, check_element_batch, part_of

#: Bytes of items whose low frequencies are computed at once: enough for long operations, few enough to bound memory.
_PIECE = 2**23


@dataclass(frozen=True)
class Scalar(Symmetry):
    """Multiply every item by a number. Elements are (*batch,), of magnitude 1 unless ``unit`` is False.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> Sign(1).act(torch.tensor([-1.0, 1.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[-1., -2.],
                [ 3.,  4.]])
    """

    unit: ClassVar[bool] = True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check(x)
        check_element_batch(type(self).__name__, batch_shape(x, self.item_dims), part_of(type(self).__name__, g).shape)
        if g.is_complex() and not x.is_complex():
            raise TypeError(f"{type(self).__name__} cannot multiply a real target by a complex element, {g.dtype}.")
        return resolved(x * per_item(g.to(x.dtype), self.item_dims))

    def inverse(self, g: Tensor) -> Tensor:
        return resolved(part_of(type(self).__name__, g).conj())

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return part_of(type(self).__name__, g2) * part_of(type(self).__name__, g1)

    def identity(self, x: Tensor) -> Tensor:
        return torch.ones(batch_shape(x, self.item_dims), dtype=x.dtype, device=x.device)

    @abstractmethod
    def gain(self, correlation: Tensor) -> Tensor:
        """Return the largest ``Re(u c)`` over the group, or a positive power of it, for correlations c of any shape."""

    @abstractmethod
    def best(self, correlation: Tensor) -> Tensor:
        """Return the element u that takes x nearest to r, (*batch,), for ``c = <x, r> / <x, x>``.

        A unit scalar needs c only up to a positive factor and returns 1 at c = 0. ``Scale`` returns 0 for c <= 0.
        """


Anchor = str | int | tuple[int, ...]


class FixScalar(Canonicalizer[S]):
    """Make the anchor of every item real and positive; a subclass says by which unit number."""

    convex = True

    def __init__(self, symmetry: S, anchor: Anchor) -> None:
        super().__init__(symmetry)
        name, dims = type(self).__name__, symmetry.item_dims
        if isinstance(anchor, tuple):
            if len(anchor) != dims or not all(type(i) is int for i in anchor):
                raise ValueError(
                    f"{name} needs an anchor of {dims} ints, one per dimension of an item, but got {anchor!r}."
                )
        elif anchor != "sum" and (isinstance(anchor, bool) or not isinstance(anchor, int)):
            raise ValueError(
                f'{name} needs anchor="sum", an int (an index into the flattened item) or a tuple, but got {anchor!r}.'
            )
        if dims == 0 and anchor != "sum":
            raise ValueError(
                f"{name}(0) treats every entry by itself and takes no index as anchor, but got {anchor!r}."
            )
        self.anchor = anchor

    @abstractmethod
    def unit(self, anchor: Tensor) -> Tensor:
        """Return the unit number that makes a non-zero anchor real and positive."""

    def _anchor(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return per item the anchor and the largest magnitude possible for it, to one common scale, (*batch,) each."""
        # Divide by the largest part first: squares of 1e-30 would underflow, and sgn overflows on subnormal numbers.
        items = flat_items(x, self.symmetry.item_dims)
        items = divided(items, peak(items.detach(), item_dims=1)[..., None])
        magnitude = power(items.detach()).sqrt()
        if self.anchor == "sum":
            return items.sum(-1, dtype=wide(x)), magnitude.sum(-1, dtype=wide(magnitude))
        item_shape = x.shape[x.dim() - self.symmetry.item_dims :]
        index = self.anchor if isinstance(self.anchor, tuple) else (self.anchor,)
        sizes = item_shape if isinstance(self.anchor, tuple) else (items.shape[-1],)
        if not all(-size <= i < size for i, size in zip(index, sizes, strict=True)):  # type: ignore[operator]
            raise IndexError(
                f"{type(self).__name__} has anchor={self.anchor!r}, outside items of shape {tuple(item_shape)}."
            )
        flat = 0
        for i, size in zip(index, sizes, strict=True):
            flat = flat * size + i % size  # type: ignore[operator]
        return items[..., flat].to(wide(x)), magnitude.amax(-1).to(wide(magnitude))

    def _of_frame(self, x: Tensor, ties: Tensor) -> Tensor | None:
        """Return low frequencies about the center of the frame, (*batch, K). Only ties need them."""
        if not tangible(x.detach()):
            return self._low(x)
        if not ties.any():
            return None
        items = x[ties]
        few = torch.cat([self._low(part) for part in items.split(items_within(_PIECE, items))])
        return few.new_zeros(*ties.shape, few.shape[-1]).masked_scatter(ties[..., None], few)

    def _low(self, x: Tensor) -> Tensor:
        dims = self.symmetry.item_dims
        sizes = torch.tensor(x.shape[x.dim() - dims :], device=x.device).expand(*batch_shape(x, dims), dims)
        return fallbacks(low_frequencies(x, Box(torch.zeros_like(sizes), sizes), dims, 0), dims)

    def decision(
        self, x: Tensor, others: Callable[[Tensor, Tensor], Tensor | None], flipped: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the unit number and the margin of every item, (*batch,) each.

        Args:
            x: The items, (*batch, *item).
            others: Given x and which items have a tie as their sum, (*batch,), return the numbers that decide there,
                complex, (*batch, K), or None if none is needed. The first that is no tie decides. They change with the
                item as its sum does.
            flipped: Items that are flipped and conjugated before the number multiplies them, (*batch,). Default: none.
        """
        anchor, most = self._anchor(x)
        # sgn(0) = 0 would erase the item, and the phase of rounding noise is noise: at a tie leave it unchanged.
        # A chosen entry, unlike a sum, carries no noise of other entries: only 0 is a tie.
        level = TIE if self.anchor == "sum" else 0
        more = None
        if self.anchor == "sum" and self.symmetry.item_dims and x.numel():
            more = others(x, ~(anchor.detach().abs() > level * most))
        anchors = anchor[..., None]
        if more is not None:
            anchors = torch.cat([anchors.to(more.dtype), more], -1)
        if flipped is not None:
            anchors = torch.where(flipped[..., None], anchors.conj(), anchors)
        if not x.is_complex() and anchors.is_complex():
            anchors = flat_parts(anchors, 1)
        size = anchors.detach().abs()
        levels = torch.full_like(size, level)
        if more is not None:
            parts = 1 if x.is_complex() else 2
            levels[..., parts:-parts] = WEAK
        first = first_above(size, levels * most[..., None])
        anchor, least = anchors.gather(-1, first), levels.gather(-1, first) * most[..., None]
        tie = ~(anchor.detach().abs() > least)
        unit = torch.where(tie, 1, self.unit(torch.where(tie, 1, anchor))).squeeze(-1)
        margin = _margin(size / torch.where(most > 0, most, 1)[..., None], levels, first)
        return resolved(unit.to(x.dtype)), margin.clamp(max=1).to(x.real.dtype)

    def element(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.decision(x, self._of_frame)[0]

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        return margins_of(x, self.decision(x.detach(), self._of_frame)[1], self.symmetry.item_dims)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, anchor={self.anchor!r}"


def _margin(sizes: Tensor, levels: Tensor, first: Tensor) -> Tensor:
    """Return how far each item is from another decision, (*batch,).

    Args:
        sizes: Magnitudes of the numbers that may decide, the sum first, relative to the largest possible, (*batch, K).
        levels: A number must exceed its level to decide, (*batch, K).
        first: Index of the first that does, (*batch, 1).
    """
    asked = (levels == WEAK) & (torch.arange(sizes.shape[-1], device=sizes.device) <= first)
    distance = torch.where(asked, (sizes - levels).abs() / (sizes + levels), torch.inf).amin(-1)
    decided = torch.minimum(sizes.gather(-1, first).squeeze(-1), distance)
    return torch.where(sizes[..., 0] > NOISE, sizes[..., 0], decided)
