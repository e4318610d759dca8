"""Items that decide about measurements, and parts of these."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak import FarField

#: Items of a test: enough for check_canonicalizer.
COUNT = 48


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(*shape: int, dtype: torch.dtype = torch.complex64, seed: int = 0) -> Tensor:
    """Normal numbers with a mean, so that few sums are ties."""
    drawn = 0.7 + torch.randn(COUNT, *shape, dtype=dtype, generator=generator(seed))
    angles = torch.arange(COUNT).reshape(-1, *[1] * len(shape))
    return drawn * (torch.polar(torch.ones(angles.shape), angles.float()) if dtype.is_complex else (-1.0) ** angles)


def inside(frame: tuple[int, ...], content: tuple[int, ...], dtype: torch.dtype = torch.complex64) -> Tensor:
    """Content at the frame's second entries, with room to move."""
    x = torch.zeros(COUNT, *frame, dtype=dtype)
    x[(..., *(slice(1, 1 + n) for n in content))] = values(*content, dtype=dtype)
    return x


def disc(frame: tuple[int, int], center: tuple[float, float], radius: float) -> Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in frame), indexing="ij")
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


FAR = FarField(2)
PHASES, SIGNS = {"GlobalPhase"}, {"Sign"}
ALL, ALL_REAL = {"Translation", "ConjugateFlip", "GlobalPhase"}, {"Translation", "ConjugateFlip", "Sign"}
ROUND = disc((14, 14), (5, 7.5), 4.6)  # symmetric about (5, 7.5), which is not the frame's center (6.5, 6.5)
LOPSIDED = ROUND & ~disc((14, 14), (2, 5), 1.5)  # about (5, 7.5) the bite at (2, 5) has no counterpart at (8, 10)
STOP = torch.rand(24, 24, generator=generator(3)) < 0.8  # k and -k are not blocked alike
REFERENCE = 3 * torch.randn(12, 12, dtype=torch.complex64, generator=generator(4))
PROBE = torch.randn(12, 12, dtype=torch.complex64, generator=generator(5))
SMALL = inside((12, 12), (7, 6))
