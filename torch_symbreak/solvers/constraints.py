"""Projections onto what is known of an object besides its intensities. They compose."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._items import tangible
from torch_symbreak.solvers.projections import Projection


class Support:
    """Project onto iterates that vanish outside a support.

    Shape: iterates (B, *M), to the same.

    Args:
        mask: True where the object may be nonzero, (B, *M) or (1, *M).

    Example:
        >>> Support(torch.tensor([[True, False]]))(torch.tensor([[2.0, 3.0]]))
        tensor([[2., 0.]])
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._weight: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self._weight is None or self._weight.dtype != x.dtype:
            # Products are faster than torch.where, and of one dtype they need no conversion on every call.
            self._weight = self.mask.to(x.dtype)
        return x * self._weight


class ShrinkWrap(Support):
    """Project onto a support that follows the object: where its blurred magnitude exceeds a share of the maximum.

    :meth:`update` finds the support anew and narrows the blur. From a blur of one pixel on, the threshold is
    used as given. Narrower blurs dim faint edges, so the threshold falls, to two thirds at half a pixel.

    Args:
        mask: The first support, (B, *M).
        threshold: Share of the blurred maximum; a number, or one per iterate, (B,). Default .15.
        sigma: Standard deviation of the first blur, in pixels. Default 3.
        decay: Factor of sigma per update. Default .95.
        least: The last sigma. Default .5.

    Example:
        >>> wrap = ShrinkWrap(torch.ones(1, 6, dtype=torch.bool), sigma=0.5)
        >>> wrap.update(torch.tensor([[0.0, 0.0, 2.0, 2.0, 0.1, 0.0]]))
        >>> wrap.mask
        tensor([[False,  True,  True,  True,  True, False]])

    References: Marchesini et al., Phys. Rev. B 68, 140101 (2003).
    """

    def __init__(
        self, mask: Tensor, *, threshold: float | Tensor = 0.15, sigma: float = 3.0, decay: float = 0.95,
        least: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__(mask)
        self.threshold = threshold
        self.sigma = sigma
        self.decay = decay
        self.least = least

    def update(self, x: Tensor) -> None:
        """Find the support of iterates (B, *M), and narrow the blur."""
        blurred = blur(x.abs(), self.sigma)
        share = torch.as_tensor(self.threshold, device=x.device) * (1 + 2 * min(self.sigma, 1)) / 3
        peak = blurred.flatten(1).amax(1)
        self.mask = blurred > (share * peak).reshape(-1, *[1] * (x.dim() - 1))
        self._weight = None
        self.sigma = max(self.least, self.sigma * self.decay)


class Largest:
    """Project onto iterates with at most ``count`` nonzero entries: keep the largest magnitudes.

    Exactly ``count`` entries are kept. The choice among equal ones is not specified.

    Args:
        count: Entries to keep.

    Example:
        >>> Largest(2)(torch.tensor([[3.0, -4.0, 1.0]]))
        tensor([[ 3., -4.,  0.]])
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        size, count = flat.abs(), min(self.count, flat.shape[1])
        if tangible(size):  # three times as fast as torch.topk
            places = torch.from_numpy(np.argpartition(size.numpy(), -count, axis=1)[:, -count:])
        else:
            places = size.topk(count, sorted=False).indices
        return torch.zeros_like(flat).scatter_(1, places, flat.gather(1, places)).reshape(x.shape)


class Real:
    """Project onto real iterates.

    Example:
        >>> Real()(torch.tensor([[1 + 2j]]))
        tensor([[1.+0.j]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return x.real.to(x.dtype)


class NonNegative:
    """Project onto iterates that are real and not negative.

    Example:
        >>> NonNegative()(torch.tensor([[1.0, -2.0]]))
        tensor([[1., 0.]])
    """

    def __call__(self, x: Tensor) -> Tensor:
        return x.real.clamp(min=0).to(x.dtype)


class Both:
    """Project onto one constraint after the other. Put :class:`Real` and :class:`NonNegative` first.

    In that order the result is the nearest point that meets all constraints of this module.

    Args:
        *parts: The constraints.

    Example: the largest entry that is not negative.
        >>> Both(NonNegative(), Largest(1))(torch.tensor([[3.0, -4.0, 1.0]]))
        tensor([[3., 0., 0.]])
    """

    def __init__(self, *parts: Projection) -> None:
        self.parts = parts

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


#: Width of the average that stands for a missing pixel, and the least share of its weight that was measured.
_NEAR, _ENOUGH = 0.7, 0.01


def autocorrelation_support(
    y: Tensor, event_dims: int, threshold: float = 0.04, *, mask: Tensor | None = None
) -> Tensor:
    """Return where the autocorrelation of an object exceeds a share of its maximum.

    The autocorrelation is the inverse transform of the intensities. Its support contains a shifted copy of the object's
    support, and its twin. Missing pixels get the average of their neighbors, with Gaussian weights. Zeros there would
    take low frequencies away, and leave an autocorrelation without an end.

    Shape: y (*batch, *M) with zero frequency at index 0, to the same, bool.

    Args:
        y: The intensities. Pass 0 where not measured.
        event_dims: Dimensions of one pattern.
        threshold: Share of the maximum. Default .04.
        mask: True where measured, like y. Default: everywhere.

    Example: two points, three points of their autocorrelation.
        >>> x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        >>> autocorrelation_support(torch.fft.fft(x).abs().square(), 1).nonzero().flatten()
        tensor([0, 2, 6])
    """
    dims = tuple(range(-event_dims, 0))
    if mask is not None and not bool(mask.all()):
        flat = y.reshape(-1, *y.shape[-event_dims:])
        weight = blur(mask.expand_as(y).reshape(flat.shape).to(y.dtype), _NEAR).reshape(y.shape)
        near = blur(flat, _NEAR).reshape(y.shape).clamp(min=0)
        y = torch.where(mask, y, torch.where(weight > _ENOUGH, near / weight, 0))
    size = torch.fft.ifftn(y, dim=dims).abs()
    return size > threshold * size.amax(dims, keepdim=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Convolve real x, (B, *M), with a Gaussian of standard deviation ``sigma`` pixels on the torus."""
    shape, dims = x.shape[1:], tuple(range(1, x.dim()))
    spectrum = torch.fft.rfftn(x, dim=dims)
    for axis, size in enumerate(shape):
        last = axis == len(shape) - 1
        steps = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(size, device=x.device, dtype=x.dtype)
        kernel = torch.exp(-2 * (math.pi * sigma * steps) ** 2)
        spectrum = spectrum * kernel.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return torch.fft.irfftn(spectrum, s=shape, dim=dims)
