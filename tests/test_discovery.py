"""Discovery: which symmetries a measurement has, each answer derived on paper, and the canonicalizer that breaks them.

The items x are chosen so that they decide the question. Notation: F is a Fourier transform padded to the detector, S_t
a shift by t, and x~ the conjugate flip of x. ``F(S_t x)(k) = exp(-2 pi i k t / M) F(x)(k)`` if no content wraps, and
``F(x~)(k) = exp(...) conj(F(x)(k))``. So |F x| does not change under S_t, the flip about any point and a phase.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_symbreak import (
    CenterContent,
    ElementwiseSquare,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    GaussianIntensity,
    MagnitudeLoss,
)
from torch_symbreak.canonical import FarFieldCanonicalizer, FixInTurn
from torch_symbreak.diagnostics import Finding, SymmetryReport, canonicalizer_for, symmetries_of
from torch_symbreak.forward import Measured, PoissonCounts
from torch_symbreak.metrics import measurement_residual
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Scale, Sign, Translation
from torch_symbreak.testing import assert_forward_invariant, check_canonicalizer

#: Items of a test: enough for check_canonicalizer.
COUNT = 48


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(*shape: int, dtype: torch.dtype = torch.complex64, seed: int = 0) -> Tensor:
    """Normal numbers with a mean, so that few sums are ties."""
    drawn = 0.7 + torch.randn(COUNT, *shape, dtype=dtype, generator=generator(seed))
    angles = torch.arange(COUNT).reshape(-1, *[1] * len(shape))
    return drawn * (torch.polar(torch.ones(angles.shape), angles.float()) if dtype.is_complex else (-1.0) ** angles)


def inside(frame: tuple[int, ...], content: tuple[int, ...], dtype: torch.dtype = torch.complex64) -> Tensor:
    """Content at the frame's second entries, with room to move."""
    x = torch.zeros(COUNT, *frame, dtype=dtype)
    x[(..., *(slice(1, 1 + n) for n in content))] = values(*content, dtype=dtype)
    return x


def disc(frame: tuple[int, int], center: tuple[float, float], radius: float) -> Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in frame), indexing="ij")
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


FAR = FarField(2)
PHASES, SIGNS = {"GlobalPhase"}, {"Sign"}
ALL, ALL_REAL = {"Translation", "ConjugateFlip", "GlobalPhase"}, {"Translation", "ConjugateFlip", "Sign"}
ROUND = disc((14, 14), (5, 7.5), 4.6)  # symmetric about (5, 7.5), which is not the frame's center (6.5, 6.5)
LOPSIDED = ROUND & ~disc((14, 14), (2, 5), 1.5)  # about (5, 7.5) the bite at (2, 5) has no counterpart at (8, 10)
STOP = torch.rand(24, 24, generator=generator(3)) < 0.8  # k and -k are not blocked alike
REFERENCE = 3 * torch.randn(12, 12, dtype=torch.complex64, generator=generator(4))
PROBE = torch.randn(12, 12, dtype=torch.complex64, generator=generator(5))
SMALL = inside((12, 12), (7, 6))


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
    # phase multiplies it, and r, without structure, undoes none of them. (The next case has the phase.)
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
    # A linear map with f(g x) = f(x) would have g x - x in its null space. The symbol .1 w + .6 + .3 / w has no zero on
    # the unit circle, where |.1 w + .3 / w| <= .4 < .6, so there is none.
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


@pytest.mark.filterwarnings("ignore:FarField measures")
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].fix is not ValueError])
def test_the_canonicalizer_obeys_all_laws(name: str) -> None:
    case = CASES[name]
    fix = canonicalizer_for(case.forward, case.x, generator=generator(), **case.dims)
    assert type(fix) is case.fix
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


def test_subsets_of_the_far_field() -> None:
    """Each two of translation, flip and phase have a canonicalizer that obeys the laws."""
    parts = [CenterContent(), FixConjugateFlip(), FixGlobalPhase()]
    for subset in itertools.combinations(parts, 2):
        check_canonicalizer(FixInTurn(subset), SMALL, FAR, generator=generator())
    # Where the sum is a tie, frequencies about the frame's center decide, which is the content's after centering.
    without = torch.where(SMALL == 0, 0, SMALL - SMALL.sum((-2, -1), keepdim=True) / 42)
    check_canonicalizer(FixInTurn([parts[0], parts[2]]), without, FAR, generator=generator())
    for wrong in ([parts[0]], parts[::-1], [parts[0], parts[0]], [parts[0], FAR.canonicalizer()]):
        with pytest.raises(ValueError, match="FixInTurn needs two or more of CenterContent"):
            FixInTurn(wrong)


def test_noise_hides_what_lies_below_it() -> None:
    """Counts of one intensity differ by noise. A symmetry shows no more than that, and a scale far more."""
    noisy = Measured(FAR, [PoissonCounts(generator=generator(1))], photons=1e4)
    report = symmetries_of(noisy, SMALL, event_dims=2, generator=generator())
    assert set(report.unknown) >= ALL
    assert not report.holds
    for name in ALL:
        assert report.unknown[name].reason.startswith("cannot tell below the noise of f")
    assert {"GlobalPhase(0)", "PhaseRamp"} <= set(report.fails)
    with pytest.raises(ValueError, match="cannot tell below the noise"):
        canonicalizer_for(noisy, SMALL, event_dims=2, generator=generator())
    # Who accepts that says so.
    assert set(symmetries_of(noisy, SMALL, event_dims=2, tolerance=0.5).holds) >= ALL
    # Noise from outside, in every call another one, that hides all.
    loud = symmetries_of(lambda x: FAR(x) + 1e9 * torch.randn(COUNT, 24, 24), SMALL, event_dims=2)
    assert set(loud.unknown) == set(loud.findings)


def test_a_violation_above_the_noise() -> None:
    def forward(x: Tensor) -> Tensor:
        y = FAR(PROBE * x)
        return y * (1 + 0.01 * torch.randn(y.shape))

    report = symmetries_of(forward, SMALL, event_dims=2)
    assert {"Translation", "ConjugateFlip"} <= set(report.fails)
    assert set(report.unknown) == PHASES


def test_approximate_and_by_how_much() -> None:
    """A reference of strength e adds 2 e Re(F x conj(F r)) to |F x|²: the error grows with e, and 0 is exact."""
    errors = []
    for strength in (1e-4, 1e-3, 1e-2):
        report = symmetries_of(lambda x, e=strength: FAR(x + e * REFERENCE), SMALL, event_dims=2, generator=generator())
        errors.append(report.approximate["GlobalPhase"].error)
    assert torch.allclose(torch.tensor(errors[1:]), 10 * torch.tensor(errors[:-1]), rtol=0.1)


def test_an_offset_is_no_symmetry() -> None:
    """Errors are relative to f's changes, not to f: a large constant hides no violation."""
    report = symmetries_of(lambda x: FAR(PROBE * x).double() + 1e6, SMALL, event_dims=2)
    assert {"Translation", "ConjugateFlip"} <= set(report.fails)
    # In single precision 1e9 leaves no digits: nothing can be told, least of all that all symmetries hold.
    report = symmetries_of(lambda x: FAR(PROBE * x) + 1e9, SMALL, event_dims=2)
    assert not report.holds


@pytest.mark.parametrize("constant", [torch.zeros, torch.ones])
def test_a_constant_has_no_symmetries_in_silence(constant: Any) -> None:
    report = symmetries_of(lambda x: constant(COUNT, 3), SMALL, event_dims=2)
    assert set(report.unknown) == set(report.findings)
    assert all("f is constant" in finding.reason for finding in report.unknown.values())
    with pytest.raises(ValueError, match="f is constant"):
        canonicalizer_for(lambda x: constant(COUNT, 3), SMALL, event_dims=2)


def test_f_that_is_not_finite() -> None:
    report = symmetries_of(lambda x: x.real * torch.nan, SMALL, event_dims=2)
    assert set(report.unknown) == set(report.findings)
    assert report.unknown["GlobalPhase"].reason == "f(x) has no finite entry"
    # sqrt is NaN at negative numbers: f(-x) is, and f(x) is not.
    positive = torch.rand(COUNT, 6, generator=generator()) + 0.5
    report = symmetries_of(torch.sqrt, positive, event_dims=1)
    assert "not finite where f(x) is" in report.fails["Sign"].reason
    # The sum of logarithms is finite at no random change: nothing tells how sensitive f is to one.
    report = symmetries_of(lambda x: x.log().sum(-1), torch.rand(COUNT, 60), event_dims=1)
    assert report.unknown["ConjugateFlip"].reason == "f is not finite at a random change of x of the same size"


def test_some_items_only() -> None:
    """Behind a mask on one half the flip fails for items there, and holds for those that are not touched."""
    x = inside((12, 12), (4, 5))
    x[: COUNT // 2] = x[: COUNT // 2].roll(6, -1)
    mask = torch.ones(12, 12)
    mask[:3, 7:9] = 0
    report = symmetries_of(lambda x: FAR(mask * x), x, event_dims=2)
    assert report.fails["ConjugateFlip"].reason == f"holds for {COUNT // 2} of {COUNT} items"


def test_items_that_decide_nothing() -> None:
    """Centrosymmetric real items are their own twins; zero items do not move at all."""
    x = inside((12, 12), (5, 5), torch.float32)
    x[:, 1:6, 1:6] += x[:, 1:6, 1:6].flip((-2, -1))
    report = symmetries_of(FarField(2, field="real"), x, event_dims=2)
    assert report.unknown["ConjugateFlip"].reason.startswith("every item is its own twin")
    assert set(report.holds) == {"Translation", "Sign"}
    assert isinstance(canonicalizer_for(FarField(2, field="real"), x, event_dims=2), FixInTurn)
    nothing = symmetries_of(FAR, torch.zeros_like(SMALL), event_dims=2)
    assert set(nothing.unknown) == set(nothing.findings)


@pytest.mark.parametrize("seed", range(8))
def test_one_item_is_enough(seed: int) -> None:
    """No draw of one item may be the identity: half of all flips and signs are."""
    report = symmetries_of(FAR, SMALL[:1], event_dims=2, generator=generator(seed))
    assert set(report.holds) == ALL
    real = symmetries_of(FarField(2, field="real"), SMALL[:1].real, event_dims=2, generator=generator(seed))
    assert set(real.holds) == ALL_REAL


def test_a_generator_repeats() -> None:
    one, two = (symmetries_of(FAR, SMALL, event_dims=2, generator=generator()) for _ in range(2))
    assert one == two


def test_symmetries_that_no_canonicalizer_breaks() -> None:
    """|x| / max |x| keeps a scale, too: divide targets by their norms. A phase of every entry contains the ramp."""

    def shape_of(x: Tensor) -> Tensor:
        return x.abs() / x.abs().amax((-2, -1), keepdim=True)

    with pytest.warns(UserWarning, match="found that Scale holds, too, and no canonicalizer breaks it"):
        fix = canonicalizer_for(shape_of, SMALL, event_dims=2)
    assert isinstance(fix, FixGlobalPhase)
    assert fix.symmetry == GlobalPhase(0)
    with pytest.raises(ValueError, match="found no symmetry of forward that it can break"):
        canonicalizer_for(lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True), SMALL[:, 2], event_dims=1)


def test_doubts_are_told() -> None:
    """What could not be decided is told, unless no element moves the items."""
    sure, doubt = Finding(Sign(1), "holds", 0.0, 0.0, 5), Finding(Scale(1), "unknown", 0.0, 0.1, 5, "noise")
    with pytest.warns(UserWarning, match=r"leaves what it could not decide: Scale \(noise\)"):
        assert isinstance(SymmetryReport({"Sign": sure, "Scale": doubt}).canonicalizer(), FixSign)
    near = Finding(Translation(1), "approximate", 0.03, 0.0, 5)
    with pytest.warns(UserWarning, match=r"holds approximately: Translation \(3.0e-02\). To break it, too, raise tol"):
        assert isinstance(SymmetryReport({"Sign": sure, "Translation": near}).canonicalizer(), FixSign)
    still = Finding(Translation(1), "unknown", 0.0, 0.1, 0, "content fills the frame")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SymmetryReport({"Sign": sure, "Translation": still}).canonicalizer()


def test_f_may_write_into_its_argument() -> None:
    before = SMALL.clone()
    assert set(symmetries_of(lambda x: FAR(x.mul_(PROBE)), SMALL, event_dims=2).holds) == PHASES
    assert torch.equal(SMALL, before)


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


@pytest.mark.parametrize("call", [symmetries_of, canonicalizer_for])
@pytest.mark.parametrize(
    ("forward", "x", "dims", "error", "message"),
    [
        (FAR, SMALL[0], 2, ValueError, r"needs a batch of items, but got one item.*Pass x\[None\]"),
        (FAR, SMALL[:0], 2, ValueError, "needs at least one item"),
        (FAR, SMALL[0, 0], 2, ValueError, "needs a target of at least 2 dimensions"),
        (FAR, SMALL / 0, 2, ValueError, "x of shape .* has .* NaN"),
        (FAR, SMALL.abs().long(), 2, TypeError, "needs a floating-point or complex target"),
        (FAR, SMALL.numpy(), 2, TypeError, "torch.from_numpy"),
        (FarField, SMALL, 2, TypeError, "an instance as forward, but got the class FarField"),
        (FAR.symmetries, SMALL, 2, TypeError, "needs a function of a tensor as forward"),
        (lambda x: [x], SMALL, 2, TypeError, "needs a forward that returns one torch.Tensor"),
        (lambda x: x.abs().mean(), SMALL, 2, ValueError, r"one measurement per item: x has the batch \(48,\)"),
        (lambda x: FAR(x[:, 0] + 1j * x[:, 1]), SMALL[:2].real[None], 2, ValueError, r"ToChannels\(\)\(x\)"),
        (FAR, SMALL, 2.0, TypeError, "needs an int as event_dims"),
    ],
)
def test_refused(call: Any, forward: Any, x: Any, dims: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(forward, x, event_dims=dims)


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


def test_plain_functions_are_models() -> None:
    """Whatever takes a ForwardModel takes a function of a batch."""
    x = torch.randn(40, 5)

    def plain(x: Tensor) -> Tensor:
        return x.cumsum(-1).square()

    assert assert_forward_invariant(plain, x, symmetry=Sign(1)) == 0
    assert assert_forward_invariant(plain, x, FixSign(1)) == 0
    with pytest.raises(AssertionError, match=r"f\(g x\) = f\(x\) for g of Translation"):
        assert_forward_invariant(plain, torch.nn.functional.pad(x, (3, 3)), symmetry=Product([Translation(1), Sign(1)]))
    with pytest.raises(TypeError, match=r"a canonicalizer or a symmetry for .*symmetries_of\(f, x, event_dims="):
        assert_forward_invariant(plain, x)
    assert float(MagnitudeLoss(plain)(-x, plain(x))) == 0
    expected = torch.stack([measurement_residual(0.9 * each, plain(each), plain) for each in x])
    residuals = measurement_residual(0.9 * x, plain(x), plain, reduction="none")
    assert torch.allclose(residuals, expected)
    assert torch.allclose(residuals, torch.full((40,), 0.1, dtype=residuals.dtype), atol=1e-6)
