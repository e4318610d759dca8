"""Run all laws at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape
from torch_symbreak._random import uniform
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Symmetry
from torch_symbreak.symmetries.base import enumerates
from torch_symbreak.testing.canonicalizers import (
    alignable,
    assert_batch_equivariant,
    assert_few_ties,
    assert_forward_invariant,
    assert_idempotent,
    assert_in_orbit,
    assert_invariant,
    assert_pure,
    assert_representative,
    assert_smallest,
)
from torch_symbreak.testing.convexity import assert_convex
from torch_symbreak.testing.groups import (
    acts_on_all,
    assert_commutes,
    assert_device,
    assert_elements,
    assert_group,
    assert_identity,
    has_declared,
)
from torch_symbreak.testing.measure import TIE_MARGIN, Fix, group_of, parts_of, random_like


def check_symmetry(
    symmetry: Symmetry,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Run every law of a symmetry on the items of ``x``; return the largest error by law.

    The laws, in the order in which they run:

    - ``identity``: ``e z = z``.
    - ``elements``, if the symmetry or a part of it enumerates them: the enumeration contains those drawn, the identity
      and all compositions.
    - ``commutation``, for a product with a symmetry that is neither a rearrangement nor a scalar: its elements g and
      the other parts' m have ``g (m x) = c m (g x)``, c = 1 if it declares ``commutes = True``.
    - ``group``: ``g^-1 (g z) = z``, ``g (g^-1 z) = z`` and ``(g2 g1) z = g2 (g1 z)``.

    Args:
        symmetry: The symmetry, or a product.
        x: Items to draw elements on, (*batch, *channels, *event).
        generator: Draws the elements. Default: torch's global one.
        tolerance: Largest relative error allowed. Default: 2e-5 in single, 1e-10 in double precision.

    Raises:
        AssertionError: If a law does not hold.

    Warns:
        UserWarning: If elements are made on another device than that of x (:func:`assert_device`, which needs no GPU),
            or no drawn element moves any item.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> check_symmetry(Sign(1), torch.randn(40, 5))
        {'identity': 0.0, 'group': 0.0}
    """
    _warn_of_devices(symmetry, x)
    return _laws_of_symmetry(symmetry, x, generator, tolerance)


def _warn_of_devices(tested: Symmetry | Canonicalizer[Any], x: Tensor) -> None:
    """Warn the caller's caller if tensors are made on the wrong device. The laws cannot see it on this one."""
    try:
        assert_device(tested, x)
    except AssertionError as error:
        warnings.warn(f"{error}. It fails on a GPU.", stacklevel=3)


def _laws_of_symmetry(
    symmetry: Symmetry, x: Tensor, generator: torch.Generator | None, tolerance: float | None
) -> dict[str, float]:
    many = batch_shape(x, symmetry.item_dims).numel() >= 20  # few items may all draw the identity
    for part in parts_of(symmetry) if many else ():
        if torch.equal(part.act(part.sample(x, generator=generator), x), x):
            warnings.warn(
                f"No drawn element of {part} moves any item of x, so that its laws say nothing. Test on items that it "
                "can move, padded with zeros for example.",
                stacklevel=3,
            )
    z = random_like(x, generator)
    errors = {"identity": assert_identity(symmetry, x, z, tolerance=tolerance)}
    # Before the group, because a fault here breaks its laws too, and these messages name the part.
    if any(enumerates(part) for part in parts_of(symmetry)):
        errors["elements"] = assert_elements(symmetry, x, generator=generator, tolerance=tolerance)
    if has_declared(symmetry):
        errors["commutation"] = assert_commutes(symmetry, x, generator=generator, tolerance=tolerance)
    errors["group"] = assert_group(symmetry, x, generator=generator, tolerance=tolerance)
    if acts_on_all(symmetry):
        on_random = assert_group(symmetry, x, z, generator=generator, tolerance=tolerance)
        errors["group"] = max(errors["group"], on_random)
    return errors


def check_canonicalizer(
    fix: Fix,
    x: Tensor,
    model: ForwardModel | Callable[[Tensor], Tensor] | None = None,
    *,
    symmetry: Symmetry | None = None,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> dict[str, float]:
    """Run every law that applies to a canonicalizer on the items of ``x``; return the largest error by law.

    The laws, in the order in which they run:

    - ``pure``: x is unchanged, C(x) is like x, margins are in [0, 1].
    - ``ties``: at most 5 % of the items have a margin of 1e-4 or less. (Its "error" is their share.)
    - ``identity``, ``elements``, ``commutation``, ``group``: see :func:`check_symmetry`.
    - ``representative``: ``C(x) = g x`` and ``x = g^-1 C(x)``, g the element of x.
    - ``batch``: a batch at once equals its items one by one.
    - ``invariant``: ``C(g x) = C(x)``. ``idempotent``: ``C(C(x)) = C(x)``. ``smallest``: ``C(g C(x)) = C(x)``. These
      three say that an orbit has one representative. They leave out ties.
    - ``orbit``, if ``fix`` has no ``element``: an alignment takes C(x) back to x.
    - ``forward``, with a model: ``f(C(x)) = f(x)``, and ``f(g x) = f(x)`` for each symmetry.
    - ``dropped`` and ``convex``, if ``fix.convex``: the mean of the canonical points of neighboring items is canonical,
      at the middle and with a drawn weight. At most half of the pairs may be dropped, because content boxes or ties
      leave them without a claim. (The "error" of ``dropped`` is their share.)

    Args:
        fix: The canonicalizer. If it has no ``element`` and ``margin``, as a composition, their laws are skipped. Then
            pass ``symmetry``, and items that are no ties.
        x: Items to test on, (*batch, *channels, *event): 40 or more, drawn like your data.
        model: A forward model, or a plain function from a batch to its measurements.
        symmetry: The group whose orbits have one representative. Default: the canonicalizer's own.
        generator: Draws the elements. Default: torch's global one.
        tolerance: Largest relative error allowed. Default: 2e-5 in single, 1e-10 in double precision.

    Raises:
        AssertionError: If a law does not hold. The message starts with the law's name and lists the items.
        TypeError: If ``fix`` has no symmetry and none is given.
        ValueError: If ``x`` has fewer than two items.

    Warns:
        UserWarning: If no drawn element of a symmetry moves any item (content that fills the frame cannot be shifted).
            Its laws then say nothing. Also if elements or margins are made on another device than that of x
            (:func:`assert_device`, which needs no GPU).

    Example:
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> errors = check_canonicalizer(FixSign(1), torch.randn(40, 5), lambda x: x[..., :1] * x)
        >>> print(*errors)
        pure ties identity group representative batch invariant idempotent smallest forward dropped convex
        >>> max(errors.values())
        0.0
    """
    group = group_of(fix, symmetry)
    if x.numel() == 0 or batch_shape(x, group.item_dims).numel() < 2:
        raise ValueError(f"check_canonicalizer needs two items or more to test on, but got a batch {tuple(x.shape)}.")
    for tested in (group, fix):
        if isinstance(tested, (Symmetry, Canonicalizer)):
            _warn_of_devices(tested, x)
    errors = {"pure": assert_pure(fix, x, group)}
    clear = x
    if isinstance(fix, Canonicalizer):
        errors["ties"] = assert_few_ties(fix, x)
        clear = _without_ties(x, fix.margin(x) > TIE_MARGIN, group)
    errors |= _laws_of_symmetry(group, x, generator, tolerance)
    if isinstance(fix, Canonicalizer):
        errors["representative"] = assert_representative(fix, x, tolerance=tolerance)
    errors["batch"] = assert_batch_equivariant(fix, x, group, tolerance=tolerance)
    errors["invariant"] = assert_invariant(fix, clear, group, generator=generator, tolerance=tolerance)
    errors["idempotent"] = assert_idempotent(fix, clear, group, tolerance=tolerance)
    errors["smallest"] = assert_smallest(fix, clear, group, generator=generator, tolerance=tolerance)
    if not isinstance(fix, Canonicalizer) and alignable(group):
        errors["orbit"] = assert_in_orbit(fix, x, group, tolerance=tolerance)
    if model is not None:
        errors["forward"] = assert_forward_invariant(model, x, fix, group, generator=generator, tolerance=tolerance)
    if isinstance(fix, Canonicalizer) and fix.convex:
        errors |= _check_convex(fix, clear, generator, tolerance)
    return errors


def _check_convex(
    fix: Canonicalizer[Any], x: Tensor, generator: torch.Generator | None, tolerance: float | None
) -> dict[str, float]:
    """Pair every item with the next one."""
    x = x.reshape(-1, *x.shape[x.dim() - fix.symmetry.item_dims :])
    weight = uniform((len(x),), x.device, generator)
    laws = [assert_convex(fix, x, x.roll(-1, 0), w, tolerance=tolerance) for w in (0.5, weight)]
    return {"dropped": max(law.dropped for law in laws), "convex": max(law.error for law in laws)}


def _without_ties(x: Tensor, clear: Tensor, group: Symmetry) -> Tensor:
    """Replace ties by the first item off ties. Batch and numbering stay, so messages name the items of ``x``."""
    items = x.reshape(clear.numel(), *x.shape[len(batch_shape(x, group.item_dims)) :])
    number = torch.arange(clear.numel(), device=x.device)
    first = int(clear.flatten().to(torch.int8).argmax())
    return items[torch.where(clear.flatten(), number, first)].reshape(x.shape)
