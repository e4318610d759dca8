"""Gaussian phase retrieval, y = |A x|²: the talk's table of networks and nearest neighbors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from torch_symbreak import GaussianIntensity, relative_error
from torch_symbreak.datasets import GaussianPairs
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.experiments.predictors import KNN
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import RELATIVE, Talk
from torch_symbreak.models import MLP
from torch_symbreak.training import Feature


@dataclass(frozen=True, kw_only=True)
class Gaussian(Experiment):
    """Learn x from y = |A x|², with x uniform on the unit sphere and one Gaussian A of 4 dim rows per data.

    Names of data are field and dimension: "real-5" (symmetry: the sign), "complex-5" (the phase). Errors are relative,
    the mean of ||prediction - x|| / ||x|| in percent, as they are and after the best sign or phase. Networks get
    intensities. Nearest neighbors get magnitudes.

    Args:
        test_samples: Number of test pairs, and of training pairs that training errors are measured on. Default 5000.
        width: Units of each of the 3 hidden layers. Default 256.

    Example:
        >>> experiment = Gaussian(test_samples=100)
        >>> "real-5" in experiment.axes["data"], experiment.talk["real-5", "dnn", 20_000]
        (True, (85.37, 4.08))
    """

    name: ClassVar[str] = "gaussian"
    metrics: ClassVar[Mapping[str, str]] = RELATIVE
    talk: ClassVar[Talk] = {
        ("real-5", "dnn", 20_000): (85.37, 4.08),
        ("real-5", "dnn", 50_000): (90.51, 2.20),
        ("real-5", "dnn", 100_000): (96.66, 1.30),
        ("real-5", "dnn", 1_000_000): (122.71, 0.37),
        ("real-5", "knn", 20_000): (68.26, 11.82),
        ("real-5", "knn", 50_000): (66.58, 9.41),
        ("real-5", "knn", 100_000): (66.18, 7.98),
        ("real-5", "knn", 1_000_000): (65.08, 4.71),
    }
    talk_comparable: ClassVar[bool] = True
    feature: ClassVar[Feature] = "intensity"

    test_samples: int = 5000
    width: int = 256

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        data = [f"{field}-{dim}" for field in ("real", "complex") for dim in range(2, 101)]
        return {"data": data, "networks": ("dnn", KNN), "breaking": BREAKINGS}

    def model(self, data: str) -> GaussianIntensity:
        """Return the forward model of some data, the same for training and test.

        Example:
            >>> Gaussian().model("complex-5").A.shape
            torch.Size([20, 5])
        """
        match = re.fullmatch(r"(real|complex)-(\d+)", data)
        assert match is not None
        field: Literal["real", "complex"] = "real" if match[1] == "real" else "complex"
        dim = int(match[2])
        return GaussianIntensity.draw(4 * dim, dim, field=field, generator=torch.Generator().manual_seed(dim))

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        return GaussianPairs(count, self.model(data), seed=seed).batch(range(count))

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        return MLP(y.shape[1], x.shape[1] * (2 if x.is_complex() else 1), width=self.width)

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        raw = torch.linalg.vector_norm(prediction - truth, dim=-1) / torch.linalg.vector_norm(truth, dim=-1)
        adjusted = relative_error(prediction, truth, self.model(data).symmetries)
        return {"sa_error": 100 * float(adjusted), "error": 100 * float(raw.double().mean())}
