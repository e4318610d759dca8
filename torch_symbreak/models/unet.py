"""A small UNet from a diffraction pattern to the object behind it, in 1-D, 2-D or 3-D."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_symbreak.models._measurements import check_measurements

#: Convolution, batch normalization, maximum over blocks, and linear interpolation, by the number of axes.
_LAYERS: dict[int, tuple[type[nn.Module], type[nn.Module], Callable[..., Tensor], str]] = {
    1: (nn.Conv1d, nn.BatchNorm1d, F.max_pool1d, "linear"),
    2: (nn.Conv2d, nn.BatchNorm2d, F.max_pool2d, "bilinear"),
    3: (nn.Conv3d, nn.BatchNorm3d, F.max_pool3d, "trilinear"),
}


class ConvBlock(nn.Sequential):
    """Two convolutions of size 3, each with batch normalization and a ReLU: (B, C, *grid) to (B, out_channels, *grid).

    ``dims`` is the number of the grid's axes.
    """

    def __init__(self, in_channels: int, out_channels: int, dims: int) -> None:
        convolution, normalization, *_ = _LAYERS[dims]
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                convolution(channels, out_channels, 3, padding=1, bias=False),
                normalization(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """Map measurements (B, in_channels, *detector) to objects (B, out_channels, *frame), for any M >= N on every axis.

    The frame's axes, 1 to 3, give the network its dimension. The detector is first folded, neighbors becoming channels,
    to the smallest grid that is not below the frame, so that all convolutions run there. Every level halves the grid
    (odd sizes rounded up) and doubles the channels, so that the coarsest one sees the whole detector, as the map from a
    spectrum to its object needs.

    Shape: (B, in_channels, M1, ..., Md) to (B, out_channels, N1, ..., Nd).

    Args:
        detector: The measurement's shape (M1, ..., Md).
        frame: The object's shape (N1, ..., Nd), nowhere larger than the detector's.
        in_channels: Default 1, a log magnitude.
        out_channels: Default 2, real and imaginary part.
        width: Channels of the finest level. Default 16.
        depth: How many times the grid is halved. Default 3.

    Raises:
        ValueError: If the frame exceeds the detector, a size is not positive, or the measurements have another shape.
        TypeError: If the measurements are not real floating-point numbers.

    Example: an even detector, an odd one that is not square, and one of a Bragg peak in 3-D.
        >>> import torch
        >>> UNet((48, 48), (24, 24))(torch.randn(4, 1, 48, 48)).shape
        torch.Size([4, 2, 24, 24])
        >>> UNet((33, 20), (17, 9), width=4)(torch.randn(4, 1, 33, 20)).shape
        torch.Size([4, 2, 17, 9])
        >>> UNet((16, 16, 16), (8, 8, 8), width=4)(torch.randn(4, 1, 16, 16, 16)).shape
        torch.Size([4, 2, 8, 8, 8])

    References: Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597.
    """

    def __init__(
        self,
        detector: Sequence[int],
        frame: Sequence[int],
        *,
        in_channels: int = 1,
        out_channels: int = 2,
        width: int = 16,
        depth: int = 3,
    ) -> None:
        super().__init__()
        self.detector, self.frame = tuple(detector), tuple(frame)
        dims = len(self.frame)
        if len(self.detector) != dims or dims not in _LAYERS or min(self.frame) < 1:
            raise ValueError(
                "UNet needs two shapes of the same 1 to 3 axes and positive sizes, but got "
                f"{self.detector} and {self.frame}."
            )
        if any(m < n for m, n in zip(self.detector, self.frame, strict=True)):
            raise ValueError(
                f"UNet needs a detector of at least the frame's shape {self.frame}, but got {self.detector}."
            )
        if min(in_channels, out_channels, width) < 1 or depth < 0:
            raise ValueError(
                "UNet needs in_channels, out_channels, width >= 1 and depth >= 0, but got "
                f"{in_channels}, {out_channels}, {width} and {depth}."
            )
        convolution = _LAYERS[dims][0]
        self.item = (in_channels, *self.detector)
        # The largest f with ceil(M / f) >= N: 2 for M = 2 N and for M = 2 N - 1.
        self.fold = tuple((m - 1) // (n - 1) if n > 1 else m for m, n in zip(self.detector, self.frame, strict=True))
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [in_channels * math.prod(self.fold), *widths[:-1]]
        self.down = nn.ModuleList([ConvBlock(i, o, dims) for i, o in zip(inputs, widths, strict=True)])
        self.up = nn.ModuleList([ConvBlock(widths[k] + widths[k + 1], widths[k], dims) for k in reversed(range(depth))])
        self.head = convolution(width, out_channels, 1)
        # The layout that CPU and tensor-core convolutions are written for. One axis has none.
        layouts = {2: torch.channels_last, 3: torch.channels_last_3d}
        self.layout = layouts.get(dims, torch.contiguous_format)
        self.to(memory_format=self.layout)

    def _folded(self, y: Tensor) -> Tensor:
        """Fold the detector: (B, C, M1, ...) to (B, C * f1 * ..., ceil(M1 / f1), ...)."""
        dims = len(self.fold)
        # F.pad wants the last axis first.
        sizes = zip(reversed(y.shape[2:]), reversed(self.fold), strict=True)
        y = F.pad(y, [size for m, fold in sizes for size in (0, -m % fold)])
        for axis in range(dims):  # (B, C, G1, f1, G2, f2, ...)
            y = y.unflatten(2 + 2 * axis, (-1, self.fold[axis]))
        return y.permute(0, 1, *range(3, 2 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)).flatten(1, 1 + dims)

    def forward(self, y: Tensor) -> Tensor:
        check_measurements("UNet", y, self.item)
        *_, pool, interpolation = _LAYERS[len(self.frame)]
        h = self._folded(y).contiguous(memory_format=self.layout)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            h = block(h if level == 0 else pool(h, 2, ceil_mode=True))
            skips.append(h)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            h = block(torch.cat([F.interpolate(h, size=skip.shape[2:]), skip], 1))
        if h.shape[2:] != self.frame:
            h = F.interpolate(h, size=self.frame, mode=interpolation, align_corners=False)
        out: Tensor = self.head(h)
        return out
