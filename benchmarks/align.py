"""Alignment of 64 pairs of 128 x 128 against scikit-image's registration run on both orientations.

python -m benchmarks.align [--out FILE]: needs scikit-image. Both align on one torus: unpadded (128), where shifts wrap,
and padded to 256, where they do not. scikit-image registers one pair at a time, in the precision of its input; ours
decides as double precision does, moves the whole batch, and measures the error in double precision.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from skimage.registration import phase_cross_correlation

from benchmarks.measure import Case, Operations, machine, measure, versions
from torch_symbreak import FarField, Product, RandomSymmetry, align

PAIRS, SIZE, ROUNDS = 64, 128, 7


def scikit_image(x: np.ndarray, reference: np.ndarray) -> list[bool]:
    """Register both orientations of every pair and keep the better one."""
    flipped = []
    for one, other in zip(x, reference, strict=True):
        errors = [phase_cross_correlation(other, twin, normalization=None)[1] for twin in (one, one[::-1, ::-1].conj())]
        flipped.append(errors[1] < errors[0])
    return flipped


def operations(count: int, dtype: torch.dtype, padded: bool) -> Operations:
    """Both, after they were found to agree."""
    generator = torch.Generator().manual_seed(0)
    model = FarField(2, oversampling=2.0 if padded else 1.0)
    reference = torch.zeros(count, SIZE, SIZE, dtype=dtype)
    reference[:, 20:90, 30:100] = torch.randn(count, 70, 70, dtype=dtype, generator=generator)
    x = RandomSymmetry(model.symmetries, generator=generator)(reference)
    pad = (0, SIZE, 0, SIZE) if padded else (0, 0, 0, 0)
    arrays = [torch.nn.functional.pad(z, pad).numpy() for z in (x, reference)]
    group = Product(model.symmetries)
    assert align(x, reference, group).element.flipped.tolist() == scikit_image(*arrays), "the two disagree"
    return {"torch_symbreak": lambda: align(x, reference, group), "scikit-image": lambda: scikit_image(*arrays)}


def cases(quick: bool) -> Iterator[Case]:
    count = 4 if quick else PAIRS
    for dtype in (torch.complex64, torch.complex128):
        for padded in (False, True):
            parameters = {"dtype": str(dtype)[6:], "torus": 2 * SIZE if padded else SIZE, "batch": count}
            yield Case(
                "registration", parameters, count, lambda dtype=dtype, padded=padded: operations(count, dtype, padded)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rows = []
    for case in cases(quick=False):
        seconds = measure(case.operations(), rounds=ROUNDS)
        ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
        row = {"dtype": case.parameters["dtype"], "torus": case.parameters["torus"]}
        row |= {f"{name}, median s": round(statistics.median(values), 4) for name, values in seconds.items()}
        row |= {"ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in sorted(ratios)]}
        rows.append(row)
        print(row)
    if out is not None:
        result = {"pairs": PAIRS, "size": SIZE, "machine": machine(), "versions": versions("scikit-image")}
        out.write_text(json.dumps(result | {"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
