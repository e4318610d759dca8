"""Measure the gain of breaking before any training, by nearest neighbors in the space of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import root
from torch_symbreak.diagnostics._elements import STEP
from torch_symbreak.metrics import sa_mse
from torch_symbreak.metrics.errors import mse_as_is
from torch_symbreak.symmetries import Symmetry

#: Neighbors that predict a target together.
K = 5


class Errors(NamedTuple):
    """Mean squared error per entry of every item, (n,): raw, and up to the symmetries."""

    raw: Tensor
    aligned: Tensor


def features_of(y: Tensor) -> Tensor:
    """Return the features by which measurements are compared: roots of intensities, and other measurements unchanged.

    Complex measurements become their real and imaginary parts. A pixel that no item measures (NaN) is 0.

    Example:
        >>> features_of(torch.tensor([4.0, 9.0])), features_of(torch.tensor([-4.0]))
        (tensor([2., 3.]), tensor([-4.]))
    """
    y = torch.view_as_real(y.resolve_conj()) if y.is_complex() else y
    y = torch.where(y.isnan().all(0), 0, y)
    return y if bool((y < 0).any()) else root(y)


def errors_of(prediction: Tensor, x: Tensor, symmetries: Sequence[Symmetry], item_dims: int) -> Errors:
    """Return the errors of predictions (n, *item) of the targets x."""
    parts = zip(prediction.split(STEP), x.split(STEP), strict=True)
    aligned = [sa_mse(p, t, symmetries, reduction="none") for p, t in parts]
    return Errors(mse_as_is(prediction, x, item_dims), torch.cat(aligned))


def left_out_mean(x: Tensor) -> Tensor:
    """Predict each target of x, (n, *item), by the mean of the others: the constant predictor, cross-validated.

    Example:
        >>> left_out_mean(torch.tensor([[1.0], [2.0], [6.0]]))[:, 0].tolist()
        [4.0, 3.5, 1.5]
    """
    return (x.sum(0) - x) / (len(x) - 1)


def left_out_neighbors(x: Tensor, neighbors: Tensor) -> Tensor:
    """Predict each target of x, (n, *item), by the mean target of its ``neighbors``, (n, k), which leave it out."""
    return torch.cat([x[part].mean(1) for part in neighbors.split(STEP)])


def bootstrap(values: Tensor, *, seed: int = 0, draws: int = 1000) -> tuple[float, float, float]:
    """Return the mean of values (n,), and the ends of its 95 % bootstrap interval.

    Example:
        >>> low, high = bootstrap(torch.arange(100.0))[1:]
        >>> low < 49.5 < high
        True
    """
    values = values.double()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (draws, len(values)), generator=generator)
    low, high = torch.quantile(values[drawn].mean(1), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(values.mean()), low, high


def cross_validated(
    targets: Mapping[str, Tensor], neighbors: Tensor, symmetries: Sequence[Symmetry], item_dims: int
) -> dict[str, dict[str, Errors]]:
    """Return the errors of the constant and of nearest neighbors, each pair left out once, per choice of targets.

    Args:
        targets: Name of a choice to its targets, (n, *item) each.
        neighbors: Indices of the nearest other measurements, (n, k).
        symmetries: Symmetries that count as no error in the second value.
        item_dims: Dimensions of one target.
    """
    return {
        name: {
            "constant": errors_of(left_out_mean(x), x, symmetries, item_dims),
            "5-NN": errors_of(left_out_neighbors(x, neighbors), x, symmetries, item_dims),
        }
        for name, x in targets.items()
    }


def distances_of(x: Tensor, neighbors: Tensor, item_dims: int) -> Tensor:
    """Return the distance of each target from that of its nearest measurement, relative to its norm: (n,)."""
    other = x[neighbors[:, 0]]
    norm = root(mse_as_is(x, torch.zeros_like(x), item_dims))
    return root(mse_as_is(x, other, item_dims)) / norm.clamp_min(torch.finfo(norm.dtype).tiny)
