"""The far-field canonicalizer's decisions and moves on a CPU, without a Fourier transform and in the cache.

The decisions are those of the reference, ``FarFieldCanonicalizer`` on any device, made from what one pass over the
values gives: of every line the largest ``|re|`` or ``|im|``, and the sums over all axes but the last, in double
precision. Where these leave open whether a flip is a tie, all frequencies are asked, as the reference does. Where they
leave open anything else (a line near the threshold, a phase near a tie, values that are not finite) an item is not
``certain``, and the reference decides it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import TIE
from torch_symbreak._content import Box
from torch_symbreak.symmetries.conjugate_flip import flip_decision, flip_scores

Array = np.ndarray[Any, np.dtype[Any]]

#: Bytes of items that are treated at once: with what is made of them they fit into the second cache of a core.
CHUNK = 2**20
#: Boxes are moved one by one if that is less work than moving whole items together: of items of some size, small boxes.
_LEAST_BYTES, _MOST_OF_ITEM = 2**14, 0.5
#: More than all rounding errors of the reference's magnitudes, relative.
SLACK = 1e-5
#: What the reference will find to be no tie: it rounds items to single precision, which moves scores by 1.2e-7 at most.
CLEAR = 1.25 * TIE
#: Products of sums below this underflow, and over its reciprocal overflow: in double precision only.
SMALLEST = 1e-100
#: With ``threshold=0`` the reference's squares may underflow below this share of the largest.
UNDERFLOW = 1e-12


class Decisions(NamedTuple):
    """Of B items in d dimensions: the element, and where the content box is and goes."""

    certain: Array  # (B,) bool: whether the others are what the reference says
    flipped: Array  # (B,) bool
    shift: Array  # (B, d) int64
    scalar: Array  # (B,), in the items' dtype
    lo: Array  # (B, d) int64
    target: Array  # (B, d) int64
    length: Array  # (B, d) int64
    bare: Array  # (B,) bool: whether the box is certain, and there is nothing but zeros outside


def items_within(limit: int, x: Tensor) -> int:
    """How many items of ``x``, (B, *item) and not empty, have at most ``limit`` bytes; at least 1."""
    return max(1, limit * len(x) // x.nbytes)


def _read(x: Tensor) -> tuple[Array, Array, Array, Array]:
    """The pass over the values of x, (B, N_1, ..., N_d).

    Returns the largest part of every line along the last axis, (B, N_1, ..., N_d-1), the largest part and the sum over
    all axes but the last, (B, N_d) each, and the sum of all parts' magnitudes, (B,).
    """
    count, *lead = x.shape[:-1]
    parts = torch.view_as_real(x) if x.is_complex() else x
    parts = parts.reshape(count, math.prod(lead), -1)
    lines, columns = parts.new_empty(parts.shape[:2]), parts.new_empty(count, parts.shape[2])
    sums, totals = columns.new_empty(columns.shape, dtype=torch.float64), torch.empty_like(lines)
    step = items_within(CHUNK, x)
    # One piece of memory for all chunks: fresh memory costs more than what is done in it.
    scratch = parts.new_empty(parts[:step].shape, dtype=torch.float64)
    magnitudes = scratch.view(parts.dtype).flatten()[: scratch.numel()].view(scratch.shape)
    for part, line, column, total in zip(*(z.split(step) for z in (parts, lines, columns, totals)), strict=True):
        here = torch.abs(part, out=magnitudes[: len(part)])
        torch.amax(here, 2, out=line)
        torch.amax(here, 1, out=column)
        torch.sum(here, 2, out=total)
    # In a loop of its own: double precision would drive the others out of the cache.
    for part, column_sum in zip(parts.split(step), sums.split(step), strict=True):
        torch.sum(scratch[: len(part)].copy_(part), 1, out=column_sum)
    column, column_sums = columns.numpy(), sums.numpy()
    return (
        lines.numpy().reshape(count, *lead),
        np.maximum(column[:, ::2], column[:, 1::2]) if x.is_complex() else column,
        column_sums.view(np.complex128) if x.is_complex() else column_sums,
        totals.numpy().sum(-1, dtype=np.float64),
    )


def _extent(content: Array) -> tuple[Array, Array]:
    """The first and the last index that is True, of (B, N)."""
    return content.argmax(-1), content.shape[-1] - 1 - content[:, ::-1].argmax(-1)


def decide(x: Tensor, threshold: float) -> Decisions:
    """Decide where the content of x, (B, N_1, ..., N_d), lies, how it is oriented, and what to multiply it by."""
    event = x.shape[1:]
    d, size = len(event), event[-1]
    lines, columns, sums, total = _read(x)
    with np.errstate(all="ignore"):
        peak = columns.max(-1, keepdims=True).astype(np.float64)
        # The largest magnitude of a line whose largest part is m is in [m, ratio m], and so is the item's.
        ratio = (math.sqrt(2) if x.is_complex() else 1) * (1 + SLACK)
        surely, perhaps = max(threshold * ratio, UNDERFLOW) * peak, threshold / ratio * peak
        certain = np.asarray(np.isfinite(sums).all(-1) & (ratio * threshold < 1))
        bare = certain.copy()
        ends = []
        for axis in range(d):
            others = tuple(1 + other for other in range(d - 1) if other != axis)
            profile = columns if axis == d - 1 else lines.max(others)
            lo, hi = _extent(profile > surely)
            for same, floor in ((certain, perhaps), (bare, 0)):
                first, last = _extent(profile > floor)
                same &= (first == lo) & (last == hi)
            ends.append((lo, hi))
        lo, hi = (np.stack(end, -1) for end in zip(*ends, strict=True))
        length = hi - lo + 1
        # s = Im(F(k) conj F(0)), k = 1 / (2 L) on the last axis: see flip_scores.
        dc = sums.sum(-1, keepdims=True)
        twice = 2.0 * np.arange(size) - (lo + hi)[:, -1:]  # 2 (n - c), modulo 2 N into [-N, N)
        twice += 2 * size * ((twice < -size) * 1.0 - (twice >= size))
        angle = (-math.pi / 2) * twice / length[:, -1:]
        turned = sums * dc.conj()
        terms = turned.imag * np.cos(angle) + turned.real * np.sin(angle)
        score = np.where(twice == -size, 0, terms).sum(-1)
        # Ties are told by the sum of magnitudes, which is at most the sum of parts.
        dc = dc[:, 0]
        certain &= (total > SMALLEST) & (total < 1 / SMALLEST)
        certain &= np.abs(dc) > CLEAR * total
        unit = dc / np.abs(dc)
        near = certain & ~(np.abs(score) > CLEAR * total**2)
    flipped = score < 0
    if near.any():
        box = Box(torch.from_numpy(lo[near]), torch.from_numpy(length[near]))
        flipped[near] = flip_decision(flip_scores(x[torch.from_numpy(near)], box, d, 0)).numpy()
    target = (np.array(event) - length) // 2
    shift = np.where(flipped[:, None], target + hi, target - lo)
    scalar = np.where(flipped, unit, unit.conj()).astype(x[:0].numpy().dtype)
    return Decisions(certain, flipped, shift, scalar, lo, target, length, bare)


def boxes_alone(x: Tensor, found: Decisions) -> bool:
    """Whether moving boxes is all that is to be done to x, (B, *event), and less work than moving everything."""
    if not bool(found.bare.all()):
        return False
    size = math.prod(x.shape[1:])
    share = found.length.prod(-1).mean() / size
    return size * x.element_size() >= _LEAST_BYTES and bool(share <= _MOST_OF_ITEM)


def move_boxes(x: Tensor, found: Decisions, moved: Tensor) -> None:
    """Move the boxes of x, (B, *event), as decided, into ``moved``, which becomes zero elsewhere."""
    moved.zero_()
    reverse = (slice(None, None, -1),) * found.lo.shape[1]
    sources, goals = x.numpy(), moved.numpy()
    ends = [one.tolist() for one in (found.lo, found.lo + found.length, found.target, found.target + found.length)]
    with np.errstate(all="ignore"):
        for source, goal, flipped, scalar, *(lo, hi, to, end) in zip(
            sources, goals, found.flipped.tolist(), found.scalar, *ends, strict=True
        ):
            box, place = source[tuple(map(slice, lo, hi))], goal[tuple(map(slice, to, end))]
            if flipped:
                box = np.conjugate(box[reverse], out=place)
            np.multiply(box, scalar, out=place)
