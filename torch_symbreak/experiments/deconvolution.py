"""Blind deconvolution, y = k * x: a kernel and an image from their convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from torch_symbreak import relative_error
from torch_symbreak.datasets import BlurredShapes
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.experiments.predictors import KNN
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import RELATIVE
from torch_symbreak.forward import BlindConvolution
from torch_symbreak.models import MLP
from torch_symbreak.training import Feature


@dataclass(frozen=True, kw_only=True)
class Deconvolution(Experiment):
    """Learn kernel and image from their convolution: motion blur in 9 x 9 pixels, shapes in 16 x 16.

    A target holds both, at one norm. Raw targets differ by an opposite shift and a sign. Errors are relative, the mean
    of ||prediction - target|| / ||target|| in percent, as they are and after the best shift and sign. Networks and
    nearest neighbors get y itself.

    Args:
        test_samples: Number of test pairs, and of training pairs that training errors are measured on. Default 1000.
        width: Units of each of the 3 hidden layers. Default 256.

    Example:
        >>> y, x = Deconvolution().pairs("shapes", 3, seed=0, train=True)
        >>> y.shape, x.shape
        (torch.Size([3, 24, 24]), torch.Size([3, 2, 16, 16]))
    """

    name: ClassVar[str] = "deconvolution"
    metrics: ClassVar[Mapping[str, str]] = RELATIVE
    feature: ClassVar[Feature] = "intensity"
    neighbor_feature: ClassVar[Feature] = "intensity"

    test_samples: int = 1000
    width: int = 256

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        return {"data": ("shapes",), "networks": ("dnn", KNN), "breaking": BREAKINGS}

    def model(self, data: str) -> BlindConvolution:
        return BlurredShapes(0).forward_model

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        return BlurredShapes(count, seed=seed).batch(range(count))

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        return nn.Sequential(nn.Flatten(), MLP(y[0].numel(), x[0].numel(), width=self.width))

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        symmetries = {"sa_error": self.model(data).symmetries, "error": ()}
        return {name: 100 * float(relative_error(prediction, truth, each)) for name, each in symmetries.items()}
