"""The content box: where an item's entries exceed a threshold relative to its largest entry.

On an axis with zero padding the box is the interval ``[lo, lo + length)``; on a periodic axis it is the
shortest arc that covers the content, which may wrap. Its center, ``lo + (length - 1) / 2``, may be a half-integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape, flat_items, power, unit_scale

#: ``False``: no axis is periodic; ``True``: all are; a detector shape: axis a is where M_a = N_a.
Wrap = bool | tuple[int, ...]


class Box(NamedTuple):
    """The content box of every item; ``lo`` and ``length`` are int64 of shape (*batch, d)."""

    lo: Tensor
    length: Tensor


def box_ends(box: Box) -> Tensor:
    """Return ``lo + hi``, twice the center: an integer. No property, since torch.compile of 2.6 takes none here."""
    return 2 * box.lo + box.length - 1


def wrapped_axes(wrap: Wrap, event: tuple[int, ...]) -> tuple[bool, ...]:
    """Return which axes of a frame of shape ``event`` are periodic."""
    if isinstance(wrap, bool):
        return (wrap,) * len(event)
    return tuple(m == n for m, n in zip(wrap, event, strict=True))


def check_content_options(owner: str, event_dims: int, threshold: float, wrap: Wrap) -> None:
    """Raise unless ``0 <= threshold < 1`` and ``wrap`` is a bool or a shape of ``event_dims`` axes."""
    if not isinstance(threshold, (int, float)) or not 0 <= threshold < 1:
        raise ValueError(f"{owner} needs 0 <= threshold < 1, relative to the largest magnitude, but got {threshold!r}.")
    if not isinstance(wrap, bool) and (
        not isinstance(wrap, tuple) or len(wrap) != event_dims or not all(type(m) is int for m in wrap)
    ):
        raise ValueError(
            f"{owner} needs wrap=True, wrap=False or the detector's shape as a tuple of {event_dims} ints, "
            f"but got {wrap!r}."
        )


def squares_of(x: Tensor, item_dims: int) -> Tensor:
    """Return the squared magnitudes of every item to its own scale."""
    x = x.detach()
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()  # whose squares reach below the threshold's
    return power(unit_scale(x, item_dims))


def profiles_of(squares: Tensor, event_dims: int, channel_dims: int) -> list[Tensor]:
    """Return per axis the largest square of every line, relative to the item's largest: (*batch, N_a) each."""
    if channel_dims:
        channels = range(squares.dim() - event_dims - channel_dims, squares.dim() - event_dims)
        squares = squares.amax(tuple(channels))
    axes = range(-event_dims, 0)
    # All axes but the last from the lines along the last: one pass over all squares serves them.
    lines = squares.amax(-1, keepdim=True)
    profiles = [lines.amax([other for other in axes if other != axis]) for axis in axes[:-1]]
    profiles.append(squares.amax(list(axes[:-1])) if event_dims > 1 else squares)
    peak = flat_items(lines, event_dims).amax(-1, keepdim=True)
    # A zero item has no peak, hence no content; a NaN stays NaN and exceeds nothing.
    peak = torch.where(peak == 0, 1, peak)
    return [profile / peak for profile in profiles]


def _interval(content: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first content index and the length, (*batch,). The whole axis if there is no content."""
    size = content.shape[-1]
    lo = content.to(torch.int8).argmax(-1)
    hi = size - 1 - content.flip(-1).to(torch.int8).argmax(-1)
    some = content.any(-1)
    return torch.where(some, lo, 0), torch.where(some, hi - lo + 1, size)


def _arc(content: Tensor) -> tuple[Tensor, Tensor]:
    """Return start and length of the shortest covering arc, (*batch,). The whole axis if two gaps are the longest."""
    size = content.shape[-1]
    index = torch.arange(2 * size, device=content.device)
    seen = torch.where(torch.cat([content, content], -1), index, -1).cummax(-1).values
    # The gap before a content index n is what lies between it and the content index before it, one turn back.
    gap = torch.where(content, index[size:] - seen[..., size - 1 : -1] - 1, -1)
    longest, lo = gap.max(-1)
    unique = (longest > 0) & ((gap == longest[..., None]).sum(-1) == 1)  # an axis of one entry has the one box anyway
    return torch.where(unique, lo, 0), torch.where(unique, size - longest, size)


def content_box(x: Tensor, event_dims: int, channel_dims: int, threshold: float, wrap: Wrap) -> Box:
    """Return the content box of every item of ``x``, shape (*batch, *channels, *event).

    An item without content (all zero, or NaN) has the whole frame as its box, and so has, along a periodic axis,
    an item whose longest gap is not unique: a translation tie.
    """
    return box_of_squares(squares_of(x, event_dims + channel_dims), event_dims, channel_dims, threshold, wrap)


def box_of_squares(squares: Tensor, event_dims: int, channel_dims: int, threshold: float, wrap: Wrap) -> Box:
    """Return the content box of every item, given the items' :func:`squares_of`."""
    return box_of_profiles(profiles_of(squares, event_dims, channel_dims), threshold, wrap)


def box_of_profiles(profiles: Sequence[Tensor], threshold: float, wrap: Wrap) -> Box:
    """Return the content box of every item, given the items' :func:`profiles_of`."""
    periodic = wrapped_axes(wrap, tuple(profile.shape[-1] for profile in profiles))
    pairs = [
        (_arc if turns else _interval)(profile > threshold**2)
        for profile, turns in zip(profiles, periodic, strict=True)
    ]
    return Box(*(torch.stack(part, -1) for part in zip(*pairs, strict=True)))


def box_margin(
    x: Tensor, event_dims: int, channel_dims: int, threshold: float, wrap: Wrap, *, padded_only: bool = False
) -> Tensor:
    """Return how far the lines that fix the box are from the threshold, (*batch,) in [0, 1].

    A line whose largest magnitude is m (relative to the item's) is ``|m - threshold| / (m + threshold)`` away.
    The lines that count are the box's first and last and those outside; on a periodic axis all, since any could
    open or close a gap. A translation tie and an item without content have margin 0. ``padded_only`` leaves periodic
    axes out, for callers to whom every shift along them is admissible.
    """
    periodic = wrapped_axes(wrap, x.shape[x.dim() - event_dims :])
    margins = [x.real.new_ones(batch_shape(x, event_dims + channel_dims))]
    for profile, turns in zip(
        profiles_of(squares_of(x, event_dims + channel_dims), event_dims, channel_dims), periodic, strict=True
    ):
        if turns and padded_only:
            continue
        magnitude = profile.sqrt()
        total = magnitude + threshold
        distance = torch.where(total > 0, (magnitude - threshold).abs() / total, 1)
        content = profile > threshold**2
        lo, length = (_arc if turns else _interval)(content)
        size = profile.shape[-1]
        if turns and size > 1:
            unique = length < size
        else:
            index = torch.arange(size, device=x.device)
            inner = (index > lo[..., None]) & (index < (lo + length - 1)[..., None])
            distance = torch.where(inner, 1, distance)
            unique = content.any(-1)
        margins.append(torch.where(unique, distance.amin(-1), 0))
    return torch.stack(margins).amin(0)
