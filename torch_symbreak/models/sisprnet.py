"""SiSPRNet: a perceptron over the whole detector, then residual blocks with attention that double the grid twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from torch_symbreak.models._measurements import check_measurements


class ConvBlock(nn.Sequential):
    """A 3x3 convolution, instance normalization and a PReLU: (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.InstanceNorm2d(out_channels), nn.PReLU()
        )


class NonLocal(nn.Module):
    """Let each 2x2 block attend to all 8x8 blocks: (B, C, H, W) to the same, C even.

    With X the averages over 2x2 blocks and P those of 4x4 blocks of its maps,

        out = upsampled( W softmax( theta(X)^T P(phi(X)) ) P(g(X)) ),

    where theta, phi, g map C to C / 2 channels and W maps back. The softmax is not scaled, and nothing is added to it.
    Blocks cut off by the edge of the grid are averaged over what they have, so that any grid has at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.out = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, 2, ceil_mode=True)
        query = self.theta(pooled)
        key, value = (F.avg_pool2d(layer(pooled), 4, ceil_mode=True) for layer in (self.phi, self.g))
        q, k, v = (h.flatten(2).mT for h in (query, key, value))  # (B, blocks, C / 2)
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return F.interpolate(self.out(attended.mT.unflatten(-1, query.shape[-2:])), size=x.shape[-2:])


class ResidualBlock(nn.Module):
    """Add two pairs of ConvBlock and NonLocal to a ConvBlock, then a PReLU: (B, C, H, W) to (B, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            ConvBlock(in_channels, out_channels),
            NonLocal(out_channels),
            ConvBlock(out_channels, out_channels),
            NonLocal(out_channels),
        )
        self.shortcut = ConvBlock(in_channels, out_channels)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.branch(x) + self.shortcut(x))
        return out


class SiSPRNet(nn.Module):
    """Map measurements (B, in_channels, M1, M2) to objects (B, out_channels, N1, N2), for any detector.

    Three fully connected layers see the whole detector and draw the object on a quarter of its grid; convolutions and
    attention double that grid twice. For a detector and a frame of 128 x 128 this is the authors' network of 19,256,469
    parameters, but for its output: theirs is magnitude and phase, ours is real and imaginary part, as the UNet's.

    Other sizes are ours. The coarse grid is (ceil(N1 / 4), ceil(N2 / 4)), and what exceeds the frame at the end is cut
    off. The last fully connected layer is as long as whole channels on that grid need: ``hidden``, rounded up to a
    multiple of the grid's size. By default that is 1 channel of 32 x 32 for a frame of 128 x 128, and 16 of 8 x 8 for
    32 x 32. Attention on a grid of at most 8 x 8 (the coarse one of a frame of at most 32 x 32) has one block to attend
    to, and is an average over the object.

    Shape: (B, in_channels, M1, M2) to (B, out_channels, N1, N2).

    Args:
        detector: The measurement's shape (M1, M2), or any other: it is flattened.
        frame: The object's shape (N1, N2), with a side of at least 5: instance normalization needs two pixels.
        in_channels: Default 1, a log magnitude.
        out_channels: Default 2, real and imaginary part.
        hidden: Length of the fully connected layers. Default 1024.
        dropout: Share of the first layer's outputs that are dropped in training. Default 0.2.

    Raises:
        ValueError: If the frame is 4 x 4 or less, a size is not positive, or the measurements have another shape.
        TypeError: If the measurements are not real floating-point numbers.

    Example: the authors' size, then an odd, non-square frame.
        >>> import torch
        >>> sum(p.numel() for p in SiSPRNet((128, 128), (128, 128)).parameters())
        19256469
        >>> SiSPRNet((33, 20), (17, 9), hidden=64)(torch.randn(4, 1, 33, 20)).shape
        torch.Size([4, 2, 17, 9])

    References: Ye, Wang, Lun, Optics Express 2022, arXiv 2205.11434. What it leaves open (biases, the width inside a
    residual block, one slope per PReLU, a 3x3 convolution in the head) is set so that the number of parameters agrees.
    """

    def __init__(
        self,
        detector: Sequence[int],
        frame: Sequence[int],
        *,
        in_channels: int = 1,
        out_channels: int = 2,
        hidden: int = 1024,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.detector, self.frame = tuple(detector), tuple(frame)
        if len(self.frame) != 2 or min(self.frame) < 1 or min(self.detector, default=0) < 1:
            raise ValueError(
                "SiSPRNet needs a detector's shape and a frame of two sizes, all positive, but got "
                f"{self.detector} and {self.frame}."
            )
        if max(self.frame) < 5:
            raise ValueError(
                "SiSPRNet needs a frame with a side of at least 5, (5, 1) or (1, 5) being the least, but got "
                f"{self.frame}. Pad the objects to (5, 5), or use UNet."
            )
        if min(in_channels, out_channels, hidden) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "SiSPRNet needs in_channels, out_channels, hidden >= 1 and 0 <= dropout < 1, but got "
                f"{in_channels}, {out_channels}, {hidden} and {dropout}."
            )
        self.item = (in_channels, *self.detector)
        coarse = tuple(-(-n // 4) for n in self.frame)
        channels = -(-hidden // math.prod(coarse))
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(self.item), hidden),
            nn.PReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.PReLU(),
            nn.Linear(hidden, channels * math.prod(coarse)),
            nn.PReLU(),
            nn.Unflatten(1, (channels, *coarse)),
            ConvBlock(channels, 32),
            ResidualBlock(32, 128),
            nn.PixelShuffle(2),
            ResidualBlock(32, 64),
            nn.PixelShuffle(2),
        )
        self.head = nn.Sequential(
            nn.Conv2d(16, out_channels, 3, padding=1), nn.PReLU(), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        )
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, y: Tensor) -> Tensor:
        check_measurements("SiSPRNet", y, self.item)
        out: Tensor = self.head(self.body(y))[..., : self.frame[0], : self.frame[1]]
        return out
