"""Align pairs of 128 x 128, beside scikit-image's registration run on both orientations.

Both align on the same torus: unpadded (128), where shifts wrap, and padded to 256, where they do not. scikit-image
registers one pair at a time, in the precision of its input. Ours decides as double precision would, moves the whole
batch, and measures the error in double precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skimage.registration import phase_cross_correlation

from benchmarks.measure import Operations, Timing
from benchmarks.report import rates as figure
from torch_symbreak import FarField, RandomSymmetry, align
from torch_symbreak.symmetries import Product

__all__ = ["cases", "figure", "notes"]

SIZE = 128


def scikit_image(x: np.ndarray, reference: np.ndarray) -> list[bool]:
    """Register both orientations of every pair and return whether the flipped one fits better."""
    flipped = []
    for item, goal in zip(x, reference, strict=True):
        # without normalization=None the error does not tell an object from its twin
        errors = [
            phase_cross_correlation(goal, twin, normalization=None)[1] for twin in (item, item[::-1, ::-1].conj())
        ]
        flipped.append(errors[1] < errors[0])
    return flipped


def _operations(count: int, dtype: torch.dtype, padded: bool) -> Operations:
    generator = torch.Generator().manual_seed(0)
    model = FarField(2, oversampling=2.0 if padded else 1.0)
    reference = torch.zeros(count, SIZE, SIZE, dtype=dtype)
    reference[:, 20:90, 30:100] = torch.randn(count, 70, 70, dtype=dtype, generator=generator)
    x = RandomSymmetry(model.symmetries, generator=generator)(reference)
    pad = (0, SIZE, 0, SIZE) if padded else (0, 0, 0, 0)
    arrays = [torch.nn.functional.pad(z, pad).numpy() for z in (x, reference)]
    group = Product(model.symmetries)
    assert align(x, reference, group).element.flipped.tolist() == scikit_image(*arrays), "the two disagree"
    return {"align": lambda: align(x, reference, group), "scikit-image": lambda: scikit_image(*arrays)}


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    if device.type != "cpu":  # scikit-image has only a CPU
        return
    count = 4 if quick else 64
    for dtype, padded in itertools.product((torch.complex64, torch.complex128), (False, True)):
        parameters = {"dtype": str(dtype)[6:], "torus": 2 * SIZE if padded else SIZE, "batch": count}
        yield Timing(
            "registration", parameters, count, lambda dtype=dtype, padded=padded: _operations(count, dtype, padded)
        )


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    return {}
