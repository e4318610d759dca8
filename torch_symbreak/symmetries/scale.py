"""A positive scale, for data whose intensities are not calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import part_of
from torch_symbreak.symmetries.scalar import Scalar


@dataclass(frozen=True)
class Scale(Scalar):
    """Multiplication of every item by a positive number, for measurements whose units are unknown.

    No model declares it, because y changes. Name it beside the other symmetries, and an alignment or a metric finds it
    in closed form.

    An alignment returns the element 0 where no positive scale helps. ``sample`` draws e^u with u uniform in [-1, 1).

    Shape: targets (*batch, *channels, *event), real or complex; elements (*batch,), positive.

    Args:
        event_dims: Trailing dimensions of one item. Default 2.
        channel_dims: Dimensions before the event that share its scale. Default 0.

    Example:
        >>> import torch
        >>> from torch_symbreak import sa_mse
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[1.0, -2.0, 3.0]])
        >>> float(sa_mse(-0.1 * x, x, [Sign(1), Scale(1)])) < 1e-12
        True
    """

    event_dims: int = 2
    unit = False
    counted = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        self.check(x)
        return (2 * uniform(tuple(batch_shape(x, self.item_dims)), x.device, generator) - 1).exp().to(x.real.dtype)

    def inverse(self, g: Tensor) -> Tensor:
        return part_of("Scale", g).reciprocal()

    def gain(self, correlation: Tensor) -> Tensor:
        return correlation.real

    def best(self, correlation: Tensor) -> Tensor:
        return correlation.real.clamp(min=0)
