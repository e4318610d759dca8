"""The common part of many reconstructions of one object."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import Array, as_tensors, check_finite, check_target, describe
from torch_symbreak._items import flat_items, wide
from torch_symbreak.alignment import align
from torch_symbreak.metrics.errors import Symmetries
from torch_symbreak.symmetries import Element, Product


class Modes(NamedTuple):
    """Result of :func:`average_modes`.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([3.0, -4.0])
        >>> average_modes(torch.stack([x, -x]), Sign(1)).aligned
        tensor([[ 3., -4.],
                [ 3., -4.]])
    """

    average: Tensor  #: (*item): the mean of the aligned reconstructions
    mode: Tensor  #: (*item): the first principal mode, scaled and oriented as the average
    weight: Tensor  #: the first mode's share of the energy, in (0, 1]; 1 if all agree
    aligned: Tensor  #: (R, *item)
    element: Element  #: of each reconstruction, (R, ...)
    best: Tensor  #: which reconstruction the others were aligned to


def average_modes(reconstructions: Array, symmetries: Symmetries, *, errors: Tensor | None = None) -> Modes:
    """Align many reconstructions of one object to the best one, average them, and find their first mode.

    Shape: reconstructions (R, *channels, *event), R >= 1.

    Args:
        reconstructions: Reconstructions of one object from different starts.
        symmetries: Symmetries by which they may differ, e.g. ``FarField().symmetries``.
        errors: One number per reconstruction, (R,), the smaller the better, such as
            ``measurement_residual(..., reduction="none")``. NaN counts as worst. Default: the best is the one nearest
            to all others, by R² alignments.

    Raises:
        ValueError: If there is not one batch dimension of at least one, or ``errors`` is not (R,).

    Example: copies up to symmetry are one mode.
        >>> import torch
        >>> from torch_symbreak.symmetries import GlobalPhase
        >>> x = torch.randn(1, 5, dtype=torch.complex64)
        >>> found = average_modes(torch.cat([x, 1j * x, -x]), GlobalPhase(1))
        >>> round(float(found.weight), 5), torch.allclose(found.average, found.aligned[0])
        (1.0, True)
    """
    (reconstructions,) = as_tensors("average_modes", reconstructions, names=("reconstructions",), last="symmetries")
    group = Product(symmetries)
    check_target("average_modes", reconstructions, group.event_dims, group.channel_dims, least=group.least_dims)
    if reconstructions.dim() != group.item_dims + 1 or len(reconstructions) == 0:
        raise ValueError(
            f"average_modes needs reconstructions of shape (R, *item) with {group.item_dims} item dimensions and "
            f"R >= 1, but got {tuple(reconstructions.shape)}."
        )
    check_finite(reconstructions, name="reconstructions")
    count = len(reconstructions)
    if errors is None:
        errors = torch.stack(
            [align(reconstructions, one.expand_as(reconstructions), group).error.sum() for one in reconstructions]
        )
    elif not isinstance(errors, Tensor) or errors.shape != (count,):
        raise ValueError(f"average_modes needs errors as a tensor of shape ({count},), but got {describe(errors)}.")
    best = torch.where(errors.isnan(), torch.inf, errors).argmin()
    reference = reconstructions.index_select(0, best[None]).expand_as(reconstructions)
    aligned, element, _ = align(reconstructions, reference, group)
    average = aligned.mean(0)
    left, size, right = torch.linalg.svd(flat_items(aligned.to(wide(aligned)), group.item_dims), full_matrices=False)
    # A singular vector's phase is arbitrary: take the mean of its parts in the reconstructions.
    mode = (left[:, 0].mean() * size[0] * right[0]).reshape(average.shape)
    weight = size[0].square() / size.square().sum()
    return Modes(average, mode.to(average.dtype), weight, aligned, element, best)
