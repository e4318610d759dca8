"""Seconds that one report takes, ``python -m benchmarks.diagnose [COUNT SIZE]``: by default of 10,000 of 64 x 64."""

from __future__ import annotations

import sys
import time

import torch

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics import diagnose


def main() -> None:
    """Print the seconds on the clock and of the processor, and the report."""
    count, size = (int(word) for word in sys.argv[1:] or ("10000", "64"))
    model = FarField(2)
    x = BraggCrystals(count, frame=(size, size)).objects(torch.arange(count))
    x = torch.cat([RandomSymmetry(model.symmetries)(part) for part in x.split(500)])
    clock, processor = time.perf_counter(), time.process_time()
    report = diagnose(x, model, noise=0.01)
    seconds = time.perf_counter() - clock, time.process_time() - processor
    print(
        f"{count} x {size} x {size}: {seconds[0]:.1f} s on the clock, {seconds[1]:.1f} s of the processor", flush=True
    )
    clock = time.perf_counter()
    page = report.to_html()
    print(f"page of {len(page) / 1e6:.1f} MB: {time.perf_counter() - clock:.1f} s")
    print(report)


if __name__ == "__main__":
    main()
