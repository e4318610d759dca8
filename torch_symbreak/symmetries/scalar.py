"""Scalars: one number per item, which multiplies it; and what the canonicalizers of sign and phase share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torch_symbreak._items import TIE, batch_shape, divided, flat_items, peak, per_item, power, resolved, wide
from torch_symbreak.symmetries.base import Canonicalizer, S, Symmetry, check_element_batch


@dataclass(frozen=True)
class Scalar(Symmetry):
    """Multiply every item by a number. Elements are (*batch,), of magnitude 1 unless ``unit`` is False."""

    unit: ClassVar[bool] = True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check(x)
        check_element_batch(type(self).__name__, batch_shape(x, self.item_dims), g.shape)
        if g.is_complex() and not x.is_complex():
            raise TypeError(f"{type(self).__name__} cannot multiply a real target by a complex element, {g.dtype}.")
        return resolved(x * per_item(g.to(x.dtype), self.item_dims))

    def inverse(self, g: Tensor) -> Tensor:
        return resolved(g.conj())

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g2 * g1

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

    def element(self, x: Tensor) -> Tensor:
        self.check(x)
        anchor, most = self._anchor(x)
        # sgn(0) = 0 would erase the item, and the phase of rounding noise is noise: at a tie leave it unchanged.
        # A chosen entry, unlike a sum, carries no noise of other entries: only 0 is a tie.
        size = anchor.detach().abs()
        tie = ~(size > (TIE * most if self.anchor == "sum" else 0))
        unit = self.unit(torch.where(tie, 1, anchor))
        return resolved(torch.where(tie, 1, unit).to(x.dtype))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        anchor, most = self._anchor(x.detach())
        ratio = anchor.abs() / torch.where(most > 0, most, 1)
        return ratio.clamp(max=1).to(x.real.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, anchor={self.anchor!r}"
