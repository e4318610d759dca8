"""Far-field canonicalization beside a copy, a padded transform, the literal reading, a loop, the three in turn."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms import Compose

from benchmarks.measure import Case, Operations, installed, peak_memory
from torch_symbreak import FarField, FarFieldCanonicalizer, RandomSymmetry
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.forward.far_field import Way
from torch_symbreak.plots import Line, plot_lines
from torch_symbreak.transforms import CenterContent, FixConjugateFlip, FixGlobalPhase, FixSign

OURS, COPY, FFT, LITERAL = "canonicalizer", "copy", "padded FFT", "literal"
ITEMS = 16, 128, 128  # of the working set, which repeats them
#: The box, as a share of the frame in each axis, and what is outside: nothing, or what a transform's rounding leaves.
KINDS = ({"fill": 0.5, "background": 0.0}, {"fill": 0.9, "background": 0.0}, {"fill": 0.5, "background": 1e-7})


class WithoutNumba(FarFieldCanonicalizer):
    """What an installation without the extra has."""

    def _way(self, items: Tensor) -> Way:
        way = super()._way(items)
        return "cpu" if way == "numba" else way


def model_of(dims: int, dtype: torch.dtype) -> FarField:
    return FarField(dims, field="complex" if dtype.is_complex else "real")


def objects(
    shape: Sequence[int],
    dtype: torch.dtype = torch.complex64,
    fill: float = 0.5,
    background: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Objects (B, *event) that are no near-ties, their box ``fill`` of the frame in each axis, anywhere, either way."""
    generator = torch.Generator().manual_seed(0)
    count, *event = shape
    box = [max(1, round(fill * n)) for n in event]
    magnitude, phase = (torch.rand(count, *box, generator=generator) for _ in range(2))
    inside = torch.polar(magnitude + 0.5, 2 * phase).to(dtype) if dtype.is_complex else (magnitude + 0.5).to(dtype)
    x = torch.full((count, *event), background, dtype=dtype)
    x[(..., *(slice(0, n) for n in box))] = inside
    return RandomSymmetry(model_of(len(event), dtype).symmetries, generator=generator)(x).to(device)


def literal(x: Tensor) -> Tensor:
    """The lines of ``LiteralAlgorithm2`` without its centering, for any number of axes: the same if x is centered."""
    frame, dims = x.shape[1:], tuple(range(1, x.dim()))
    grid = x.new_zeros(len(x), *(2 * n for n in frame))
    middle = (..., *(slice(n // 2, n // 2 + n) for n in frame))
    grid[middle] = x
    spectrum = torch.fft.fftn(grid, dim=dims)
    first = spectrum[(..., *[slice(1)] * len(frame))]
    spectrum = spectrum * torch.sgn(first).conj()
    next_to_it = spectrum[(..., *[slice(1)] * (len(frame) - 1), slice(1, 2))]
    spectrum = torch.where(next_to_it.imag > 0, spectrum, spectrum.conj())
    return torch.fft.ifftn(spectrum, dim=dims)[middle]


def padded_fft(x: Tensor) -> Tensor:
    return torch.fft.fftn(x, s=[2 * n for n in x.shape[1:]], dim=tuple(range(1, x.dim())))


def operations(x: Tensor, *, more: bool = False) -> Operations:
    """Ours and the baselines on x, (B, *event); with ``more`` also those that are not drawn."""
    dims = x.dim() - 1
    fix = model_of(dims, x.dtype).canonicalizer()
    found: dict[str, Any] = {
        OURS: lambda: fix(x),
        COPY: x.clone,
        FFT: lambda: padded_fft(x),
        LITERAL: lambda: literal(x),
    }
    if more:
        scalar = FixGlobalPhase(dims) if x.is_complex() else FixSign(dims)
        in_turn = Compose([CenterContent(dims), FixConjugateFlip(dims), scalar])
        if installed("numba") and x.device.type == "cpu":
            found["without Numba"] = functools.partial(WithoutNumba(dims, field=fix.field), x)
        found["one by one"] = lambda: torch.stack([fix(item) for item in x])
        found["three in turn"] = lambda: in_turn(x)
        if installed("deepinv") and x.is_complex():
            from deepinv.optim.phase_retrieval import correct_global_phase

            axes = tuple(range(2, x.dim() + 1))
            found["deepinv, phase only"] = lambda: correct_global_phase(x[:, None], x[:, None], dim=axes)
    return found


def check() -> None:
    """Raise unless what is timed does what it says, on a few small objects."""
    x = objects((8, 32, 32))
    centered = CenterContent(2)(x)
    assert torch.allclose(literal(centered), LiteralAlgorithm2()(x), atol=1e-4), "the literal readings disagree"
    results = operations(x, more=True)
    ours = results[OURS]()
    for name in results.keys() & {"without Numba", "one by one", "three in turn"}:
        assert torch.allclose(results[name](), ours, atol=1e-4), f"{name} gives something else"


def _case(family: str, shape: Sequence[int], device: torch.device, *, more: bool = False, **how: Any) -> Case:
    def make() -> Operations:
        return operations(objects(shape, device=device, **how), more=more)

    count, *event = shape
    parameters = {"N": " x ".join(map(str, event)), "batch": count}
    return Case(
        family,
        parameters | {name: str(value).split(".")[-1] if name == "dtype" else value for name, value in how.items()},
        count,
        make,
    )


def working_set(device: torch.device, kind: dict[str, float], copies: int) -> tuple[Tensor, Operations]:
    """Ours and what bounds it on ``copies`` times the same few objects, made without temporary memory."""
    x = objects(ITEMS, device=device, **kind).repeat(copies, 1, 1)
    fix, other = FarField(2).canonicalizer(), torch.empty_like(x)
    found: dict[str, Any] = {
        OURS: lambda: fix(x),
        COPY: x.clone,
        "copy, into used memory": lambda: other.copy_(x),
        "decisions alone": lambda: fix.element(x),
    }
    if x.device.type == "cuda":  # on a CPU its padded grids would not fit many a machine
        found[LITERAL] = lambda: literal(x)
    return x, found


def _megabytes(quick: bool) -> int:
    return 32 if quick else 256


def cases(quick: bool, device: torch.device) -> Iterator[Case]:
    check()
    pixels, sizes = (2**16, (32, 64, 128)) if quick else (2**20, (32, 64, 128, 256, 512, 1024))
    shapes = ((64, 64, 64),) if quick else ((64, 64, 64), (64, 128, 128), (16, 256, 256))
    for kind, shape in itertools.product(KINDS, shapes):
        yield _case("objects", shape, device, more=True, **kind)
    for n in sizes:
        yield _case("size, same number of pixels", (max(1, pixels // n**2), n, n), device)
    for n in sizes:
        yield _case("size, one object", (1, n, n), device)
    for count in (1, 16, 256) if quick else (1, 4, 16, 64, 256, 1024, 4096):
        yield _case("batch", (count, 32, 32), device)
    for shape in (
        ((64, 1024), (64, 32, 32), (2, 32, 32, 32)) if quick else ((1024, 1024), (64, 128, 128), (4, 64, 64, 64))
    ):
        yield _case("axes", shape, device, more=True)
    for dtype in (torch.complex64, torch.complex128, torch.float32):
        yield _case("dtype", shapes[-1], device, more=True, dtype=dtype)
    copies = _megabytes(quick) * 2**20 // (math.prod(ITEMS) * 8)
    for kind in KINDS:
        yield Case(
            "working set",
            {"N": "128 x 128", "batch": copies * ITEMS[0], "MB": _megabytes(quick), **kind},
            copies * ITEMS[0],
            lambda kind=kind: working_set(device, kind, copies)[1],
        )


def _points(rows: list[dict[str, Any]], family: str, name: str, x: str) -> tuple[list[float], list[float], list[float]]:
    chosen = [row for row in rows if row["family"] == family]
    sizes = [float(str(row[x]).split(" ")[0]) for row in chosen]
    found = [row["seconds"][name] for row in chosen]
    return sizes, [1e3 * s["median"] for s in found], [1e3 * (s["high"] - s["low"]) / 2 for s in found]


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    """Log-log slopes of time, and extra memory at the peak."""
    found: dict[str, Any] = {}
    for family in ("size, same number of pixels", "size, one object"):
        chosen = [row for row in rows if row["family"] == family and int(row["N"].split(" ")[0]) >= 64]
        area = [int(row["N"].split(" ")[0]) ** 2 for row in chosen]
        for name in (OURS, COPY, FFT, LITERAL):
            times = [row["seconds"][name]["median"] / row["items"] for row in chosen]
            found[f"slope in pixels, {family}, {name}"] = round(_slope(area, times), 3)
    for name in (OURS, COPY, FFT, LITERAL):
        count, times, _ = _points(rows, "batch", name, "batch")
        found[f"slope in the batch, {name}"] = round(_slope(count, times), 3)
    for kind in KINDS[:1] if quick else KINDS:
        extra = peak_memory(functools.partial(working_set, device, kind), _megabytes(quick) * 2**20, OURS, device)
        words = ", ".join(f"{what} {value}" for what, value in kind.items())
        found[f"extra memory / input of {_megabytes(quick)} MB, {words}"] = None if extra is None else round(extra, 2)
    return found


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Time against size and batch, with the smallest and steepest baselines."""
    panels = {}
    for heading, family, x in (
        ("as many pixels at every N", "size, same number of pixels", "N"),
        ("one object of N x N", "size, one object", "N"),
        ("batches of 32 x 32, against the batch", "batch", "batch"),
    ):
        panels[heading] = [
            Line(name, *_points(rows, family, name, x), style="-" if name == OURS else "--")
            for name in (OURS, COPY, FFT, LITERAL)
        ]
    return plot_lines(panels, x="N (on the right the batch)", y="ms", log_x=True, log_y=True)
