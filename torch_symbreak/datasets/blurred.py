"""Blurred images: motion blur of a few bright shapes, both unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torch_symbreak._random import item_uniform
from torch_symbreak.datasets.base import Pairs, Transform
from torch_symbreak.forward import BlindConvolution

#: Shapes of an image, and the pixels that they leave free at each edge of its frame.
_SHAPES, _MARGIN = 3, 1


class BlurredShapes(Pairs):
    """Draw pairs (y, z): a blurred image, and its blur and the sharp image as one target of ``BlindConvolution``.

    The kernel is a motion blur: a smooth bump over an ellipse of random length, width and direction, brighter toward
    one end, about a pixel's center. (Between pixels, kernel and image could trade nearly any fraction of a pixel.) The
    image holds three ellipses of random sizes and brightness, and leaves one pixel free at each edge. A random
    admissible element of the symmetry then moves each pair: y tells neither where the two lie nor their signs. y
    determines the rest, because y does not fit the image's frame, and the image does not fit the kernel's.

    Shape: y (H + h - 1, W + w - 1) float32, z (2, H, W) float32.

    Args:
        size: Number of pairs.
        kernel: The kernel's frame (h, w), odd numbers from 9. Default (9, 9).
        frame: The image's frame (H, W), each larger than those of the kernel by 3 or more. Default (16, 16).
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For z, per sample; ``data.forward_model.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device on which items are made. Default "cpu".

    Raises:
        ValueError: If a frame is too small, or does not have two axes, or the kernel's sizes are even.

    Example: the same measurement after the target is made canonical.
        >>> data = BlurredShapes(10)
        >>> model = data.forward_model
        >>> y, z = data[0]
        >>> y.shape, bool(torch.allclose(model(model.canonicalizer()(z)), y, atol=1e-5))
        (torch.Size([24, 24]), True)
    """

    forward_model: BlindConvolution

    def __init__(
        self,
        size: int,
        *,
        kernel: Sequence[int] = (9, 9),
        frame: Sequence[int] = (16, 16),
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not (isinstance(kernel, (tuple, list)) and isinstance(frame, (tuple, list))):
            raise TypeError(
                "BlurredShapes needs a kernel and a frame of 2 ints each, such as (9, 9) and (16, 16), but got "
                f"{kernel!r} and {frame!r}."
            )
        kernel, frame = tuple(kernel), tuple(frame)
        if len(kernel) != 2 or min(kernel) < 9 or not all(n % 2 for n in kernel):
            raise ValueError(f"BlurredShapes needs a kernel of 2 odd sizes of at least 9, but got {kernel}.")
        if len(frame) != 2 or min(frame) < max(kernel) + 3:
            least = max(kernel) + 3
            raise ValueError(f"BlurredShapes needs a frame of 2 sizes of at least {least}, but got {frame}.")
        super().__init__(size, BlindConvolution(kernel, frame), seed, transform, target_transform, device)

    def objects(self, index: Tensor) -> Tensor:
        model = self.forward_model
        group = model.symmetries[0]
        z = model.join(self._kernels(index), self._images(index))
        return group.act(group.sample_each(z, self.seed, index.cpu()), z)

    def _kernels(self, index: Tensor) -> Tensor:
        kernel = self.forward_model.kernel
        drawn = item_uniform(self.seed, index, (4,), stream=0)
        longest = (min(kernel) - 1) / 2
        half = torch.stack([longest * (0.75 + 0.25 * drawn[:, 0]), 1 + 0.6 * drawn[:, 1]], -1)  # (B, 2), in pixels
        angle = math.pi * drawn[:, 2]
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
        middle = (_sizes(kernel, index) - 1) / 2
        away = (_points(kernel, index) - middle) @ turn.mT / half[:, None]  # (B, P, 2), 1 at the edge
        brighter = 1 + 0.9 * (2 * drawn[:, 3:] - 1) * away[..., 0]
        bump = brighter * (1 - away.square().sum(-1)).clamp_min(0)
        return bump.reshape(len(index), *kernel).float()

    def _images(self, index: Tensor) -> Tensor:
        frame = self.forward_model.frame
        drawn = item_uniform(self.seed, index, (_SHAPES, 5), stream=1)
        half = 0.5 + 2 * drawn[..., :2]  # (B, shapes, 2), in pixels
        least = half.amin(-1, keepdim=True)
        first = _MARGIN - 0.5 + half * (1 + 0.5 / least)  # the least center of a shape that leaves the margin free
        last = _sizes(frame, index) - 1 - first
        # Along each axis the first two shapes touch the margins, so that content is as long as in all other images.
        side = (item_uniform(self.seed, index, (1, 2), stream=2) < 0.5).double()
        center = first + (last - first) * torch.cat([side, 1 - side, drawn[:, 2:, 2:4]], 1)
        away = (_points(frame, index) - center[:, :, None]) / half[:, :, None]  # (B, shapes, P, 2), 1 at the edge
        depth = (1 - torch.linalg.vector_norm(away, dim=-1)) * least  # in pixels
        brightness = 0.3 + 0.7 * drawn[..., 4:]
        return (brightness * (depth + 0.5).clamp(0, 1)).sum(1).reshape(len(index), *frame).float()


def _sizes(frame: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(frame, dtype=torch.float64, device=like.device)


def _points(frame: Sequence[int], like: Tensor) -> Tensor:
    """Return the places of the pixels, (P, 2)."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64, device=like.device) for n in frame), indexing="ij")
    return torch.stack(axes, -1).flatten(0, -2)
