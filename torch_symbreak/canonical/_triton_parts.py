"""Low frequencies of an item near a tie, one at a time, for the kernels of ``_triton``."""

# The arguments of kernels are pointers and numbers.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import triton
import triton.language as tl

from torch_symbreak._frequencies import SWEEP, sweep_rate

_QUARTER = tl.constexpr(math.pi / 2)  # of a turn
SWEPT = tl.constexpr(SWEEP)
RATE0, RATE1, RATE2 = (tl.constexpr(sweep_rate(axis) / 4) for axis in (2, 1, 0))


@triton.jit
def load(x, at, mask, COMPLEX: tl.constexpr):
    """Load real and imaginary parts of the entries ``at``, 0 where masked."""
    if COMPLEX:
        parts = tl.load(x + 2 * tl.expand_dims(at, -1) + tl.arange(0, 2), tl.expand_dims(mask, -1), other=0.0)
        re, im = tl.split(parts)
    else:
        re = tl.load(x + at, mask, other=0.0)
        im = tl.zeros_like(re)
    return re, im


@triton.jit
def turns(at, n, ends, length, k, rate):
    """Return the angle of ``exp(-2 pi i k (n - c) / (2 L))`` or of the sweep, and whether the entry counts.

    See ``low_frequencies``.
    """
    twice = 2 * at - ends + n
    twice = (twice + 2 * n) % (2 * n) - n  # 2 (n - c), modulo 2 N into [-N, N)
    wide = twice.to(tl.float64)
    angle = tl.where(k == SWEPT, wide * tl.abs(wide) * -rate, (twice * k).to(tl.float64) * -_QUARTER)
    return angle / length, (twice != -n) | (k == 0)


@triton.jit
def coefficients(
    x, k0, k1, k2, ends0, ends1, ends2, length0, length1, length2, n0, n1, n2,
    COMPLEX: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Return ``F(k)`` and ``F(2 k)`` of an item."""
    f_re = tl.zeros((CHUNK,), tl.float64)
    f_im, g_re, g_im = f_re, f_re, f_re
    for first in range(0, n0 * n1 * n2, CHUNK):
        at = first + tl.arange(0, CHUNK)
        mask = at < n0 * n1 * n2
        re, im = load(x, at, mask, COMPLEX)
        re, im = re.to(tl.float64), im.to(tl.float64)
        angle0, counts0 = turns(at // n2 // n1, n0, ends0, length0, k0, RATE0)
        angle1, counts1 = turns(at // n2 % n1, n1, ends1, length1, k1, RATE1)
        angle2, counts2 = turns(at % n2, n2, ends2, length2, k2, RATE2)
        angle = angle0 + angle1 + angle2
        counts = counts0 & counts1 & counts2
        re, im = tl.where(counts, re, 0.0), tl.where(counts, im, 0.0)
        cos, sin = tl.math.cos(angle), tl.math.sin(angle)
        f_re += re * cos - im * sin
        f_im += re * sin + im * cos
        cos, sin = cos * cos - sin * sin, 2 * sin * cos
        g_re += re * cos - im * sin
        g_im += re * sin + im * cos
    return tl.sum(f_re, 0), tl.sum(f_im, 0), tl.sum(g_re, 0), tl.sum(g_im, 0)


@triton.jit
def unit(re, im, flipped, least, COMPLEX: tl.constexpr):
    """Return ``F / |F|`` before a flip, or of real items the sign of ``Re F`` or else of ``Im F`` after it.

    And return whether that is no tie.
    """
    if COMPLEX:
        size = tl.sqrt(re * re + im * im)
        by = tl.where(size > 0, size, 1.0)
        return re / by, im / by, size > least
    decides = tl.where(tl.abs(re) > least, re, tl.where(flipped, -im, im))
    return tl.where(decides < 0, -1.0, 1.0).to(tl.float64), re * 0, tl.abs(decides) > least


@triton.jit
def magnitude(x, size, COMPLEX: tl.constexpr, CHUNK: tl.constexpr):
    """Return the sum of the magnitudes of an item."""
    total = tl.zeros((CHUNK,), tl.float64)
    for first in range(0, size, CHUNK):
        at = first + tl.arange(0, CHUNK)
        re, im = load(x, at, at < size, COMPLEX)
        re, im = re.to(tl.float64), im.to(tl.float64)
        total += tl.sqrt(re * re + im * im)
    return tl.sum(total, 0)
