"""Make the pictures of docs/plots.md and docs/mathematics.md: ``python examples/pictures.py [FOLDER]``.

The folder is docs/pictures by default. The learning curve is that of a small perceptron on square roots, trained here.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import TensorDataset

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import (
    COLORS,
    NEUTRAL,
    plot_learning_curve,
    png,
    show_before_after,
    show_margins,
    show_object,
    show_orbit,
)
from torch_symbreak.training import Hardware, Regression, Training, fit


def curves() -> dict[str, list[float]]:
    """Train a perceptron on y = x², x >= 0, and return its losses by epoch."""
    torch.manual_seed(0)
    x = torch.rand(600, 1)
    y, training = x.square(), Training(max_epochs=60)
    network = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1))
    regression = Regression(network, y[:500], x[:500], feature="intensity", training=training)
    train, validation = TensorDataset(y[:500], x[:500]), TensorDataset(y[500:], x[500:])
    with tempfile.TemporaryDirectory() as folder:
        losses = fit(regression, train, validation, folder=Path(folder), hardware=Hardware(device="cpu"), label="roots")
    return {"training": list(losses.train), "validation": list(losses.validation)}


def show_domains(figure: Figure) -> None:
    """Draw two fundamental domains of the quarter turns of the plane: of some rule, and of a template."""
    radius, shift = np.linspace(0, 4, 400), 0.35
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    bends = ("some rule", "exact", 0.5 * np.sin(3.2 * radius)), ("nearest to a template t", "template", 0 * radius)
    for axes, (title, name, bend) in zip(panels, bends, strict=True):
        for turn in range(4):
            low, high = (shift + bend + math.pi / 2 * (turn + side) for side in (-0.5, 0.5))
            x = np.concatenate((radius * np.cos(low), (radius * np.cos(high))[::-1]))
            y = np.concatenate((radius * np.sin(low), (radius * np.sin(high))[::-1]))
            axes.fill(x, y, color=COLORS[name], alpha=0.3 if turn == 0 else 0, linewidth=0)
            axes.plot(radius * np.cos(low), radius * np.sin(low), color=NEUTRAL, linewidth=0.8)
        for length, angle in ((0.9, 2.2), (0.55, 0.9)):
            angles = angle + math.pi / 2 * np.arange(4)
            turned = (angles - shift - np.interp(length, radius, bend) + math.pi / 4) % math.tau
            inside = turned < math.pi / 2
            axes.plot(length * np.cos(angles), length * np.sin(angles), "o", color="white", markeredgecolor="black")
            axes.plot(length * np.cos(angles[inside]), length * np.sin(angles[inside]), "o", color="black")
        axes.set(title=title, xticks=[], yticks=[], aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    panels[1].annotate("t", (1.05 * math.cos(shift), 1.05 * math.sin(shift)), ha="center", va="center", fontsize=13)
    panels[1].annotate("", (0.97 * math.cos(shift), 0.97 * math.sin(shift)), (0, 0), arrowprops={"arrowstyle": "->"})


def main() -> None:
    """Write the pictures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    model, generator = FarField(2), torch.Generator().manual_seed(1)
    x = BraggCrystals(200).objects(torch.arange(200))
    x = RandomSymmetry(model.symmetries, generator=generator)(x)
    template = model.fit_canonicalizer(x, progress=False)
    pictures: dict[str, tuple[tuple[float, float], Callable[[Axes], object]]] = {
        "object": ((3.6, 2.8), lambda axes: show_object(x[3], axes)),
        "orbit": ((9, 1.7), lambda axes: show_orbit(x[3], model.symmetries, axes)),
        "before_after": ((9, 2.5), lambda axes: show_before_after(x, template, axes)),
        "margins": ((5, 3.4), lambda axes: show_margins(model.canonicalizer().deciding_margins(x), axes)),
        "learning_curve": ((5, 3.4), lambda axes: plot_learning_curve(curves(), axes)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    show_domains(figure)
    (folder / "domain.png").write_bytes(png(figure))
    for name, (size, draw) in pictures.items():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        path = folder / f"{name}.png"
        path.write_bytes(png(figure))
        print(path)


if __name__ == "__main__":
    main()
