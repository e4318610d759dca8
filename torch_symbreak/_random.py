"""Draw counter-based random numbers: the j-th number of item i is a function of (seed, i, j) alone.

A torch generator is a stream. To make item i alone, it must be seeded for every item, one by one, and on the CPU with
32 bits only. SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) makes a whole batch at once, on any device.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def _signed(value: int) -> int:
    """Return the int64 with the same 64 bits. Products of int64 wrap around in torch, as SplitMix64 needs."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _mix(z: Tensor) -> Tensor:
    for bits, factor in _MIX:
        z = (z ^ _logical_shift(z, bits)) * _signed(factor)
    return z ^ _logical_shift(z, 31)


def _logical_shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _keys(seed: int, index: Tensor) -> Tensor:
    """Return 64 bits per item, mixed twice so that neighboring seeds and indices share no stream."""
    start = _mix(torch.full_like(index, _signed(seed + _GAMMA)))
    return _mix(start + index * _signed(_GAMMA))


def item_seed(seed: int, index: int) -> int:
    """Return a seed in [0, 2^32) for one item's ``torch.Generator``, for draws that need a generator."""
    return int(_keys(seed, torch.tensor(index))) & (2**32 - 1)


def item_uniform(seed: int, index: Tensor, shape: Sequence[int], *, stream: int = 0) -> Tensor:
    """Draw U[0, 1) numbers for every item: index (B,) int64 to (B, *shape) float64, on the device of ``index``.

    Different ``stream`` numbers give independent draws for the same items.
    """
    count = math.prod(shape)
    keys = _mix(_keys(seed, index) ^ _signed((stream + 1) * _MIX[1][1]))
    steps = torch.arange(1, count + 1, device=index.device) * _signed(_GAMMA)
    bits = _mix(keys[:, None] + steps)
    return (_logical_shift(bits, 11).double() * 2.0**-53).reshape(len(index), *shape)


def item_normal(seed: int, index: Tensor, shape: Sequence[int], *, stream: int = 0) -> Tensor:
    """Draw N(0, 1) numbers for every item, (B, *shape) float64."""
    # Half a step off 0, so that the logarithm's tail stays finite on both sides.
    u = item_uniform(seed, index, shape, stream=stream) + 2.0**-54
    return torch.special.ndtri(u)


#: First stream of :class:`Counters`. Data sets draw their items from lower streams. If ``SquareRoots`` and its
#: scrambling shared a stream and a seed, every scrambled entry would be positive.
_FIRST_STREAM = 1 << 32


class Counters:
    """Replace a ``torch.Generator`` in :func:`uniform`, so that an item's draws are a function of (seed, index) alone.

    Args:
        seed: Any int.
        index: The items' indices, (B,) int64. Numbers are made on its device.

    Example: an item draws the same numbers in any batch.
        >>> many, one = Counters(0, torch.tensor([4, 7])), Counters(0, torch.tensor([7]))
        >>> torch.equal(uniform((2, 3), torch.device("cpu"), many)[1:], uniform((1, 3), torch.device("cpu"), one))
        True
    """

    def __init__(self, seed: int, index: Tensor) -> None:
        self.seed = operator.index(seed)  # of NumPy too, whose products overflow
        self.index = index
        self._stream = _FIRST_STREAM

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw from U[0, 1) in float64, (B, ...), independently of earlier calls."""
        if shape[:1] != (len(self.index),):
            raise ValueError(
                f"Counters for {len(self.index)} items draw numbers of shape ({len(self.index)}, ...), but got {shape}."
            )
        drawn = item_uniform(self.seed, self.index, shape[1:], stream=self._stream)
        self._stream += 1
        return drawn


def uniform(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | Counters | None) -> Tensor:
    """Draw from U[0, 1) in float64 where the generator lives, and move the numbers to ``device``."""
    if isinstance(generator, Counters):
        drawn = generator.uniform(shape)
        return drawn.to(device, torch.float32 if device.type == "mps" else torch.float64)
    source = device if generator is None else generator.device
    dtype = torch.float32 if source.type == "mps" else torch.float64
    if generator is None:  # torch.compile takes no generator=None
        return torch.rand(shape, dtype=dtype, device=source)
    return torch.rand(shape, dtype=dtype, generator=generator, device=source).to(device)
