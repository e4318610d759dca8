"""Tell how targets lie in their orbits, from the elements that would canonicalize them.

If every target sits at a random point of its orbit, the elements that an invariant rule takes are uniform over the
group, whatever the objects are. So a test for uniformity is exact: it needs no assumption on the objects. If a rule
broke the targets, its elements are the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import box_ends, wrapped_axes
from torch_symbreak._items import flat_items, join_elements, power, root, some_elements
from torch_symbreak._random import item_seed
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import (
    Canonicalizer,
    ConjugateFlip,
    Element,
    GlobalPhase,
    Motion,
    Product,
    Translation,
)
from torch_symbreak.symmetries.base import snake_case
from torch_symbreak.symmetries.scalar import Scalar

#: Items that are looked at at once.
STEP = 500
#: A phase below this, in radians, is round-off.
_PHASE = 1e-3
#: A template's target may be this far, in gain over ``||x|| ||t||``, from the nearest point of its orbit: a template
#: estimated from n targets differs by their spread over sqrt(n).
_GAP = 2e-3
#: Added to a seed, it makes draws independent of a scrambling with that seed.
OWN = 0x5EED0
#: Two targets closer than this, relative to their norms, are one.
SAME = 1e-3


class Orientations(NamedTuple):
    """Elements that one rule takes for every item, for one symmetry."""

    moved: Tensor  # (n,) bool: the element is not the identity
    scores: Tensor  # (n,) in [0, 1]: 1 for the identity
    values: Tensor  # (n, k): what a histogram shows; NaN where only the identity is admissible
    uniform: Tensor | None  # (n, k) in [0, 1], uniform if targets are scrambled; None if nothing is known
    unit: str


def elements_of(fix: Canonicalizer[Any], x: Tensor) -> Element:
    """Return the elements of the items of x, (n, *item), as elements of the product."""
    group = Product(fix.symmetry)
    parts = [group.lift(fix.symmetry, fix.element(part), part) for part in x.split(STEP)]
    element: Element = join_elements(parts, x.shape[:1])
    return element


def orientations_of(fix: Canonicalizer[Any], x: Tensor, *, seed: int = 0) -> dict[str, Orientations]:
    """Return the elements that a rule takes for the items of x, (n, *item), by the name of the symmetry.

    Args:
        fix: The rule.
        x: Targets.
        seed: Seed of the draw within one entry of the frame, which makes shifts uniform in [0, 1].
    """
    group = Product(fix.symmetry)
    empty = ~flat_items(x, group.item_dims).ne(0).any(-1)[:, None]  # zero stays zero, and lies nowhere in its orbit
    return {
        name: each._replace(
            values=torch.where(empty, torch.nan, each.values),
            uniform=None if each.uniform is None else torch.where(empty, torch.nan, each.uniform),
        )
        for name, each in _orientations(group, elements_of(fix, x), x, seed)
    }


def _orientations(group: Product, g: Element, x: Tensor, seed: int) -> Iterator[tuple[str, Orientations]]:
    for part in group.symmetries:
        if isinstance(part, Translation):
            yield snake_case(part), _shifts(group, g, x, seed)
        elif isinstance(part, ConjugateFlip):
            values = g.flipped[:, None].double()
            yield snake_case(part), Orientations(g.flipped, 1 - values[:, 0], values, values, "flipped")
        elif isinstance(part, Scalar) and g.scalar.is_complex():
            angle = g.scalar.angle().double()[:, None]
            turned = angle[:, 0].abs() > _PHASE
            scores = (1 + angle[:, 0].cos()) / 2
            yield snake_case(part), Orientations(turned, scores, angle, angle / math.tau + 0.5, "rad")
        elif isinstance(part, Scalar):
            values = (g.scalar < 0).double()[:, None]
            yield snake_case(part), Orientations(values[:, 0] > 0, 1 - values[:, 0], values, values, "negated")
        else:
            h = g.others[group.others.index(part)]
            changed = (
                root(_energy(part.act(h, x) - x, group.item_dims) / _energy(x, group.item_dims)).nan_to_num() > SAME
            )
            values = changed.double()[:, None]
            yield snake_case(part), Orientations(changed, 1 - values[:, 0], values, None, "moved")


def _shifts(group: Product, g: Element, x: Tensor, seed: int) -> Orientations:
    like = group.rearrangement
    assert like is not None
    moves = torch.cat(
        [
            some_elements(g, slice(i, i + STEP)).moves(x[i : i + STEP], threshold=like.threshold, wrap=like.wrap)
            for i in range(0, len(x), STEP)
        ]
    )
    boxes = [like.box(part) for part in x.split(STEP)]
    lo, length = (torch.cat([getattr(box, name) for box in boxes]) for name in ("lo", "length"))
    event = torch.tensor(x.shape[x.dim() - like.event_dims :])
    periodic = torch.tensor(_periodic(group, tuple(event.tolist())))
    places = torch.where(periodic, event, event - length + 1)
    free = length < event
    # Whoever scrambled the targets may have used the same seed, and the same numbers would not be independent.
    generator = torch.Generator().manual_seed(item_seed(seed, OWN))
    drawn = torch.rand(lo.shape, dtype=torch.float64, generator=generator)
    uniform = torch.where(free, (lo + drawn) / places, torch.nan)
    values = torch.where(free, moves.double(), torch.nan)
    moved = moves.ne(0).any(-1)
    return Orientations(moved, 1 / (1 + moves.abs().amax(-1)), values, uniform, "entries")


def _periodic(group: Product, event: tuple[int, ...]) -> tuple[bool, ...]:
    assert group.rearrangement is not None
    return wrapped_axes(group.rearrangement.wrap, event)


def _energy(x: Tensor, item_dims: int) -> Tensor:
    return flat_items(power(x), item_dims).sum(-1, dtype=torch.float64)


class Uniformity(NamedTuple):
    """A test of uniform elements."""

    p: float  # corrected for the number of axes; 1 if nothing can be tested
    distance: float  # largest gap between the distribution functions, in [0, 1]; for flips |share - 1/2|


def uniformity(found: Orientations) -> Uniformity:
    """Test whether elements are uniform: Kolmogorov and Smirnov's test, or the binomial test of a flip or a sign.

    Example: a set with all flips, one with half of them.
        >>> def flips(values):
        ...     values = torch.tensor(values)[:, None].double()
        ...     return Orientations(values[:, 0] > 0, values[:, 0], values, values, "flipped")
        >>> uniformity(flips([1] * 40)).p < 1e-6, uniformity(flips([0, 1] * 20)).p
        (True, 1.0)
    """
    from scipy import stats

    if found.uniform is None:
        return Uniformity(1.0, 0.0)
    results = []
    for axis in found.uniform.T:
        values = axis[~axis.isnan()].numpy()
        if len(values) == 0:
            continue
        if found.unit in ("flipped", "negated"):
            ones = int(values.sum())
            results.append((stats.binomtest(ones, len(values)).pvalue, abs(ones / len(values) - 0.5)))
        else:
            test = stats.kstest(values, "uniform")
            results.append((test.pvalue, test.statistic))
    if not results:
        return Uniformity(1.0, 0.0)
    return Uniformity(min(1.0, len(results) * min(float(p) for p, _ in results)), float(max(d for _, d in results)))


class Breaking(NamedTuple):
    """Items that violate a rule: it would move them."""

    rule: str
    violations: dict[str, Tensor]  # per symmetry, (n,) bool
    doubled: Tensor | None = None  # (n,) bool: orbits to which the rule gives two targets
    turned: Tensor | None = None  # (n,) bool: those of them whose two targets have opposite orientations
    outside: Tensor | None = None  # (n,) bool: targets that the rule did not make


def broken_by_exact(fix: Canonicalizer[Any], x: Tensor, found: dict[str, Orientations]) -> Breaking:
    """Return the violations of the exact rule; ties are none."""
    tied = torch.cat([fix.tied(part) for part in x.split(STEP)])
    return Breaking("exact", {name: each.moved & ~tied for name, each in found.items()})


def broken_by_template(group: Product, x: Tensor, *, seed: int = 0) -> Breaking | None:
    """Return the violations of the template that the targets themselves suggest: their mean.

    Targets that a fitted template moved have that template as their mean, so none of them can be moved nearer. An item
    that could gain less than the error of such a mean is no violation. None if the mean is no template.
    """
    try:
        fix = AlignToTemplate(x.mean(0), group)
    except (TypeError, ValueError):
        return None
    found = orientations_of(fix, x, seed=seed)
    template, item_dims = fix.template, group.item_dims
    apart = []
    for part in x.split(STEP):
        gain = flat_items(((fix(part) - part) * template.conj()).real, item_dims).sum(-1, dtype=torch.float64)
        size = root(_energy(part, item_dims) * _energy(template, item_dims))
        apart.append(gain > _GAP * size)
    decided = torch.cat(apart)
    return Breaking("template", {name: each.moved & decided for name, each in found.items()})


def broken_by_literal(fix: Canonicalizer[Any], x: Tensor) -> Breaking | None:
    """Return the violations of the literal reading of Algorithm 2, and the orbits to which it gives two targets.

    The literal rule does not see translations and phases, but it sees the flip. So it gives an orbit the targets of its
    two orientations, and a target that it made is one of these. None if the targets are no complex images with the far
    field's symmetries.
    """
    group = Product(fix.symmetry)
    parts = {type(part) for part in group.symmetries}
    if not x.is_complex() or group.item_dims != 2 or group.event_dims != 2:
        return None
    if parts != {Translation, ConjugateFlip, GlobalPhase} or any(_periodic(group, tuple(x.shape[1:]))):
        return None
    literal, flip = LiteralAlgorithm2(), next(part for part in group.symmetries if isinstance(part, ConjugateFlip))
    wrong, doubled, turned = [], [], []
    for part in x.split(STEP):
        twin = Motion(torch.ones(len(part), dtype=torch.bool), box_ends(flip.box(part)))
        one, other = literal(part), literal(flip.act(twin, part))
        wrong.append(~(_alike(one, part) | _alike(other, part)))
        doubled.append(~_alike(one, other))
        turned.append(fix.element(one).flipped != fix.element(other).flipped)
    outside, two = torch.cat(wrong), torch.cat(doubled)
    violations = {snake_case(part): outside for part in group.symmetries}
    violations[snake_case(flip)] = outside | two
    return Breaking("literal", violations, two, two & torch.cat(turned), outside)


def _alike(a: Tensor, b: Tensor) -> Tensor:
    return _energy(a - b, 2) <= SAME**2 * _energy(b, 2)


def detect(
    fix: Canonicalizer[Any], exact: Breaking, x: Tensor, *, least: float = 0.9, seed: int = 0
) -> Breaking | None:
    """Return the rule that broke the targets, looked for on some of them first. None if there is none.

    Args:
        fix: The exact rule.
        exact: Its violations.
        x: The targets, (n, *item).
        least: Share of the targets that a rule must have made.
        seed: Seed of the choice of those that are looked at first.
    """
    if _kept(exact) >= least:
        return exact
    group = Product(fix.symmetry)
    few = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:200].sort().values]
    rules: list[Callable[[Tensor], Breaking | None]] = [
        lambda z: broken_by_literal(fix, z),
        lambda z: broken_by_template(group, z, seed=seed),
    ]
    for rule in rules:
        for part in (few, x):
            found = rule(part)
            if found is None or _kept(found) < least:
                break
        else:
            return found
    return None


def _kept(breaking: Breaking) -> float:
    """Return the share of the items that the rule can have made."""
    outside = torch.stack(list(breaking.violations.values())).any(0) if breaking.outside is None else breaking.outside
    return 1 - float(outside.double().mean())
