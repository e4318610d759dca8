"""Laws of a symmetry: a group, with an action on items that looks at no content."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import batch_shape, per_item
from torch_symbreak.symmetries import Canonicalizer, Product, Rearrangement, Symmetry
from torch_symbreak.symmetries.base import enumerates
from torch_symbreak.testing.measure import compare, deviation, judge, limit_of, parts_of, random_like

#: Items on which all pairs of an enumerated group are composed: elements do not depend on content.
_FEW = 3


def assert_group(
    symmetry: Symmetry,
    x: Tensor,
    z: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check inverse and composition: ``g^-1 (g z) = z``, ``g (g^-1 z) = z`` and ``(g2 g1) z = g2 (g1 z)``.

    Elements are drawn on x. They act on any z of its shape; without z, g1 acts on x, and g2 is drawn on g1 x.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> assert_group(Sign(1), torch.randn(50, 5))
        0.0
    """
    g1 = symmetry.sample(x, generator=generator)
    start = x if z is None else z
    moved = symmetry.act(g1, start)
    g2 = symmetry.sample(moved if z is None else x, generator=generator)
    back, dims = symmetry.inverse(g1), symmetry.item_dims
    pairs = [
        ("g^-1 (g z) = z", symmetry.act(back, moved), start),
        ("g (g^-1 z) = z", symmetry.act(g1, symmetry.act(back, moved)), moved),
        ("(g2 g1) z = g2 (g1 z)", symmetry.act(symmetry.compose(g2, g1), start), symmetry.act(g2, moved)),
    ]
    return max(compare("group", formula, actual, wanted, dims, tolerance) for formula, actual, wanted in pairs)


def assert_identity(symmetry: Symmetry, x: Tensor, z: Tensor | None = None, *, tolerance: float | None = None) -> float:
    """Check that ``symmetry.identity(x)`` leaves any z of the shape of x as it is (default: x).

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> assert_identity(Sign(1), torch.randn(50, 5))
        0.0
    """
    z = x if z is None else z
    return compare("identity", "e z = z", symmetry.act(symmetry.identity(x), z), z, symmetry.item_dims, tolerance)


def assert_device(tested: Symmetry | Canonicalizer[Any], x: Tensor) -> None:
    """Check that elements, margins and images are made on the device of x. No second device is needed.

    Elements are drawn and applied on PyTorch's meta device, where tensors have shapes but no values. A method that
    reads values, by ``.item()`` for example, cannot run there and is not checked. Matrix products mix devices there
    without an error.

    Raises:
        AssertionError: If a method returns a tensor on another device, or mixes tensors of two.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> assert_device(Sign(1), torch.randn(50, 5))
    """
    empty = torch.empty_like(x, device="meta")
    if isinstance(tested, Canonicalizer):
        fix = copy.deepcopy(tested).to("meta")  # a template moves along
        for method in ("element", "margin", "forward"):
            _on_meta(fix, method, empty)
        return
    for part in parts_of(tested):
        g = _on_meta(part, "sample", empty, generator=torch.Generator())
        if g is not None:
            _on_meta(part, "act", g, empty)
            _on_meta(part, "inverse", g)
            _on_meta(part, "compose", g, g)
            _on_meta(part, "identity", empty)
        if enumerates(part):
            _on_meta(part, "elements", empty)


def _on_meta(thing: object, method: str, *arguments: Any, **options: Any) -> Any:
    """Return what a method makes of tensors on the meta device, or None if it reads values."""
    call = f"device: {type(thing).__name__}.{method}"
    remedy = "Make tensors on the device of x: torch.zeros(..., device=x.device), or draw and move: .to(x.device)"
    try:
        made = getattr(thing, method)(*arguments, **options)
        made = tuple(made) if isinstance(made, Iterator) else made
    except Exception as error:  # of a user's code that meets a device without values
        mixed = isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError)
        if mixed and "device" in str(error).lower():
            raise AssertionError(f"{call} mixes tensors of two devices ({error}). {remedy}") from None
        return None
    for tensor in _tensors(made):
        if tensor.device.type != "meta":
            raise AssertionError(f"{call} returns a tensor on {tensor.device}, not on the device of x. {remedy}")
    return made


def _tensors(thing: Any) -> Iterator[Tensor]:
    """Yield the tensors in an element: a tensor, or (named) tuples of them."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, (tuple, list)):
        for part in thing:
            yield from _tensors(part)


def assert_elements(
    symmetry: Symmetry,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check the enumeration of a finite group: the elements drawn, the identity and all compositions are in it.

    Elements are compared by their action on random items. Of a product, every part that enumerates its elements is
    checked.

    Raises:
        ValueError: If no part enumerates its elements.

    Example:
        >>> from torch_symbreak.symmetries import ConjugateFlip
        >>> assert_elements(ConjugateFlip(1), torch.randn(50, 5))
        0.0
    """
    parts = [part for part in parts_of(symmetry) if enumerates(part)]
    if not parts:
        raise ValueError(f"assert_elements needs a symmetry with elements(x), but got {symmetry}.")
    worst = 0.0
    for part in parts:
        z = random_like(x, generator)
        few, few_z = (a.reshape(-1, *a.shape[len(batch_shape(x, part.item_dims)) :])[:_FEW] for a in (x, z))
        elements = list(part.elements(few))
        all_images = [part.act(g, z) for g in part.elements(x)]
        images = [part.act(g, few_z) for g in elements]
        drawn = part.act(part.sample(x, generator=generator), z)
        tests = [("drawn element", drawn, all_images), ("identity", few_z, images)]
        tests += [
            (f"composition of elements {j} and {i}", part.act(part.compose(g2, g1), few_z), images)
            for (i, g1), (j, g2) in itertools.product(enumerate(elements), repeat=2)
        ]
        for name, image, among in tests:
            if not among:
                raise AssertionError(f"elements: {part} enumerates no element")
            nearest = torch.stack([deviation(other, image, part.item_dims) for other in among]).amin(0)
            formula = f"the {name} is one of the {len(among)} elements of {part}"
            worst = max(worst, judge("elements", formula, nearest, limit_of(image, tolerance)))
    return worst


def assert_commutes(
    product: Symmetry,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> float:
    """Check that the parts of a product commute as they declare: ``g (m x) = c m (g x)``.

    g is drawn from every symmetry that is neither a rearrangement nor a scalar, m from every other part. c is 1 if the
    symmetry of g declares ``commutes = True``, and ``exchange(g, shift)`` for a motion otherwise.

    Raises:
        ValueError: If no part has to declare that it commutes.

    Example: a linear phase and a shift commute up to a phase, which ``exchange`` returns.
        >>> from torch_symbreak.symmetries import GlobalPhase, PhaseRamp, Product, Translation
        >>> group = Product([PhaseRamp(1), Translation(1), GlobalPhase(1)])
        >>> x = torch.nn.functional.pad(torch.randn(50, 5, dtype=torch.complex64), (2, 3))
        >>> assert_commutes(group, x) < 1e-5
        True
    """
    if not has_declared(product):
        raise ValueError(f"assert_commutes needs a Product with a symmetry of another kind, but got {product}.")
    assert isinstance(product, Product)
    worst = 0.0
    for part, other in itertools.permutations(product.symmetries, 2):
        if part not in product.others:
            continue
        g, m = part.sample(x, generator=generator), other.sample(x, generator=generator)
        after = other.act(m, part.act(g, x))
        formula = f"g (m x) = m (g x) for g of {part} and m of {other}"
        if not part.commutes and isinstance(other, Rearrangement):
            after = after * per_item(part.exchange(g, m.shift).to(after.dtype), part.item_dims)
            formula = f"g (m x) = c m (g x) for g of {part}, m of {other} and c = exchange(g, m.shift)"
        before = part.act(g, other.act(m, x))
        worst = max(worst, compare("commutation", formula, before, after, part.item_dims, tolerance))
    return worst


def has_declared(symmetry: Symmetry) -> bool:
    """Return whether a symmetry is a product in which a part declares how it commutes with the rest."""
    return isinstance(symmetry, Product) and len(symmetry.symmetries) > 1 and bool(symmetry.others)


def acts_on_all(symmetry: Symmetry) -> bool:
    """Return whether elements drawn on x obey the group's laws on every z.

    False if a part and the motions commute only up to a phase: content that wraps around the frame has no such phase.
    """
    if not isinstance(symmetry, Product) or symmetry.rearrangement is None:
        return True
    return all(part.commutes for part in symmetry.others)
