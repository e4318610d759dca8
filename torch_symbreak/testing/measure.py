"""Measure how far two batches differ, per item, and raise if that breaks a law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import flat_items
from torch_symbreak.symmetries import Canonicalizer, Product, Symmetry

#: A canonicalizer, or any function of a batch that returns one like it, e.g. a composition of canonicalizers.
Fix = Canonicalizer[Any] | Callable[[Tensor], Tensor]

#: Default tolerance by real dtype; 1e-2 in half precision.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}

#: An item is a tie if its margin is at most this.
TIE_MARGIN = 1e-4


def deviation(actual: Tensor, expected: Tensor, item_dims: int) -> Tensor:
    """Return, per item, the largest deviation relative to the largest magnitude expected, (*batch,); NaN is infinite.

    Args:
        actual: The items, (*batch, *item).
        expected: The items that they should equal, (*batch, *item).
        item_dims: Dimensions of one item.

    Example:
        >>> import torch
        >>> deviation(torch.tensor([[1.0, 2.5]]), torch.tensor([[1.0, 2.0]]), 1)
        tensor([0.2500])
    """
    distance = flat_items(actual - expected, item_dims).abs().amax(-1)
    size = flat_items(expected, item_dims).abs().amax(-1)
    return (distance / torch.where(size > 0, size, 1)).nan_to_num(torch.inf, torch.inf)


def off_ties(canonicalizer: Canonicalizer[Any], x: Tensor, margin: float = TIE_MARGIN) -> Tensor:
    """Return the items of ``x`` whose margin exceeds ``margin``, (K, *item). Uniqueness is claimed for these.

    Example: an item whose sum is zero is a tie of the sign.
        >>> from torch_symbreak import FixSign
        >>> off_ties(FixSign(1), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.]])
    """
    keep = canonicalizer.margin(x) > margin
    return x[keep]


def compare(law: str, formula: str, actual: Tensor, expected: Tensor, item_dims: int, tolerance: float | None) -> float:
    """Return the largest deviation; raise if the shapes differ or an item deviates by more than the tolerance."""
    if actual.shape != expected.shape:
        raise AssertionError(
            f"{law}: {formula}, but the shapes {tuple(actual.shape)} and {tuple(expected.shape)} differ"
        )
    return judge(law, formula, deviation(actual, expected, item_dims), limit_of(expected, tolerance))


def limit_of(x: Tensor, tolerance: float | None) -> float:
    """Return the tolerance for deviations of ``x``."""
    return TOLERANCE.get(x.real.dtype, 1e-2) if tolerance is None else tolerance


def judge(law: str, formula: str, error: Tensor, limit: float) -> float:
    """Return the largest of the items' errors, (*batch,); raise if one exceeds the limit."""
    error = error.flatten()
    worst = float(error.max()) if error.numel() else 0.0
    if not worst <= limit:
        raise AssertionError(
            f"{law}: {formula} is violated by {listed(error > limit)}; worst is item {int(error.argmax())} with a "
            f"relative error of {worst:.3g} (tolerance {limit:g})"
        )
    return worst


def listed(bad: Tensor) -> str:
    """List the items where ``bad``, (*batch,), is true: "2 of 40 items ([3, 17])"."""
    items = bad.flatten().nonzero().flatten().tolist()
    more = f" and {len(items) - 10} more" if len(items) > 10 else ""
    return f"{len(items)} of {bad.numel()} items ({items[:10]}{more})"


def group_of(fix: object, symmetry: Symmetry | None) -> Symmetry:
    """Return ``symmetry``, or the canonicalizer's own if that is None."""
    group = getattr(fix, "symmetry", None) if symmetry is None else symmetry
    if not isinstance(group, Symmetry):
        raise TypeError(f"{fix!r} has no symmetry of its own: pass symmetry=, e.g. Product(model.symmetries).")
    return group


def parts_of(symmetry: Symmetry) -> tuple[Symmetry, ...]:
    """Return the symmetries of a product, or the symmetry alone."""
    return symmetry.symmetries if isinstance(symmetry, Product) else (symmetry,)


def random_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw normal numbers of the shape, dtype and device of ``x`` where the generator lives."""
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, dtype=x.dtype, generator=generator, device=device).to(x.device)
