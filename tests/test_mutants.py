"""The laws must bite: for each plausible mistake, the suite passes without it and fails with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import template_mutants
import torch
from draws import around_the_frame, objects, odd_along_the_last_axis, with_a_tie, without_a_sum
from finite_groups import QuarterTurns
from test_template_fit import check_rounds
from torch import Tensor, nn

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, FixSign, _content, _frequencies
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.canonical import FarFieldCanonicalizer, _cpu, rule, using
from torch_symbreak.canonical import far_field as far_field_module
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Motion, Product, Symmetry, Translation, product
from torch_symbreak.symmetries.scalar import FixScalar
from torch_symbreak.testing import check_canonicalizer, check_symmetry, deviation

Patch = pytest.MonkeyPatch


def far_field() -> FarFieldCanonicalizer:
    return FarField().canonicalizer()


# How things are broken: each patches something, or returns the broken canonicalizer or symmetry.


def flip_about_the_frame(patch: Patch) -> None:
    exact = FixConjugateFlip.element

    def element(self: FixConjugateFlip, x: Tensor) -> Motion:
        g = exact(self, x)
        return Motion(g.flipped, torch.where(g.flipped[..., None], g.shift.new_tensor(x.shape[-2:]) - 1, 0))

    patch.setattr(FixConjugateFlip, "element", element)


def flip_without_conjugation(patch: Patch) -> None:
    exact = ConjugateFlip.act

    def act(self: ConjugateFlip, g: Motion, x: Tensor) -> Tensor:
        moved = exact(self, g, x)
        return torch.where(g.flipped[..., None, None], moved.conj(), moved).resolve_conj()

    patch.setattr(ConjugateFlip, "act", act)


def flip_without_conjugation_all_through(patch: Patch) -> None:
    """A group and a canonicalizer that agree with one another: only the measurement tells that they are wrong."""
    flip_without_conjugation(patch)
    exact = FixConjugateFlip.element
    patch.setattr(FixConjugateFlip, "element", lambda self, x: exact(self, x.abs()))
    margin = FixConjugateFlip.margin
    patch.setattr(FixConjugateFlip, "margin", lambda self, x: margin(self, x.abs()))


def ends_off_by_one(patch: Patch) -> None:
    exact = _frequencies.box_ends
    patch.setattr(_frequencies, "box_ends", lambda box: exact(box) + 1)


def score_about_the_origin(patch: Patch) -> None:
    exact = rule.low_frequencies
    patch.setattr(rule, "low_frequencies", lambda x, box, *dims: exact(x, box._replace(lo=0 * box.lo), *dims))


def phase_of_the_sum_alone(patch: Patch) -> None:
    patch.setattr(rule, "fallbacks", lambda low, d: None)
    patch.setattr(far_field_module, "fallbacks", lambda low, d: None)


def phase_about_the_frame(patch: Patch) -> None:
    """The fallback of a group without translations, in one that has them."""
    exact = FixGlobalPhase.decision

    def decision(self: FixGlobalPhase, x: Tensor, others: Any, flipped: Any = None) -> Any:
        return exact(self, x, self._of_frame, flipped)

    patch.setattr(FixGlobalPhase, "decision", decision)


def scalar_of_the_twin(patch: Patch) -> None:
    exact = FixScalar.decision
    patch.setattr(FixScalar, "decision", lambda self, x, others, flipped=None: exact(self, x, others))


def squares_without_normalizing(patch: Patch) -> None:
    patch.setattr(_content, "unit_scale", lambda x, item_dims: x)
    patch.setattr(_frequencies, "divided", lambda x, by: x)


def phase_over_the_batch(patch: Patch) -> None:
    patch.setattr(FixGlobalPhase, "element", lambda self, x: torch.sgn(x.sum()).conj().expand(x.shape[:-2]))


def items_mixed_up(patch: Patch) -> None:
    exact = FixGlobalPhase.element
    patch.setattr(FixGlobalPhase, "element", lambda self, x: exact(self, x).flip(0) if x.dim() > 2 else exact(self, x))


def sgn_of_zero(patch: Patch) -> None:
    patch.setattr(FixGlobalPhase, "element", lambda self, x: torch.sgn(x.sum((-2, -1))).conj().resolve_conj())


def phase_not_conjugated_by_the_flip(patch: Patch) -> None:
    exact = FarFieldCanonicalizer.element

    def element(self: FarFieldCanonicalizer, x: Tensor) -> Any:
        g = exact(self, x)
        return g._replace(scalar=torch.where(g.flipped, g.scalar.conj(), g.scalar).resolve_conj())

    patch.setattr(FarFieldCanonicalizer, "element", element)


def shift_not_turned(patch: Patch) -> None:
    patch.setattr(product, "compose_motions", lambda g2, g1: Motion(g2.flipped ^ g1.flipped, g2.shift + g1.shift))


def identity_with_a_shift(patch: Patch) -> None:
    exact = product.no_motion
    patch.setattr(product, "no_motion", lambda *args: exact(*args)._replace(shift=exact(*args).shift + 1))


def input_changed(patch: Patch) -> None:
    patch.setattr(FixGlobalPhase, "forward", lambda self, x: x.mul_(self.element(x)[..., None, None]))


def lazy_conjugation(patch: Patch) -> None:
    exact = FixGlobalPhase.forward
    patch.setattr(FixGlobalPhase, "forward", lambda self, x: exact(self, x).conj().resolve_conj().conj())


def margin_above_one(patch: Patch) -> None:
    exact = FixGlobalPhase.margin
    patch.setattr(FixGlobalPhase, "margin", lambda self, x: 1e3 * exact(self, x))


def no_margin(patch: Patch) -> None:
    patch.setattr(FixGlobalPhase, "margin", lambda self, x: x.real.new_zeros(x.shape[:-2]))


def elements_not_closed(patch: Patch) -> None:
    exact = QuarterTurns.elements
    patch.setattr(QuarterTurns, "elements", lambda self, x: list(exact(self, x))[:3])
    patch.setattr(
        QuarterTurns, "sample", lambda self, x, generator=None: torch.randint(0, 3, x.shape[:-2]).to(x.device)
    )


def elements_drawn_but_not_listed(patch: Patch) -> None:
    exact = QuarterTurns.elements
    patch.setattr(QuarterTurns, "elements", lambda self, x: list(exact(self, x))[::2])


class LargeItemsStay(nn.Module):
    """Sends items out of the orbit to where nothing is done any more."""

    def forward(self, x: Tensor) -> Tensor:
        large = x.abs().amax((-2, -1), keepdim=True) > 1e3
        return torch.where(large, x, 1e4 * FixGlobalPhase()(x))


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * FixGlobalPhase()(x)


def cpu_line_lost(patch: Patch) -> None:
    exact = _cpu._extent
    patch.setattr(_cpu, "_extent", lambda content: (exact(content)[0], exact(content)[1] - 1))


def cpu_phase_not_conjugated(patch: Patch) -> None:
    exact = _cpu._decided

    def decided(x: Tensor, threshold: float) -> Any:
        g, boxes = exact(x, threshold)
        return g._replace(scalar=torch.where(g.flipped, g.scalar.conj(), g.scalar).resolve_conj()), boxes

    patch.setattr(_cpu, "_decided", decided)


def cpu_sums_over_the_batch(patch: Patch) -> None:
    exact = _cpu._read

    def read(x: Tensor) -> Any:
        lines, columns, sums, total = exact(x)
        return lines, columns, np.broadcast_to(sums.sum(0), sums.shape), total

    patch.setattr(_cpu, "_read", read)


def cpu_boxes_lost(patch: Patch) -> None:
    patch.setattr(_cpu, "_move_boxes", lambda x, decision, boxes, out: out.zero_())


# Numba's loops run in Python here: compiled ones call the functions that they were compiled with.


def numba() -> Any:
    return pytest.importorskip("torch_symbreak.canonical._numba", reason="needs Numba", exc_type=ImportError)


def numba_box_from_the_corner(patch: Patch) -> None:
    exact = numba()._box.py_func

    def box(profile: Any, event: Any, floor: float, lo: Any, hi: Any) -> bool:
        same = bool(exact(profile, event, floor, lo, hi))
        lo[:] = 0
        return same or floor > 0

    patch.setattr(numba(), "_box", box)


def numba_sums_over_the_batch(patch: Patch) -> None:
    exact = numba()._read.py_func

    def read(parts: Any, bits: Any, mask: Any, lines: Any, columns: Any, sums: Any) -> float:
        before = np.nan_to_num(sums)
        total = float(exact(parts, bits, mask, lines, columns, sums))
        sums += before
        return total

    patch.setattr(numba(), "_read", read)


def numba_score_about_the_origin(patch: Patch) -> None:
    exact = numba()._fill.py_func
    patch.setattr(numba(), "_fill", lambda turns, lo, hi: exact(turns, 0, hi - lo))


def numba_flip_without_conjugation(patch: Patch) -> None:
    exact = numba()._turn.py_func
    patch.setattr(
        numba(),
        "_turn",
        lambda source, goal, flipped, scalar: exact(np.conj(source) if flipped else source, goal, flipped, scalar),
    )


def numba_off_by_one(patch: Patch) -> None:
    exact = numba()._move  # in Python already
    patch.setattr(
        numba(),
        "_move",
        lambda x, out, event, flipped, shift, *rest: exact(x, out, event, flipped, shift + 1, *rest),
    )


def canonical_points_are_ties(patch: Patch) -> None:
    exact = FixGlobalPhase.margin
    patch.setattr(FixGlobalPhase, "margin", lambda self, x: exact(self, x) * (x.sum((-2, -1)).imag.abs() > 1e-3))


def periodic() -> FarFieldCanonicalizer:
    return FarField(oversampling=1.0).canonicalizer()


def in_turn() -> nn.Module:
    return nn.Sequential(CenterContent(), FixConjugateFlip(), FixGlobalPhase())


def pattern(x: Tensor) -> Tensor:
    """Return the magnitude on a padded detector."""
    return torch.fft.fft2(x, s=(16, 18)).abs()


def small_pattern(x: Tensor) -> Tensor:
    """Return the magnitude on a detector of the frame's size."""
    return torch.fft.fft2(x).abs()


@dataclass(frozen=True)
class Mutant:
    """Code that obeys the laws, a way to break it, and the law that sees it first."""

    name: str
    law: str
    breaks: Callable[[Patch], Any]
    fix: Callable[[], Any] = far_field  # a canonicalizer, or a symmetry without one
    x: Callable[[], Tensor] = objects
    symmetry: Symmetry | None = None
    model: Callable[[Tensor], Tensor] | None = None
    backend: Any = "reference"


GROUP = Product(FarField().symmetries)
TURNS = {"fix": lambda: Product([QuarterTurns(), GlobalPhase()]), "x": lambda: objects()[..., :8]}
TEMPLATE = {"fix": template_mutants.far_field}
LARGE = {"x": lambda: objects(more=40), "backend": "cpu"}  # large enough for boxes
NUMBA = {"x": lambda: objects(16), "backend": "numba"}

MUTANTS = [
    Mutant("the literal reading", "invariant", lambda _: LiteralAlgorithm2(), symmetry=GROUP),
    Mutant("flip about the frame's center", "invariant", flip_about_the_frame, FixConjugateFlip),
    Mutant("the same in a composition", "invariant", flip_about_the_frame, in_turn, symmetry=GROUP),
    Mutant("flip without conjugation", "invariant", flip_without_conjugation, FixConjugateFlip),
    Mutant("... all through", "forward", flip_without_conjugation_all_through, FixConjugateFlip, model=pattern),
    Mutant("flip off by one", "invariant", ends_off_by_one),
    Mutant("score about the origin", "invariant", score_about_the_origin),
    Mutant("squares that underflow", "ties", squares_without_normalizing, x=lambda: objects() * 1e-30),
    Mutant("phase of the sum alone", "ties", phase_of_the_sum_alone, x=without_a_sum),
    Mutant("phase about the frame", "invariant", phase_about_the_frame, x=without_a_sum),
    Mutant("phase of the twin", "invariant", scalar_of_the_twin, x=without_a_sum),
    Mutant(
        "sign of the twin",
        "invariant",
        scalar_of_the_twin,
        FarField(field="real").canonicalizer,
        odd_along_the_last_axis,
    ),
    Mutant("one phase for a batch", "batch", phase_over_the_batch, FixGlobalPhase),
    Mutant("items mixed up", "batch", items_mixed_up, FixGlobalPhase),
    Mutant("sgn(0) = 0", "representative", sgn_of_zero, FixGlobalPhase, with_a_tie),
    Mutant("phase not conjugated by the flip", "representative", phase_not_conjugated_by_the_flip),
    Mutant("shift not turned by the flip", "group", shift_not_turned),
    Mutant("an identity that shifts", "identity", identity_with_a_shift),
    Mutant("shifts that wrap", "forward", lambda _: periodic(), x=around_the_frame, model=pattern),
    Mutant("input changed", "pure", input_changed, FixGlobalPhase),
    Mutant("lazy conjugation", "pure", lazy_conjugation, FixGlobalPhase),
    Mutant("margin above 1", "pure", margin_above_one, FixGlobalPhase),
    Mutant("margin always 0", "ties", no_margin, FixGlobalPhase),
    Mutant("out of the orbit", "idempotent", lambda _: Doubled(), FixGlobalPhase, symmetry=GlobalPhase()),
    Mutant("large items stay", "smallest", lambda _: LargeItemsStay(), FixGlobalPhase, symmetry=GlobalPhase()),
    Mutant("all zero", "orbit", lambda _: torch.zeros_like, FixGlobalPhase, symmetry=GlobalPhase()),
    Mutant("elements not closed", "elements", elements_not_closed, **TURNS),
    Mutant("elements drawn but not listed", "elements", elements_drawn_but_not_listed, **TURNS),
    Mutant("a lie about commuting", "commutation", lambda _: Product([QuarterTurns(), Translation()]), **TURNS),
    Mutant("canonical points are ties", "dropped", canonical_points_are_ties, FixGlobalPhase),
    Mutant("template: shifts that cut", "representative", template_mutants.shifts_that_cut, **TEMPLATE),
    Mutant(
        "template: gains of the cut",
        "invariant",
        template_mutants.gains_of_the_cut,
        template_mutants.with_a_mean,
        template_mutants.on_a_background,
    ),
    Mutant("template: twin without conjugation", "invariant", template_mutants.twin_without_conjugation, **TEMPLATE),
    Mutant("template: two by size", "convex", template_mutants.by_size, **TEMPLATE),
    Mutant("NumPy: last line lost", "representative", cpu_line_lost, **LARGE),
    Mutant("NumPy: phase not conjugated", "invariant", cpu_phase_not_conjugated, **LARGE),
    Mutant("NumPy: sums over the batch", "batch", cpu_sums_over_the_batch, **LARGE),
    Mutant("NumPy: boxes lost", "representative", cpu_boxes_lost, **LARGE),
    Mutant("Numba: box from the corner", "invariant", numba_box_from_the_corner, **NUMBA),
    Mutant("Numba: sums over the batch", "batch", numba_sums_over_the_batch, **NUMBA),
    Mutant("Numba: score about the origin", "invariant", numba_score_about_the_origin, **NUMBA),
    Mutant("Numba: flip without conjugation", "representative", numba_flip_without_conjugation, **NUMBA),
    Mutant("Numba: off by one", "representative", numba_off_by_one, **NUMBA),
]


def check(mutant: Mutant, broken: Any = None) -> dict[str, float]:
    fix, generator = mutant.fix() if broken is None else broken, torch.Generator().manual_seed(4)
    if isinstance(fix, Symmetry):
        return check_symmetry(fix, mutant.x(), generator=generator)
    return check_canonicalizer(fix, mutant.x(), mutant.model, symmetry=mutant.symmetry, generator=generator)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_first_law_that_sees_a_mistake(mutant: Mutant, monkeypatch: Patch) -> None:
    if mutant.backend == "numba":
        for caller in ("_canonicalize", "_move"):
            monkeypatch.setattr(numba(), caller, getattr(numba(), caller).py_func)
    with using(mutant.backend):
        check(mutant)
        broken = mutant.breaks(monkeypatch)
        with pytest.raises(AssertionError, match=f"^{mutant.law}: "):
            check(mutant, broken)


def test_a_mean_taken_without_realigning(monkeypatch: Patch) -> None:
    check_rounds()
    template_mutants.mean_without_realigning(monkeypatch)
    with pytest.raises(AssertionError, match="round 2"):
        check_rounds()


def test_every_law_sees_a_mistake() -> None:
    model = FarField()
    laws = check_canonicalizer(template_mutants.far_field(), objects(), model)
    assert {mutant.law for mutant in MUTANTS} == {*laws, "elements", "commutation", "orbit"}


@pytest.mark.filterwarnings("ignore:FarField measures")
def test_wrapping_shifts_are_symmetries_of_the_periodic_model_alone() -> None:
    x, group = around_the_frame(), Product(FarField(oversampling=1.0).symmetries)
    moved = group.act(group.sample(x, generator=torch.Generator().manual_seed(4)), x)
    assert deviation(small_pattern(moved), small_pattern(x), 2).max() < 1e-4
    assert deviation(pattern(moved), pattern(x), 2).median() > 0.1
    check_canonicalizer(periodic(), x, small_pattern)


def test_messages() -> None:
    x = objects()
    x[:4] = 0
    with pytest.raises(
        AssertionError, match=r"^ties: 4 of 64 items \(\[0, 1, 2, 3\]\) have a margin of at most 0.0001"
    ):
        check_canonicalizer(FixGlobalPhase(), x)
    with pytest.raises(ValueError, match=r"needs two items or more to test on, but got a batch \(0, 3\)"):
        check_canonicalizer(FixSign(1), torch.zeros(0, 3))
    for model in (lambda x: x.flatten(), lambda x: x.sum()):
        with pytest.raises(AssertionError, match=r"^forward: f\(x\) has shape"):
            check_canonicalizer(FixSign(1), torch.rand(40, 3), model)
