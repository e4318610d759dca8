"""The far-field canonicalizer on a GPU, in kernels of Triton: no Fourier transform, no wait for the device.

Three steps, in double precision where they decide. *Read* the values once, for the largest power of every line and the
sums over all axes but the last. *Decide* the element of every item from these. *Move* all values as decided. Items that
fit into the cache take all three steps in one kernel, which reads and writes memory once. Larger ones are divided among
programs. Items are decided as by the reference: if the first flip score or the sum is near a tie, the program reads its
item again for the other frequencies, one after the other.

An event of d <= 3 axes is (n0, n1, n2), the missing ones of size 1; a line is what the last axis runs along.
"""

# The arguments of kernels are pointers and numbers.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
import os
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torch_symbreak._frequencies import WEAK
from torch_symbreak._items import TIE
from torch_symbreak.canonical._triton_parts import RATE2, SWEPT, coefficients, load, magnitude, turns, unit
from torch_symbreak.canonical.rule import CLEAR, Decision

_TIE = tl.constexpr(TIE)
_WEAK = tl.constexpr(WEAK)
#: Scores above this share of the sum of |re| + |im| are no ties, because that is at least the sum of magnitudes.
_CLEAR = tl.constexpr(CLEAR)
#: Squares below this share of the largest are zero to the reference, in single precision.
_UNDERFLOW = tl.constexpr(2.0**-150)


class Tiles(NamedTuple):
    """Lines and columns that a program treats at once."""

    entries: int  # at once
    warps: int
    stages: int  # of loads under way, while reading


#: Whether kernels run in Triton's interpreter, on a CPU too.
INTERPRETED: bool = triton.knobs.runtime.interpret if hasattr(triton, "knobs") else bool(os.getenv("TRITON_INTERPRET"))
#: Bytes of items that are decided and moved together.
PIECE = 2**28
#: A small batch of small items takes all steps in one kernel, because launching three costs more. Bytes of both.
SMALL, WHOLE = 2**24, 2**18
TOGETHER = Tiles(1024, 8, 3)
#: Larger batches take a kernel per step. A warp with lines of its own waits for no other.
APART = Tiles(256, 1, 3)
#: Items are divided until there are so many programs, into at most so many blocks of lines: one program adds them up.
PROGRAMS, BLOCKS = 2048, 32
#: Lines and columns that a program that decides treats at once.
CHUNK, CHUNK_WARPS = 128, 4
#: One compiled kernel for all sizes that have the same tiles.
_SIZES = ("n0", "n1", "n2", "lines", "lines_each", "blocks", "besides")


@triton.jit
def _scratch(scratch, item, lines, n2, blocks, besides):
    """Point to an item's largest powers of lines and columns, its columns' sums, and its sum of |parts|.

    Shapes: (column blocks, lines), then three times (line blocks, n2), then (line blocks, column blocks).
    """
    line_power = scratch + item * (besides * lines + blocks * (3 * n2 + besides))
    column_power = line_power + besides * lines
    column_re = column_power + blocks * n2
    column_im = column_re + blocks * n2
    return line_power, column_power, column_re, column_im, column_im + blocks * n2


@triton.jit(do_not_specialize=_SIZES)
def _read(
    x, scratch, lines, n2, lines_each,
    COMPLEX: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write for a block of lines and columns the numbers that :func:`_scratch` lists."""
    item = tl.program_id(0).to(tl.int64)
    block, beside = tl.program_id(1), tl.program_id(2)
    blocks, besides = tl.num_programs(1), tl.num_programs(2)
    x += item * lines * n2 * (2 if COMPLEX else 1)
    line_power, column_power, column_re, column_im, parts = _scratch(scratch, item, lines, n2, blocks, besides)
    column = beside * COLUMNS + tl.arange(0, COLUMNS)
    power = tl.zeros((TILE, COLUMNS), tl.float64)
    sum_re, sum_im, sum_parts = power, power, power
    for first in tl.range(block * lines_each, tl.minimum((block + 1) * lines_each, lines), TILE, num_stages=STAGES):
        line = first + tl.arange(0, TILE)
        mask = (line < lines)[:, None] & (column < n2)[None, :]
        re, im = load(x, line[:, None] * n2 + column[None, :], mask, COMPLEX)
        re, im = re.to(tl.float64), im.to(tl.float64)
        here = re * re + im * im
        tl.store(line_power + beside * lines + line, tl.max(here, 1), line < lines)
        power = tl.maximum(power, here)
        sum_re += re
        sum_im += im
        sum_parts += tl.abs(re) + tl.abs(im)
    at = block * n2 + column
    tl.store(column_power + at, tl.max(power, 0), column < n2)
    tl.store(column_re + at, tl.sum(sum_re, 0), column < n2)
    tl.store(column_im + at, tl.sum(sum_im, 0), column < n2)
    tl.store(parts + block * besides + beside, tl.sum(tl.sum(sum_parts, 1), 0))


@triton.jit
def _column(x, column_power, column_re, column_im, column, blocks, n2, COMPLEX: tl.constexpr, LINE: tl.constexpr):
    """Return the largest power and the sum of the item's columns, read before; items of one line are read here."""
    mask = column < n2
    if LINE:
        re, im = load(x, column, mask, COMPLEX)
        re, im = re.to(tl.float64), im.to(tl.float64)
        power = re * re + im * im
    else:
        power = tl.zeros_like(column).to(tl.float64)
        re, im = power, power
        for block in range(blocks):
            at = block * n2 + column
            power = tl.maximum(power, tl.load(column_power + at, mask, other=0.0))
            re += tl.load(column_re + at, mask, other=0.0)
            im += tl.load(column_im + at, mask, other=0.0)
    return power, re, im


@triton.jit(do_not_specialize=_SIZES)
def _decide(
    x, scratch, flipped_, shift, scalar, box, blocks, besides, n0, n1, n2, threshold,
    COMPLEX: tl.constexpr, D: tl.constexpr, LINE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Decide the element of every item, the identity for one that is zero or not finite, and where the item lies.

    ``box``, (B, 6), is the first and last index of each axis outside which all entries are zero.
    """
    item = tl.program_id(0).to(tl.int64)
    lines = n0 * n1
    x += item * lines * n2 * (2 if COMPLEX else 1)
    line_power, column_power, column_re, column_im, parts = _scratch(scratch, item, lines, n2, blocks, besides)
    chunk = tl.arange(0, CHUNK)

    most = tl.zeros((CHUNK,), tl.float64)
    sum_re, sum_im, sum_parts = most, most, most
    for first in range(0, n2, CHUNK):
        power, re, im = _column(x, column_power, column_re, column_im, first + chunk, blocks, n2, COMPLEX, LINE)
        most = tl.maximum(most, power)
        sum_re += re
        sum_im += im
        if LINE:
            sum_parts += tl.abs(re) + tl.abs(im)
    if not LINE:
        for first in range(0, blocks * besides, CHUNK):
            at = first + chunk
            sum_parts += tl.load(parts + at, at < blocks * besides, other=0.0)
    peak, most_parts = tl.max(most, 0), tl.sum(sum_parts, 0)
    dc_re, dc_im = tl.sum(sum_re, 0), tl.sum(sum_im, 0)

    # The box: first and last index of a line that exceeds the threshold, of each axis.
    floor = tl.maximum(peak * threshold, peak * _UNDERFLOW)
    lo0, lo1, lo2 = tl.zeros_like(chunk) + n0, tl.zeros_like(chunk) + n1, tl.zeros_like(chunk) + n2
    hi0, hi1, hi2 = tl.zeros_like(chunk) - 1, tl.zeros_like(chunk) - 1, tl.zeros_like(chunk) - 1
    faint = tl.zeros_like(chunk)  # whether there are lines that are not content, but not zero either
    if LINE:
        lo0, lo1 = tl.zeros_like(chunk), tl.zeros_like(chunk)
        hi0, hi1 = lo0, lo1
    else:
        for first in range(0, lines, CHUNK):
            at = first + chunk
            power = most * 0
            for beside in range(besides):
                from_here = line_power + beside * lines + at
                power = tl.maximum(power, tl.load(from_here, at < lines, other=0.0))
            content, i0, i1 = power > floor, at // n1, at % n1
            faint = tl.where((power > 0) & ~content, 1, faint)
            lo0, hi0 = tl.where(content, tl.minimum(lo0, i0), lo0), tl.where(content, tl.maximum(hi0, i0), hi0)
            lo1, hi1 = tl.where(content, tl.minimum(lo1, i1), lo1), tl.where(content, tl.maximum(hi1, i1), hi1)
    for first in range(0, n2, CHUNK):
        at = first + chunk
        power, re, im = _column(x, column_power, column_re, column_im, at, blocks, n2, COMPLEX, LINE)
        content = power > floor
        faint = tl.where((power > 0) & ~content, 1, faint)
        lo2, hi2 = tl.where(content, tl.minimum(lo2, at), lo2), tl.where(content, tl.maximum(hi2, at), hi2)
    first0, first1, first2 = tl.min(lo0, 0), tl.min(lo1, 0), tl.min(lo2, 0)
    last0, last1, last2 = tl.max(hi0, 0), tl.max(hi1, 0), tl.max(hi2, 0)
    ends0, ends1, ends2 = first0 + last0, first1 + last1, first2 + last2
    length0, length1, length2 = last0 - first0 + 1, last1 - first1 + 1, last2 - first2 + 1

    # s = Im(F(k) conj F(0)), k = 1 / (2 L) on the last axis.
    terms = most * 0
    for first in range(0, n2, CHUNK):
        at = first + chunk
        power, re, im = _column(x, column_power, column_re, column_im, at, blocks, n2, COMPLEX, LINE)
        angle, counts = turns(at, n2, ends2, length2, 1, RATE2)
        cos, sin = tl.math.cos(angle), tl.math.sin(angle)
        term = (re * sin + im * cos) * dc_re - (re * cos - im * sin) * dc_im
        terms += tl.where(counts, term, 0.0)
    score = tl.sum(terms, 0)

    size = tl.sqrt(dc_re * dc_re + dc_im * dc_im)
    u_re, u_im = dc_re / size, dc_im / size  # conj of the item's factor, before a flip
    some = (most_parts > 0) & (most_parts < float("inf"))
    clear = (size > most_parts * _CLEAR) & (tl.abs(score) > most_parts * most_parts * _CLEAR)
    if some & ~clear:
        total = magnitude(x, lines * n2, COMPLEX, CHUNK)
        least = total * total * _TIE
        # k in {-1, 0, 1}^d up to sign: axes from last to first, diagonals in lexicographic order, then without DC: all
        # that can decide where the sum is a tie.
        for without_dc in range((size <= total * _TIE).to(tl.int32), 2):
            for diagonal in range(2):
                for code in range(15 - without_dc, 15 if D == 1 else (18 if D == 2 else 27)):
                    k0, k1, k2 = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
                    in_turn = (k0 * k0 + k1 * k1 + k2 * k2 > 1) == (diagonal == 1)
                    if (tl.abs(score) <= least) & in_turn:
                        f_re, f_im, g_re, g_im = coefficients(
                            x, k0, k1, k2, ends0, ends1, ends2, length0, length1, length2, n0, n1, n2, COMPLEX, CHUNK
                        )
                        score = tl.where(without_dc == 1, g_im * f_re - g_re * f_im, f_im * dc_re - f_re * dc_im)
        score = tl.where(tl.abs(score) > least, score, 0.0)
        if size <= total * _TIE:
            # k in {-2, ..., 2}^d up to sign, by rising |k| and then in lexicographic order, and last the sweep.
            decided = size > total
            for square in range(1, 4 * D + 1):
                for code in range(63, 65 if D == 1 else (75 if D == 2 else 125)):
                    k0, k1, k2 = code // 25 - 2, code // 5 % 5 - 2, code % 5 - 2
                    if ~decided & (k0 * k0 + k1 * k1 + k2 * k2 == square):
                        f_re, f_im, g_re, g_im = coefficients(
                            x, k0, k1, k2, ends0, ends1, ends2, length0, length1, length2, n0, n1, n2, COMPLEX, CHUNK
                        )
                        u_re, u_im, decided = unit(f_re, f_im, score < 0, total * _WEAK, COMPLEX)
            if ~decided:
                f_re, f_im, g_re, g_im = coefficients(
                    x, SWEPT, SWEPT, SWEPT, ends0, ends1, ends2, length0, length1, length2, n0, n1, n2,
                    COMPLEX, CHUNK,
                )  # fmt: skip
                u_re, u_im, decided = unit(f_re, f_im, score < 0, total * _TIE, COMPLEX)
                u_re, u_im = tl.where(decided, u_re, 1.0), tl.where(decided, u_im, 0.0)
    flipped = (score < 0) & some
    u_re, u_im = tl.where(some, u_re, 1.0), tl.where(some & ~flipped, -u_im, tl.where(some, u_im, 0.0))
    tl.store(flipped_ + item, flipped.to(tl.int8))
    if COMPLEX:
        tl.store(scalar + 2 * item, u_re.to(tl.float32))
        tl.store(scalar + 2 * item + 1, u_im.to(tl.float32))
    else:
        tl.store(scalar + item, u_re.to(tl.float32))
    # The box lands on [target, target + L): t = target - lo, or target + hi when flipped.
    t0 = (n0 - length0) // 2 + tl.where(flipped, last0, -first0)
    t1 = (n1 - length1) // 2 + tl.where(flipped, last1, -first1)
    t2 = (n2 - length2) // 2 + tl.where(flipped, last2, -first2)
    if D == 3:
        tl.store(shift + item * D, tl.where(some, t0, 0).to(tl.int64))
    if D >= 2:
        tl.store(shift + item * D + D - 2, tl.where(some, t1, 0).to(tl.int64))
    tl.store(shift + item * D + D - 1, tl.where(some, t2, 0).to(tl.int64))
    bare = some & (tl.max(faint, 0) == 0)
    box += item * 6
    tl.store(box, tl.where(bare, first0, 0))
    tl.store(box + 1, tl.where(bare, first1, 0))
    tl.store(box + 2, tl.where(bare, first2, 0))
    tl.store(box + 3, tl.where(bare, last0, n0 - 1))
    tl.store(box + 4, tl.where(bare, last1, n1 - 1))
    tl.store(box + 5, tl.where(bare, last2, n2 - 1))


@triton.jit
def _source(at, t, flipped, n):
    """Return the index from which the entry ``at`` of an axis comes."""
    return (tl.where(flipped, t - at, at - t) + 2 * n) % n


@triton.jit(do_not_specialize=_SIZES)
def _move(
    x, out, flipped_, shift, scalar, box, n0, n1, n2, lines_each,
    COMPLEX: tl.constexpr, D: tl.constexpr, TILE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write ``(g . x)(n) = u k(x(s (n - t)))`` for a block of lines and columns of every item."""
    item = tl.program_id(0).to(tl.int64)
    block, beside = tl.program_id(1), tl.program_id(2)
    lines = n0 * n1
    x += item * lines * n2 * (2 if COMPLEX else 1)
    out += item * lines * n2 * (2 if COMPLEX else 1)
    flipped = tl.load(flipped_ + item) != 0
    t2 = tl.load(shift + item * D + D - 1).to(tl.int32)
    t1 = tl.load(shift + item * D + D - 2).to(tl.int32) if D >= 2 else 0
    t0 = tl.load(shift + item * D).to(tl.int32) if D == 3 else 0
    u_re = tl.load(scalar + item * (2 if COMPLEX else 1))
    u_im = tl.load(scalar + item * 2 + 1) if COMPLEX else 0.0
    sign = tl.where(flipped, -1.0, 1.0)
    box += item * 6
    lo0, lo1, lo2 = tl.load(box), tl.load(box + 1), tl.load(box + 2)
    hi0, hi1, hi2 = tl.load(box + 3), tl.load(box + 4), tl.load(box + 5)
    column = beside * COLUMNS + tl.arange(0, COLUMNS)
    j2 = _source(column, t2, flipped, n2)
    column_inside = (j2 >= lo2) & (j2 <= hi2)
    for first in range(block * lines_each, tl.minimum((block + 1) * lines_each, lines), TILE):
        line = first + tl.arange(0, TILE)
        mask = (line < lines)[:, None] & (column < n2)[None, :]
        j0, j1 = _source(line // n1, t0, flipped, n0), _source(line % n1, t1, flipped, n1)
        inside = (j0 >= lo0) & (j0 <= hi0) & (j1 >= lo1) & (j1 <= hi1)
        come = (j0 * n1 + j1)[:, None] * n2 + j2[None, :]
        re, im = load(x, come, mask & inside[:, None] & column_inside[None, :], COMPLEX)
        at = line[:, None] * n2 + column[None, :]
        if COMPLEX:
            im *= sign
            moved = tl.join(re * u_re - im * u_im, re * u_im + im * u_re)
            tl.store(out + 2 * tl.expand_dims(at, -1) + tl.arange(0, 2), moved, tl.expand_dims(mask, -1))
        else:
            tl.store(out + at, re * u_re, mask)


@triton.jit(do_not_specialize=_SIZES)
def _all(
    x, out, scratch, flipped, shift, scalar, box, n0, n1, n2, threshold,
    COMPLEX: tl.constexpr, D: tl.constexpr, LINE: tl.constexpr,
    TILE: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Take all three steps, one program for every item."""
    if not LINE:
        _read(x, scratch, n0 * n1, n2, n0 * n1, COMPLEX, TILE, COLUMNS, STAGES)
        tl.debug_barrier()  # what some threads wrote others read
    _decide(x, scratch, flipped, shift, scalar, box, 1, 1, n0, n1, n2, threshold, COMPLEX, D, LINE, CHUNK)
    tl.debug_barrier()
    _move(x, out, flipped, shift, scalar, box, n0, n1, n2, n0 * n1, COMPLEX, D, TILE, COLUMNS)


def decide(items: Tensor, threshold: float, out: Tensor | None) -> Decision:
    """Decide the element of every item, (B, *event), and move all items by it into ``out`` unless it is None."""
    count, *event = items.shape
    d = len(event)
    n0, n1, n2 = [1] * (3 - d) + event
    lines, size = n0 * n1, items.element_size() * math.prod(event)
    line = lines == 1  # which is read as it is
    together = out is not None and size <= WHOLE and count * size <= SMALL and n2 <= TOGETHER.entries
    entries, warps, stages = TOGETHER if together else APART
    columns = min(_power(n2), entries)
    tile = min(_power(lines), entries // columns)
    besides = -(-n2 // columns)
    blocks = 1 if together else min(-(-PROGRAMS // (count * besides)), -(-lines // tile), BLOCKS)
    lines_each = -(-lines // (blocks * tile)) * tile
    blocks = -(-lines // lines_each)

    element = (
        items.new_empty(count, dtype=torch.bool),
        items.new_empty(count, d, dtype=torch.int64),
        items.new_empty(count),
    )
    each = 0 if line else besides * lines + blocks * (3 * n2 + besides)
    scratch = items.new_empty(count * each, dtype=torch.float64)
    x, box = _real(items), items.new_empty(count, 6, dtype=torch.int32)
    decided = element[0].view(torch.int8), element[1], _real(element[2]), box
    to = None if out is None else _real(out)
    sizes, floor, fixed = (n0, n1, n2), float(threshold**2), (items.is_complex(), d)
    with torch.cuda.device_of(items):  # Triton launches on the current device
        if together:
            _all[(count,)](
                x, to, scratch, *decided, *sizes, floor, *fixed, line, tile, columns, stages, CHUNK, num_warps=warps
            )  # fmt: skip
            return Decision(*element, None)
        grid = (count, blocks, besides)
        if not line:
            _read[grid](x, scratch, lines, n2, lines_each, items.is_complex(), tile, columns, stages, num_warps=warps)
        _decide[(count,)](
            x, scratch, *decided, blocks, besides, *sizes, floor, *fixed, line, CHUNK, num_warps=CHUNK_WARPS
        )  # fmt: skip
        if to is not None:
            _move[grid](x, to, *decided, *sizes, lines_each, *fixed, tile, columns, num_warps=warps)
    return Decision(*element, None)


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _power(n: int) -> int:
    """Return the least power of two that is not less."""
    return 1 << (n - 1).bit_length()
