"""Compare thresholds between background and content: methods of scikit-image, judged by the targets that they give.

Prints, per method and population, the worst and the mean distance over all cases: clean objects moved as their noisy
copies are, from the clean objects' targets, in units of their norms. Run it with ``python -m benchmarks.thresholds``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from skimage import data, filters
from torch import Tensor

from torch_symbreak import FarField, suggest_threshold
from torch_symbreak.canonical.thresholds import lines_of
from torch_symbreak.datasets import BraggCrystals

METHODS = ("otsu", "li", "triangle", "yen", "isodata", "minimum")


def objects(real: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield crystals, and photographs in dark frames, by name."""
    for size, count in ((32, 200), (64, 60)):
        x = BraggCrystals(count, frame=(size, size)).objects(torch.arange(count)).to(torch.complex128)
        yield f"crystals {size}", x.abs() if real else x
    image, generator = torch.tensor(data.camera() / 255), torch.Generator().manual_seed(0)
    corners = torch.randint(384, (60, 2), generator=generator).tolist()
    x = torch.stack([image[a : a + 128 : 4, b : b + 128 : 4] for a, b in corners])
    x = torch.nn.functional.pad(x, (8, 24, 20, 12))
    yield "photographs", x if real else torch.polar(x, 2 * x)


def noisy_copies(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield x with noise of 1, 2 and 5 % of the peak, and of 1 % with hot pixels in one item of fifty."""
    generator = torch.Generator().manual_seed(1)
    for percent in (1, 2, 5):
        yield f"{percent} %", x + percent / 100 * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    hot = x + 0.01 * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    hot[::50, 3, 5] = 10
    yield "1 %, hot", hot


def distance(clean: Tensor, noisy: Tensor, threshold: float) -> float:
    """Return the mean distance of clean objects, moved as the noisy ones are, from their targets."""
    model = FarField(2, field="complex" if clean.is_complex() else "real")
    fix, target = model.canonicalizer(threshold=threshold), model.canonicalizer()(clean)
    apart = torch.linalg.vector_norm(fix.symmetry.act(fix.element(noisy), clean) - target, dim=(1, 2))
    return float((apart / torch.linalg.vector_norm(target, dim=(1, 2))).mean())


def thresholds(noisy: Tensor) -> Iterator[tuple[str, float]]:
    """Yield each method's threshold, of the pixels and of the lines, by name."""
    pixels = noisy.abs().flatten(1) / noisy.abs().amax((1, 2))[:, None]
    for population, values in (("pixels", pixels), ("lines", lines_of(noisy, 2))):
        logs = values[values > 1e-4].log().numpy()
        for method in METHODS:
            try:
                yield f"{method} of {population}", math.exp(getattr(filters, f"threshold_{method}")(logs))
            except RuntimeError:  # no minimum
                yield f"{method} of {population}", 1e-4
    yield "suggest_threshold", suggest_threshold(noisy)


def main() -> None:
    """Measure all cases and print the table."""
    found: dict[str, list[float]] = {}
    for real in (False, True):
        for _, clean in objects(real):
            for _, noisy in noisy_copies(clean):
                for name, threshold in thresholds(noisy):
                    found.setdefault(name, []).append(distance(clean, noisy, min(threshold, 0.99)))
    for name, values in sorted(found.items(), key=lambda entry: max(entry[1])):
        print(f"{name:22} worst {max(values):.3f}  mean {np.mean(values):.3f}  of {len(values)}")


if __name__ == "__main__":
    main()
