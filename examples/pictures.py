"""Make the pictures of docs/plots.md: ``python examples/pictures.py [FOLDER]``, docs/pictures by default.

The learning curve is that of a small perceptron on square roots, trained here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import TensorDataset

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import plot_learning_curve, png, show_before_after, show_margins, show_object, show_orbit
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
    for name, (size, draw) in pictures.items():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        path = folder / f"{name}.png"
        path.write_bytes(png(figure))
        print(path)


if __name__ == "__main__":
    main()
