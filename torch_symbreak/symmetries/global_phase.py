"""The global phase of complex targets, ``f(u x) = f(x)`` for |u| = 1, and how to break it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_complex
from torch_symbreak._items import batch_shape, power
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.scalar import Anchor, FixScalar, Scalar


@dataclass(frozen=True)
class GlobalPhase(Scalar):
    """The unit complex numbers acting on complex targets: one phase factor per item.

    Shape: targets (*batch, *channels, *event), elements (*batch,) in the target's dtype, of magnitude 1.

    Args:
        event_dims: Trailing dimensions of one item. Default 2.
        channel_dims: Dimensions before the event that share its phase. Default 0.

    Example:
        >>> import torch
        >>> group, x = GlobalPhase(1), torch.tensor([[1.0 + 1.0j, 2.0]])
        >>> group.act(torch.tensor([1.0j]), x)
        tensor([[-1.+1.j,  0.+2.j]])
    """

    event_dims: int = 2
    counted = True

    def check(self, x: Any) -> None:
        super().check(x)
        check_complex(type(self).__name__, x, self.event_dims)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        self.check(x)
        angle = 2 * math.pi * uniform(tuple(batch_shape(x, self.item_dims)), x.device, generator)
        return torch.polar(torch.ones_like(angle), angle).to(x.dtype)

    def gain(self, correlation: Tensor) -> Tensor:
        return power(correlation)  # |c|²: gains are only compared

    def best(self, correlation: Tensor) -> Tensor:
        return torch.where(correlation == 0, 1, torch.sgn(correlation).conj())


class FixGlobalPhase(FixScalar[GlobalPhase]):
    """Give every item the global phase that makes its anchor real and positive.

    ``C(x) = conj(sgn(a)) x`` with the anchor a: the sum of the item's entries (the DC coefficient of its Fourier
    transform, however padded), or a chosen entry. No Fourier transform is taken. Differentiable away from ties.

    Ties: items whose sum is below 1e-6 of the sum of their magnitudes. Another number then decides: the first low
    Fourier frequency, about the center of the frame, that exceeds 1e-3 of the sum of magnitudes, or else a sweep
    through all frequencies (rule 6 in docs/mathematics.md). An item that none decides stays as it is, and so does one
    whose chosen entry is 0. :meth:`margin` is the magnitude of the number that decides over the sum of magnitudes, and
    less near the level at which it stops deciding. For a chosen entry it is |entry| over the largest magnitude.

    Shape: (*batch, *channels, *event), complex, to the same; :meth:`element` and :meth:`margin` (*batch,).

    Args:
        event_dims: Trailing dimensions of one item. Default 2.
        channel_dims: Dimensions before the event that share its phase. Default 0.
        anchor: "sum" (default), an int (index into the flattened item) or a tuple (one index per dimension). Put
            this transform after ``CenterContent`` and ``FixConjugateFlip``. The order matters unless the anchor is
            "sum" and the sum is no tie.

    Raises:
        TypeError: If the target is real (use ``FixSign``), integer, or no tensor.
        IndexError: If the anchor lies outside the item.

    Example: x and u x get one representative, whose sum is real and positive.
        >>> import torch
        >>> fix = FixGlobalPhase(2)
        >>> x = torch.tensor([[[1.0j, 2.0j], [0.0, 1.0j]]])
        >>> fix(x).real
        tensor([[[1., 2.],
                 [0., 1.]]])
        >>> u = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
        >>> torch.allclose(fix(u * x), fix(x), atol=1e-6)
        True

    References: Zhang et al., arXiv 2403.15448, Algorithm 2, line 6.
    """

    def __init__(self, event_dims: int = 2, *, channel_dims: int = 0, anchor: Anchor = "sum") -> None:
        super().__init__(GlobalPhase(event_dims, channel_dims=channel_dims), anchor)

    def check(self, x: Any) -> None:
        super().check(x)
        check_complex(type(self).__name__, x, self.symmetry.event_dims)

    def unit(self, anchor: Tensor) -> Tensor:
        return torch.sgn(anchor).conj()
