"""The contract of measurement models: each declares its symmetries and the canonicalizer that breaks them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from torch_symbreak._checks import check_implemented
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import Canonicalizer, Symmetry


class ForwardModel(nn.Module):
    """A measurement ``y = f(x)`` with ``f(g . x) = f(x)`` for every g of its declared :attr:`symmetries`.

    Example: your own model, the magnitude of real vectors.
        >>> import torch
        >>> from torch_symbreak.symmetries import FixSign, Sign
        >>> class Magnitude(ForwardModel):
        ...     symmetries = (Sign(0),)
        ...     def canonicalizer(self):
        ...         return FixSign(0)
        ...     def forward(self, x):
        ...         return x.abs()
        >>> model = Magnitude()
        >>> model(torch.tensor([-2.0])), model.canonicalizer()(torch.tensor([-2.0]))
        (tensor([2.]), tensor([2.]))
    """

    def __init__(self) -> None:
        super().__init__()
        check_implemented(self)

    @property
    @abstractmethod
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Return the symmetries of the model. Any product of them leaves the measurement unchanged."""

    @abstractmethod
    def canonicalizer(self) -> Canonicalizer[Any]:
        """Return the transform for targets that breaks all of :attr:`symmetries`."""

    def fit_canonicalizer(self, objects: Any, **options: Any) -> Canonicalizer[Any]:
        """Return the canonicalizer that moves targets nearest to a template fitted to ``objects``.

        Args:
            objects: The training targets, as for :meth:`AlignToTemplate.fit`.
            **options: Further arguments of :meth:`AlignToTemplate.fit`.
        """
        return AlignToTemplate.fit(objects, self.symmetries, **options)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the measurement of every item of ``x``."""
