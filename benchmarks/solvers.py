"""Count the objects that the solvers find: python -m benchmarks.solvers --help.

Crystals come from ``BraggCrystals``, twofold oversampled, in frames of 32 x 32 and 64 x 64, and of 32 x 32 with strain
1.5. They are without noise unless ``--photons`` are counted. Nothing is known but the intensities. Errors are relative,
on the detector's torus, up to the symmetries. Atoms come from ``Atoms``, on periodic grids of 128 x 128. Their number
is known, and each object has one start.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import machine, versions
from torch_symbreak import FarField, relative_error
from torch_symbreak.datasets import Atoms, BraggCrystals
from torch_symbreak.forward import Measured, PoissonCounts, beam_stop
from torch_symbreak.solvers import Solution, solve
from torch_symbreak.solvers._checks import padded

#: Frame and strain of the crystals.
CRYSTALS = {"32": (32, 1.0), "64": (64, 1.0), "strain": (32, 1.5)}
#: Atoms per object, and the most iterations.
ATOMS = {"atoms100": (100, 1000), "atoms140": (140, 1000), "atoms175": (175, 3000)}


def _items(found: Solution, x: Tensor, torus: Sequence[int], seconds: float) -> Iterator[dict[str, Any]]:
    field = "complex" if x.is_complex() else "real"
    symmetries = FarField(len(torus), oversampling=1, field=field).symmetries
    error = relative_error(padded(found.object, torus), padded(x, torus), symmetries, reduction="none")
    history = found.history.amin(-1)
    # An R-factor falls at once when the object is found: where it passes the middle.
    passed = history <= (history.amax(0) + history.amin(0)) / 2
    for i, verdict in enumerate(found.verdict):
        yield {
            "error": float(error[i]),
            "residual": float(found.residual[i]),
            "agreement": float(found.agreement[i]),
            "held out": float(found.held_out[i]),
            "verdict": verdict,
            "iterations": len(history),
            "fell at": int(passed[:, i].int().argmax()) + 1,
            "CPU seconds": seconds / len(x),
        }


def crystals(
    case: str, count: int, at_once: int, photons: float | None, stop: float | None, **options: Any
) -> Iterator[dict[str, Any]]:
    """Solve crystals, and yield one dict per object."""
    size, strain = CRYSTALS[case]
    data = BraggCrystals(count, frame=(size, size), strain=strain, seed=1)
    for part in torch.arange(count).split(at_once):
        y, x = data.batch(part.tolist())
        if photons is not None:
            counts = PoissonCounts(generator=torch.Generator().manual_seed(int(part[0])))
            y = Measured(FarField(2), [counts], photons=photons)(x)
        mask = None if stop is None else beam_stop(y.shape[1:], stop)
        start = time.process_time()
        found = solve(y, mask=mask, generator=torch.Generator().manual_seed(int(part[0])), progress=False, **options)
        yield from _items(found, x, y.shape[1:], time.process_time() - start)


def atoms(case: str, count: int) -> Iterator[dict[str, Any]]:
    """Find atoms by relaxed reflections, and yield one dict per object."""
    number, most = ATOMS[case]
    data = Atoms(count, atoms=number, seed=1)
    for i in range(count):
        y, x = data.batch([i])
        start = time.process_time()
        found = solve(
            y, model=data.forward_model, method="rrr", iterations=most, starts=1, support_size=data.support_size,
            nonnegative=True, mask=data.mask, generator=torch.Generator().manual_seed(i), progress=False,
        )  # fmt: skip
        yield from _items(found, x, y.shape[1:], time.process_time() - start)


def summary(case: str, method: str, items: list[dict[str, Any]]) -> str:
    """Return a line of a Markdown table."""
    share = [sum(item["error"] < level for item in items) / len(items) for level in (0.1, 0.02)]
    wrong = sum(item["verdict"] == "solved" and item["error"] >= 0.1 for item in items)
    missed = sum(item["verdict"] != "solved" and item["error"] < 0.1 for item in items)
    seconds = sum(item["CPU seconds"] for item in items) / len(items)
    fell = sorted(item["fell at"] for item in items)
    return (
        f"| {case} | {method} | {len(items)} | {share[0]:.0%} | {share[1]:.0%} | {wrong} | {missed} | "
        f"{f'{fell[0]} to {fell[-1]}' if case in ATOMS else ''} | {seconds:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100, help="of each kind. Default: %(default)s")
    parser.add_argument("--cases", default="32,64,strain", help=f"of {', '.join([*CRYSTALS, *ATOMS])}")
    parser.add_argument("--methods", default="hio", help="of crystals. Default: %(default)s")
    parser.add_argument("--iterations", type=int, help="of each start of crystals. Default: the recipe's")
    parser.add_argument("--photons", help="expected totals of a pattern, as in 1e5,1e6. Default: no noise")
    parser.add_argument("--stop", type=float, help="radius of a beam stop, in pixels. Default: none")
    parser.add_argument("--at-once", type=int, default=10, help="crystals per call. Default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all objects as JSON. Default: only the table")
    options = parser.parse_args()
    print(f"{machine()}; {', '.join(map(' '.join, versions('numpy').items()))}\n")
    head = (
        "case", "method", "objects", "below .1", "below .02", "called solved, not below .1",
        "below .1, not called solved", "R-factor fell at", "CPU seconds per object",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|", flush=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for case in options.cases.split(","):
        methods = options.methods.split(",") if case in CRYSTALS else ("rrr",)
        photons = options.photons.split(",") if options.photons and case in CRYSTALS else (None,)
        for method, total in itertools.product(methods, photons):
            name = case if total is None else f"{case}, {total} photons"
            items = rows.setdefault(f"{name} {method}", [])
            source = (
                crystals(
                    case, options.objects, options.at_once, total and float(total), options.stop,
                    method=method, iterations=options.iterations,
                )
                if case in CRYSTALS
                else atoms(case, options.objects)
            )  # fmt: skip
            for item in source:
                items.append(item)
                if options.out:  # so that a run that is cut short leaves something
                    options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
            print(summary(name, method, items), flush=True)


if __name__ == "__main__":
    main()
