"""Alignment of 64 pairs of 128 x 128 against scikit-image's registration run on both orientations.

python -m benchmarks.align [--out FILE]: needs scikit-image. Both align on one torus: unpadded (128), where shifts wrap,
and padded to 256, where they do not. scikit-image registers one pair at a time, in the precision of its input; ours
decides as double precision does, moves the whole batch, and measures the error in double precision.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import torch
from skimage.registration import phase_cross_correlation

from torch_symbreak import FarField, Product, RandomSymmetry, align

PAIRS, SIZE, ROUNDS = 64, 128, 7


def scikit_image(x: np.ndarray, reference: np.ndarray) -> list[bool]:
    """Register both orientations of every pair and keep the better one."""
    flipped = []
    for one, other in zip(x, reference, strict=True):
        errors = [phase_cross_correlation(other, twin, normalization=None)[1] for twin in (one, one[::-1, ::-1].conj())]
        flipped.append(errors[1] < errors[0])
    return flipped


def measure(operations: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds per call of every operation, interleaved, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in operations}
    for attempt in range(ROUNDS + 1):
        for name, operation in operations.items():
            start = time.perf_counter()
            operation()
            if attempt:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rows = []
    for dtype in (torch.complex64, torch.complex128):
        for padded in (False, True):
            generator = torch.Generator().manual_seed(0)
            model = FarField(2, oversampling=2.0 if padded else 1.0)
            reference = torch.zeros(PAIRS, SIZE, SIZE, dtype=dtype)
            reference[:, 20:90, 30:100] = torch.randn(PAIRS, 70, 70, dtype=dtype, generator=generator)
            x = RandomSymmetry(model.symmetries, generator=generator)(reference)
            pad = (0, SIZE, 0, SIZE) if padded else (0, 0, 0, 0)
            arrays = [torch.nn.functional.pad(z, pad).numpy() for z in (x, reference)]
            group = Product(model.symmetries)
            found = align(x, reference, group)
            assert found.element.flipped.tolist() == scikit_image(*arrays), "the two disagree"
            seconds = measure(
                {
                    "torch_symbreak": lambda x=x, r=reference, g=group: align(x, r, g),
                    "scikit-image": lambda a=arrays: scikit_image(*a),
                }
            )
            ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
            row = {"dtype": str(dtype)[6:], "torus": 2 * SIZE if padded else SIZE}
            row |= {f"{name}, median s": round(statistics.median(values), 4) for name, values in seconds.items()}
            row |= {"ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in sorted(ratios)]}
            rows.append(row)
            print(row)
    if out is not None:
        machine = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads, {platform.system()} {platform.machine()}"
        versions = {"torch": torch.__version__, "scikit-image": skimage.__version__}
        out.write_text(
            json.dumps({"pairs": PAIRS, "size": SIZE, "machine": machine, "versions": versions, "rows": rows}, indent=2)
            + "\n"
        )


if __name__ == "__main__":
    main()
