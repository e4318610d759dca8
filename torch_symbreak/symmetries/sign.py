"""The sign symmetry of real targets, ``f(-x) = f(x)``, and how to break it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_real
from torch_symbreak._items import batch_shape
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.scalar import Anchor, FixScalar, Scalar


@dataclass(frozen=True)
class Sign(Scalar):
    """The group {+1, -1} acting on real targets: one sign per item.

    Shape: targets (*batch, *channels, *event), elements (*batch,) in the target's dtype, entries +1 or -1.

    Args:
        event_dims: Trailing dimensions of one item; 0 gives every entry a sign of its own. No default: a wrong
            guess would give a whole batch one sign.
        channel_dims: Dimensions before the event that share its sign. Default 0.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
        >>> Sign(1).act(torch.tensor([-1.0, 1.0]), x)
        tensor([[-1.,  2.],
                [ 3.,  4.]])
    """

    counted = True

    def check(self, x: Any) -> None:
        super().check(x)
        check_real(type(self).__name__, x)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        self.check(x)
        drawn = uniform(tuple(batch_shape(x, self.item_dims)), x.device, generator)
        return torch.where(drawn < 0.5, -1, 1).to(x.dtype)

    def gain(self, correlation: Tensor) -> Tensor:
        return correlation.real.abs()

    def best(self, correlation: Tensor) -> Tensor:
        return torch.where(correlation.real < 0, -1, 1).to(correlation.real.dtype)


class FixSign(FixScalar[Sign]):
    """Give every item the sign that makes its anchor positive.

    ``C(x) = sgn(a) x`` with the anchor a: the sum of the item's entries, or a chosen entry.

    Convention: ``FixSign(0)`` makes every entry non-negative (y = x²); ``FixSign(1, anchor=-1)`` makes the last entry
    of every signal positive (y = |Ax|², A real); ``FixSign(2)`` makes the sum of every image positive.

    Ties: items whose sum is below 1e-6 of the sum of their magnitudes. Another number then decides: the first low
    Fourier frequency, about the center of the frame, that exceeds 1e-3 of the sum of magnitudes, or else a sweep
    through all frequencies (rule 6 in docs/mathematics.md). An item that none decides stays as it is, and so does one
    whose chosen entry is 0. :meth:`margin` is the magnitude of the number that decides over the sum of magnitudes, and
    less near the level at which it stops deciding. For a chosen entry it is |entry| over the largest magnitude.

    Shape: (*batch, *channels, *event), floating-point, to the same; :meth:`element` and :meth:`margin` (*batch,).

    Args:
        event_dims: Trailing dimensions of one item; 0 for every entry by itself. No default.
        channel_dims: Dimensions before the event that share its sign. Default 0.
        anchor: "sum" (default), an int (index into the flattened item) or a tuple (one index per dimension).

    Raises:
        TypeError: If the target is complex (use ``FixGlobalPhase``), integer, or no tensor.
        IndexError: If the anchor lies outside the item.

    Example: x and -x get one representative.
        >>> import torch
        >>> fix = FixSign(1, anchor=-1)
        >>> x = torch.tensor([[1.0, 2.0, -3.0], [-1.0, 0.5, 4.0]])
        >>> fix(x)
        tensor([[-1.0000, -2.0000,  3.0000],
                [-1.0000,  0.5000,  4.0000]])
        >>> torch.equal(fix(-x), fix(x))
        True

    References: Zhang et al., arXiv 2403.15448, symmetry breaking for real Gaussian phase retrieval; Tayal et al.,
        arXiv 2003.09077, for y = x².
    """

    def __init__(self, event_dims: int, *, channel_dims: int = 0, anchor: Anchor = "sum") -> None:
        super().__init__(Sign(event_dims, channel_dims=channel_dims), anchor)

    def check(self, x: Any) -> None:
        super().check(x)
        check_real(type(self).__name__, x)

    def unit(self, anchor: Tensor) -> Tensor:
        return torch.sgn(anchor)
