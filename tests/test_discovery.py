"""Discovery: which symmetries a measurement has, each answer derived on paper, and the canonicalizer that breaks them.

The items x are chosen so that they decide the question. Notation: F is a Fourier transform padded to the detector, S_t
a shift by t, and x~ the conjugate flip of x. ``F(S_t x)(k) = exp(-2 pi i k t / M) F(x)(k)`` if no content wraps, and
``F(x~)(k) = exp(...) conj(F(x)(k))``. So |F x| does not change under S_t, the flip about any point and a phase.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from finite_groups import ChannelTurns, QuarterTurns
from measurements import (
    ALL,
    ALL_REAL,
    COUNT,
    FAR,
    LOPSIDED,
    PHASES,
    PROBE,
    REFERENCE,
    ROUND,
    SIGNS,
    SMALL,
    STOP,
    generator,
    inside,
    values,
)
from torch import Tensor

from torch_symbreak import (
    CenterContent,
    ElementwiseSquare,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    GaussianIntensity,
)
from torch_symbreak.canonical import FarFieldCanonicalizer, FixInTurn
from torch_symbreak.diagnostics import SymmetryReport, canonicalizer_for, symmetries_of
from torch_symbreak.symmetries import ConjugateFlip, Translation
from torch_symbreak.testing import check_canonicalizer


def blur(x: Tensor) -> Tensor:
    kernel = torch.tensor([0.1, 0.6, 0.3])
    return torch.nn.functional.conv1d(x[:, None], kernel.reshape(1, 1, 3), padding=1)[:, 0]


@dataclass(frozen=True)
class Case:
    """A measurement, items that decide about it, and what holds on paper."""

    forward: Callable[[Tensor], Tensor]
    x: Tensor
    holds: set[str]
    fix: type
    event_dims: int = 2
    fails: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    channel_dims: int = 0

    @property
    def dims(self) -> dict[str, int]:
        return {"event_dims": self.event_dims, "channel_dims": self.channel_dims}


CASES = {
    # |F x|² at M = 2 N: all three, as above. A phase of every entry, a scale and a ramp change it.
    "far field": Case(FAR, SMALL, ALL, FarFieldCanonicalizer, fails={"GlobalPhase(0)", "Scale", "PhaseRamp"}),
    # M = N: the shift theorem holds modulo N, so content may go around the frame.
    "periodic": Case(FarField(2, oversampling=1), SMALL, ALL, FarFieldCanonicalizer),
    # Odd M >= 2 N - 1: the formulas do not ask for the parity of M.
    "odd detector": Case(FarField(2, shape=(25, 27)), SMALL, ALL, FarFieldCanonicalizer),
    # Axes are independent. Along the first M = N, along the second M = 2 N.
    "not square": Case(FarField(2, shape=(12, 18)), inside((12, 9), (6, 5)), ALL, FarFieldCanonicalizer),
    # A stop S(k) multiplies |F x|², which already has the symmetries, so that S |F x|² has them for any S.
    "beam stop": Case(lambda x: STOP * FAR(x), SMALL, ALL, FarFieldCanonicalizer),
    # f(x) = |F(m x)|², m a mask, x fills it. A shift moves parts of x out of m, where f does not see them. The flip
    # about the center of m maps m onto itself, so that m x~ = (m x)~. The content's box has that center, too.
    "round support": Case(
        lambda x: FAR(ROUND * x),
        ROUND * values(14, 14),
        {"ConjugateFlip", "ConjugateFlip(center=(5, 7.5))", "GlobalPhase"},
        FixInTurn,
        fails={"Translation", "ConjugateFlip(center=(6.5, 6.5))"},
    ),
    # The same f, and x fills the frame: its own center is the frame's, about which m is not symmetric.
    "round support, full frame": Case(
        lambda x: FAR(ROUND * x),
        values(14, 14),
        {"ConjugateFlip(center=(5, 7.5))", "GlobalPhase"},
        FixInTurn,
        fails={"ConjugateFlip", "ConjugateFlip(center=(6.5, 6.5))"},
        unknown={"Translation"},
    ),
    # A mask that is symmetric about no point: a flip about its box's center takes part of x to where m is 0.
    "support without symmetry": Case(
        lambda x: FAR(LOPSIDED * x),
        LOPSIDED * values(14, 14),
        PHASES,
        FixGlobalPhase,
        fails={"Translation", "ConjugateFlip", "ConjugateFlip(center=(5, 7.5))", "ConjugateFlip(center=(6.5, 6.5))"},
    ),
    # |F(x + r)|² has the cross term 2 Re(F x conj(F r)): a shift multiplies it by exp(-i k t), a flip conjugates F x, a
    # phase multiplies it, and r, without structure, undoes none of them.
    "reference wave": Case(
        lambda x: FAR(x + REFERENCE),
        SMALL,
        set(),
        ValueError,
        fails={*ALL, "GlobalPhase(0)", "Scale", "PhaseRamp"},
    ),
    # |F(p x)|²: p(n) x(n - t) is no shift of p x, and p is not its own twin. A phase passes through p.
    "random mask": Case(
        lambda x: FAR(PROBE * x), SMALL, PHASES, FixGlobalPhase, fails={"Translation", "ConjugateFlip"}
    ),
    # |A x|² of independent columns sees every rearrangement. |A u x| = |A x| for |u| = 1: in R for signs alone.
    "Gaussian, real": Case(
        GaussianIntensity.draw(48, 12, generator=generator()),
        torch.cat([values(9, dtype=torch.float32), torch.zeros(COUNT, 3)], -1),  # room for a shift
        SIGNS,
        FixSign,
        event_dims=1,
        fails={"Translation", "ConjugateFlip", "Sign(0)", "Scale"},
    ),
    "Gaussian, complex": Case(
        GaussianIntensity.draw(48, 12, field="complex", generator=generator()),
        torch.cat([values(9), torch.zeros(COUNT, 3)], -1),
        PHASES,
        FixGlobalPhase,
        event_dims=1,
        fails={"Translation", "ConjugateFlip", "GlobalPhase(0)", "Scale", "PhaseRamp"},
    ),
    # x² keeps a sign per entry.
    "square": Case(ElementwiseSquare(), values(dtype=torch.float32), SIGNS, FixSign, event_dims=0, fails={"Scale"}),
    # Of items of several entries the sign of an item is one of the signs of its entries; y(n) = x(n)² moves with x.
    "square of signals": Case(
        ElementwiseSquare(),
        inside((12,), (6,), torch.float32),
        {"Sign", "Sign(0)"},
        FixSign,
        event_dims=1,
        fails={"Translation", "ConjugateFlip", "Scale"},
    ),
    # A linear map with f(g x) = f(x) has g x - x in its null space. This one is a matrix with .6 on the diagonal and .4
    # in the rest of a row: dominant, so invertible, with no null space.
    "blur": Case(
        blur,
        inside((12,), (6,), torch.float32),
        set(),
        ValueError,
        event_dims=1,
        fails={"Translation", "ConjugateFlip", "Sign", "Sign(0)", "Scale"},
    ),
    # Real objects have no phase but a sign; the conjugation does nothing to them.
    "real objects": Case(
        FarField(2, field="real"), inside((12, 12), (7, 6), torch.float32), ALL_REAL, FarFieldCanonicalizer
    ),
    # Content fills the frame: no shift keeps it inside, around the frame f is not periodic. The flip is the frame's.
    "full frame": Case(
        FAR,
        values(8, 8),
        {"ConjugateFlip", "ConjugateFlip(center=(3.5, 3.5))", "GlobalPhase"},
        FixInTurn,
        unknown={"Translation"},
    ),
    # Channels that move together: the sum over channels of |F x_c|² keeps whatever each |F x_c|² keeps.
    "channels": Case(
        lambda x: FAR(x).sum(-3),
        torch.stack([SMALL, 2 * SMALL.roll(1, 0)], 1),
        ALL,
        FarFieldCanonicalizer,
        channel_dims=1,
    ),
    # Precision, dimension and the dtype of y change no formula.
    "float64": Case(FAR, SMALL.to(torch.complex128), ALL, FarFieldCanonicalizer),
    "1-D": Case(FarField(1), inside((24,), (13,)), ALL, FarFieldCanonicalizer, event_dims=1),
    "3-D": Case(FarField(3), inside((6, 7, 5), (4, 3, 3)), ALL, FarFieldCanonicalizer, event_dims=3),
    "whole numbers": Case(lambda x: FAR(x).mul(100).round().long(), SMALL, ALL, FarFieldCanonicalizer),
    # |F x| shows in the phases of y, too: z = |F x|², y = z exp(i z / 100) is a function of z alone.
    "complex y": Case(lambda x: torch.polar(FAR(x), FAR(x) / 100), SMALL, ALL, FarFieldCanonicalizer),
    # Dead pixels are NaN in f(x) and in f(g x).
    "dead pixels": Case(lambda x: torch.where(STOP, FAR(x), torch.nan), SMALL, ALL, FarFieldCanonicalizer),
    # sum |x|: every entry may have a phase of its own, and a ramp is one; motions permute the terms.
    # (Both at once have no one canonicalizer.)
    "only the sum": Case(
        lambda x: x.abs().sum((-2, -1)),
        SMALL,
        {*ALL, "GlobalPhase(0)", "PhaseRamp"},
        ValueError,
        fails={"Scale"},
    ),
}


def found(case: Case) -> SymmetryReport:
    return symmetries_of(case.forward, case.x, generator=generator(), **case.dims)


@pytest.mark.filterwarnings("ignore:FarField measures")
@pytest.mark.parametrize("name", CASES)
def test_symmetries(name: str) -> None:
    case = CASES[name]
    report = found(case)
    assert set(report.holds) == case.holds, str(report)
    assert case.fails <= set(report.fails), str(report)
    assert set(report.unknown) == case.unknown, str(report)
    assert not report.approximate, str(report)
    if case.fix is not ValueError:
        assert type(report.canonicalizer()) is case.fix


#: One of each kind of canonicalizer. The far field's own tests try the others, and --slow does here.
QUICK = ("round support, full frame", "full frame", "random mask", "Gaussian, real", "square of signals", "not square")


@pytest.mark.filterwarnings("ignore:FarField measures")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CASES
        if CASES[name].fix is not ValueError
    ],
)
def test_the_canonicalizer_obeys_all_laws(name: str) -> None:
    case = CASES[name]
    fix = canonicalizer_for(case.forward, case.x, generator=generator(), **case.dims)
    # NaN and rounded numbers do not compare to 2e-5, and an entry that is 0 is a tie of its sign.
    forward = FAR if name in ("whole numbers", "dead pixels") else case.forward
    x = case.x if fix.symmetry.item_dims else case.x[case.x != 0]
    check_canonicalizer(fix, x, forward, generator=generator())


def test_nothing_to_break() -> None:
    for name in ("blur", "reference wave"):
        case = CASES[name]
        with pytest.raises(ValueError, match=r"found no symmetry of forward that it can break.*\nsymmetry +verdict"):
            canonicalizer_for(case.forward, case.x, **case.dims)


def test_motions_and_phases_of_every_entry() -> None:
    case = CASES["only the sum"]
    with pytest.raises(ValueError, match=r"no one canonicalizer breaks. Compose them.*FixGlobalPhase\(event_dims=0"):
        canonicalizer_for(case.forward, case.x, **case.dims)


@pytest.mark.filterwarnings("ignore:FarField measures")
def test_periodic_axes_are_found() -> None:
    wraps = {name: found(CASES[name]).holds["Translation"].symmetry.wrap for name in ("periodic", "far field")}  # type: ignore[attr-defined]
    assert wraps == {"periodic": True, "far field": False}
    case = CASES["not square"]  # M = (12, 18) for N = (12, 9)
    assert canonicalizer_for(case.forward, case.x, **case.dims).symmetry.symmetries[0] == Translation(wrap=(12, 18))
    # Content that fills a periodic frame may go around it all the same.
    full = symmetries_of(FarField(2, oversampling=1), values(8, 8), event_dims=2)
    assert full.holds["Translation"].symmetry == Translation(wrap=True)


def test_an_axis_without_room() -> None:
    """Rows fill the frame, columns have room: the report says what it did not test."""
    report = symmetries_of(FAR, inside((9, 12), (8, 6))[:, 1:], event_dims=2)
    assert report.holds["Translation"].reason == "not tested along axis -2, where content fills the frame"


def test_the_flip_depends_on_x() -> None:
    """The own-box flip of a masked full-frame f fails clearly, the one about the mask's center is exact to rounding."""
    report = found(CASES["round support, full frame"])
    assert report.fails["ConjugateFlip"].error > 0.3
    assert report.holds["ConjugateFlip(center=(5, 7.5))"].error < 1e-6
    fix = found(CASES["round support"]).canonicalizer()
    assert fix.symmetry.symmetries[0] == ConjugateFlip(center=(5, 7.5))  # not about the content of each item


@pytest.mark.parametrize("left_out", range(3))
def test_subsets_of_the_far_field(left_out: int) -> None:
    """Each two of translation, flip and phase have a canonicalizer that obeys the laws."""
    parts = [CenterContent(), FixConjugateFlip(), FixGlobalPhase()]
    check_canonicalizer(FixInTurn([*parts[:left_out], *parts[left_out + 1 :]]), SMALL, FAR, generator=generator())


def test_a_phase_whose_sum_is_a_tie() -> None:
    """Frequencies about the frame's center decide, which is the content's after centering."""
    x = torch.where(SMALL == 0, 0, SMALL - SMALL.sum((-2, -1), keepdim=True) / 42)
    check_canonicalizer(FixInTurn([CenterContent(), FixGlobalPhase()]), x, FAR, generator=generator())


def test_parts_in_another_order_are_refused() -> None:
    parts = [CenterContent(), FixConjugateFlip(), FixGlobalPhase()]
    for wrong in ([parts[0]], parts[::-1], [parts[0], parts[0]], [parts[0], FAR.canonicalizer()]):
        with pytest.raises(ValueError, match="FixInTurn needs two or more of CenterContent"):
            FixInTurn(wrong)
    for other in (None, iter(parts), FAR.canonicalizer()):
        with pytest.raises(TypeError, match=r"FixInTurn needs a list of canonicalizers, but got"):
            FixInTurn(other)  # type: ignore[arg-type]


def test_deepinv() -> None:
    """Our far field as a deepinv physics takes complex tensors (B, C, H, W); its own phase retrieval is Gaussian."""
    pytest.importorskip("deepinv")
    from deepinv.physics import RandomPhaseRetrieval

    from torch_symbreak.interop.deepinv import FarFieldPhysics

    x = SMALL[:, None]
    assert set(symmetries_of(FarFieldPhysics(FAR, (12, 12)), x, event_dims=2).holds) == ALL
    fix = canonicalizer_for(FarFieldPhysics(FAR, (12, 12)), x, event_dims=2)
    check_canonicalizer(fix, x, FarFieldPhysics(FAR, (12, 12)), generator=generator())
    physics = RandomPhaseRetrieval(m=600, img_size=(1, 12, 12))
    report = symmetries_of(physics, x, event_dims=2, channel_dims=1)
    assert set(report.holds) == PHASES
    assert {"Translation", "ConjugateFlip", "Scale"} <= set(report.fails)


def test_the_table() -> None:
    from rich.console import Console

    report = found(CASES["round support, full frame"])
    lines = str(report).splitlines()
    assert lines[0].split() == ["symmetry", "verdict", "error", "why"]
    assert [line.split("  ")[0] for line in lines[1:]] == list(report.findings)
    assert lines[1].split()[:2] == ["Translation", "unknown"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report)
    assert "ConjugateFlip(center" in console.export_text()


def all_turns(x: Tensor) -> Tensor:
    """Keep quarter turns, and with them the flip of real items about the center: two turns."""
    kernel = torch.arange(9.0).reshape(3, 3)
    return sum(x.rot90(steps, (-2, -1)).unfold(-2, 3, 1).unfold(-2, 3, 1).mul(kernel).relu() for steps in range(4))


def test_a_symmetry_of_your_own_is_tested_too():
    x, own = torch.randn(20, 8, 8), [QuarterTurns()]
    report = symmetries_of(all_turns, x, event_dims=2, symmetries=own)
    assert report.holds.keys() >= {"ConjugateFlip(center=(3.5, 3.5))", "QuarterTurns"}
    assert "QuarterTurns" not in symmetries_of(all_turns, x, event_dims=2).findings
    with pytest.warns(UserWarning, match=r"QuarterTurns holds, too, .* AlignToTemplate\.fit\(x, symmetries\)"):
        assert isinstance(report.canonicalizer(), FixConjugateFlip)
    assert "QuarterTurns" in symmetries_of(lambda x: x[..., 0].relu(), x, event_dims=2, symmetries=own).fails


def test_a_symmetry_of_your_own_alone_has_no_rule():
    x, own = torch.randn(20, 3, 8), [ChannelTurns(1)]
    report = symmetries_of(lambda x: x.pow(3).sum(1) + x.sum(1), x, event_dims=1, channel_dims=1, symmetries=own)
    assert list(report.holds) == ["ChannelTurns"]
    with pytest.raises(ValueError, match=r"For ChannelTurns, fit a template: AlignToTemplate\.fit"):
        report.canonicalizer()
