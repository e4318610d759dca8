"""A multilayer perceptron, for measurements without a grid."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from torch_symbreak.models._measurements import check_measurements


class MLP(nn.Module):
    """Map vectors (B, in_features) to vectors (B, out_features) by hidden layers of one width, each with a SiLU.

    Shape: (B, in_features) to (B, out_features).

    Args:
        in_features: Length of a measurement.
        out_features: Length of a target; twice that of complex targets, as real and imaginary parts.
        width: Length of every hidden layer. Default 256.
        depth: Number of hidden layers; 0 makes an affine map. Default 3.

    Raises:
        ValueError: If a size is not positive, or depth is negative, or the measurements have another shape.
        TypeError: If the measurements are not real floating-point numbers.

    Example:
        >>> import torch
        >>> MLP(40, 20)(torch.randn(8, 40)).shape
        torch.Size([8, 20])
        >>> MLP(2, 1, width=5, depth=1).layers
        Sequential(
          (0): Linear(in_features=2, out_features=5, bias=True)
          (1): SiLU()
          (2): Linear(in_features=5, out_features=1, bias=True)
        )
    """

    def __init__(self, in_features: int, out_features: int, *, width: int = 256, depth: int = 3) -> None:
        if min(in_features, out_features, width) < 1 or depth < 0:
            raise ValueError(
                "MLP needs in_features, out_features, width >= 1 and depth >= 0, but got "
                f"{in_features}, {out_features}, {width} and {depth}."
            )
        super().__init__()
        self.in_features = in_features
        hidden: list[nn.Module] = []
        for before, after in pairwise([in_features, *[width] * depth]):
            hidden += [nn.Linear(before, after), nn.SiLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(width if depth else in_features, out_features))

    def forward(self, y: Tensor) -> Tensor:
        check_measurements("MLP", y, (self.in_features,))
        out: Tensor = self.layers(y)
        return out
