"""Drawn objects: content of any shape, anywhere in a frame of any shape, in batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, ScrambledDataset
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.symmetries import GlobalPhase, Sign

COMPLEX = (torch.complex64, torch.complex128)
REAL = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Drawn:
    """Sizes and a seed; :meth:`make` turns them into objects."""

    frame: tuple[int, ...]
    content: tuple[int, ...]
    position: tuple[int, ...]
    batch: tuple[int, ...]
    channels: tuple[int, ...]
    dtype: torch.dtype
    wrap: bool
    seed: int
    mean: float = 0.0

    @property
    def event_dims(self) -> int:
        return len(self.frame)

    @property
    def field(self) -> str:
        return "complex" if self.dtype.is_complex else "real"

    @property
    def oversampling(self) -> float:
        return 1.0 if self.wrap else 2.0

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + 1)

    def make(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        values = torch.randn(*self.batch, *self.channels, *self.content, dtype=self.dtype, generator=generator)
        if self.mean:
            group = (GlobalPhase if self.dtype.is_complex else Sign)(self.event_dims, channel_dims=len(self.channels))
            values = values + self.mean
            values = group.act(group.sample(values, generator=generator), values)
        return self.place(values)

    def pattern(self, x: Tensor) -> Tensor:
        """Return the far-field magnitude, which translations, flips and phases leave as it is."""
        shape = [round(self.oversampling * n) for n in self.frame]
        return torch.fft.fftn(x, s=shape, dim=tuple(range(-self.event_dims, 0))).abs()

    def place(self, values: Tensor) -> Tensor:
        """Put content, (*batch, *channels, *content), into frames of zeros."""
        x = torch.zeros(*values.shape[: values.dim() - self.event_dims], *self.frame, dtype=values.dtype)
        where = tuple(slice(p, p + n) for p, n in zip(self.position, self.content, strict=True))
        x[(..., *where)] = values
        return x


@st.composite
def cases(
    draw: st.DrawFn,
    dtypes: tuple[torch.dtype, ...] = COMPLEX + REAL,
    dims: tuple[int, ...] = (1, 2, 3),
    channel_dims: int = 0,
    few_ties: bool = False,
) -> Drawn:
    """Draw sizes. ``few_ties`` gives batches that keep the 5 % of ``check_canonicalizer``.

    They have 60 items, with content of two entries or more along the last axis, without which the first flip score is
    zero. Values have a mean: a sum near zero is a tie, and scores of large items come near it.
    """
    d = draw(st.sampled_from(dims))
    largest = {1: 24, 2: 11, 3: 7}[d]
    frame = tuple(draw(st.integers(3, largest)) for _ in range(d))
    wrap = draw(st.booleans())  # content that fills a torus is a translation tie: leave a gap
    most = [n - wrap for n in frame]
    content = tuple(draw(st.integers(1, n)) for n in most)
    if math.prod(content) < 3:  # one or two entries are often mirror-symmetric up to a phase
        content = tuple(most)
    if few_ties:  # and room along the last axis, without which no shift moves anything
        content = (*content[:-1], min(max(2, content[-1]), frame[-1] - 1))
    position = tuple(draw(st.integers(0, n - size)) for n, size in zip(frame, content, strict=True))
    batch = draw(st.sampled_from([(60,), (6, 10)] if few_ties else [(), (1,), (5,), (2, 3)]))
    channels = tuple(draw(st.integers(1, 3)) for _ in range(channel_dims))
    dtype, seed = draw(st.sampled_from(dtypes)), draw(st.integers(0, 2**31 - 2))
    return Drawn(frame, content, position, batch, channels, dtype, wrap, seed, mean=float(few_ties))


def drawn(
    count: int,
    frame: tuple[int, ...],
    dtype: torch.dtype,
    gap: int,
    generator: torch.Generator,
    channels: tuple[int, ...] = (),
) -> Tensor:
    """Random content of any size at any place of the frame, another one for every 20 items, with a gap on a torus."""
    x = torch.zeros(count, *channels, *frame, dtype=dtype)
    for part in x.split(20):
        size = [int(torch.randint(2 * n // 3, n + 1 - gap, (), generator=generator)) for n in frame]
        at = [int(torch.randint(n - s + 1, (), generator=generator)) for n, s in zip(frame, size, strict=True)]
        values = torch.randn(len(part), *channels, *size, dtype=dtype, generator=generator)
        values += 0.1 * torch.sgn(values)  # content, not background
        part[(..., *(slice(a, a + s) for a, s in zip(at, size, strict=True)))] = values
    return x


def crystals(count: int, frame: tuple[int, ...] = (16, 16), seed: int = 0) -> tuple[FarField, Tensor]:
    """Return a far-field model and crystals at random points of their orbits."""
    model = FarField(2)
    objects = BraggCrystals(count, frame=frame, seed=seed).objects(torch.arange(count))
    return model, torch.stack(list(ScrambledDataset(objects, model.symmetries, seed)))


def objects(count: int = 64, more: int = 0) -> Tensor:
    """Content of 5 x 6 in a frame of 8 x 9: of odd and even length, off the frame's center."""
    values = 0.3 + torch.randn(count, 5, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    values = values * torch.polar(torch.ones(count, 1, 1), torch.arange(count, dtype=torch.float32)[:, None, None])
    return torch.nn.functional.pad(values, (1, 2 + more, 0, 3 + more))


def around_the_frame() -> Tensor:
    """Content that wraps around the frame, which only the periodic model may center."""
    return objects().roll(-3, -1)


def with_a_tie() -> Tensor:
    """Items of which the last has no phase: its sum is zero."""
    x = objects()
    x[-1] = 0
    x[-1, 2, 3], x[-1, 2, 4], x[-1, 3, 3], x[-1, 3, 4] = 1, -1, 2, -2
    return x


def without_a_sum() -> Tensor:
    """Items whose sum is zero: a low frequency decides the phase."""
    x = objects()
    return torch.where(x == 0, 0, x - x.sum((-2, -1), keepdim=True) / 30)


def odd_along_the_last_axis() -> Tensor:
    """Real items without a sum, of which the imaginary part of a low frequency decides the sign."""
    x = without_a_sum().real[:, 1:6, :6]  # the content
    x = x - x.flip((-2, -1))
    x[:, (0, 4), (2, 3)] += 1  # columns keep their sums, so that this shows along the first axis alone
    x[:, 2, 2:4] -= 1
    return torch.nn.functional.pad(x, (0, 3, 1, 2))
