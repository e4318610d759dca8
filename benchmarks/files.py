"""Memory and speed of breaking an HDF5 file, beside copying it through h5py in the same blocks.

python -m benchmarks.files [--gigabytes 1 4] [--rounds 3] [--folder DIR] [--out FILE]: needs twice the largest size on
the disk. Every measurement is a process of its own, which says what it takes beyond its state after its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE, ITEM = 128, 128 * 128 * 8

MEASURED = """
import json, sys, time
import h5py, hdf5plugin, numpy, torch
from torch_symbreak.io import plan
from torch_symbreak.io.canonical import BLOCK

def kibibytes(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

what, src, dst = sys.argv[1:]
before = kibibytes("VmRSS")
start = time.perf_counter()
if what == "break":
    plan("break", src, dst).run()
else:
    with h5py.File(src, "r") as old, h5py.File(dst, "w") as new:
        x = old["objects"]
        y = new.create_dataset("objects", x.shape, x.dtype)
        rows = BLOCK // x[0].nbytes
        for at in range(0, len(x), rows):
            y[at : at + rows] = x[at : at + rows]
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "peak MB beyond imports": (kibibytes("VmHWM") - before) * 1024 / 1e6}))
"""


def write(path: Path, gigabytes: float) -> None:
    """Write complex64 objects of 128 x 128, each with its content somewhere in its frame."""
    import h5py
    import numpy as np

    generator = np.random.default_rng(0)
    rows = 256
    with h5py.File(path, "w") as file:
        count = int(gigabytes * 1e9 / ITEM) // rows * rows
        x = file.create_dataset("objects", (count, SIZE, SIZE), np.complex64)
        for start in range(0, count, rows):
            block = np.zeros((rows, SIZE, SIZE), np.complex64)
            block[:, 20:90, 30:100] = generator.normal(size=(rows, 70, 70, 2)).astype("f4").view("c8")[..., 0]
            x[start : start + rows] = block


def measure(what: str, src: Path, dst: Path) -> dict[str, float]:
    """Run one of the two in a process of its own."""
    command = [sys.executable, "-c", MEASURED, what, str(src), str(dst)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    dst.unlink()
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Where the files go (default: a temporary folder).")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for gigabytes in options.gigabytes:
            src, dst = Path(folder) / "in.h5", Path(folder) / "out.h5"
            write(src, gigabytes)
            found: dict[str, list[dict[str, float]]] = {"copy": [], "break": []}
            for _ in range(options.rounds):
                for what, results in found.items():
                    results.append(measure(what, src, dst))
            seconds = {what: [one["seconds"] for one in results] for what, results in found.items()}
            row = {"GB": gigabytes}
            row |= {f"{what}, median s": round(statistics.median(values), 3) for what, values in seconds.items()}
            shares = [copy / broken for copy, broken in zip(*seconds.values(), strict=True)]
            row |= {"share of the copy's speed, median": round(statistics.median(shares), 3)}
            row |= {"shares": [round(share, 3) for share in sorted(shares)]}
            row |= {"peak MB beyond imports": round(max(one["peak MB beyond imports"] for one in found["break"]), 1)}
            rows.append(row)
            print(row, flush=True)
    if options.out is not None:
        machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
