"""Point clouds that are noisy copies of a few prototypes, for factorization."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torch_symbreak._checks import check_finite, describe
from torch_symbreak._random import item_normal, item_uniform
from torch_symbreak.datasets.base import Pairs, Transform
from torch_symbreak.forward import DistanceMatrix, GramMatrix
from torch_symbreak.symmetries import Product


class PointClouds(Pairs):
    """Draw pairs (y, x): x is a noisy prototype, moved to a random point of its orbit, and y is its measurement.

    Training and test set share the prototypes: pass the same ones, with different seeds.

    Shape: y (n, n), x (n, r), float32: n points of r coordinates.

    Args:
        size: Number of pairs.
        forward: ``GramMatrix()`` for clouds in any orientation, ``DistanceMatrix()`` for any orientation and place.
        prototypes: Tensor (K, n, r). Each is drawn with the same probability.
        noise: Standard deviation of the noise on every coordinate. Default 0.3.
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``forward.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device on which items are made. Default "cpu".

    Raises:
        TypeError: If the model is another one, or the prototypes are no real floating-point tensor.
        ValueError: If the prototypes are no (K, n, r) or not finite, or the noise is negative or not finite.

    Example:
        >>> import torch
        >>> from torch_symbreak import DistanceMatrix
        >>> model, square = DistanceMatrix(), torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
        >>> y, x = PointClouds(100, model, square, noise=0.0)[7]
        >>> torch.allclose(y[0], torch.tensor([0.0, 1.0, 2.0, 1.0]), atol=1e-5), bool(x[0].norm() > 0.1)
        (True, True)
    """

    def __init__(
        self,
        size: int,
        forward: GramMatrix | DistanceMatrix,
        prototypes: Tensor,
        *,
        noise: float = 0.3,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(forward, (GramMatrix, DistanceMatrix)):
            raise TypeError(f"PointClouds needs GramMatrix() or DistanceMatrix() as forward, but got {forward!r}.")
        if not isinstance(prototypes, Tensor) or not prototypes.is_floating_point():
            raise TypeError(f"PointClouds needs a real tensor as prototypes, but got {describe(prototypes)}.")
        if prototypes.dim() != 3 or 0 in prototypes.shape:
            raise ValueError(f"PointClouds needs prototypes of shape (K, n, r), but got {describe(prototypes)}.")
        if not 0 <= noise < math.inf:
            raise ValueError(f"PointClouds needs a noise >= 0, but got {noise}.")
        super().__init__(size, forward, seed, transform, target_transform, device)
        self.prototypes = check_finite(prototypes.detach(), name="prototypes").to(self.device)
        self.noise = noise

    def objects(self, index: Tensor) -> Tensor:
        count, *item = self.prototypes.shape
        kind = (count * item_uniform(self.seed, index, (), stream=1)).long()
        x = (self.prototypes[kind] + self.noise * item_normal(self.seed, index, item)).float()
        group = Product(self.forward_model.symmetries)
        return group.act(group.sample_each(x, self.seed, index.cpu()), x)
