"""Measure the public operations beside their baselines.

Every suite writes SUITE.json (all rows, medians and quartiles), SUITE.md and SUITE.png. Needs the extra "test".
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from pathlib import Path

import torch
from rich.progress import MofNCompleteColumn, Progress

from benchmarks import align, canonicalize, files, loading, metrics, report, template, training
from benchmarks.measure import machine, measure, row, versions

SUITES = {
    "align": align,
    "canonicalize": canonicalize,
    "files": files,
    "loading": loading,
    "metrics": metrics,
    "template": template,
    "training": training,
}
_PACKAGES = ("torchvision", "numpy", "numba", "scikit-image", "deepinv", "h5py")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("symbreak-out/benchmarks"), help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: seconds per suite")
    parser.add_argument("--only", default=",".join(SUITES), metavar="SUITE,...", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: %(default)s")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(SUITES):
        parser.error(f"--only takes {', '.join(SUITES)}, but got {', '.join(sorted(unknown))}.")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU, and torch finds none here.")
    device, rounds = torch.device(options.device), 3 if options.quick else 25
    for name in names:
        suite, start, load, rows = SUITES[name], time.perf_counter(), os.getloadavg()[0], []
        cases = list(suite.cases(options.quick, device))
        if not cases:
            print(f"{name}: skipped, it measures nothing on {device}")
            continue
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
            for case in progress.track(cases, description=name):
                rows.append(row(case, measure(case.operations(), rounds=rounds, budget=3.0, setup=case.setup)))
                gc.collect()  # ends the workers of a case's loaders and deletes its files
        result = {
            "suite": name,
            "device": options.device,
            "quick": options.quick,
            "machine": machine(device),
            "load": load,
            "versions": versions(*_PACKAGES),
            "notes": suite.notes(rows, options.quick, device),
            "rows": rows,
            "seconds": round(time.perf_counter() - start, 1),
        }
        report.write(result, suite.figure(rows), options.out)
        print(f"{options.out / name}.md, .json, .png: {result['seconds']} s")


if __name__ == "__main__":
    main()
