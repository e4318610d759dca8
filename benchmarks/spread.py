"""Measure how much a template gathers targets: their spread beside the exact rule's, and the share that it explains.

Prints both for the experiments' objects and for noise. Run it with ``python -m benchmarks.spread``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from torch_symbreak import FarField
from torch_symbreak.experiments.farfield import DATA

COUNT, FRAME = 500, (32, 32)


def main() -> None:
    """Print a line per kind of objects."""
    model, generator = FarField(2), torch.Generator().manual_seed(0)
    objects = {name: make(FRAME, COUNT, 0, True) for name, make in DATA.items()}
    noise = torch.randn(COUNT, *(n // 2 for n in FRAME), dtype=torch.complex64, generator=generator)
    objects["noise"] = F.pad(noise, [n // 4 for n in FRAME for _ in (0, 1)])
    for name, x in objects.items():
        fix = model.fit_canonicalizer(x, progress=False)
        spread = float(fix(x).var(0).sum() / model.canonicalizer()(x).var(0).sum())
        print(f"{name}: spread {spread:.3f} of the exact rule's, explained {fix.explained:.3f}")


if __name__ == "__main__":
    main()
