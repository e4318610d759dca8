"""Diagnose crystals before and after symmetry breaking: ``python examples/report.py [FOLDER]``.

Prints both reports and writes their pages. The picture in docs/diagnosing.md is a screenshot of before.html, by

    chromium --headless --screenshot=report.png --window-size=1280,4410 before.html
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics import diagnose


def main() -> None:
    """Print and write the reports."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "symbreak-out")
    folder.mkdir(parents=True, exist_ok=True)
    model, generator = FarField(2), torch.Generator().manual_seed(1)
    scramble = RandomSymmetry(model.symmetries, generator=generator)
    train, test = (
        scramble(BraggCrystals(count, seed=seed).objects(torch.arange(count))) for count, seed in ((500, 0), (100, 1))
    )
    template = model.fit_canonicalizer(train, progress=False)
    for name, x in (("before", train), ("after", template(train))):
        report = diagnose(x, model, test=test, noise=0.01)
        print(report)
        print(report.save_html(folder / f"{name}.html"))


if __name__ == "__main__":
    main()
