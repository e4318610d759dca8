"""Laws of a canonicalizer: one point per orbit, found for every item by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape
from torch_symbreak.alignment import align
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Rearrangement, Scalar, Symmetry
from torch_symbreak.symmetries.base import proposes
from torch_symbreak.testing.measure import TIE_MARGIN, Fix, compare, group_of, listed, parts_of


def assert_invariant(
    canonicalizer: Fix,
    x: Tensor,
    symmetry: Symmetry | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check ``C(g x) = C(x)`` for a drawn g of ``symmetry`` (default: the canonicalizer's own).

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_invariant(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    group = group_of(canonicalizer, symmetry)
    moved = group.act(group.sample(x, generator=generator), x)
    return compare("invariant", "C(g x) = C(x)", canonicalizer(moved), canonicalizer(x), group.item_dims, tolerance)


def assert_idempotent(
    canonicalizer: Fix, x: Tensor, symmetry: Symmetry | None = None, *, tolerance: float | None = None
) -> float:
    """Check ``C(C(x)) = C(x)``.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_idempotent(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    once, dims = canonicalizer(x), group_of(canonicalizer, symmetry).item_dims
    return compare("idempotent", "C(C(x)) = C(x)", canonicalizer(once), once, dims, tolerance)


def assert_representative(canonicalizer: Canonicalizer[Any], x: Tensor, *, tolerance: float | None = None) -> float:
    """Check that C(x) is in the orbit of x: ``C(x) = g x`` and ``x = g^-1 C(x)``, g the element of x. Ties included.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_representative(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    group, g, image = canonicalizer.symmetry, canonicalizer.element(x), canonicalizer(x)
    back = group.act(group.inverse(g), image)
    return max(
        compare("representative", "C(x) = element(x) x", image, group.act(g, x), group.item_dims, tolerance),
        compare("representative", "x = element(x)^-1 C(x)", back, x, group.item_dims, tolerance),
    )


def assert_smallest(
    canonicalizer: Fix,
    x: Tensor,
    symmetry: Symmetry | None = None,
    *,
    points: int = 3,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check that an orbit has one representative: ``C(g C(x)) = C(x)`` for several drawn g.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_smallest(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    group, image, worst = group_of(canonicalizer, symmetry), canonicalizer(x), 0.0
    for _ in range(points):
        again = canonicalizer(group.act(group.sample(image, generator=generator), image))
        worst = max(worst, compare("smallest", "C(g C(x)) = C(x)", again, image, group.item_dims, tolerance))
    return worst


def assert_batch_equivariant(
    canonicalizer: Fix, x: Tensor, symmetry: Symmetry | None = None, *, tolerance: float | None = None
) -> float:
    """Check that a batch at once equals its items one by one, margins too. Ties included.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_batch_equivariant(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    dims = group_of(canonicalizer, symmetry).item_dims
    batch = batch_shape(x, dims)
    items = x.reshape(batch.numel(), *x.shape[len(batch) :])
    one_by_one = torch.stack([canonicalizer(item) for item in items]) if len(items) else items
    if isinstance(canonicalizer, Canonicalizer) and len(items):
        margins = torch.stack([canonicalizer.margin(item) for item in items])
        differ = ~torch.isclose(canonicalizer.margin(x).flatten(), margins, rtol=1e-3, atol=1e-6)
        if differ.any():
            raise AssertionError(f"batch: the margins of a batch are not those of its items, {listed(differ)}")
    return compare("batch", "C(batch) = C item by item", canonicalizer(x), one_by_one.reshape(x.shape), dims, tolerance)


def alignable(symmetry: Symmetry) -> bool:
    """Return whether an alignment over the symmetry finds the nearest element exactly."""
    return all(
        isinstance(part, (Rearrangement, Scalar)) or (proposes(part) and part.exact) for part in parts_of(symmetry)
    )


def assert_in_orbit(
    canonicalizer: Fix, x: Tensor, symmetry: Symmetry | None = None, *, tolerance: float | None = None
) -> float:
    """Check that C(x) lies in the orbit of x: an alignment takes it back. For canonicalizers without ``element``.

    Args:
        canonicalizer: Any function of a batch.
        x: The items, (*batch, *item), without faint background, which an alignment cuts where it leaves the frame.
        symmetry: The group. Default: the canonicalizer's own.
        tolerance: Largest relative error allowed.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_in_orbit(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    group = group_of(canonicalizer, symmetry)
    aligned = align(canonicalizer(x), x, group).aligned
    return compare("orbit", "C(x) is in the orbit of x", aligned, x, group.item_dims, tolerance)


def assert_pure(canonicalizer: Fix, x: Tensor, symmetry: Symmetry | None = None) -> float:
    """Check that only the result is new: x stays as it is, C(x) is like x, and margins are (*batch,) in [0, 1].

    C(x) must have the shape, dtype and device of x, and no lazy conjugation or negation, which ``DataLoader`` workers
    lose.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_pure(FixSign(1), torch.randn(50, 5)) < 1e-6
        True
    """
    before, dims = x.clone(), group_of(canonicalizer, symmetry).item_dims
    image = canonicalizer(x)
    margin = None
    if isinstance(canonicalizer, Canonicalizer):
        margin = canonicalizer.margin(x)
        canonicalizer.element(x)
    batch = batch_shape(before, dims)
    changed = ~torch.isclose(x, before, rtol=0, atol=0, equal_nan=True)
    if changed.any():
        raise AssertionError(f"pure: the input was changed, {listed(changed.reshape(batch.numel(), -1).any(-1))}")
    for name in ("shape", "dtype", "device"):
        if getattr(image, name) != getattr(x, name):
            raise AssertionError(f"pure: C(x) has {name} {getattr(image, name)}, but x has {getattr(x, name)}")
    if image.is_conj() or image.is_neg():
        raise AssertionError("pure: C(x) has a lazy conjugation or negation; return it with .resolve_conj()")
    if margin is not None:
        if margin.shape != batch:
            raise AssertionError(f"pure: the margin has shape {tuple(margin.shape)}, but the batch {tuple(batch)}")
        outside = ~((margin >= 0) & (margin <= 1))
        if outside.any():
            raise AssertionError(f"pure: the margin is not in [0, 1] for {listed(outside)}")
    return 0.0


def assert_few_ties(
    canonicalizer: Canonicalizer[Any], x: Tensor, margin: float = TIE_MARGIN, *, most: float = 0.05
) -> float:
    """Check that at most the share ``most`` of the items has a margin of ``margin`` or less; return the share.

    Laws of uniqueness say little if most items are left out of them.

    Args:
        canonicalizer: The canonicalizer whose margins count.
        x: The items, (*batch, *item).
        margin: Largest margin of a tie. Default 1e-4.
        most: Largest share of ties allowed. Default 0.05.

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> assert_few_ties(FixSign(1), torch.rand(50, 5))
        0.0
    """
    ties = ~(canonicalizer.margin(x) > margin)
    share = float(ties.double().mean())
    if share > most:
        raise AssertionError(
            f"ties: {listed(ties)} have a margin of at most {margin:g}, which is more than {most:.0%}. "
            "Test on other items, or on more of them."
        )
    return share


def assert_forward_invariant(
    model: ForwardModel | Callable[[Tensor], Tensor],
    x: Tensor,
    canonicalizer: Fix | None = None,
    symmetry: Symmetry | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check ``f(C(x)) = f(x)``, and ``f(g x) = f(x)`` for each symmetry. Ties included.

    Args:
        model: A forward model, which declares its symmetries; or any function from a batch to a batch of measurements.
        x: The items, (*batch, *item).
        canonicalizer: Default: the model's own. A plain function has none, so that only its symmetries are checked.
        symmetry: Symmetries of a plain function. Default: the canonicalizer's.
        generator: Draws the elements.
        tolerance: Largest relative error allowed.

    Raises:
        TypeError: If ``model`` is a plain function, and neither a canonicalizer nor a symmetry is given.

    Example: a function of your own, without a model around it.
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> assert_forward_invariant(lambda x: x.cumsum(-1).abs(), torch.randn(40, 5), symmetry=Sign(1))
        0.0
    """
    if isinstance(model, ForwardModel):
        canonicalizer, declared = canonicalizer or model.canonicalizer(), model.symmetries
    elif canonicalizer is None and symmetry is None:
        raise TypeError(
            f"assert_forward_invariant needs a canonicalizer or a symmetry for {model!r}, which declares none. Pass "
            "symmetry=, or find what holds: torch_symbreak.diagnostics.symmetries_of(f, x, event_dims=...)."
        )
    else:
        declared = parts_of(group_of(canonicalizer, symmetry))
    group = symmetry or getattr(canonicalizer, "symmetry", None) or declared[0]
    y = model(x)
    batch = batch_shape(x, group.item_dims)
    if y.shape[: len(batch)] != batch:
        raise AssertionError(f"forward: f(x) has shape {tuple(y.shape)}, which does not start with {tuple(batch)}")
    dims = y.dim() - len(batch)
    worst = 0.0
    if canonicalizer is not None:
        worst = compare("forward", "f(C(x)) = f(x)", model(canonicalizer(x)), y, dims, tolerance)
    for part in declared:
        moved = part.act(part.sample(x, generator=generator), x)
        worst = max(worst, compare("forward", f"f(g x) = f(x) for g of {part}", model(moved), y, dims, tolerance))
    return worst
