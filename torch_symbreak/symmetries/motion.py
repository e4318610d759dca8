"""Motions: integer shifts and conjugate flips of the frame, one algebra for both.

``(g . x)(n) = k(x(s (n - t)))``, indices modulo the frame, with s = -1 and k = conjugation where flipped. Two motions
compose to ``(s2 s1, t2 + s2 t1)``, and the inverse of (s, t) is ``(s, -s t)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._content import Box, Wrap, box_of_squares, check_content_options, content_box, wrapped_axes
from torch_symbreak._fourier import fourier_move
from torch_symbreak._items import batch_shape, resolved
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Symmetry, check_element_batch


class Motion(NamedTuple):
    """An element: ``(g . x)(n) = k(x(s (n - t)))``, indices modulo the frame.

    A floating-point shift is applied by the Fourier shift theorem: exact for band-limited, periodic content.
    """

    flipped: Tensor  # (*batch,) bool: s = -1 and k = conjugation
    shift: Tensor  # (*batch, d): t, int64, or floating-point for fractions of an entry


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


def move(motion: Motion, x: Tensor, event_dims: int, channel_dims: int) -> Tensor:
    """Apply a motion, indices modulo the frame; by Fourier transform if the shift has fractions."""
    event = x.shape[x.dim() - event_dims :]
    batch = batch_shape(x, event_dims + channel_dims)
    check_element_batch("act", batch, motion.flipped.shape)
    if motion.shift.shape != (*batch, event_dims):
        raise ValueError(
            f"act needs shifts along {event_dims} axes, (*batch, {event_dims}), but got {tuple(motion.shift.shape)}."
        )
    if motion.shift.is_floating_point():
        spread = (*batch, *[1] * channel_dims)
        return fourier_move(x, motion.flipped.reshape(spread), motion.shift.reshape((*spread, event_dims)), event)
    *lead, last = (source % size for size, source in zip(event, source_indices(motion, event), strict=True))
    items, lines = math.prod(batch), math.prod(event[:-1])
    channels = math.prod(x.shape[len(batch) : x.dim() - event_dims])
    moved = x.reshape(items * channels * lines, event[-1])
    # Whole lines first, then the entries of each: on a CPU twice as fast as one gather by an index of every entry.
    if lead:
        line = motion.shift.new_zeros(*batch, 1)
        for size, source in zip(event, lead, strict=False):
            line = (line[..., :, None] * size + source[..., None, :]).flatten(-2)
        first = lines * torch.arange(items * channels, device=x.device)
        line = line.reshape(items, 1, lines) + first.reshape(items, channels, 1)
        moved = moved.index_select(0, line.flatten())
    entry = last.reshape(items, 1, event[-1]).expand(items, channels * lines, event[-1])
    moved = moved.reshape(entry.shape).gather(-1, entry).reshape(x.shape)
    if moved.is_complex():
        # Parts alternate along the last axis, so that one product of contiguous numbers conjugates the flipped items.
        sign = torch.where(motion.flipped, -1, 1).to(moved.real.dtype)
        signs = torch.stack([torch.ones_like(sign), sign], -1).repeat((*[1] * len(batch), event[-1]))
        ones = [1] * (x.dim() - len(batch) - 1)
        torch.view_as_real(moved).flatten(-2).mul_(signs.reshape((*batch, *ones, 2 * event[-1])))
    return resolved(moved)


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
    """Integer shifts and conjugate flips of the frame; a subclass says which of the two it has."""

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
        return invert_motion(g)

    def compose(self, g2: Motion, g1: Motion) -> Motion:
        return compose_motions(g2, g1)

    def identity(self, x: Tensor) -> Motion:
        return no_motion(x, self.event_dims, self.channel_dims)

    def box(self, x: Tensor) -> Box:
        """Return the content box of every item."""
        return content_box(x, self.event_dims, self.channel_dims, self.threshold, self.wrap)

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
