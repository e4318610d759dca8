"""Targets that are one up to the symmetries: within a set, or in two sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import flat_items, power, root
from torch_symbreak.baselines import nearest_others
from torch_symbreak.metrics import relative_error
from torch_symbreak.symmetries import Symmetry

#: Measurements closer than this, relative to their norms, may have one target. They differ by round-off at least.
_NEAR = 1e-3
#: Targets closer than this up to the symmetries, relative to their norms, are one.
_ONE = 1e-2


class Duplicates(NamedTuple):
    """Items that have a duplicate, and their partners."""

    flags: Tensor  # (n,) bool
    partners: Tensor  # (n,) int64; the nearest measurement's item
    scores: Tensor  # (n,) in [0, 1]: relative distance of the nearest measurement, at most 1


def duplicates(
    features: Tensor,
    x: Tensor,
    symmetries: Sequence[Symmetry],
    *,
    among: tuple[Tensor, Tensor] | None = None,
    nearest: tuple[Tensor, Tensor] | None = None,
) -> Duplicates:
    """Find items whose nearest measurement is equal, and whose targets are one up to the symmetries.

    Args:
        features: Features of the measurements, (n, ...).
        x: Their targets, (n, *item).
        symmetries: Symmetries that make two targets one.
        among: Features and targets of another set to search in. Default: the set itself.
        nearest: Distances and indices of the nearest others, (n, k) each. Default: computed here.

    Example: the third is the first one's twin.
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 0.0], [-1.0, -2.0]])
        >>> found = duplicates(x.abs(), x, [Sign(1)])
        >>> found.flags.tolist(), found.partners[0].item()
        ([True, False, True], 2)
    """
    where, targets = (features, x) if among is None else among
    if nearest is None:
        nearest = nearest_others(features, 1, among=None if among is None else where)
    distance, partners = nearest[0][:, 0], nearest[1][:, 0]
    size = root(flat_items(power(features), features.dim() - 1).sum(-1, dtype=torch.float64))
    scores = (distance / torch.where(size > 0, size, 1)).clamp(0, 1)
    flags = scores < _NEAR
    if flags.any():
        one, other = x[flags], targets[partners[flags]]
        flags[flags.clone()] = relative_error(one, other, symmetries, reduction="none") < _ONE
    return Duplicates(flags, partners, scores)
