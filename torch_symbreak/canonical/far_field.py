"""The far field's exact canonicalizer: translation, conjugate flip and global phase at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import Field, check_choice, check_field
from torch_symbreak._content import Wrap, box_margin, wrapped_axes
from torch_symbreak._frequencies import fallbacks, low_frequencies
from torch_symbreak._items import batch_shape, eager, items_within, margins_of, resolved, typed_like
from torch_symbreak.canonical.backends import backend_for
from torch_symbreak.canonical.rule import Decision, reference_element
from torch_symbreak.symmetries import (
    Canonicalizer,
    ConjugateFlip,
    Element,
    FixGlobalPhase,
    FixSign,
    Product,
    Translation,
)
from torch_symbreak.symmetries.conjugate_flip import flip_margin, flip_scores

#: Bytes of items that the reference is given at once: enough for long operations, few enough to bound memory.
_PIECE, _PIECE_ON_GPU = 2**23, 2**28


class FarFieldCanonicalizer(Canonicalizer[Product]):
    """Break translation, conjugate flip and global phase (real objects: sign) at once.

    The result is that of ``Compose([CenterContent(), FixConjugateFlip(), FixGlobalPhase()])`` in any order, unless the
    sum of the entries is a tie. This class is faster: it finds the content box once and applies all three with one
    gather. Obtain it from :meth:`FarField.canonicalizer`.

    Ties: those of the three transforms. At a tie of one, only its symmetry stays unbroken. Where the sum is a tie (zero
    to rounding), low frequencies about the center of the content box decide the phase or the sign. :meth:`margins`
    gives the three margins by name, :meth:`margin` the smallest.

    Shape: (*batch, *channels, *event) to the same; :meth:`element` an :class:`Element` (flipped, shift, scalar).

    Args:
        event_dims: Trailing dimensions of one object. Default 2.
        channel_dims: Dimensions before the event that share one element. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Raise it for noisy data. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic where it equals the frame's. Default False.
        field: "complex" (default) or "real" objects.

    Raises:
        TypeError: If the dtype of the target does not fit ``field``.
        ValueError: If ``field`` is neither "complex" nor "real".

    Example: every point of an orbit goes to one.
        >>> import torch
        >>> from torch_symbreak import FarField, RandomSymmetry
        >>> _, model = torch.manual_seed(0), FarField(2)
        >>> fix = model.canonicalizer()
        >>> x = torch.nn.functional.pad(torch.randn(3, 4, 6, dtype=torch.complex64), (1, 1, 2, 2))
        >>> torch.allclose(fix(RandomSymmetry(model.symmetries)(x)), fix(x), atol=1e-5)
        True

    References: Zhang et al., arXiv 2403.15448, Algorithm 2, made exact.
    """

    def __init__(
        self,
        event_dims: int = 2,
        *,
        channel_dims: int = 0,
        threshold: float = 1e-4,
        wrap: Wrap = False,
        field: Field = "complex",
    ) -> None:
        check_choice("field", field, ("complex", "real"))
        translation = Translation(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap)
        flip = ConjugateFlip(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap)
        fix_scalar: FixGlobalPhase | FixSign = (
            FixGlobalPhase(event_dims, channel_dims=channel_dims)
            if field == "complex"
            else FixSign(event_dims, channel_dims=channel_dims)
        )
        super().__init__(Product([translation, flip, fix_scalar.symmetry]))
        self.field: Field = field
        self._translation = translation
        self._fix_scalar = fix_scalar

    def check(self, x: Any) -> None:
        super().check(x)
        check_field(type(self).__name__, x, self.field, self.symmetry.event_dims)

    def element(self, x: Tensor) -> Element:
        self.check(x)
        batch, items = self._items(x)
        backend = None if items is None else self._backend(items)
        if items is None or backend is None:
            return self._reference(x)
        decided = [self._decide(piece, backend)[:3] for piece in _pieces(items, backend)]
        flipped, shift, scalar = (torch.cat(parts) for parts in zip(*decided, strict=True))
        return Element(flipped.reshape(batch), shift.reshape(*batch, -1), scalar.reshape(batch))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        _, items = self._items(x)
        if items is None:
            return typed_like(self.symmetry.act(self._reference(x), x), x)
        moved, backend = torch.empty_like(items), self._backend(items)
        for piece, to in zip(_pieces(items, backend), _pieces(moved, backend), strict=True):
            self._decide(piece, backend, to)
        return moved.reshape(x.shape)

    def _items(self, x: Tensor) -> tuple[torch.Size, Tensor | None]:
        """Return the batch shape, and (B, *item) where a batch may go through in pieces."""
        batch = batch_shape(x, self.symmetry.item_dims)
        if not eager(x) or x.numel() == 0:
            return batch, None
        return batch, resolved(x.detach()).reshape(-1, *x.shape[len(batch) :]).contiguous()

    def _backend(self, items: Tensor) -> Any:
        group = self._translation
        if group.channel_dims or any(wrapped_axes(group.wrap, items.shape[items.dim() - group.event_dims :])):
            return None
        return backend_for(items, group.threshold)

    def _reference(self, x: Tensor) -> Element:
        return reference_element(x, self._translation, self._fix_scalar)

    def _decide(self, items: Tensor, backend: Any, out: Tensor | None = None) -> Decision:
        """Return the element of every item, (B, *item), and move all items into ``out`` unless it is None."""
        if backend is None:
            g = self._reference(items)
            if out is not None:
                out.copy_(self.symmetry.act(g, items))
            return Decision(*g[:3], None)
        decision: Decision = backend.decide(items, self._translation.threshold, out)
        if decision.certain is None or bool(decision.certain.all()):
            return decision
        for doubtful in (~decision.certain).nonzero().squeeze(-1).split(items_within(_PIECE, items)):
            exact = self._reference(items[doubtful])
            for part, right in zip(decision[:3], exact[:3], strict=True):
                part[doubtful] = right
            if out is not None:
                out[doubtful] = self.symmetry.act(exact, items[doubtful])
        return decision

    def margins(self, x: Tensor) -> dict[str, Tensor]:
        """Return each symmetry's margin by name, (*batch,) in [0, 1]; 0 at a tie, NaN for items not finite."""
        self.check(x)
        group = self._translation
        low = low_frequencies(x.detach(), group.box(x), group.event_dims, group.channel_dims)
        _, of_scalar = self._fix_scalar.decision(x.detach(), lambda *_: fallbacks(low, group.event_dims))
        box = box_margin(x, group.event_dims, group.channel_dims, group.threshold, group.wrap)
        of_flip = flip_margin(flip_scores(low, group.event_dims)).to(box.dtype)
        margins = margins_of(x, torch.stack([box, of_flip, of_scalar]), group.item_dims)
        names = ("translation", "conjugate_flip", "global_phase" if self.field == "complex" else "sign")
        return dict(zip(names, margins, strict=True))

    def deciding_margins(self, x: Tensor) -> dict[str, Tensor]:
        return self.margins(x)

    def margin(self, x: Tensor) -> Tensor:
        return torch.stack(list(self.margins(x).values())).amin(0)

    def __repr__(self) -> str:
        group = self._translation
        return (
            f"FarFieldCanonicalizer(event_dims={group.event_dims}, channel_dims={group.channel_dims}, "
            f"threshold={group.threshold!r}, wrap={group.wrap!r}, field={self.field!r})"
        )


def _pieces(items: Tensor, backend: Any) -> Sequence[Tensor]:
    """Divide items, (B, *item), into the batches that a backend is given, None being the reference."""
    limit = (_PIECE if items.device.type == "cpu" else _PIECE_ON_GPU) if backend is None else backend.PIECE
    step = len(items) if limit is None else items_within(limit, items)
    return (items,) if step >= len(items) else items.split(step)  # a view costs microseconds
