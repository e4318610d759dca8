"""Canonicalize far-field objects, beside a copy, a padded Fourier transform, and other ways to the same end.

The literal reading, the loop over the items and the three transforms in turn are such ways. The literal reading takes
complex images only, so its column is empty elsewhere.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms import Compose

from benchmarks.measure import Operations, Timing, installed, peak_memory
from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.canonical import FarFieldCanonicalizer, using
from torch_symbreak.plots import COLORS, NEUTRAL, Line, plot_lines
from torch_symbreak.transforms import CenterContent, FixConjugateFlip, FixGlobalPhase, FixSign

OURS, COPY, FFT, LITERAL = "canonicalizer", "copy", "padded FFT", "literal"
ITEMS = 16, 128, 128  # the working set repeats these
#: ``fill`` is the box's share of the frame in each axis. A background of 1e-7 is what a transform's rounding leaves.
KINDS = ({"fill": 0.5, "background": 0.0}, {"fill": 0.9, "background": 0.0}, {"fill": 0.5, "background": 1e-7})


def without_numba(fix: FarFieldCanonicalizer, x: Tensor) -> Tensor:
    with using("cpu"):
        return fix(x)


def model_of(dims: int, dtype: torch.dtype) -> FarField:
    return FarField(dims, field="complex" if dtype.is_complex else "real")


def objects(
    shape: Sequence[int],
    dtype: torch.dtype = torch.complex64,
    fill: float = 0.5,
    background: float = 0.0,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return objects (B, *event) away from ties, at random places of their frames and in random orientations."""
    generator = torch.Generator().manual_seed(0)
    count, *event = shape
    box = [max(1, round(fill * n)) for n in event]
    magnitude, phase = (torch.rand(count, *box, generator=generator) for _ in range(2))
    inside = torch.polar(magnitude + 0.5, 2 * phase).to(dtype) if dtype.is_complex else (magnitude + 0.5).to(dtype)
    x = torch.full((count, *event), background, dtype=dtype)
    x[(..., *(slice(0, n) for n in box))] = inside
    return RandomSymmetry(model_of(len(event), dtype).symmetries, generator=generator)(x).to(device)


def padded_fft(x: Tensor) -> Tensor:
    return torch.fft.fftn(x, s=[2 * n for n in x.shape[1:]], dim=tuple(range(1, x.dim())))


def operations(x: Tensor, *, more: bool = False) -> Operations:
    """Return ours and the baselines on x, (B, *event); with ``more`` also those that the figure leaves out."""
    dims = x.dim() - 1
    fix = model_of(dims, x.dtype).canonicalizer()
    named: dict[str, Callable[[], object]] = {OURS: lambda: fix(x), COPY: x.clone, FFT: lambda: padded_fft(x)}
    if dims == 2 and x.is_complex():
        named[LITERAL] = functools.partial(LiteralAlgorithm2(), x)
    if more:
        scalar = FixGlobalPhase(dims) if x.is_complex() else FixSign(dims)
        in_turn = Compose([CenterContent(dims), FixConjugateFlip(dims), scalar])
        if installed("numba") and x.device.type == "cpu":
            named["without Numba"] = functools.partial(without_numba, fix, x)
        named["one by one"] = lambda: torch.stack([fix(item) for item in x])
        named["three in turn"] = lambda: in_turn(x)
        if installed("deepinv") and x.is_complex():
            from deepinv.optim.phase_retrieval import correct_global_phase

            axes = tuple(range(2, x.dim() + 1))
            named["deepinv, phase only"] = lambda: correct_global_phase(x[:, None], x[:, None], dim=axes)
    return named


def check() -> None:
    """Raise if an operation that should equal ours does not, on a few small objects."""
    results = operations(objects((8, 32, 32)), more=True)
    ours = results[OURS]()
    for name in results.keys() & {"without Numba", "one by one", "three in turn"}:
        assert torch.allclose(results[name](), ours, atol=1e-4), f"{name} and {OURS} disagree"


def _case(family: str, shape: Sequence[int], device: torch.device, *, more: bool = False, **how: Any) -> Timing:
    def make() -> Operations:
        return operations(objects(shape, device=device, **how), more=more)

    count, *event = shape
    parameters = {"N": " x ".join(map(str, event)), "batch": count}
    return Timing(
        family,
        parameters | {name: str(value).split(".")[-1] if name == "dtype" else value for name, value in how.items()},
        count,
        make,
    )


def working_set(device: torch.device, kind: dict[str, float], copies: int) -> tuple[Tensor, Operations]:
    """Return ``copies`` times the same few objects, made without temporary memory, and operations on them.

    The copies and the decisions alone bound what ours can reach.
    """
    x = objects(ITEMS, device=device, **kind).repeat(copies, 1, 1)
    fix, used = FarField(2).canonicalizer(), torch.empty_like(x)
    named: dict[str, Callable[[], object]] = {
        OURS: lambda: fix(x),
        COPY: x.clone,
        "copy, into used memory": lambda: used.copy_(x),
        "decisions alone": lambda: fix.element(x),
    }
    if x.device.type == "cuda":  # the padded grids of so many objects do not fit into the memory of many a CPU
        named[LITERAL] = functools.partial(LiteralAlgorithm2(), x)
    return x, named


def _megabytes(quick: bool) -> int:
    return 32 if quick else 256


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
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
        yield Timing(
            "working set",
            {"N": "128 x 128", "batch": copies * ITEMS[0], "MB": _megabytes(quick), **kind},
            copies * ITEMS[0],
            lambda kind=kind: working_set(device, kind, copies)[1],
        )


def _points(rows: list[dict[str, Any]], family: str, name: str, x: str) -> tuple[list[float], list[float], list[float]]:
    chosen = [row for row in rows if row["family"] == family]
    sizes = [float(str(row[x]).split(" ")[0]) for row in chosen]
    seconds = [row["seconds"][name] for row in chosen]
    return sizes, [1e3 * s["median"] for s in seconds], [1e3 * (s["high"] - s["low"]) / 2 for s in seconds]


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    """Return log-log slopes of time, and extra memory at the peak."""
    results: dict[str, Any] = {
        LITERAL: "our literal reading of Algorithm 2, its centering included; complex images only"
    }
    for family in ("size, same number of pixels", "size, one object"):
        chosen = [row for row in rows if row["family"] == family and int(row["N"].split(" ")[0]) >= 64]
        area = [int(row["N"].split(" ")[0]) ** 2 for row in chosen]
        for name in (OURS, COPY, FFT, LITERAL):
            times = [row["seconds"][name]["median"] / row["items"] for row in chosen]
            results[f"slope in pixels, {family}, {name}"] = round(_slope(area, times), 3)
    for name in (OURS, COPY, FFT, LITERAL):
        count, times, _ = _points(rows, "batch", name, "batch")
        results[f"slope in the batch, {name}"] = round(_slope(count, times), 3)
    for kind in KINDS[:1] if quick else KINDS:
        extra = peak_memory(functools.partial(working_set, device, kind), _megabytes(quick) * 2**20, OURS, device)
        words = ", ".join(f"{name} {value}" for name, value in kind.items())
        results[f"extra memory / input of {_megabytes(quick)} MB, {words}"] = None if extra is None else round(extra, 2)
    return results


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Plot time against size and batch."""
    panels = {}
    colors = {OURS: COLORS["exact"], COPY: NEUTRAL, FFT: "black", LITERAL: COLORS["literal"]}
    for heading, family, x in (
        ("as many pixels at every N", "size, same number of pixels", "N"),
        ("one object of N x N", "size, one object", "N"),
        ("batches of 32 x 32, against the batch", "batch", "batch"),
    ):
        panels[heading] = [
            Line(name, *_points(rows, family, name, x), color=color, style="-" if name == OURS else "--")
            for name, color in colors.items()
        ]
    return plot_lines(panels, x="N (on the right the batch)", y="ms", log_x=True, log_y=True)
