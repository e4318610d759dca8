"""Discovery at its limits: noise, constants, values that are not finite, items that decide nothing, bad arguments."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from measurements import ALL, ALL_REAL, COUNT, FAR, PHASES, PROBE, REFERENCE, SMALL, generator, inside
from torch import Tensor

from torch_symbreak import FarField, FixGlobalPhase, FixSign, MagnitudeLoss
from torch_symbreak.canonical import FixInTurn
from torch_symbreak.diagnostics import Finding, SymmetryReport, canonicalizer_for, symmetries_of
from torch_symbreak.forward import Measured, PoissonCounts
from torch_symbreak.metrics import measurement_residual
from torch_symbreak.symmetries import GlobalPhase, Product, Scale, Sign, SignedPermutation, Translation
from torch_symbreak.testing import assert_forward_invariant


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


def test_f_may_return_one_tensor_again_and_again() -> None:
    """In double precision nothing else would copy it, and all answers would be the last one."""
    x, buffer = SMALL.to(torch.complex128), torch.empty(0, dtype=torch.float64)

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = FAR(PROBE * x)
        return buffer.resize_(y.shape).copy_(y)

    assert set(symmetries_of(forward, x, event_dims=2).holds) == PHASES


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_every_scale_of_f(scale: float) -> None:
    """Squares of these numbers under- or overflow."""
    x = SMALL[:8].to(torch.complex128)
    report = symmetries_of(lambda x: FAR(PROBE * x) * scale, x, event_dims=2)
    assert set(report.holds) == PHASES
    assert report.fails["Translation"].error < 10


def test_f_of_the_whole_batch_is_told() -> None:
    """Of one item, all three keep another set of symmetries, or none."""
    calls = iter(range(1, 10**6))
    for forward in (
        torch.nn.Sequential(FAR, torch.nn.Flatten(), torch.nn.LazyBatchNorm1d()),
        lambda x: FAR(x) / FAR(x).max(),
        lambda x: FAR(x) * next(calls),
    ):
        with pytest.warns(UserWarning, match="another measurement when other items of the batch change.*eval()"):
            symmetries_of(forward, SMALL[:9], event_dims=2)


def test_a_flip_of_full_frames_has_a_fixed_center() -> None:
    """Translations cannot be tested there. A flip about the content's center would change f of smaller content."""
    disk = ((torch.arange(9) - 4) ** 2 < 10).float()
    mask = disk[:, None] * disk
    full = torch.randn(8, 9, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    fix = canonicalizer_for(lambda x: FAR(mask * x), full, event_dims=2)
    small = torch.nn.functional.pad(full[:, :3, :4], (0, 5, 0, 6))
    assert torch.allclose(FAR(mask * fix(small)), FAR(mask * small), atol=1e-3)


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
        (
            lambda x: [x],
            SMALL,
            2,
            TypeError,
            r"needs one torch.Tensor as f\(x\), but got a list. .*torch.stack\(forward\(x\)\)",
        ),
        (lambda x: x[..., :0], SMALL, 2, ValueError, r"one measurement per item: .* shape \(48, 12, 0\)"),
        (lambda x: x.abs().mean(), SMALL, 2, ValueError, r"one measurement per item: x has the batch \(48,\)"),
        (lambda x: FAR(x[:, 0] + 1j * x[:, 1]), SMALL[:2].real[None], 2, ValueError, r"ToChannels\(\)\(x\)"),
        (lambda x: FAR(x).to_sparse(), SMALL, 2, TypeError, r"needs a dense f\(x\).*forward\(x\).to_dense"),
        (FAR, SMALL, 2.0, TypeError, "needs an int as event_dims"),
    ],
)
def test_refused(call: Any, forward: Any, x: Any, dims: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(forward, x, event_dims=dims)


@pytest.mark.parametrize("tolerance", [0, -1, 1, math.nan, math.inf, "1e-3"])
def test_tolerances_that_say_nothing(tolerance: Any) -> None:
    with pytest.raises(ValueError, match="needs 0 < tolerance < 1, but got"):
        symmetries_of(FAR, SMALL, event_dims=2, tolerance=tolerance)
    with pytest.raises(TypeError, match=r"torch.Generator or None as generator, but got a int.*manual_seed\(seed\)"):
        symmetries_of(FAR, SMALL, event_dims=2, generator=0)  # type: ignore[arg-type]


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


def test_symmetries_of_your_own_keep_their_names_apart() -> None:
    x = torch.randn(20, 2, 7, generator=generator())
    entries = SignedPermutation(2), SignedPermutation(1, channel_dims=1), Sign(2), Sign(1)
    report = symmetries_of(lambda z: z.mT @ z, x, event_dims=2, symmetries=entries)
    held = [report.findings[name].verdict == "holds" for name in ("SignedPermutation", repr(entries[1]), "Sign")]
    assert held == [True, False, True]
    assert [report.findings[name].symmetry for name in ("Sign", repr(entries[3]))] == [*entries[2:]]
    assert list(symmetries_of(lambda z: z.mT @ z, x, event_dims=2, symmetries=entries[0]).holds)[-1] == (
        "SignedPermutation"
    )


@pytest.mark.parametrize(
    ("symmetries", "kind", "message"),
    [
        ([SignedPermutation], TypeError, "needs symmetries .* but got <class"),
        ("Sign", TypeError, "needs symmetries .* but got 'S'"),
        (None, TypeError, "needs symmetries .* but got None"),
        (FarField(), TypeError, r"needs symmetries .* Pass its \.symmetries"),
        ([SignedPermutation(3)], ValueError, r"has items of 2 dimensions, .* whose items have 3"),
    ],
)
def test_no_symmetries_are_refused(symmetries: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        symmetries_of(torch.abs, torch.randn(5, 2, 7), event_dims=2, symmetries=symmetries)
