"""Drawn kernels and images for blind deconvolution, and their convolution by its definition."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from draws import COMPLEX, REAL
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Sizes and a seed: content of the two factors inside their frames, with room where there is any."""

    kernel: tuple[int, ...]
    frame: tuple[int, ...]
    sizes: tuple[tuple[int, ...], tuple[int, ...]]  # of the contents
    dtype: torch.dtype
    seed: int
    count: int = 50

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + 1)

    @property
    def options(self) -> dict[str, Any]:
        return {"event_dims": len(self.frame), "kernel": self.kernel}

    def make(self, generator: torch.Generator | None = None) -> Tensor:
        """Each item's content at places of its own, all in one orbit's reach."""
        generator = generator or torch.Generator().manual_seed(self.seed)
        x = torch.zeros(self.count, 2, *self.frame, dtype=self.dtype)
        for item in x:
            for part, content, room in zip(item, self.sizes, (self.kernel, self.frame), strict=True):
                at = [
                    int(torch.randint(n - c + 1, (), generator=generator)) for n, c in zip(room, content, strict=True)
                ]
                values = torch.randn(content, dtype=self.dtype, generator=generator)
                values = values + 0.1 * torch.sgn(values) + (0.5 if part is item[0] else 0.2)
                part[tuple(slice(a, a + c) for a, c in zip(at, content, strict=True))] = values
        return x


@st.composite
def pairs(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = COMPLEX + REAL, largest: int = 6) -> Pairs:
    d = draw(st.sampled_from([2, 2, 3]))
    largest = largest if d == 2 else 4
    frame = tuple(draw(st.integers(3, largest)) for _ in range(d))
    kernel = frame if draw(st.booleans()) else tuple(draw(st.integers(2, n)) for n in frame)
    sizes = tuple(tuple(draw(st.integers(1, n)) for n in room) for room in (kernel, frame))
    # Room along the last axis, so that shifts move something; more than one entry, or phases hide each other.
    sizes = tuple(
        (2, *size[1:-1], min(size[-1], room[-1] - 1)) for size, room in zip(sizes, (kernel, frame), strict=True)
    )
    return Pairs(kernel, frame, sizes, draw(st.sampled_from(dtypes)), draw(st.integers(0, 2**31 - 2)))


def convolved(x: Tensor) -> Tensor:
    """The linear convolution of the two factors by its definition, a sum of shifted copies."""
    frame = x.shape[2:]
    y = torch.zeros(len(x), *(2 * n - 1 for n in frame), dtype=x.dtype)
    for at in itertools.product(*map(range, frame)):
        where = tuple(slice(a, a + n) for a, n in zip(at, frame, strict=True))
        y[(slice(None), *where)] += x[(slice(None), 0, *at)].reshape(-1, *[1] * len(frame)) * x[:, 1]
    return y
