"""Count the objects that the solvers find: python -m benchmarks.solvers --help.

Crystals come from ``BraggCrystals``, without noise, twofold oversampled, in frames of 32 x 32 and 64 x 64. Nothing is
known but the intensities. Errors are relative, on the detector's torus, up to the symmetries. The atoms are those of
Elser, Lan, Bendory (2018), and count as found when 95 % of the power lies on the 8 N largest pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.measure import machine, versions
from torch_symbreak import FarField, relative_error
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.solvers import Solution, solve


def on_torus(x: Tensor, torus: Sequence[int]) -> Tensor:
    """Pad objects (B, *frame) with zeros to the detector's shape."""
    return torch.nn.functional.pad(
        x, [n for size, m in zip(x.shape[:0:-1], torus[::-1], strict=True) for n in (0, m - size)]
    )


def errors(found: Solution, x: Tensor, torus: Sequence[int]) -> Tensor:
    """Return every item's relative error on the torus, (B,)."""
    symmetries = FarField(len(torus), oversampling=1).symmetries
    return relative_error(on_torus(found.object, torus), on_torus(x, torus), symmetries, reduction="none")


def crystals(size: int, strain: float, count: int, at_once: int, progress: bool, **options: Any) -> dict[str, Any]:
    """Solve so many crystals; return shares, times and what the verdicts are worth."""
    y, x = BraggCrystals(count, frame=(size, size), strain=strain, seed=1).batch(range(count))
    error, residual, agreement, held, words, iterations, seconds = [], [], [], [], [], [], 0.0
    console = Console(stderr=True)
    for part in track(range(0, count, at_once), console=console, disable=not progress, description=f"{size} {options}"):
        some = slice(part, part + at_once)
        start = time.process_time()
        found = solve(y[some], generator=torch.Generator().manual_seed(part), progress=False, **options)
        seconds += time.process_time() - start
        error.append(errors(found, x[some], y.shape[1:]))
        residual.append(found.residual)
        agreement.append(found.agreement)
        held.append(found.held_out)
        words += found.verdict
        iterations.append(len(found.history))
    error, residual, agreement, held = (torch.cat(part) for part in (error, residual, agreement, held))
    right = error < 0.1
    named = torch.tensor([word == "solved" for word in words])
    return {
        "frame": size,
        "strain": strain,
        "objects": count,
        **options,
        "below .1": float(right.double().mean()),
        "below .02": float((error < 0.02).double().mean()),
        "CPU seconds per object": seconds / count,
        "called solved": float(named.double().mean()),
        "called solved, but not below .1": int((named & ~right).sum()),
        "below .1, but not called solved": int((right & ~named).sum()),
        "iterations": max(iterations),
        "items": list(zip(error.tolist(), residual.tolist(), agreement.tolist(), held.tolist(), words, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvers", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100, help="crystals of each kind. Default: %(default)s")
    parser.add_argument("--cases", default="32,64,strain", help="default: %(default)s")
    parser.add_argument("--methods", default="hio", help="default: %(default)s")
    parser.add_argument("--iterations", type=int, help="of each start. Default: the recipe's")
    parser.add_argument("--at-once", type=int, default=25, help="crystals per call. Default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as JSON. Default: only the table")
    options = parser.parse_args()
    sizes = {"32": (32, 1.0), "64": (64, 1.0), "strain": (32, 1.5)}
    rows = []
    for case in options.cases.split(","):
        for method in options.methods.split(","):
            more = {} if options.iterations is None else {"iterations": options.iterations}
            row = crystals(*sizes[case], options.objects, options.at_once, True, method=method, **more)
            rows.append(row)
            print(
                " | ".join(
                    f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in row.items()
                    if name != "items"
                ),
                flush=True,
            )
    if options.out:
        result = {"machine": machine(), "versions": versions("numpy"), "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
