"""Motions: integer shifts and conjugate flips of the frame, one algebra for both.

``(g . x)(n) = k(x(s (n - t)))``, indices modulo the frame, with s = -1 and k = conjugation where flipped. Two motions
compose to ``(s2 s1, t2 + s2 t1)``, and the inverse of (s, t) is ``(s, -s t)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._content import Box, Wrap, box_of_squares, check_content_options, content_box, wrapped_axes
from torch_symbreak._fourier import fourier_move
from torch_symbreak._items import batch_shape, flat_items, resolved
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Symmetry, check_element_batch, part_of


class Motion(NamedTuple):
    """An element: ``(g . x)(n) = k(x(s (n - t)))``, indices modulo the frame.

    A floating-point shift is applied by the Fourier shift theorem: exact for band-limited, periodic content.

    Example: a shift by one entry.
        >>> from torch_symbreak.symmetries import Translation
        >>> shift = Motion(torch.tensor([False]), torch.tensor([[1]]))
        >>> Translation(1).act(shift, torch.tensor([[1.0, 2.0, 0.0]]))
        tensor([[0., 1., 2.]])
    """

    flipped: Tensor  #: (*batch,) bool: s = -1 and k = conjugation
    shift: Tensor  #: (*batch, d): t, int64, or floating-point for fractions of an entry


Numbers = TypeVar("Numbers", Tensor, "np.ndarray[Any, np.dtype[Any]]")


def centered(length: Numbers, event: Numbers) -> Numbers:
    """Return where a centered box starts: ``(N - L) // 2``, (*batch, d)."""
    return (event - length) // 2


def placement(lo: Numbers, length: Numbers, target: Numbers, flipped: Numbers) -> Numbers:
    """Return the shift that takes the box [lo, hi] to [target, target + L): target - lo, or target + hi if flipped."""
    return target - lo + flipped[..., None] * (2 * lo + length - 1)


def source_indices(motion: Motion, event: Sequence[int]) -> list[Tensor]:
    """Return per axis ``s (n - t)``, the index that lands on n, before any modulus: (*batch, N_a) each."""
    indices = []
    for axis, size in enumerate(event):
        n = torch.arange(size, device=motion.shift.device) - motion.shift[..., axis, None]
        indices.append(torch.where(motion.flipped[..., None], -n, n))
    return indices


class Order(NamedTuple):
    """The order in which a motion takes entries. It is worked out once for many items, which then move in pieces."""

    line: Tensor  # (B, lines): the number of the line along the last axis
    entry: Tensor  # (B, N): the entry of that line
    sign: Tensor  # (B, 1 or 2 N): of real and imaginary parts in turn; 1 if nothing is flipped


def order_of(sources: Sequence[Tensor], event: Sequence[int], flipped: Tensor | None = None) -> Order:
    """Return the order of entries whose sources along each axis are (B, N_a), conjugated where flipped, (B,)."""
    line = torch.zeros_like(sources[-1][:, :1])
    for size, source in zip(event[:-1], sources[:-1], strict=True):
        line = (line[:, :, None] * size + source[:, None, :]).flatten(1)
    sign = torch.ones_like(line[:, :1], dtype=torch.int8)
    if flipped is not None:
        # Parts alternate along the last axis, so that one product of contiguous numbers conjugates the flipped items.
        sign = torch.stack([sign, 1 - 2 * flipped[:, None].to(torch.int8)], -1).expand(-1, event[-1], 2).flatten(1)
    return Order(line, sources[-1], sign)


def take(x: Tensor, order: Order) -> Tensor:
    """Return the entries of x, (B, *channels, *event), in another order."""
    items, lines, size = len(x), order.line.shape[-1], order.entry.shape[-1]
    channels = x.numel() // max(1, items * lines * size)
    taken = x.reshape(-1, size)
    # Whole lines first, then the entries of each: on a CPU twice as fast as one gather by an index of every entry.
    if lines > 1:
        first = lines * torch.arange(items * channels, device=x.device)
        taken = taken.index_select(0, (order.line[:, None] + first.reshape(items, channels, 1)).flatten())
    entry = order.entry[:, None].expand(items, channels * lines, size)
    taken = taken.reshape(entry.shape).gather(-1, entry)
    if x.is_complex() and order.sign.shape[-1] > 1:
        torch.view_as_real(taken).flatten(-2).mul_(order.sign[:, None].to(x.real.dtype))
    return resolved(taken.reshape(x.shape))


def order_of_motion(motion: Motion, event: Sequence[int]) -> Order:
    """Return the order in which a motion of whole steps, of items (B,), takes the entries of a frame."""
    sources = [source % size for size, source in zip(event, source_indices(motion, event), strict=True)]
    return order_of(sources, event, motion.flipped)


def move(motion: Motion, x: Tensor, event_dims: int, channel_dims: int) -> Tensor:
    """Apply a motion, indices modulo the frame; by Fourier transform if the shift has fractions."""
    event = x.shape[x.dim() - event_dims :]
    batch = batch_shape(x, event_dims + channel_dims)
    check_element_batch("act", batch, part_of("act", motion, "flipped", Motion).shape)
    if motion.shift.shape != (*batch, event_dims):
        raise ValueError(
            f"act needs shifts along {event_dims} axes, (*batch, {event_dims}), but got {tuple(motion.shift.shape)}."
        )
    if motion.shift.is_floating_point():
        spread = (*batch, *[1] * channel_dims)
        return fourier_move(x, motion.flipped.reshape(spread), motion.shift.reshape((*spread, event_dims)), event)
    flat = Motion(motion.flipped.reshape(-1), motion.shift.reshape(-1, event_dims))
    items = x.reshape(len(flat.shift), *x.shape[len(batch) :])
    return take(items, order_of_motion(flat, event)).reshape(x.shape)


def compose_motions(g2: Motion, g1: Motion) -> Motion:
    """Return ``(s2 s1, t2 + s2 t1)``."""
    turned = torch.where(g2.flipped[..., None], -g1.shift, g1.shift)
    return Motion(g2.flipped ^ g1.flipped, g2.shift + turned)


def invert_motion(g: Motion) -> Motion:
    """Return ``(s, -s t)``."""
    return Motion(g.flipped, torch.where(g.flipped[..., None], g.shift, -g.shift))


def no_motion(x: Tensor, event_dims: int, channel_dims: int) -> Motion:
    """Return the motion that leaves every item of ``x`` as it is."""
    batch = batch_shape(x, event_dims + channel_dims)
    return Motion(
        torch.zeros(batch, dtype=torch.bool, device=x.device),
        torch.zeros((*batch, event_dims), dtype=torch.int64, device=x.device),
    )


@dataclass(frozen=True)
class Rearrangement(Symmetry):
    """Integer shifts and conjugate flips of the frame; a subclass says which of the two it has.

    Example:
        >>> from torch_symbreak.symmetries import ConjugateFlip, Translation
        >>> Translation(2).shifts, Translation(2).flips, ConjugateFlip(2).flips
        (True, False, True)
    """

    event_dims: int = 2
    _: KW_ONLY
    channel_dims: int = 0
    threshold: float = 1e-4
    wrap: Wrap = False

    shifts: ClassVar[bool]
    flips: ClassVar[bool]
    least_dims = 1
    counted = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_content_options(type(self).__name__, self.event_dims, self.threshold, self.wrap)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Motion:
        self.check(x)
        return draw_motion(self, x, shifts=self.shifts, flips=self.flips, generator=generator)

    def act(self, g: Motion, x: Tensor) -> Tensor:
        self.check(x)
        return move(g, x, self.event_dims, self.channel_dims)

    def inverse(self, g: Motion) -> Motion:
        part_of(type(self).__name__, g, "flipped", Motion)
        return invert_motion(g)

    def compose(self, g2: Motion, g1: Motion) -> Motion:
        for g in (g2, g1):
            part_of(type(self).__name__, g, "flipped", Motion)
        return compose_motions(g2, g1)

    def identity(self, x: Tensor) -> Motion:
        return no_motion(x, self.event_dims, self.channel_dims)

    @property
    def fixed(self) -> bool:
        """True for flips about a center that does not depend on content."""
        return False

    def box(self, x: Tensor) -> Box:
        """Return the content box of every item."""
        return content_box(x, self.event_dims, self.channel_dims, self.threshold, self.wrap)

    def fills(self, x: Tensor) -> Tensor:
        """Return which items' content fills the frame, (*batch,) bool, so that no shift is possible.

        Items of zeros fill nothing. The boxes of fixed centers say nothing about shifts.
        """
        event = torch.tensor(x.shape[x.dim() - self.event_dims :], device=x.device)
        content = flat_items(x, self.item_dims).ne(0).any(-1)
        return (self.box(x).length == event).all(-1) & content & (not self.fixed)

    def box_of_squares(self, squares: Tensor) -> Box:
        """Return the content boxes, given squared magnitudes, each item scaled to its peak.

        Shape: squares (*batch, *channels, *event); boxes (*batch, d).
        """
        return box_of_squares(squares, self.event_dims, self.channel_dims, self.threshold, self.wrap)


def draw_motion(
    like: Rearrangement, x: Tensor, *, shifts: bool, flips: bool, generator: torch.Generator | None
) -> Motion:
    """Draw where the content box goes, uniformly among the places inside the frame, and whether it is flipped."""
    event = x.shape[x.dim() - like.event_dims :]
    batch = batch_shape(x, like.item_dims)
    box = like.box(x)
    target = box.lo
    if shifts:
        periodic = wrapped_axes(like.wrap, event)
        frame = box.lo.new_tensor(list(event))
        places = torch.where(box.lo.new_tensor(periodic, dtype=torch.bool), frame, frame - box.length + 1)
        drawn = uniform((*batch, like.event_dims), x.device, generator)
        target = torch.minimum((drawn * places).long(), places - 1)
    flipped = torch.zeros(batch, dtype=torch.bool, device=x.device)
    if flips:
        flipped = uniform(tuple(batch), x.device, generator) < 0.5
    return Motion(flipped, placement(*box, target, flipped))
