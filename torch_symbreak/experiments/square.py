"""The square root, y = x²: the talk's first example, one number to one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from torch_symbreak import ElementwiseSquare, sa_mse
from torch_symbreak.datasets import SquareRoots
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.experiments.predictors import KNN, Predict, Split
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import MSE, largest
from torch_symbreak.experiments.results import Row
from torch_symbreak.models import MLP
from torch_symbreak.plots import NEUTRAL, Line, plot_lines
from torch_symbreak.training import Feature


@dataclass(frozen=True, kw_only=True)
class SquareRoot(Experiment):
    """Learn x from y = x², with x uniform on [-1, 1], before and after its sign is fixed.

    Args:
        test_samples: Number of test pairs, and of training pairs that training errors are measured on. Default 5000.
        width: Units of each of the 3 hidden layers. Default 64.

    Example:
        >>> SquareRoot().axes["networks"]
        ('dnn', 'knn')
    """

    name: ClassVar[str] = "square"
    metrics: ClassVar[Mapping[str, str]] = MSE
    feature: ClassVar[Feature] = "intensity"

    test_samples: int = 5000
    width: int = 64

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        return {"data": ("uniform",), "networks": ("dnn", KNN), "breaking": BREAKINGS}

    def model(self, data: str) -> ElementwiseSquare:
        return ElementwiseSquare()

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        return SquareRoots(count, seed=seed).batch(range(count))

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        return MLP(1, 1, width=self.width)

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        mse = (prediction.double() - truth.double()).square().mean()
        return {"mse": float(mse), "sa_mse": float(sa_mse(prediction, truth, self.model(data).symmetries))}

    def keep(self, data: str, breaking: str, predict: Predict, split: Split) -> dict[str, Tensor]:
        y = torch.linspace(0, 1, 501)[:, None]
        return {"y": y[:, 0], "learned": predict(y)[:, 0]}

    def figures(self, rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> dict[str, Figure]:
        panels: dict[str, list[Line]] = {}
        colors: dict[str, str] = {}
        for row in largest(rows):
            kept = arrays(row)
            if "learned" not in kept:
                continue
            heading = f"targets: {row['breaking']}, n = {row['n']}"
            if heading not in panels:
                y = kept["y"].tolist()
                root = kept["y"].sqrt()
                panels[heading] = [Line("√y", y, root.tolist(), color=NEUTRAL, style="--")]
                if row["breaking"] == "none":
                    panels[heading].append(Line("√y", y, (-root).tolist(), color=NEUTRAL, style="--"))
            color = colors.setdefault(row["network"], f"C{len(colors)}")
            panels[heading].append(Line(row["network"], kept["y"].tolist(), kept["learned"].tolist(), color=color))
        return {"functions": plot_lines(panels, x="y", y="x")} if panels else {}
