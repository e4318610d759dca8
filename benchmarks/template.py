"""Canonicalize with a template, beside `align` on the same batch and the three Fourier transforms that it needs.

The transforms are one forward one of the frame's grid and two inverse ones, of the whole batch at once, in complex64.
The notes have the seconds of one fit to crystals, and its rounds.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.canonicalize import model_of, objects
from benchmarks.measure import Operations, Timing
from benchmarks.report import rates as figure
from torch_symbreak import FarField, RandomSymmetry, align
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.datasets import BraggCrystals

__all__ = ["cases", "figure", "notes"]

FRAME = 64


def transforms(x: Tensor) -> list[Tensor]:
    dims = tuple(range(1, x.dim()))
    spectra = torch.fft.fftn(x, dim=dims)
    return [torch.fft.ifftn(spectra, dim=dims) for _ in range(2)]


def _with_threads(count: int, operation: Callable[[], object]) -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return operation()
    finally:
        torch.set_num_threads(before)


def _threaded(count: int, operations: Operations) -> Operations:
    return {name: functools.partial(_with_threads, count, operation) for name, operation in operations.items()}


def _operations(shape: Sequence[int], dtype: torch.dtype, threads: int, device: torch.device) -> Operations:
    model, x = model_of(len(shape) - 1, dtype), objects(shape, dtype, device=device)
    template = model.canonicalizer()(x).mean(0)
    fix, grid = model.canonicalizer(template=template), x.to(torch.complex64)
    reference = template.expand(x.shape)
    named: dict[str, Callable[[], object]] = {
        "template": lambda: fix(x),
        "align": lambda: align(x, reference, model.symmetries),
        "3 FFTs": lambda: transforms(grid),
    }
    return _threaded(threads, named)


def _fit(count: int) -> str:
    """Return how long a fit to so many crystals takes, and how many rounds it has."""
    x = BraggCrystals(count, frame=(FRAME, FRAME)).objects(torch.arange(count))
    x = RandomSymmetry(FarField(2).symmetries, generator=torch.Generator().manual_seed(0))(x)
    start = time.perf_counter()
    fix = AlignToTemplate.fit(x, FarField(2).symmetries, progress=False)
    return f"{time.perf_counter() - start:.1f} s, {len(fix.history)} rounds"


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    shapes: tuple[tuple[int, ...], ...] = (
        (256, 64, 64),
        (64, 128, 128),
        (16, 256, 256),
        (32,) + (32,) * 3,
        (4,) + (64,) * 3,
    )
    if quick:
        shapes = ((16, 32, 32), (2, 16, 16, 16))
    threads = (1, 2) if device.type == "cpu" else (1,)
    for shape, dtype, count in itertools.product(shapes, (torch.complex64, torch.float32), threads):
        parameters = {
            "N": " x ".join(map(str, shape[1:])),
            "batch": shape[0],
            "dtype": str(dtype)[6:],
            "threads": count,
        }
        yield Timing(
            "far field",
            parameters,
            shape[0],
            lambda shape=shape, dtype=dtype, count=count: _operations(shape, dtype, count, device),
        )


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    if device.type != "cpu":
        return {}
    count = 50 if quick else 5000
    return {
        f"one fit to {count:,} crystals of {FRAME} x {FRAME}, threads {threads}": _with_threads(
            threads, lambda: _fit(count)
        )
        for threads in (1, 2)
    }
