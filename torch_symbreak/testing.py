"""The laws, as assertions: to test a symmetry or a canonicalizer of your own.

Every function takes what is tested and a batch ``x`` of items, raises ``AssertionError`` with the worst item if the law
does not hold, and returns the measured error: the largest deviation relative to the item's largest magnitude. Random
elements come from ``generator`` (default: torch's global one). The default tolerance is 2e-5 in single and 1e-10 in
double precision.

Canonicalization cannot be continuous: off a set of ties it is unique, at a tie it is not. :func:`off_ties` leaves out
the items that are too close to one.

>>> import torch
>>> from torch_symbreak import FixSign
>>> x = off_ties(FixSign(1), torch.randn(100, 5))
>>> assert_invariant(FixSign(1), x) < 1e-6
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape, flat_items
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Symmetry

__all__ = [
    "assert_batch_equivariant",
    "assert_convex",
    "assert_forward_invariant",
    "assert_group",
    "assert_idempotent",
    "assert_invariant",
    "assert_representative",
    "assert_smallest",
    "off_ties",
    "deviation",
]

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


def deviation(actual: Tensor, expected: Tensor, item_dims: int) -> Tensor:
    """Return, per item, the largest deviation relative to the largest magnitude expected, (*batch,); NaN is infinite.

    Example:
        >>> import torch
        >>> deviation(torch.tensor([[1.0, 2.5]]), torch.tensor([[1.0, 2.0]]), 1)
        tensor([0.2500])
    """
    distance = flat_items(actual - expected, item_dims).abs().amax(-1)
    size = flat_items(expected, item_dims).abs().amax(-1)
    return (distance / torch.where(size > 0, size, 1)).nan_to_num(torch.inf, torch.inf)


def off_ties(canonicalizer: Canonicalizer[Any], x: Tensor, margin: float = 1e-4) -> Tensor:
    """Return the items of ``x`` whose margin exceeds ``margin``, (K, *item): the law of uniqueness is about them."""
    keep = canonicalizer.margin(x) > margin
    return x[keep]


def _check(law: str, actual: Tensor, expected: Tensor, item_dims: int, tolerance: float | None) -> float:
    if actual.shape != expected.shape:
        raise AssertionError(f"{law}: shapes {tuple(actual.shape)} and {tuple(expected.shape)} differ")
    error = deviation(actual, expected, item_dims).flatten()
    limit = TOLERANCE.get(expected.real.dtype, 1e-2) if tolerance is None else tolerance
    worst = float(error.max()) if error.numel() else 0.0
    if not worst <= limit:
        bad = int((error > limit).sum())
        raise AssertionError(
            f"{law}: violated by {bad} of {error.numel()} items, worst is item {int(error.argmax())} with a relative "
            f"error of {worst:.3g} (tolerance {limit:g})"
        )
    return worst


def assert_invariant(
    canonicalizer: Canonicalizer[Any] | Callable[[Tensor], Tensor],
    x: Tensor,
    symmetry: Symmetry | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """``C(g . x) = C(x)`` for a drawn g of ``symmetry`` (default: the canonicalizer's own)."""
    group = _group(canonicalizer, symmetry)
    moved = group.act(group.sample(x, generator=generator), x)
    return _check("C(g x) = C(x)", canonicalizer(moved), canonicalizer(x), group.item_dims, tolerance)


def assert_idempotent(canonicalizer: Canonicalizer[Any], x: Tensor, *, tolerance: float | None = None) -> float:
    """``C(C(x)) = C(x)``."""
    once = canonicalizer(x)
    return _check("C(C(x)) = C(x)", canonicalizer(once), once, canonicalizer.symmetry.item_dims, tolerance)


def assert_representative(canonicalizer: Canonicalizer[Any], x: Tensor, *, tolerance: float | None = None) -> float:
    """C(x) is in the orbit of x: ``C(x) = g . x`` and ``x = g^-1 . C(x)``, g the element of x. Holds at ties too."""
    group, g, image = canonicalizer.symmetry, canonicalizer.element(x), canonicalizer(x)
    there = _check("C(x) = element(x) . x", image, group.act(g, x), group.item_dims, tolerance)
    back = _check("x = element(x)^-1 . C(x)", group.act(group.inverse(g), image), x, group.item_dims, tolerance)
    return max(there, back)


def assert_smallest(
    canonicalizer: Canonicalizer[Any] | Callable[[Tensor], Tensor],
    x: Tensor,
    symmetry: Symmetry | None = None,
    *,
    points: int = 3,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """One point per orbit: the representatives of several drawn points of the orbit of C(x) are all C(x)."""
    group = _group(canonicalizer, symmetry)
    image = canonicalizer(x)
    worst = 0.0
    for _ in range(points):
        again = canonicalizer(group.act(group.sample(image, generator=generator), image))
        worst = max(worst, _check("one point per orbit", again, image, group.item_dims, tolerance))
    return worst


def assert_convex(
    canonicalizer: Canonicalizer[Any], x1: Tensor, x2: Tensor, *, tolerance: float | None = None
) -> float:
    """The midpoint of two representatives is a representative (for content with one box: of one shape)."""
    middle = (canonicalizer(x1) + canonicalizer(x2)) / 2
    return _check("C(midpoint) = midpoint", canonicalizer(middle), middle, canonicalizer.symmetry.item_dims, tolerance)


def assert_forward_invariant(
    model: ForwardModel,
    x: Tensor,
    canonicalizer: Canonicalizer[Any] | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """``f(g . x) = f(x)`` for each declared symmetry, and ``f(C(x)) = f(x)``; the latter holds at ties too."""
    y = model(x)
    fix = model.canonicalizer() if canonicalizer is None else canonicalizer
    item_dims = y.dim() - len(batch_shape(x, fix.symmetry.item_dims))
    worst = _check("f(C(x)) = f(x)", model(fix(x)), y, item_dims, tolerance)
    for group in model.symmetries:
        moved = group.act(group.sample(x, generator=generator), x)
        worst = max(worst, _check(f"f(g x) = f(x) for {group}", model(moved), y, item_dims, tolerance))
    return worst


def assert_batch_equivariant(canonicalizer: Canonicalizer[Any], x: Tensor, *, tolerance: float | None = None) -> float:
    """A batch at once equals its items one by one."""
    dims = canonicalizer.symmetry.item_dims
    batch = batch_shape(x, dims)
    items = x.reshape(batch.numel(), *x.shape[len(batch) :])
    one_by_one = torch.stack([canonicalizer(item) for item in items]) if len(items) else items
    return _check("batch = item by item", canonicalizer(x), one_by_one.reshape(x.shape), dims, tolerance)


def assert_group(
    symmetry: Symmetry,
    x: Tensor,
    z: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Inverse and composition, for elements drawn on x acting on any z (default: x)."""
    z = x if z is None else z
    g1 = symmetry.sample(x, generator=generator)
    g2 = symmetry.sample(x, generator=generator)
    moved = symmetry.act(g1, z)
    dims = symmetry.item_dims
    return max(
        _check("g^-1 (g z) = z", symmetry.act(symmetry.inverse(g1), moved), z, dims, tolerance),
        _check("g (g^-1 z) = z", symmetry.act(g1, symmetry.act(symmetry.inverse(g1), z)), z, dims, tolerance),
        _check(
            "(g2 g1) z = g2 (g1 z)", symmetry.act(symmetry.compose(g2, g1), z), symmetry.act(g2, moved), dims, tolerance
        ),
    )


def _group(canonicalizer: Any, symmetry: Symmetry | None) -> Symmetry:
    found = getattr(canonicalizer, "symmetry", None) if symmetry is None else symmetry
    if not isinstance(found, Symmetry):
        raise TypeError(
            f"{canonicalizer!r} has no symmetry of its own: pass symmetry=, e.g. Product(model.symmetries)."
        )
    return found
