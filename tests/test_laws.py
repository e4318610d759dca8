"""Laws on drawn examples (dtype, frame, content, position, batch), and special cases: scales, ties, background."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from draws import COMPLEX, REAL, Drawn, cases
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import (
    CenterContent,
    ElementwiseSquare,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    GaussianIntensity,
)
from torch_symbreak._frequencies import low_frequencies
from torch_symbreak.canonical import using
from torch_symbreak.symmetries import Canonicalizer, ConjugateFlip, GlobalPhase, Product, Sign, Translation
from torch_symbreak.symmetries.conjugate_flip import flip_scores
from torch_symbreak.testing import (
    assert_batch_equivariant,
    assert_convex,
    assert_forward_invariant,
    assert_idempotent,
    assert_invariant,
    assert_pure,
    assert_representative,
    assert_smallest,
    check_canonicalizer,
    check_symmetry,
    deviation,
    off_ties,
)

pytestmark = pytest.mark.filterwarnings("ignore:FarField measures")

KINDS = ["center", "flip", "phase", "phase at an index", "sign", "sign at an index", "sign per entry", "far field"]


def build(kind: str, case: Drawn) -> Canonicalizer:
    d, k, wrap = case.event_dims, len(case.channels), case.wrap
    match kind:
        case "center":
            return CenterContent(d, channel_dims=k, wrap=wrap)
        case "flip":
            return FixConjugateFlip(d, channel_dims=k, wrap=wrap)
        case "phase":
            return FixGlobalPhase(d, channel_dims=k)
        case "phase at an index":
            return FixGlobalPhase(d, channel_dims=k, anchor=(0,) * k + case.position)
        case "sign":
            return FixSign(d, channel_dims=k)
        case "sign at an index":
            return FixSign(d, channel_dims=k, anchor=(0,) * k + case.position)
        case "sign per entry":
            return FixSign(0)
    return far_field(case).canonicalizer(channel_dims=k)


def far_field(case: Drawn) -> FarField:
    return FarField(case.event_dims, field=case.field, oversampling=case.oversampling)


def dtypes(kind: str) -> tuple[torch.dtype, ...]:
    return {"p": COMPLEX, "s": REAL}.get(kind[0], COMPLEX + REAL)


def drawn(kind: str, data: st.DataObject) -> tuple[Canonicalizer, torch.Tensor, Drawn]:
    case = data.draw(cases(dtypes(kind), channel_dims=data.draw(st.integers(0, 1))))
    return build(kind, case), case.make(), case


@pytest.mark.parametrize("backend", [None, "reference"])
@given(st.data())
def test_every_law_of_the_far_field(backend: Any, data: st.DataObject) -> None:
    case = data.draw(cases(channel_dims=data.draw(st.integers(0, 1)), few_ties=True))
    with using(backend) if backend else nullcontext():
        check_canonicalizer(build("far field", case), case.make(), far_field(case), generator=case.generator)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_laws_for_batches_of_any_shape(kind: str, data: st.DataObject) -> None:
    """Ties are in them too: the first laws hold there."""
    fix, x, case = drawn(kind, data)
    assert_pure(fix, x)
    assert_representative(fix, x)
    assert_batch_equivariant(fix, x)
    check_symmetry(fix.symmetry, x, generator=case.generator)
    x = off_ties(fix, x)
    assert_invariant(fix, x, generator=case.generator)
    assert_smallest(fix, x, generator=case.generator)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_the_result_is_new_memory(kind: str, data: st.DataObject) -> None:
    fix, x, _ = drawn(kind, data)
    assert fix(x).data_ptr() != x.data_ptr() or x.numel() == 0


@pytest.mark.parametrize("kind", KINDS)
@given(st.data(), st.sampled_from([1e-30, 1e-20, 1e-3, 1e8, 1e30]))
def test_every_scale(kind: str, data: st.DataObject, scale: float) -> None:
    fix, x, case = drawn(kind, data)
    x = off_ties(fix, x)
    assert_invariant(fix, x * scale, generator=case.generator)
    assert deviation(fix(x * scale) / scale, fix(x), fix.symmetry.item_dims).le(1e-5).all()


@given(cases())
def test_far_field_is_the_composition_in_any_order(case: Drawn) -> None:
    fix, x = build("far field", case), case.make()
    x = off_ties(fix, x)
    parts = [build(kind, case) for kind in ("center", "flip", "phase" if x.is_complex() else "sign")]
    tolerance = 1e-5 if x.real.dtype == torch.float32 else 1e-12
    for order in itertools.permutations(parts):
        one_by_one = x
        for part in order:
            one_by_one = part(one_by_one)
        assert deviation(one_by_one, fix(x), case.event_dims).le(tolerance).all()
    margins = fix.margins(x)
    names = ["translation", "conjugate_flip", "global_phase" if x.is_complex() else "sign"]
    assert list(margins) == names
    assert torch.equal(fix.margin(x), torch.stack(list(margins.values())).amin(0))
    for name, part in zip(names, parts, strict=True):
        expected = margins[name]
        if name == "conjugate_flip":  # alone it also answers for the box
            expected = torch.minimum(expected, margins["translation"])
        torch.testing.assert_close(part.margin(x), expected, rtol=tolerance, atol=tolerance)


@given(cases(dims=(1,)), st.integers(1, 9))
def test_gaussian_and_square_forward(case: Drawn, m: int) -> None:
    x = case.make()
    model = GaussianIntensity.draw(m, case.frame[0], field=case.field, generator=case.generator)
    assert_forward_invariant(model, x, generator=case.generator)
    if not x.is_complex():
        assert_forward_invariant(ElementwiseSquare(), x, generator=case.generator)


@given(cases(), st.integers(0, 2**31 - 1))
def test_representatives_with_one_box_are_convex(case: Drawn, seed: int) -> None:
    fix = build("far field", case)
    other = replace(case, seed=seed)
    x1, x2 = case.make(), other.make()
    clear = (fix.margin(x1) > 1e-3) & (fix.margin(x2) > 1e-3)
    x1, x2 = x1[clear], x2[clear]
    # The statement is about one box: cancellation on an edge would give the midpoint another one.
    middle = (fix(x1) + fix(x2)) / 2
    same = fix.margin(middle) > 1e-4
    if same.any():
        assert_convex(fix, x1[same], x2[same])


@given(cases(COMPLEX + REAL, dims=(1,)))
def test_scalar_representatives_are_convex(case: Drawn) -> None:
    fix = FixGlobalPhase(1) if case.dtype.is_complex else FixSign(1)
    x = off_ties(fix, case.make().reshape(-1, *case.frame))
    assert_convex(fix, x, x.flip(0))


@given(cases())
def test_mirror_symmetric_on_the_last_axis(case: Drawn) -> None:
    """The other scores decide where the first cannot, and give the margin: these items have one representative."""
    if case.event_dims == 1 or min(case.content[:-1]) < 2 or case.batch == ():
        return
    # Mirrored along the last axis without conjugation, and real: F(k e_last) is real relative to F(0).
    x = case.make().real.to(case.dtype)
    values = x[(..., *(slice(p, p + n) for p, n in zip(case.position, case.content, strict=True)))]
    x = case.place(values + values.flip(-1))
    flip = FixConjugateFlip(case.event_dims, wrap=case.wrap)
    scores = scores_of(flip, x)
    assert (scores[..., 0].abs() < 1e-9).all()
    clear = (scores.abs().amax(-1) > 1e-4) & decided_clearly(scores)
    center = CenterContent(case.event_dims, wrap=case.wrap)
    clear &= center.margin(x) > 1e-4
    x, scores = x[clear], scores[clear].abs()
    fix = build("far field", case)
    decisive = scores.gather(-1, (scores > 1e-4).int().argmax(-1, keepdim=True)).squeeze(-1)
    assert torch.allclose(fix.margins(x)["conjugate_flip"], decisive.to(x.real.dtype))
    group = Product([Translation(case.event_dims, wrap=case.wrap), ConjugateFlip(case.event_dims, wrap=case.wrap)])
    assert_invariant(fix, x, group, generator=case.generator)
    assert_idempotent(fix, x)


def scores_of(fix: FixConjugateFlip, x: torch.Tensor) -> torch.Tensor:
    group = fix.symmetry
    return flip_scores(low_frequencies(x, group.box(x), group.event_dims, 0), group.event_dims)


def decided_clearly(scores: torch.Tensor) -> torch.Tensor:
    """No score lies near the level at which it starts to decide."""
    size = scores.abs()
    return ((size < 1e-9) | (size > 1e-4)).all(-1)


@given(cases())
def test_ties_are_survived(case: Drawn) -> None:
    model = far_field(case)
    fix, x = model.canonicalizer(), case.make()
    event = tuple(range(-case.event_dims, 0))
    box = (..., *(slice(p, p + n) for p, n in zip(case.position, case.content, strict=True)))
    values = x[box]
    ties = [
        torch.zeros_like(x),
        torch.ones_like(x),
        case.place(values + values.flip(event).conj()),  # centrosymmetric
        case.place(values - values.mean(event, keepdim=True)),  # zero mean
    ]
    for tie in ties:
        fixed = fix(tie)
        assert torch.isfinite(torch.view_as_real(fixed) if fixed.is_complex() else fixed).all()
        assert_representative(fix, tie)
        assert_forward_invariant(model, tie, generator=case.generator, tolerance=1e-4)
    assert torch.equal(fix(ties[0]), ties[0])
    assert (fix.margin(ties[0]) == 0).all()
    assert (fix.margins(ties[2])["conjugate_flip"] < 1e-6).all()


@given(cases())
def test_background_below_the_threshold(case: Drawn) -> None:
    """Faint values are no content, may wrap, and change the magnitude by no more than the docstring says."""
    threshold = 1e-2
    clean = case.make()
    background = torch.randn(clean.shape, dtype=clean.dtype, generator=case.generator)
    peak = clean.abs().amax(tuple(range(-case.event_dims, 0)), keepdim=True)
    x = torch.where(clean == 0, 0.7 * threshold * peak * background / background.abs().clamp(min=1e-3), clean)
    center = CenterContent(case.event_dims, threshold=threshold)
    content = (clean.abs() > 1.3 * threshold * peak) | (clean == 0)
    if not content.all():
        return
    group = Translation(case.event_dims, threshold=threshold)
    g = group.sample(x, generator=case.generator)
    moved = group.act(g, x)
    assert deviation(center(moved), center(x), case.event_dims).le(1e-6).all()
    shape = tuple(2 * n for n in case.frame)
    event = tuple(range(-case.event_dims, 0))
    spectra = [torch.fft.fftn(z.to(torch.complex128), s=shape, dim=event).abs() for z in (x, moved)]
    change = torch.linalg.vector_norm(spectra[1] - spectra[0], dim=event)
    outside = (clean == 0).flatten(-case.event_dims).sum(-1)
    assert (change <= 2 * threshold * outside.sqrt() * torch.linalg.vector_norm(spectra[0], dim=event) + 1e-9).all()


@given(cases(dims=(1, 2)), st.sampled_from([0.3, 0.5]))
def test_background_on_the_torus_flips_with_the_content(case: Drawn, threshold: float) -> None:
    """Values outside the box count in the flip decision too, and so must be flipped exactly."""
    case = replace(case, wrap=True, batch=(40,), content=tuple(max(1, n - 2) for n in case.frame))
    case = replace(case, position=(0,) * case.event_dims)
    x = case.place(torch.ones(case.batch + case.content, dtype=case.dtype))
    noise = torch.rand(x.shape, dtype=x.real.dtype, generator=case.generator)
    x = torch.where(x == 0, 0.9 * threshold * noise, 0.5 + 0.5 * noise).to(case.dtype)
    fix = FarField(case.event_dims, field=case.field, oversampling=1.0).canonicalizer(threshold=threshold)
    x = x / x.abs().flatten(1).amax(1).reshape(-1, *[1] * case.event_dims)
    assert_invariant(fix, off_ties(fix, x, 1e-3), generator=case.generator)


def test_margins_see_the_lines_that_fix_the_box() -> None:
    center = CenterContent(1, threshold=0.1)
    x = torch.tensor([[0.0, 1.0, 0.5, 0.0], [0.0, 1.0, 0.1001, 0.0], [0.0, 1.0, 0.5, 0.0999], [0.1001, 0.1, 1.0, 1.0]])
    margin = center.margin(x)
    assert margin[0] > 0.5
    assert (margin[1:] < 1e-3).all()
    # A line inside the box does not fix it, but on the torus it could open a gap there.
    x = torch.tensor([[0.0, 0.0, 1.0, 0.1001, 1.0, 0.0, 0.0]])
    assert center.margin(x) > 0.5
    assert CenterContent(1, threshold=0.1, wrap=True).margin(x) < 1e-3


@given(cases(dims=(1,), dtypes=REAL))
def test_content_goes_to_the_middle(case: Drawn) -> None:
    x = case.place(torch.ones(*case.batch, *case.content, dtype=case.dtype))
    (frame,), (length,) = case.frame, case.content
    start = (frame - length) // 2
    expected = torch.zeros_like(x)
    expected[..., start : start + length] = 1
    assert torch.equal(CenterContent(1)(x), expected)


def test_the_first_score_decides_down_to_its_level() -> None:
    """The first score speaks down to 1e-6, and the others below it."""
    x = torch.zeros(2, 4, 4)
    x[:, 0, 0], x[:, 3, 3] = 1, 1
    x[:, 3, 0], x[:, 0, 3] = 2, 2
    x[:, 1, 1] += 1  # the other axis and the diagonals see this ...
    x[:, 1, 2] += 1
    x[0, 2, 1] += 3e-4  # ... and the last axis only this
    x[1, 2, 2] += 3e-4
    fix = FixConjugateFlip()
    margins = fix.margin(x)
    assert ((margins > 1e-6) & (margins < 1e-4)).all()
    flipped = fix.element(x).flipped
    assert flipped[0] != flipped[1]


def test_the_margin_drops_few_items() -> None:
    """The laws above say little if the only filter drops more than 5 % of random objects."""
    for frame, content in (((12,), (11,)), ((7, 8), (5, 7)), ((4, 5, 4), (3, 4, 3))):
        for dtype, wrap in itertools.product(COMPLEX + REAL, (False, True)):
            case = Drawn(frame, content, (0,) * len(frame), (4000,), (), dtype, wrap, seed=0)
            assert len(off_ties(build("far field", case), case.make())) > 0.95 * 4000


def test_symmetries_are_values() -> None:
    assert Translation(2) == Translation(2) != Translation(2, wrap=True)
    group = Product([Translation(1), GlobalPhase(1)])
    assert group == Product(list(group.symmetries))
    assert {Sign(1), Sign(1)} == {Sign(1)}
    assert Product(group) == group
