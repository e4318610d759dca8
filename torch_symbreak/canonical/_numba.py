"""The far-field canonicalizer on a CPU in one loop over the items, compiled by Numba: an optional dependency.

Every item is read, decided and moved while it is in the cache, as in ``_cpu``: from the largest part and the sum of all
lines along one axis, in double precision. If the first flip score may be a tie, the scores along the other axes decide.
Any remaining doubt makes an item not ``certain``: a line near the threshold, a phase near a tie, an object that is its
own twin, or values that are not finite.
"""

# The arguments of compiled functions are arrays and numbers.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import cmath
import collections
import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from numba import njit
from torch import Tensor

from torch_symbreak._items import TIE, items_within
from torch_symbreak.canonical.rule import CLEAR, SLACK, SMALLEST, UNDERFLOW, Decision

#: Whether the loops are compiled: under ``NUMBA_DISABLE_JIT=1`` they would run in Python.
COMPILES: bool = not getattr(numba.config, "DISABLE_JIT", False)
#: The loop divides any batch by itself.
PIECE = None
#: Bytes of items that a thread takes at once: to wake one takes some 50 microseconds.
_AT_ONCE = 2**20
#: By how much, relative, the reference's sums may differ.
_OPEN = 1e-5
#: Sums may be taken in any order, by which they fit into vectors; values that are not finite stay what they are.
_ANY_ORDER = {"reassoc", "nsz"}

_pool = functools.cache(ThreadPoolExecutor)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not live on in a child


@njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def _read(parts, bits, mask, line_most, column_most, column_sum):
    """Read an item, (lines, parts of a line): the largest magnitude of every line and column, and the columns' sums.

    ``bits`` are those of ``parts``: without their sign they are in the order of the magnitudes, NaN the largest.
    Returns the sum of all magnitudes.
    """
    column_most[:], column_sum[:], total = 0, 0, 0.0
    for i in range(parts.shape[0]):
        line, line_bits, most = parts[i], bits[i], mask & 0
        for j in range(parts.shape[1]):
            magnitude, value = line_bits[j] & mask, np.float64(line[j])
            most, column_most[j] = max(most, magnitude), max(column_most[j], magnitude)
            column_sum[j] += value
            total += abs(value)
        line_most[i] = most
    return total


@njit(nogil=True, cache=True)
def _advance(index, lo, hi):
    """Go to the next line of the box [lo, hi]: ``index`` is its place along all axes but the last."""
    for axis in range(len(index) - 1, -1, -1):
        index[axis] += 1
        if index[axis] <= hi[axis]:
            return
        index[axis] = lo[axis]


@njit(nogil=True, cache=True)
def _fold(line_most, column_most, event, profile):
    """Fold to the largest magnitude at every index of every axis, one axis after the other, of lines and columns."""
    index, first, last = np.zeros(len(event) - 1, np.int64), np.zeros_like(event), event - 1
    profile[:] = 0
    for most in line_most:
        begin = 0
        for axis in range(len(index)):
            at = begin + index[axis]
            profile[at], begin = max(profile[at], most), begin + event[axis]
        _advance(index, first, last)
    profile[len(profile) - len(column_most) :] = column_most


@njit(nogil=True, cache=True)
def _box(profile, event, floor, lo, hi):
    """Find the first and the last index of every axis that exceed ``floor``; return whether they were that before."""
    begin, same = 0, True
    for axis in range(len(event)):
        first, last = 0, event[axis] - 1
        while first < last and not profile[begin + first] > floor:
            first += 1
        while last > first and not profile[begin + last] > floor:
            last -= 1
        same &= lo[axis] == first and hi[axis] == last
        lo[axis], hi[axis], begin = first, last, begin + event[axis]
    return same


@njit(nogil=True, cache=True)
def _fill(turns, lo, hi):
    """Fill in ``exp(-2 pi i k (n - c))`` along an axis, k = 1 / (2 L); 0 as in ``flip_scores``."""
    size, angle = len(turns), -math.pi / 2 / (hi - lo + 1)
    twice = (size - lo - hi) % (2 * size) - size  # 2 (n - c), modulo 2 N into [-N, N)
    step, turn = cmath.exp(2j * angle), cmath.exp(1j * angle * twice)
    for n in range(size):
        turns[n] = turn if twice != -size else 0
        twice, turn = twice + 2, turn * step
        if twice >= size:
            twice -= 2 * size
            turn = cmath.exp(1j * angle * twice)


@njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def _axis_score(x, event, axis, turns):
    """Return ``Im(F(k) conj F(0))`` of an item, (lines, N_d), k on one axis."""
    index, first, last = np.zeros(len(event) - 1, np.int64), np.zeros_like(event), event - 1
    coefficient, dc = 0j, 0j
    for line in x:
        part, whole = 0j, 0j
        if axis == len(index):
            for n in range(len(line)):
                part += line[n] * turns[n]
                whole += line[n]
        else:
            for n in range(len(line)):
                whole += line[n]
            part = whole * turns[index[axis]]
        coefficient += part
        dc += whole
        _advance(index, first, last)
    return (coefficient * dc.conjugate()).imag


@njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def _magnitude(parts, width):
    """Return the sum of the magnitudes of an item, (lines, parts of a line)."""
    total = 0.0
    for line in parts:
        for n in range(0, len(line), width):
            re, im = np.float64(line[n]), np.float64(line[n + width - 1])
            total += math.sqrt(re * re + im * im) if width == 2 else abs(re)
    return total


@njit(nogil=True, cache=True)
def _first_score(x, least, event, turns, lo, hi):
    """Return the first flip score along the axes that exceeds ``least``: see ``flip_scores``.

    Return NaN if no score exceeds it, or if rounding could decide. The reference then computes the others. x is an item
    scaled as in ``flip_scores``, rounded alike.
    """
    for axis in range(len(event) - 1, -1, -1):
        along = turns[: event[axis]]
        _fill(along, lo[axis], hi[axis])
        score = _axis_score(x, event, axis, along)
        if abs(score) > least * (1 + _OPEN):
            return score
        if abs(score) > least * (1 - _OPEN):
            break
    return math.nan


@njit(nogil=True, cache=True)
def _turn(source, goal, flipped, scalar):
    """Write ``u k(x)`` of consecutive entries, in reverse if flipped."""
    if flipped:
        source = source[::-1]
        for n in range(len(source)):
            goal[n] = scalar * np.conj(source[n])
    else:
        for n in range(len(source)):
            goal[n] = scalar * source[n]


@njit(nogil=True, cache=True)
def _move(x, out, event, flipped, shift, scalar, lo, hi):
    """Write ``(g . x)(n) = u k(x(s (n - t)))`` of an item, (lines, N_d), which is zero outside [lo, hi]."""
    d, size = len(event), x.shape[1]
    first, length = lo[d - 1], hi[d - 1] - lo[d - 1] + 1
    start = (shift[d - 1] - hi[d - 1] if flipped else shift[d - 1] + first) % size
    ahead = min(length, size - start)  # the rest comes out at the front
    index, lines = np.empty(d - 1, np.int64), 1
    for axis in range(d - 1):
        lines *= hi[axis] - lo[axis] + 1
    if lines * length < x.size:
        for line in out:
            for n in range(size):
                line[n] = 0
    rest = length - ahead
    runs = (first + rest if flipped else first, start, ahead), (first if flipped else first + ahead, 0, rest)
    for begin, to, count in runs:
        if count == 0:
            continue
        index[:] = lo[: d - 1]
        for _ in range(lines):
            source, goal = 0, 0
            for axis in range(d - 1):
                n, here = index[axis], event[axis]
                moved = shift[axis] - n if flipped else shift[axis] + n
                moved += here if moved < 0 else (-here if moved >= here else 0)
                source, goal = source * here + n, goal * here + moved
            _turn(x[source, begin : begin + count], out[goal, to : to + count], flipped, scalar)
            _advance(index, lo, hi)


@njit(nogil=True, cache=True)
def _canonicalize(
    first, last, x, parts, bits, mask, out, event, limits, threshold, flipped, shift, scalar, scalar_parts, certain
):
    """Decide items of x, (B, lines, N_d), and move those that are certain into ``out``, unless that is empty."""
    lines, size = x.shape[1:]
    width = parts.shape[2] // size  # 2 parts of complex entries, 1 of real ones
    d = len(event)
    line_bits, column_bits = np.empty(lines, bits.dtype), np.empty(size * width, bits.dtype)
    line_most, column_parts = line_bits.view(parts.dtype), column_bits.view(parts.dtype)
    column_sum, column_most = np.empty(size * width, np.float64), np.empty(size, parts.dtype)
    sums, profile = np.empty(size, np.complex128), np.empty(event.sum(), parts.dtype)
    turns = np.empty(event.max(), np.complex128)
    tie, clearly, slack, smallest, underflow = limits
    lo, hi = np.empty(d, np.int64), np.empty(d, np.int64)
    # The largest magnitude of a line whose largest part is m is in [m, ratio m], and so is the item's.
    ratio = math.sqrt(width) * (1 + slack)
    for item in range(first, last):
        total = _read(parts[item], bits[item], mask, line_bits, column_bits, column_sum)
        dc, peak = 0j, 0.0
        for n in range(size):
            column_most[n] = max(column_parts[n * width], column_parts[n * width + width - 1])
            sums[n] = column_sum[n * width] + (1j * column_sum[n * width + 1] if width == 2 else 0)
            peak = max(peak, np.float64(column_most[n]))
            dc += sums[n]
        certain[item] = ratio * threshold < 1 and smallest < total < 1 / smallest and abs(dc) > clearly * total
        if not certain[item]:  # also what is zero or not finite
            continue
        _fold(line_most, column_most, event, profile)
        _box(profile, event, max(threshold * ratio, underflow) * peak, lo, hi)
        certain[item] = _box(profile, event, threshold / ratio * peak, lo, hi)
        if not certain[item]:
            continue
        # s = Im(F(k) conj F(0)), k = 1 / (2 L) on the last axis.
        score, along = 0.0, turns[:size]
        _fill(along, lo[d - 1], hi[d - 1])
        for n in range(size):
            score += (along[n] * sums[n] * dc.conjugate()).imag
        if not abs(score) > clearly * total**2:
            scaled = parts[item] / parts.dtype.type(peak)
            least = tie * _magnitude(scaled, width) ** 2
            score = _first_score(scaled.view(x.dtype), least, event, turns, lo, hi)
            certain[item] = not math.isnan(score)
        flipped[item] = score < 0
        unit = dc / abs(dc)
        scalar_parts[item, 0] = unit.real
        if width == 2:
            scalar_parts[item, 1] = unit.imag if flipped[item] else -unit.imag
        for axis in range(d):
            target = (event[axis] - (hi[axis] - lo[axis] + 1)) // 2
            shift[item, axis] = target + hi[axis] if flipped[item] else target - lo[axis]
        if certain[item] and len(out):
            if not _box(profile, event, 0.0, lo, hi):
                lo[:], hi[:] = 0, event - 1  # all of it is to be moved, around the frame where need be
            _move(x[item], out[item], event, flipped[item], shift[item], scalar[item], lo, hi)


#: As an argument: Numba's cache would not see that a constant of another file has changed.
_LIMITS = TIE, CLEAR, SLACK, SMALLEST, UNDERFLOW


def decide(items: Tensor, threshold: float, out: Tensor | None) -> Decision:
    """Decide the element of every item, (B, *event), and move those that are certain into ``out`` unless it is None.

    Ignore the element of an item that is not certain.
    """
    count, size = len(items), items.shape[-1]
    flipped, certain = items.new_empty(count, dtype=torch.bool), items.new_empty(count, dtype=torch.bool)
    shift, scalar = items.new_empty(count, items.dim() - 1, dtype=torch.int64), items.new_empty(count)
    lines = items.numpy().reshape(count, -1, size)
    moved = lines[:0] if out is None else out.numpy().reshape(lines.shape)
    parts = lines.view(lines.real.dtype)
    bits = parts.view(f"i{parts.itemsize}")
    scalars = scalar.numpy()
    arguments = (
        lines, parts, bits, bits.dtype.type(np.iinfo(bits.dtype).max), moved,
        np.array(items.shape[1:]), _LIMITS, float(threshold),
        flipped.numpy(), shift.numpy(), scalars, scalars[:, None].view(parts.dtype), certain.numpy(),
    )  # fmt: skip
    step = items_within(_AT_ONCE, items)
    todo = iter(range(0, count, step))

    def work() -> None:
        for first in todo:  # what another thread has not taken
            _canonicalize(first, min(first + step, count), *arguments)

    others = min(torch.get_num_threads(), -(-count // step)) - 1
    try:
        helpers = [_pool(others).submit(work) for _ in range(others)]
    except RuntimeError:  # the interpreter is about to end
        helpers = []
    try:
        work()
    finally:
        collections.deque(todo, maxlen=0)  # nothing is left for the others after an interrupt
    for helper in helpers:
        if not helper.cancel():  # it may not have come to anything: torch's own threads are busy for a while after work
            helper.result()
    return Decision(flipped, shift, scalar, certain)
