"""Products: their laws, the parts that they refuse, and their elements in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from draws import COMPLEX, Drawn, cases
from hypothesis import given
from torch import Tensor

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, FixSign, align
from torch_symbreak.symmetries import (
    ConjugateFlip,
    ConvolutionFactors,
    Element,
    GlobalPhase,
    Orthogonal,
    PhaseRamp,
    Product,
    RigidMotion,
    Scale,
    Sign,
    SignedPermutation,
    Symmetry,
    Translation,
)
from torch_symbreak.testing import assert_commutes, assert_elements, check_canonicalizer, check_symmetry


@dataclass(frozen=True)
class Turns(Symmetry):
    """Rotations of the channels, or of square frames, by one step; elements are int64, (*batch,)."""

    channel_dims: int = 1
    order = 3
    commutes = True

    def turned(self, x: Tensor, steps: int) -> Tensor:
        return x.roll(steps, -self.item_dims)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(0, self.order, x.shape[: x.dim() - self.item_dims], generator=generator).to(x.device)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        moved = x
        for steps in range(1, self.order):
            chosen = (g == steps).reshape((*g.shape, *[1] * self.item_dims))
            moved = torch.where(chosen, self.turned(x, steps), moved)
        return moved

    def inverse(self, g: Tensor) -> Tensor:
        return -g % self.order

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return (g2 + g1) % self.order

    def elements(self, x: Tensor) -> Iterator[Tensor]:
        for steps in range(self.order):
            yield torch.full(x.shape[: x.dim() - self.item_dims], steps, device=x.device)


class QuarterTurns(Turns):
    """Rotations of square frames by 90 degrees: they do not commute with translations."""

    order = 4
    commutes = None

    def turned(self, x: Tensor, steps: int) -> Tensor:
        return x.rot90(steps, (-2, -1))


class LyingTurns(QuarterTurns):
    commutes = True


class SilentTurns(QuarterTurns):
    commutes = False


def padded(*batch: int) -> Tensor:
    x = torch.zeros(*batch, 8, 8, dtype=torch.complex64)
    x[..., 1:5, 2:5] = torch.randn(*batch, 4, 3, dtype=x.dtype)
    return x


def far_field(d: int, *, wrap: bool = False, channel_dims: int = 0) -> list[Symmetry]:
    options: dict[str, Any] = {"channel_dims": channel_dims}
    motions = [Translation(d, wrap=wrap, **options), ConjugateFlip(d, wrap=wrap, **options)]
    return [*motions, GlobalPhase(d, **options)]


@given(cases(COMPLEX, channel_dims=1))
def test_laws_of_the_far_field(case: Drawn) -> None:
    parts = far_field(case.event_dims, wrap=case.wrap, channel_dims=1)
    check_symmetry(Product(parts), case.make(), generator=case.generator)
    check_symmetry(Product([*parts, Scale(case.event_dims, channel_dims=1)]), case.make(), generator=case.generator)


@given(cases(COMPLEX))
def test_laws_with_a_phase_ramp(case: Drawn) -> None:
    ramp, x = PhaseRamp(case.event_dims), case.make()
    errors = check_symmetry(Product([ramp, GlobalPhase(case.event_dims)]), x, generator=case.generator)
    assert list(errors) == ["identity", "commutation", "group"]
    if not case.wrap:  # around the frame a ramp does not fit together
        group = Product([*far_field(case.event_dims), ramp])
        assert "commutation" in check_symmetry(group, x, generator=case.generator)


def test_laws_with_a_finite_group() -> None:
    x = padded(40, 3)
    group = Product([Turns(2), *far_field(2, channel_dims=1)])
    assert list(check_symmetry(group, x)) == ["identity", "elements", "commutation", "group"]
    found = align(group.act(group.sample(x), x), x, group)
    assert torch.allclose(found.aligned, x, atol=1e-5)
    assert list(check_symmetry(QuarterTurns(2, channel_dims=0), x)) == ["identity", "elements", "group"]


def test_laws_of_a_composition() -> None:
    """A composition has no element and no margin: its laws need the symmetry, and items off ties."""
    model, parts = FarField(), torch.nn.Sequential(CenterContent(), FixConjugateFlip(), FixGlobalPhase())
    errors = check_canonicalizer(parts, padded(40), model, symmetry=Product(model.symmetries))
    assert list(errors)[:4] == ["pure", "identity", "elements", "group"]
    assert list(errors)[4:] == ["batch", "invariant", "idempotent", "smallest", "orbit", "forward"]
    with pytest.raises(TypeError, match="pass symmetry="):
        check_canonicalizer(parts, padded(40))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            QuarterTurns(2, channel_dims=0),
            r"whether QuarterTurns commutes.*Declare commutes = True.*exchange\(g, shift\)",
        ),
        (SilentTurns(2, channel_dims=0), r"SilentTurns declares commutes = False and needs exchange\(g, shift\)"),
    ],
)
def test_parts_must_declare_that_they_commute(part: Symmetry, message: str) -> None:
    assert Product([part]).symmetries == (part,)  # alone there is nothing to commute with
    for more in ([Translation()], [GlobalPhase()], [Turns(2, channel_dims=0)]):
        with pytest.raises(ValueError, match=message):
            Product([part, *more])
    # An alignment over both once returned .0051 where 0 is right.
    x = padded(2)
    with pytest.raises(ValueError, match=message):
        align(x, x, [part, Translation()])


@pytest.mark.parametrize("wrap", [True, (16, 8)])
def test_a_phase_ramp_on_periodic_axes_is_refused(wrap: Any) -> None:
    """No phase makes a ramp commute with content that wraps; alignments over both returned 1.7 where 0 is right."""
    x, motions = padded(2), [Translation(wrap=wrap), ConjugateFlip(wrap=wrap)]
    group = Product([*motions, GlobalPhase(), PhaseRamp()])
    for call in (lambda: group.sample(x), lambda: group.act(group.identity(x), x), lambda: align(x, x, group)):
        with pytest.raises(ValueError, match=r"cannot combine \[PhaseRamp.*on periodic axes.*wrap=False"):
            call()
    wider = Product([Translation(wrap=(16, 16)), GlobalPhase(), PhaseRamp()])  # a padded detector
    assert wider.sample(x).shift.shape == (2, 2)


def test_a_lie_about_commuting_is_caught() -> None:
    lie = LyingTurns(2, channel_dims=0)
    with pytest.raises(AssertionError, match=r"commutation: g \(m x\) = m \(g x\) for g of LyingTurns.*of 40 items"):
        assert_commutes(Product([lie, Translation()]), padded(40))
    assert assert_commutes(Product([lie, GlobalPhase()]), padded(40)) == 0  # true of a phase


@pytest.mark.parametrize("alone", [Translation(), Product([Turns(2)]), Product(far_field(2))])
def test_laws_that_say_nothing_are_refused(alone: Symmetry) -> None:
    with pytest.raises(ValueError, match="assert_commutes needs a Product"):
        assert_commutes(alone, padded(2))
    with pytest.raises(ValueError, match=r"needs a symmetry with elements\(x\)"):
        assert_elements(GlobalPhase(), padded(2))


def test_identity() -> None:
    x = padded(5, 3)
    group = Product([Turns(2), *far_field(2, channel_dims=1), Scale(channel_dims=1)])
    g = group.identity(x)
    assert torch.equal(group.act(g, x), x)
    assert (g.flipped.shape, g.shift.shape, g.scalar.shape, g.others[0].shape) == ((5,), (5, 2), (5,), (5,))


@pytest.mark.parametrize(
    "fix",
    [CenterContent(channel_dims=1), FixConjugateFlip(channel_dims=1), FixGlobalPhase(channel_dims=1)],
    ids=lambda fix: type(fix).__name__,
)
def test_lift_acts_as_the_part(fix: Any) -> None:
    x, group = padded(5, 3), Product([Turns(2), *far_field(2, channel_dims=1)])
    assert torch.equal(group.act(group.lift(fix.symmetry, fix.element(x), x), x), fix(x))


def test_lift_of_a_finite_part_and_of_the_whole() -> None:
    x, turns = padded(5, 3), Turns(2)
    group = Product([turns, *far_field(2, channel_dims=1)])
    g = turns.sample(x)
    assert torch.equal(group.act(group.lift(turns, g, x), x), turns.act(g, x))
    whole = group.sample(x)
    assert torch.equal(group.act(group.lift(group, whole, x), x), group.act(whole, x))
    with pytest.raises(ValueError, match=r"lift needs a symmetry of .* but got Scale"):
        group.lift(Scale(channel_dims=1), torch.ones(5), x)


@given(cases())
def test_describe_says_what_an_element_does(case: Drawn) -> None:
    x = case.make()
    model = FarField(case.event_dims, field=case.field)
    group = Product(model.symmetries)
    g = group.sample(x, generator=case.generator)
    sentences = g.describe(x)
    box, moved = (group.symmetries[0].box(z).lo.reshape(-1, case.event_dims) for z in (x, group.act(g, x)))
    for sentence, flipped, by, scalar in zip(
        sentences, g.flipped.flatten(), (moved - box).tolist(), g.scalar.flatten(), strict=True
    ):
        words = ["flipped"] if flipped else []
        words += [f"{'then ' if flipped else ''}moved by ({', '.join(map(str, by))})"] if any(by) else []
        if case.dtype.is_complex:
            words += [f"phase {float(scalar.angle()):.2f} rad"] if abs(scalar.angle()) >= 0.005 else []
        elif scalar < 0:
            words += ["sign -1"]
        assert sentence == (", ".join(words) or "unchanged")


KINDS: tuple[Symmetry, ...] = (
    Translation(channel_dims=1),
    Sign(2, channel_dims=1),
    Orthogonal(channel_dims=1),
    RigidMotion(channel_dims=1),
    SignedPermutation(channel_dims=1),
    ConvolutionFactors(kernel=(3, 3)),
    PhaseRamp(channel_dims=1),
    Product([Translation(channel_dims=1), Sign(2, channel_dims=1)]),
    Product([Orthogonal(channel_dims=1)]),
)


def field_of(group: Symmetry) -> torch.dtype:
    return torch.complex64 if isinstance(group, PhaseRamp) else torch.float32


@pytest.mark.parametrize("group", KINDS, ids=repr)
def test_elements_of_other_kinds_are_told(group: Symmetry) -> None:
    for other in KINDS:
        g = other.sample(torch.ones(3, 2, 4, 4, dtype=field_of(other)))
        x = torch.ones(3, 2, 4, 4, dtype=field_of(group))
        if other == group:
            group.act(g, x)
            continue
        # Tensors alone differ by their shape.
        both = isinstance(g, Tensor) and isinstance(group, (Sign, Orthogonal, PhaseRamp))
        with pytest.raises(ValueError if both else TypeError, match=r"needs an? [eE]lement|batch of shape|elements \("):
            group.act(g, x)
        if not both and isinstance(group, (Translation, Sign, PhaseRamp, Product)):
            for operation, elements in ((group.inverse, (g,)), (group.compose, (g, g))):
                with pytest.raises(TypeError, match=r"needs an? [eE]lement"):
                    operation(*elements)


def test_describe_of_other_elements() -> None:
    x = padded(2, 3)
    group = Product([Turns(2), *far_field(2, channel_dims=1), Scale(channel_dims=1)])
    g = group.identity(x)._replace(scalar=torch.tensor([1.0, 2.0 + 0.0j]))
    assert g.describe(x) == ["1 element of another kind", "scaled by 2, and 1 element of another kind"]
    assert Product([Sign(2), Scale()]).identity(x.real[:, 0]).describe(x.real[:, 0]) == ["unchanged"] * 2
    halves = Element(torch.tensor([False]), torch.tensor([[0.5, 0.0]], dtype=torch.float64), torch.ones(1))
    assert halves.describe(x[:1, 0].real) == ["moved by (0.5, 0)"]
    assert Product(FixSign(2).symmetry).identity(x.real[:1, 0]).describe(x.real[:1, 0]) == ["unchanged"]
    with pytest.raises(ValueError, match="needs the targets that it acts on"):
        g.describe(x[:1])
