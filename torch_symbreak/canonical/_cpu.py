"""The far-field canonicalizer's decisions and moves on a CPU, in NumPy: no Fourier transform, in the cache.

One pass over the values gives the largest ``|re|`` or ``|im|`` of every line, and the sums over all axes but the last,
in double precision. The element follows from these. If they do not tell whether the first flip score is a tie, all
scores are computed, as the reference does. Any other doubt makes an item not ``certain``: a line near the threshold, a
phase near a tie, or values that are not finite.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._content import Box
from torch_symbreak._frequencies import low_frequencies
from torch_symbreak._items import items_within, per_item
from torch_symbreak.canonical.rule import CLEAR, SLACK, SMALLEST, UNDERFLOW, Decision
from torch_symbreak.symmetries.conjugate_flip import flip_decision, flip_scores
from torch_symbreak.symmetries.motion import Motion, centered, move, placement

Array = np.ndarray[Any, np.dtype[Any]]

#: Bytes of items that are decided and moved together: enough for long operations, few enough to bound memory.
PIECE = 2**23
#: Bytes of items that are read at once: with the temporaries they fit into the second cache of a core.
_CHUNK = 2**20
#: Move boxes one by one only if that is less work than moving whole items together: large items, small boxes.
_LEAST_BYTES, _MOST_OF_ITEM = 2**14, 0.5


class _Boxes(NamedTuple):
    """Places of the content of B items, before and after, (B, d) each."""

    lo: Array
    length: Array
    target: Array
    bare: Array  # (B,) bool: whether the box is certain, and all is zero outside


def _read(x: Tensor) -> tuple[Array, Array, Array, Array]:
    """Read x, (B, N_1, ..., N_d), once.

    Return the largest part of every line along the last axis, (B, N_1, ..., N_d-1), the largest part and the sum over
    all axes but the last, (B, N_d) each, and the sum of all parts' magnitudes, (B,).
    """
    count, *lead = x.shape[:-1]
    parts = torch.view_as_real(x) if x.is_complex() else x
    parts = parts.reshape(count, math.prod(lead), -1)
    lines, columns = parts.new_empty(parts.shape[:2]), parts.new_empty(count, parts.shape[2])
    sums, totals = columns.new_empty(columns.shape, dtype=torch.float64), torch.empty_like(lines)
    step = items_within(_CHUNK, x)
    # One piece of memory for all chunks: fresh memory costs more than the work in it.
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
    """Return the first and the last index that is True, of (B, N)."""
    return content.argmax(-1), content.shape[-1] - 1 - content[:, ::-1].argmax(-1)


def _decided(x: Tensor, threshold: float) -> tuple[Decision, _Boxes]:
    """Decide where the content of x, (B, N_1, ..., N_d), lies, how it is oriented, and which number multiplies it."""
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
        low = low_frequencies(x[torch.from_numpy(near)], box, d, 0)
        flipped[near] = flip_decision(flip_scores(low, d)).numpy()
    scalar = np.where(flipped, unit, unit.conj()).astype(x[:0].numpy().dtype)
    target = centered(length, np.array(event))
    shift = placement(lo, length, target, flipped)
    return Decision(*map(torch.from_numpy, (flipped, shift, scalar, certain))), _Boxes(lo, length, target, bare)


def decide(items: Tensor, threshold: float, out: Tensor | None) -> Decision:
    """Decide the element of every item, (B, *event), and move all items by it into ``out`` unless it is None."""
    decision, boxes = _decided(items, threshold)
    if out is None:
        return decision
    if _boxes_alone(items, boxes):
        _move_boxes(items, decision, boxes, out)
    else:
        d = items.dim() - 1
        torch.mul(move(Motion(decision.flipped, decision.shift), items, d, 0), per_item(decision.scalar, d), out=out)
    return decision


def _boxes_alone(x: Tensor, boxes: _Boxes) -> bool:
    """Return whether moving boxes moves all of x, (B, *event), and is less work than moving everything."""
    if not bool(boxes.bare.all()):
        return False
    size = math.prod(x.shape[1:])
    share = boxes.length.prod(-1).mean() / size
    return size * x.element_size() >= _LEAST_BYTES and bool(share <= _MOST_OF_ITEM)


def _move_boxes(x: Tensor, decision: Decision, boxes: _Boxes, out: Tensor) -> None:
    """Move the boxes of x, (B, *event), as decided, into ``out``, which becomes zero elsewhere."""
    out.zero_()
    lo, length, target, _ = boxes
    reverse = (slice(None, None, -1),) * lo.shape[1]
    ends = [end.tolist() for end in (lo, lo + length, target, target + length)]
    with np.errstate(all="ignore"):
        for source, goal, flipped, scalar, *(first, last, to, end) in zip(
            x.numpy(), out.numpy(), decision.flipped.tolist(), decision.scalar.numpy(), *ends, strict=True
        ):
            box, place = source[tuple(map(slice, first, last))], goal[tuple(map(slice, to, end))]
            if flipped:
                box = np.conjugate(box[reverse], out=place)
            np.multiply(box, scalar, out=place)
