"""The two factors of a convolution: laws, and an oracle in NumPy that tries every element."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from factor_pairs import Pairs, convolved, pairs
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import AlignToTemplate, OrbitMinLoss, RandomSymmetry, align, sa_mse
from torch_symbreak.symmetries import (
    Canonicalizer,
    ConvolutionFactors,
    FactorMove,
    FixConvolutionFactors,
    Product,
    Sign,
)
from torch_symbreak.testing import assert_convex, check_canonicalizer, check_symmetry, deviation


@given(pairs(), st.booleans())
def test_laws(case: Pairs, by_rule: bool) -> None:
    fix: Canonicalizer[Any] = FixConvolutionFactors(**case.options)
    if not by_rule:
        template = torch.randn(2, *case.frame, dtype=case.dtype, generator=case.generator)
        fix = AlignToTemplate(template, fix.symmetry)
    laws = check_canonicalizer(fix, case.make(), convolved, generator=case.generator)
    assert ("convex" in laws) == (not by_rule)


@given(pairs())
def test_templates_are_convex_across_boxes(case: Pairs) -> None:
    template = torch.randn(2, *case.frame, dtype=case.dtype, generator=case.generator)
    fix = AlignToTemplate(template, ConvolutionFactors(**case.options))
    kernel, image = (tuple(max(1, n - 1) for n in size) for size in case.sizes)
    assert assert_convex(fix, case.make(), replace(case, sizes=(kernel, image)).make(), 0.3).pairs > 40


def test_pairs_whose_edges_fade_have_no_claim() -> None:
    """Edge lines just above the threshold: the mean's box is smaller, and more shifts compete for it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(4000, 2, 9, 9)
    x[:, 0, 2:5, 2:6] = torch.randn(4000, 3, 4, generator=generator)
    x[:, 1, 2:7, 1:6] = torch.randn(4000, 5, 5, generator=generator)
    faint = 1.3e-4 * x.flatten(2).abs().amax(-1) * (torch.rand(4000, 2, generator=generator) < 0.5)
    x[:, 0, 1, 3], x[:, 1, 7, 3] = faint.T
    group = ConvolutionFactors(kernel=(7, 7))
    fix = AlignToTemplate(torch.randn(2, 9, 9, generator=generator), group)
    x = group.act(group.sample(x, generator=generator), x)
    law = assert_convex(fix, x[:2000], x[2000:])
    assert 0.2 < law.cut < 0.5
    mean = (fix(x[:2000]) + fix(x[2000:])) / 2
    assert 0 < int((deviation(fix(mean), mean, 3) > 1e-3).sum()) < 20  # which the law did leave out


@given(pairs())
def test_the_rule_is_convex_for_one_box(case: Pairs) -> None:
    fix = FixConvolutionFactors(**case.options)
    items = replace(case, count=1).make().abs()  # one place for all, and edge lines that do not cancel
    noise = torch.rand(2, 50, *items.shape[1:], generator=case.generator, dtype=items.dtype) + 0.5
    law = assert_convex(fix, *(items * noise).to(case.dtype), most=0.2)
    assert law.pairs >= 40


# ------------------------------------------------------------------------------------------------------- the oracle


def elements(kernel: tuple[int, ...], frame: tuple[int, ...]) -> Iterator[tuple[bool, tuple[int, ...]]]:
    for exchanged in (False, True) if kernel == frame else (False,):
        for shift in itertools.product(*map(range, frame)):
            yield exchanged, shift


def moved(z: np.ndarray, exchanged: bool, shift: tuple[int, ...]) -> np.ndarray:
    k, x = z[::-1] if exchanged else z
    axes = tuple(range(k.ndim))
    return np.stack([np.roll(k, shift, axes), np.roll(x, [-t for t in shift], axes)])


def inside(z: np.ndarray, exchanged: bool, shift: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether some whole shift, equal modulo the frame, moves both contents inside their frames without wrapping."""
    for turns in itertools.product((0, 1), repeat=len(shift)):
        t = [s - n * turn for s, n, turn in zip(shift, z.shape[1:], turns, strict=True)]
        parts = zip(z[::-1] if exchanged else z, (kernel, z.shape[1:]), (1, -1), strict=True)
        if all(
            content.min() + side * t[axis] >= 0 and content.max() + side * t[axis] < room[axis]
            for part, room, side in parts
            for axis, content in enumerate(np.nonzero(part))
        ):
            return True
    return False


def best_scalar(z: np.ndarray, r: np.ndarray) -> complex:
    """Closed form: the c that makes c <k, p> + conj(c) <x, q> largest."""
    value = np.vdot(r[0], z[0]) + np.vdot(r[1], z[1]).conj()
    if np.isrealobj(z):
        return -1.0 if value < 0 else 1.0
    return value.conj() / abs(value) if value else 1.0


def nearest(z: np.ndarray, r: np.ndarray, kernel: tuple[int, ...], admissible: bool) -> tuple[np.ndarray, float]:
    """The nearest point of the orbit of z to r, and its squared distance."""
    best, least = z, np.inf
    for exchanged, shift in elements(kernel, z.shape[1:]):
        if admissible and not inside(z, exchanged, shift, kernel):
            continue
        image = moved(z, exchanged, shift)
        c = best_scalar(image, r)
        image = np.stack([c * image[0], np.conj(c) * image[1]])
        distance = float((np.abs(image - r) ** 2).sum())
        if distance < least:
            best, least = image, distance
    return best, least


@given(pairs(largest=4))
def test_alignment_and_template_are_those_of_the_oracle(case: Pairs) -> None:
    case = replace(case, count=3)
    group, x, r = ConvolutionFactors(**case.options), case.make(), case.make(case.generator)
    prediction = torch.randn(x.shape, dtype=x.dtype, generator=case.generator)  # its content fills the frame
    fix = AlignToTemplate(prediction[0], group)
    for z, reference, admissible in ((x, r, False), (prediction, x, False), (x, prediction[:1].expand_as(x), True)):
        for item, target, image, error in zip(
            z, reference, fix(z) if admissible else align(z, reference, group).aligned,
            align(z, reference, group).error, strict=True,
        ):  # fmt: skip
            best, least = nearest(item.numpy(), target.numpy(), case.kernel, admissible)
            np.testing.assert_allclose(image.numpy(), best, atol=1e-5 * np.abs(best).max())
            if not admissible:
                assert float(error) * item.numel() == pytest.approx(least, rel=1e-4, abs=1e-6)


@given(pairs(largest=4))
def test_margins_are_those_of_the_oracle(case: Pairs) -> None:
    """The gain, or its gap to the other order of the factors; shifts do not count where they do not tie."""
    case = replace(case, count=3)
    x, t = case.make(), torch.randn(2, *case.frame, dtype=case.dtype, generator=case.generator)
    margins = AlignToTemplate(t, ConvolutionFactors(**case.options)).margin(x)
    for item, margin in zip(x.numpy(), margins, strict=True):
        gains: dict[bool, float] = {}
        for exchanged, shift in elements(case.kernel, case.frame):
            if inside(item, exchanged, shift, case.kernel):
                image = moved(item, exchanged, shift)
                gain = abs(np.vdot(t[0].numpy(), image[0]) + np.vdot(t[1].numpy(), image[1]).conj())
                gains[exchanged] = max(gains.get(exchanged, 0.0), float(gain))
        wanted = min(max(gains.values()), abs(gains[True] - gains[False]) if len(gains) > 1 else np.inf)
        assert float(margin) == pytest.approx(wanted / np.linalg.norm(item) / float(t.norm()), abs=1e-5)


@given(pairs())
def test_an_orbit_is_found_and_sampled_elements_keep_the_measurement(case: Pairs) -> None:
    group, x = ConvolutionFactors(**case.options), case.make()
    z = RandomSymmetry(group)(x)
    torch.testing.assert_close(convolved(z), convolved(x), rtol=1e-4, atol=1e-4)
    assert float(sa_mse(z, x, group)) < 1e-10
    assert float(OrbitMinLoss(group)(z, x)) < 1e-10
    check_symmetry(group, x, generator=case.generator)
    # Each element's own place in the batch: one item and a stream of counters give what the batch gives.
    drawn = group.sample_each(x, 3, torch.arange(len(x)))
    one = group.sample_each(x[7:8], 3, torch.tensor([7]))
    assert all(torch.equal(a[7:8], b) for a, b in zip(drawn, one, strict=True))


def test_all_elements_are_sampled() -> None:
    """Every admissible shift and both orders and signs, alike often."""
    x = torch.zeros(4000, 2, 4, 4)
    x[:, 0, 1:3, :3], x[:, 1, 2, 1:] = 1, 2  # shifts of -1 to 0 or 1 by 0 to 1
    g = ConvolutionFactors(kernel=(4, 4)).sample(x)
    seen, count = torch.cat([g.exchanged[:, None], g.shift, g.scalar[:, None]], -1).unique(dim=0, return_counts=True)
    straight = {tuple(row[1:3]) for row in seen.long().tolist() if not row[0]}
    turned = {tuple(row[1:3]) for row in seen.long().tolist() if row[0]}
    assert straight == {(-a, -b) for a, b in turned} == {(a, b) for a in (-1, 0, 1) for b in (0, 1)}
    assert len(seen) == 24
    assert int(count.min()) > 100


# ---------------------------------------------------------------------------------------------------------- mutants


class UnturnedShift(ConvolutionFactors):
    def compose(self, g2: FactorMove, g1: FactorMove) -> FactorMove:
        return super().compose(g2, g1)._replace(shift=g2.shift + g1.shift)


class UnturnedScalar(ConvolutionFactors):
    def compose(self, g2: FactorMove, g1: FactorMove) -> FactorMove:
        return super().compose(g2, g1)._replace(scalar=g2.scalar * g1.scalar)


class PlainInverse(ConvolutionFactors):
    def inverse(self, g: FactorMove) -> FactorMove:
        return FactorMove(g.exchanged, -g.shift, g.scalar.conj().resolve_conj())


class AnyShift(ConvolutionFactors):
    def admissible_candidates(self, x: Tensor, reference: Tensor) -> Iterator[FactorMove]:
        return self.candidates(x, reference)


class OneOrder(ConvolutionFactors):
    def _exchanges(self, x: Tensor) -> bool:
        return False


class WrongPhase(ConvolutionFactors):
    def _nearest(self, x: Tensor, reference: Tensor, *, inside: bool) -> FactorMove:
        g = super()._nearest(x, reference, inside=inside)
        return g._replace(scalar=g.scalar.conj().resolve_conj())


class SumsOfEitherSign(FixConvolutionFactors):
    def _exchanged(self, x: Tensor, sums: Tensor, most: Tensor) -> Tensor:
        return sums.real[..., 1] > sums.real[..., 0]


class PastTheFrame(FixConvolutionFactors):
    def element(self, x: Tensor) -> FactorMove:
        g = super().element(x)
        kernel = self.symmetry.boxes(self.symmetry.act(g._replace(shift=0 * g.shift), x))[0]
        return g._replace(shift=(kernel.lo.new_tensor(self.symmetry.kernel) - kernel.length) // 2 - kernel.lo)


MUTANTS: dict[str, tuple[Any, Any, str]] = {
    "shift composed without the exchange": (UnturnedShift, None, "group"),
    "scalar composed without the exchange": (UnturnedScalar, None, "group"),
    "inverse without the exchange": (PlainInverse, None, "group"),
    "a template among all shifts": (AnyShift, AlignToTemplate, "invariant|forward|convex"),
    "a template with a conjugate phase": (WrongPhase, AlignToTemplate, "invariant"),
    "an exchange by the signed sum": (None, SumsOfEitherSign, "invariant"),
    "centered past the image's frame": (None, PastTheFrame, "representative|invariant|forward"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_found(name: str) -> None:
    group, fix, law = MUTANTS[name]
    case = Pairs((4, 4), (4, 4), ((2, 3), (3, 4)), torch.complex64, 1)
    x = case.make()
    symmetry = (group or ConvolutionFactors)(**case.options)
    template = torch.randn(x.shape[1:], dtype=x.dtype, generator=case.generator)
    made = fix and (AlignToTemplate(template, symmetry) if fix is AlignToTemplate else fix(**case.options))
    with pytest.raises(AssertionError, match=law):
        check_canonicalizer(made, x, convolved) if made else check_symmetry(symmetry, x)


def test_an_alignment_without_the_exchange_is_found() -> None:
    """The laws of a smaller group hold; an error up to the whole group does not vanish."""
    case = Pairs((4, 4), (4, 4), ((2, 3), (3, 4)), torch.float32, 1)
    group, x = ConvolutionFactors(**case.options), case.make()
    g = group.sample(x, generator=case.generator)
    z = group.act(g, x)
    assert torch.equal(sa_mse(z, x, OneOrder(**case.options), reduction="none") > 1e-3, g.exchanged)


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("kernel", [(2, 3), (4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_items_that_tie(kernel: tuple[int, int], dtype: torch.dtype) -> None:
    """Zeros, a kernel without a sum, two factors that are equal: margin 0, the measurement stays, nothing is NaN."""
    x = torch.zeros(5, 2, 4, 4, dtype=dtype)
    x[1:, 0, 0, :2] = torch.tensor([[0.0, 0], [1, -1], [2, 1], [1, 3]])
    x[1:, 1, 2, 1:3] = torch.tensor([[1.0, 2], [1, 2], [0, 0], [3, 1]])
    fix = FixConvolutionFactors(kernel=kernel)
    equal = kernel == (4, 4)
    zero_sum_exchanges = equal  # the image has the larger sum and becomes the kernel
    margin = fix.margin(x)
    assert margin.isfinite().all()
    assert (margin == 0).tolist() == [True, True, not zero_sum_exchanges, True, equal]
    template = AlignToTemplate(torch.randn(2, 4, 4, dtype=dtype), fix.symmetry)
    assert (template.margin(x) >= 0).all()
    assert template.margin(x)[0] == 0
    for image in (fix(x), template(x)):
        assert image.isfinite().all()
        torch.testing.assert_close(convolved(image), convolved(x))
    assert torch.equal(fix(x)[0], x[0])
    for loss in (align(x, x.flip(0), fix.symmetry).aligned, align(x * 0, x, fix.symmetry).aligned):
        assert loss.isfinite().all()
    x[1, 0, 0, 0] = torch.nan
    assert fix.margin(x).isnan().tolist() == [False, True, False, False, False]
    assert template.margin(x).isnan().tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_change_no_decision(scale: float) -> None:
    case = Pairs((4, 5), (4, 5), ((2, 3), (3, 4)), torch.float32, 0)
    x, fix = case.make(), FixConvolutionFactors(kernel=(4, 5))
    template = AlignToTemplate(torch.randn(2, 4, 5), fix.symmetry)
    for each in (fix, template):
        torch.testing.assert_close(each(scale * x) / scale, each(x))
        torch.testing.assert_close(each.margin(scale * x), each.margin(x))


def test_templates_that_an_element_fixes() -> None:
    group = ConvolutionFactors(kernel=(4, 4))
    half = torch.randn(4, 4)
    periodic = torch.stack([half[:, :2].repeat(1, 2), half[:, 2:].repeat(1, 2)])
    alternating = torch.stack([torch.cat([a, -a], -1) for a in (half[:, :2], half[:, 2:])])
    mirrored = torch.stack([half, -half.roll((1, 2), (0, 1))])  # the exchange brings each to the other's place
    for template in (periodic, alternating, mirrored):
        with pytest.raises(ValueError, match=r"only the identity leaves.*ConvolutionFactors"):
            AlignToTemplate(template, group)
    AlignToTemplate(mirrored, ConvolutionFactors(kernel=(4, 3)))  # has no exchange
    AlignToTemplate(half.expand(2, 4, 4) * torch.tensor([1.0, 2.0])[:, None, None], group)


def test_shifts_that_tie_are_told() -> None:
    """Two shifts that gain alike are a tie; two that nearly do are none."""
    template, x = torch.zeros(2, 4, 4), torch.zeros(2, 2, 4, 4)
    template[0, 0, :2], template[1, 0, 2] = 2, 1e-3
    x[:, 0, 0, 0], x[:, 1, 0, 1] = 1, 0.5  # the kernel may stay, or go one to the right
    x[1, 1, 0, 2] = 0.5  # leaves the template's entry
    margins = AlignToTemplate(template, ConvolutionFactors(kernel=(3, 3))).margin(x)
    assert float(margins[0]) == 0
    assert float(margins[1]) > 0.5


def test_elements_act_as_they_say() -> None:
    x = torch.randn(2, 2, 4, 5, dtype=torch.complex64)
    c = torch.polar(torch.ones(2), torch.tensor([0.3, -1.0]))
    g = FactorMove(torch.tensor([False, True]), torch.tensor([[1, -2], [0, 3]]), c)
    z = ConvolutionFactors(kernel=(4, 5)).act(g, x)
    torch.testing.assert_close(z[0, 0], c[0] * x[0, 0].roll((1, -2), (0, 1)))
    torch.testing.assert_close(z[0, 1], c[0].conj() * x[0, 1].roll((-1, 2), (0, 1)))
    torch.testing.assert_close(z[1, 0], c[1] * x[1, 1].roll((0, 3), (0, 1)))
    torch.testing.assert_close(z[1, 1], c[1].conj() * x[1, 0].roll((0, -3), (0, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event_dims": 1, "kernel": (3,)}, "every root of y may belong to either"),
        ({"event_dims": 0, "kernel": ()}, "event_dims >= 2"),
        ({"kernel": (3,)}, "2 positive ints"),
        ({"kernel": 3}, "2 positive ints"),
        ({"kernel": (3, 0)}, "2 positive ints"),
        ({"kernel": (1, 3)}, "more than one entry along two axes.* every root of y"),
        ({"event_dims": 3, "kernel": (1, 1, 3)}, "more than one entry along two axes"),
        ({"kernel": (3, 3.0)}, "2 positive ints"),
        ({"kernel": (3, 3), "channel_dims": 2}, "channel_dims=1"),
        ({"kernel": (3, 3), "threshold": 1}, "0 <= threshold < 1"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvolutionFactors(**options)


def test_targets_that_are_none() -> None:
    group = ConvolutionFactors(kernel=[3, 3])  # type: ignore[arg-type]
    assert group == ConvolutionFactors(kernel=(3, 3))
    for shape, message in (((3, 5, 5), "two factors per item"), ((2, 5, 2), "does not fit a frame"), ((5, 5), "3 dim")):
        for call in (group.check, FixConvolutionFactors(kernel=(3, 3))):
            with pytest.raises(ValueError, match=message):
                call(torch.ones(shape))
    x = torch.ones(1, 2, 5, 5)
    with pytest.raises(TypeError, match="complex element"):
        group.act(group.identity(x + 0j), x)
    with pytest.raises(ValueError, match="One element is needed per item"):
        group.act(group.identity(x), x.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="write one Symmetry for the whole group"):
        Product([group, Sign(2, channel_dims=1)])


@given(pairs(dtypes=(torch.float64, torch.complex128)))
def test_gradients_pass_through_the_rule(case: Pairs) -> None:
    assume(case.dtype.is_complex or len(case.frame) == 2)
    x = replace(case, count=2).make().requires_grad_()
    FixConvolutionFactors(**case.options)(x).abs().square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * x.detach())  # an isometry
