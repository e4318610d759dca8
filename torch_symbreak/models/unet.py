"""A small UNet from a diffraction pattern to the object behind it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_symbreak.models._measurements import check_measurements


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with batch normalization and a ReLU: (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """Map measurements (B, in_channels, M1, M2) to objects (B, out_channels, N1, N2), for any M >= N.

    The detector is first folded, neighbors becoming channels, to the smallest grid that is not below the frame, so that
    all convolutions run there. Every level halves the grid (odd sizes rounded up) and doubles the channels, so that the
    coarsest one sees the whole detector, as the map from a spectrum to its object needs.

    Shape: (B, in_channels, M1, M2) to (B, out_channels, N1, N2).

    Args:
        detector: The measurement's shape (M1, M2).
        frame: The object's shape (N1, N2), nowhere larger than the detector's.
        in_channels: Default 1, a log magnitude.
        out_channels: Default 2, real and imaginary part.
        width: Channels of the finest level. Default 16.
        depth: How many times the grid is halved. Default 3.

    Raises:
        ValueError: If the frame exceeds the detector, a size is not positive, or the measurements have another shape.
        TypeError: If the measurements are not real floating-point numbers.

    Example: even, odd and non-square detectors.
        >>> import torch
        >>> UNet((48, 48), (24, 24))(torch.randn(4, 1, 48, 48)).shape
        torch.Size([4, 2, 24, 24])
        >>> UNet((33, 20), (17, 9), width=4)(torch.randn(4, 1, 33, 20)).shape
        torch.Size([4, 2, 17, 9])

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
        if len(self.detector) != 2 or len(self.frame) != 2 or min(self.frame) < 1:
            raise ValueError(f"UNet needs two shapes of two positive sizes, but got {self.detector} and {self.frame}.")
        if any(m < n for m, n in zip(self.detector, self.frame, strict=True)):
            raise ValueError(
                f"UNet needs a detector of at least the frame's shape {self.frame}, but got {self.detector}."
            )
        if min(in_channels, out_channels, width) < 1 or depth < 0:
            raise ValueError(
                "UNet needs in_channels, out_channels, width >= 1 and depth >= 0, but got "
                f"{in_channels}, {out_channels}, {width} and {depth}."
            )
        self.item = (in_channels, *self.detector)
        # The largest f with ceil(M / f) >= N: 2 for M = 2 N and for M = 2 N - 1.
        self.fold = tuple((m - 1) // (n - 1) if n > 1 else m for m, n in zip(self.detector, self.frame, strict=True))
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [in_channels * self.fold[0] * self.fold[1], *widths[:-1]]
        self.down = nn.ModuleList([ConvBlock(i, o) for i, o in zip(inputs, widths, strict=True)])
        self.up = nn.ModuleList([ConvBlock(widths[k] + widths[k + 1], widths[k]) for k in reversed(range(depth))])
        self.head = nn.Conv2d(width, out_channels, 1)
        # The layout that CPU and tensor-core convolutions are written for.
        self.to(memory_format=torch.channels_last)

    def _folded(self, y: Tensor) -> Tensor:
        """Fold the detector: (B, C, M1, M2) to (B, C * f1 * f2, ceil(M1 / f1), ceil(M2 / f2))."""
        f1, f2 = self.fold
        y = F.pad(y, (0, -y.shape[-1] % f2, 0, -y.shape[-2] % f1))
        return y.unflatten(-1, (-1, f2)).unflatten(-3, (-1, f1)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)

    def forward(self, y: Tensor) -> Tensor:
        check_measurements("UNet", y, self.item)
        h = self._folded(y).contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            h = block(h if level == 0 else F.max_pool2d(h, 2, ceil_mode=True))
            skips.append(h)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            h = block(torch.cat([F.interpolate(h, size=skip.shape[-2:]), skip], 1))
        if h.shape[-2:] != self.frame:
            h = F.interpolate(h, size=self.frame, mode="bilinear", align_corners=False)
        out: Tensor = self.head(h)
        return out
