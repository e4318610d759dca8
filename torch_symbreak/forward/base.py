"""The contract of measurement models: each declares its symmetries and the canonicalizer that breaks them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from torch_symbreak.symmetries import Canonicalizer, Symmetry


class ForwardModel(nn.Module):
    """A measurement ``y = f(x)`` with ``f(g . x) = f(x)`` for every g of its declared :attr:`symmetries`."""

    @property
    @abstractmethod
    def symmetries(self) -> tuple[Symmetry, ...]:
        """The symmetries of the model. Any product of them leaves the measurement unchanged."""

    @abstractmethod
    def canonicalizer(self) -> Canonicalizer[Any]:
        """Return the transform for targets that breaks all of :attr:`symmetries`."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of every item of ``x``."""
