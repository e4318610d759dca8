"""Blind source separation, Y = A S: networks and nearest neighbors before and after symmetry breaking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from torch_symbreak import LinearMixing, relative_error
from torch_symbreak.datasets import MixedSources
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.experiments.predictors import KNN
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import RELATIVE
from torch_symbreak.models import MLP
from torch_symbreak.training import Feature

_SOURCES = range(2, 7)


@dataclass(frozen=True, kw_only=True)
class Separation(Experiment):
    """Learn the mixing matrix and the sources from Y = A S, with one pulse per source and as many sensors as sources.

    The name of the data holds the number of sources: "pulses-2" has 8 signed permutations, "pulses-3" has 48. Errors
    are the mean of ||prediction - x|| / ||x|| in percent, both without alignment and after the best signed permutation.
    The breaking "orbit-loss" is permutation-invariant training.

    Args:
        test_samples: Number of test pairs. Training errors are measured on as many training pairs. Default 1000.
        width: Units of each of the 3 hidden layers. Default 256.

    Example:
        >>> Separation(test_samples=100).axes["data"]
        ['pulses-2', 'pulses-3', 'pulses-4', 'pulses-5', 'pulses-6']
    """

    name: ClassVar[str] = "separation"
    metrics: ClassVar[Mapping[str, str]] = RELATIVE
    feature: ClassVar[Feature] = "intensity"  # measurements unchanged: mixtures have signs
    neighbor_feature: ClassVar[Feature] = "intensity"

    test_samples: int = 1000
    width: int = 256

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        return {"data": [f"pulses-{count}" for count in _SOURCES], "networks": ("dnn", KNN), "breaking": BREAKINGS}

    def model(self, data: str) -> LinearMixing:
        return LinearMixing(_sources(data))

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        return MixedSources(count, self.model(data), sources=_sources(data), seed=seed).batch(range(count))

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        return nn.Sequential(nn.Flatten(), MLP(y[0].numel(), x[0].numel(), width=self.width))

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        symmetries = {"sa_error": self.model(data).symmetries, "error": ()}
        return {name: 100 * float(relative_error(prediction, truth, each)) for name, each in symmetries.items()}


def _sources(data: str) -> int:
    return int(data.removeprefix("pulses-"))
