"""Factorization: point clouds from their inner products, Y = X Xᵀ, or from their distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from torch_symbreak import DistanceMatrix, GramMatrix
from torch_symbreak.datasets import PointClouds
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.experiments.predictors import KNN
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import RELATIVE
from torch_symbreak.metrics import orbit_distance
from torch_symbreak.models import MLP
from torch_symbreak.training import Feature


@dataclass(frozen=True, kw_only=True)
class Factorization(Experiment):
    """Learn a point cloud X from Y = X Xᵀ, up to an orthogonal matrix, or from its distances, up to a rigid motion.

    Names of data are measurement and dimension: "gram-3", "distances-2". Clouds are noisy copies of a few random
    prototypes at random points of their orbits. Errors are the mean of ||prediction - x|| / ||x|| in percent, as they
    are and after the best element of the symmetry. For distances ||x|| is that of the centered cloud, which does not
    depend on where it lies.

    Args:
        test_samples: Number of test pairs, and of training pairs that training errors are measured on. Default 2000.
        points: Number of points of a cloud. Default 10.
        prototypes: Number of prototypes, with normal coordinates. Default 5.
        noise: Standard deviation of the noise on every coordinate. Default 0.3.
        width: Units of each of the 3 hidden layers. Default 256.

    Example:
        >>> "gram-3" in Factorization().axes["data"]
        True
    """

    name: ClassVar[str] = "factorization"
    metrics: ClassVar[Mapping[str, str]] = RELATIVE
    feature: ClassVar[Feature] = "intensity"
    neighbor_feature: ClassVar[Feature] = "intensity"

    test_samples: int = 2000
    points: int = 10
    prototypes: int = 5
    noise: float = 0.3
    width: int = 256

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        data = [f"{kind}-{r}" for kind in ("gram", "distances") for r in range(1, self.points)]
        return {"data": data, "networks": ("dnn", KNN), "breaking": BREAKINGS}

    def model(self, data: str) -> GramMatrix | DistanceMatrix:
        return GramMatrix() if data.startswith("gram") else DistanceMatrix()

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        r = int(data.rpartition("-")[2])
        prototypes = torch.randn(self.prototypes, self.points, r, generator=torch.Generator().manual_seed(r))
        return PointClouds(count, self.model(data), prototypes, noise=self.noise, seed=seed).batch(range(count))

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        return nn.Sequential(nn.Flatten(), MLP(y[0].numel(), x[0].numel(), width=self.width))

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        symmetries = self.model(data).symmetries
        adjusted = orbit_distance(prediction, truth, symmetries, reduction="none")
        raw = (prediction.double() - truth.double()).flatten(1).norm(dim=1)
        centered = truth.double() - (truth.double().mean(-2, keepdim=True) if data.startswith("distances") else 0)
        size = centered.flatten(1).norm(dim=1)
        return {"sa_error": 100 * float((adjusted / size).mean()), "error": 100 * float((raw / size).mean())}
