"""Low Fourier frequencies of items about a center: they decide where the sum of the entries cannot.

Let z be the sum of an item over its channels, c the center of a box, and L its lengths. Orders k are in units of
1 / (2 L) per axis: ``F(k) = sum_n z(n) exp(-2 pi i k . (n - c))``. A translation that takes the box along keeps F(k), a
number that multiplies the item multiplies F(k), and a conjugate flip of the box onto itself conjugates F(k).

So does a *sweep* through all frequencies, ``S = sum_n z(n) exp(-i sum_a r_a t_a |t_a| / L_a)`` with t = n - c. It also
sees items that have no low frequency. The rates are 3 on the last axis and lower on those before. A multiple of pi, or
one rate for all axes, would make the sweep of some symmetric items zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import Box, box_ends
from torch_symbreak._items import divided, flat_items, peak, per_item, power, wide

#: The sweep's place on an axis, where an order k has place k.
SWEEP = 3
#: A low frequency below this share of the sum of magnitudes leaves the decision to the next.
WEAK = 1e-3


class LowFrequencies(NamedTuple):
    """F(k) of every item, k in {-2, ..., 2}^d, and the sweep, to the item's own scale."""

    values: Tensor  # (*batch, 6^d), complex: on every axis the orders -2 to 2, then the sweep
    total: Tensor  # (*batch,), the sum of the magnitudes of the item's entries: no |F(k)| exceeds it


def half_cube(d: int, most: int) -> list[tuple[int, ...]]:
    """List the k in {-most, ..., most}^d but 0 up to sign, in lexicographic order."""
    cube: list[tuple[int, ...]] = [()]  # itertools.product, as torch.compile of 2.6 understands it
    for _ in range(d):
        cube = [(*k, step) for k in cube for step in range(-most, most + 1)]
    return cube[len(cube) // 2 + 1 :]


def sweep_rate(axis: int) -> float:
    """Return the sweep's rate on an axis, counted from the last, which is 0."""
    return 3 / (1 + axis / 7)


def fallbacks(low: LowFrequencies, d: int) -> Tensor:
    """Return the numbers that may decide where the sum is a tie, in this order, (*batch, K).

    They are F(k) for all k but 0 up to sign, by rising |k| and then in lexicographic order, and last the sweep.
    """
    half = half_cube(d, 2)
    squares = [sum([step * step for step in k]) for k in half]
    rising = [k for square in range(1, 4 * d + 1) for k, at in zip(half, squares, strict=True) if at == square]
    return coefficients(low, [*rising, (SWEEP,) * d])


def coefficients(low: LowFrequencies, wanted: list[tuple[int, ...]]) -> Tensor:
    """Return F(k) for the orders wanted, (*batch, K)."""
    columns = low.values.unbind(-1)
    places = []
    for k in wanted:
        place = 0
        for step in k:
            place = 6 * place + step + 2
        places.append(place)
    return torch.stack([columns[place] for place in places], -1)


def low_frequencies(x: Tensor, box: Box, event_dims: int, channel_dims: int) -> LowFrequencies:
    """Return the low frequencies of every item of x, (*batch, *channels, *event), about the center of its box."""
    item_dims = event_dims + channel_dims
    z = divided(x, per_item(peak(x.detach(), item_dims=item_dims), item_dims))
    total = flat_items(power(z.detach()).sqrt(), item_dims).sum(-1, dtype=wide(z.real))
    if channel_dims:
        z = z.sum(tuple(range(-item_dims, -event_dims)))
    cube = z.to(torch.promote_types(total.dtype, torch.complex64))
    steps, ends = torch.arange(-2, 4, device=x.device), box_ends(box)
    for axis in range(event_dims):
        # Contract one axis with all six columns; the next axis is then the first of those not yet contracted.
        size = z.shape[z.dim() - event_dims + axis]
        twice = 2 * torch.arange(size, device=x.device) - ends[..., axis, None] + size
        twice = twice % (2 * size) - size  # 2 (n - c), modulo 2 N into [-N, N): exact
        length = box.length[..., axis, None].to(total.dtype)
        # In double precision: a float times an int tensor would be in single.
        angle = (-math.pi * twice.to(total.dtype) / (2 * length))[..., None] * steps[:-1]
        sweep = -sweep_rate(event_dims - 1 - axis) / 4 * (twice * twice.abs()).to(total.dtype) / length
        angle = torch.cat([angle, sweep[..., None]], -1)  # (*batch, N, 6)
        weight = torch.polar(torch.ones_like(angle), angle)
        # -N/2 is its own mirror image, so its weight would have to be real: leave the entry out.
        weight = torch.where(((twice == -size)[..., None]) & (steps != 0), 0, weight)
        flat = cube.reshape(*total.shape, size, math.prod(cube.shape[total.dim() :]) // size)
        cube = (flat.transpose(-1, -2) @ weight).flatten(-2)
    return LowFrequencies(cube.reshape(*total.shape, 6**event_dims), total)
