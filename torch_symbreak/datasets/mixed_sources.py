"""Mixtures of pulses, for blind source separation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torch_symbreak._checks import check_whole
from torch_symbreak._random import item_normal, item_uniform
from torch_symbreak.datasets.base import Pairs, Transform
from torch_symbreak.forward import LinearMixing

#: Widths of pulses, as standard deviations, in samples.
_WIDTHS = (2.0, 4.0)


class MixedSources(Pairs):
    """Draw pairs (y, x) of blind source separation: every source is one Gaussian pulse, and A has normal entries.

    A pulse is positive or negative, lies anywhere in the signal, has a standard deviation of 2 to 4 samples, and is
    scaled to the norm 1. The entries of A are independent, with the variance 1 / sensors. So the order and the signs of
    the sources are random.

    Shape: y (sensors, samples), x (sources, sensors + samples), float32.

    Args:
        size: Number of pairs.
        forward: The model, ``LinearMixing(sensors)``.
        sources: Number of sources. Default 3.
        samples: Length of the signals. Default 32.
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``forward.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device on which items are made. Default "cpu".

    Raises:
        ValueError: If ``forward`` is no ``LinearMixing``, ``size`` is negative, or a number is too small.

    Example:
        >>> import torch
        >>> from torch_symbreak import LinearMixing
        >>> model = LinearMixing(4)
        >>> y, x = MixedSources(100, model, target_transform=model.canonicalizer())[3]
        >>> y.shape, x.shape, torch.allclose(model(x), y, atol=1e-6)
        (torch.Size([4, 32]), torch.Size([3, 36]), True)
    """

    def __init__(
        self,
        size: int,
        forward: LinearMixing,
        *,
        sources: int = 3,
        samples: int = 32,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(forward, LinearMixing):
            raise ValueError(f"MixedSources needs a LinearMixing model, but got {forward!r}.")
        super().__init__(size, forward, seed, transform, target_transform, device)
        self.sources = check_whole("MixedSources", "sources", sources, least=1)
        self.samples = check_whole("MixedSources", "samples", samples, least=2)

    def objects(self, index: Tensor) -> Tensor:
        model = self.forward_model
        assert isinstance(model, LinearMixing)
        place, width, sign = item_uniform(self.seed, index, (3, self.sources, 1)).unbind(1)
        time = torch.arange(self.samples, device=index.device)
        width = _WIDTHS[0] + (_WIDTHS[1] - _WIDTHS[0]) * width
        pulses = torch.exp(-((time - place * (self.samples - 1)) / width).square() / 2)
        A = item_normal(self.seed, index, (model.sensors, self.sources), stream=1) / math.sqrt(model.sensors)
        pulses = torch.where(sign < 0.5, -pulses, pulses) / torch.linalg.vector_norm(pulses, dim=-1, keepdim=True)
        return model.join(A, pulses).float()
