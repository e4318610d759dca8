"""Templates: the laws, state and bad input."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest
import torch
from draws import cases, crystals, drawn
from finite_groups import Conjugation, QuarterTurns
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import FarField, FixSign, RandomSymmetry
from torch_symbreak.alignment import places
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import (
    ConjugateFlip,
    GlobalPhase,
    PhaseRamp,
    Product,
    Scalar,
    Scale,
    Sign,
    Translation,
)
from torch_symbreak.testing import check_canonicalizer, deviation, off_ties

pytestmark = pytest.mark.filterwarnings("ignore:FarField measures")


def template_for(case, model):
    generator = torch.Generator().manual_seed(case.seed + 7)
    template = torch.randn(*case.channels, *case.frame, dtype=case.dtype, generator=generator)
    return model.canonicalizer(channel_dims=len(case.channels), template=template)


def model_of(case):
    return FarField(case.event_dims, field=case.field, oversampling=case.oversampling)


@given(st.data())
def test_laws(data):
    case = data.draw(cases(channel_dims=data.draw(st.integers(0, 1)), few_ties=True))
    model = model_of(case)
    fix, x = template_for(case, model), case.make()
    check_canonicalizer(fix, off_ties(fix, x), None if case.channels else model, generator=case.generator)


@given(cases(channel_dims=1), st.booleans())
def test_channels_share_one_element(case, last):
    fix, x = template_for(case, model_of(case)), case.make()
    g = fix.element(x)
    assert g.flipped.shape == case.batch
    assert torch.allclose(fix.symmetry.act(g, x), fix(x), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_decisions_are_those_of_double_precision(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.pad(torch.randn(400, 9, 8, dtype=dtype, generator=generator), (2, 3, 1, 4))
    x[:200] = 1 + 1e-5 * x[:200]  # neighboring shifts gain nearly as much
    x[:200, :1], x[:200, :, -2:] = 0, 0
    model = FarField(field="complex" if dtype.is_complex else "real")
    fix = model.canonicalizer(template=torch.randn(14, 13, dtype=dtype, generator=generator) + 2)
    single, double = fix.element(x), fix.element(x.to(torch.promote_types(dtype, torch.float64)))
    assert torch.equal(single.flipped, double.flipped)
    assert torch.equal(single.shift, double.shift)


def test_a_finite_group_of_the_users_own():
    generator = torch.Generator().manual_seed(0)
    group = Product([QuarterTurns(), Sign(2)])
    fix = AlignToTemplate(torch.randn(6, 6, generator=generator), group)
    x = torch.randn(60, 6, 6, generator=generator)
    check_canonicalizer(fix, x, generator=generator)
    assert list(fix.margins(x)) == ["sign", "quarter_turns"]
    gains = torch.stack([(x.rot90(k, (1, 2)) * fix.template).sum((1, 2)).abs() for k in range(4)])
    assert torch.allclose((fix(x) * fix.template).sum((1, 2)), gains.amax(0), atol=1e-4)


@pytest.mark.parametrize("symmetries", [FarField(2).symmetries, [QuarterTurns(), Translation()]])
def test_pieces_change_nothing(monkeypatch, symmetries):
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.pad(torch.randn(21, 5, 4, dtype=torch.complex64, generator=generator), (2, 3, 1, 3))
    fix = AlignToTemplate(torch.randn(9, 9, dtype=torch.complex64, generator=generator), symmetries)
    whole, element = fix(x), fix.element(x)
    monkeypatch.setattr(places, "_ENTRIES", 4 * 81)
    assert torch.equal(fix(x), whole)
    again = fix.element(x)
    assert torch.equal(again.shift, element.shift)
    assert all(torch.equal(*pair) for pair in zip(again.others, element.others, strict=True))


def test_sign_phase_and_sign_per_entry():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 7, generator=generator)
    assert torch.equal(AlignToTemplate(torch.tensor(2.0), Sign(0))(x), x.abs())
    last = torch.zeros(7)
    last[-1] = 1
    assert torch.equal(AlignToTemplate(last, Sign(1))(x), FixSign(1, anchor=-1)(x))
    check_canonicalizer(AlignToTemplate(torch.randn(7, generator=generator), Sign(1)), x, generator=generator)
    z = torch.randn(50, 7, dtype=torch.complex64, generator=generator)
    check_canonicalizer(AlignToTemplate(torch.randn(7, dtype=torch.complex64, generator=generator), GlobalPhase(1)), z)


def test_a_flip_alone():
    x = torch.nn.functional.pad(torch.randn(60, 5, 6, dtype=torch.complex64), (1, 3, 2, 1))
    fix = AlignToTemplate(torch.randn(8, 10, dtype=torch.complex64), ConjugateFlip())
    check_canonicalizer(fix, off_ties(fix, x))


SETTINGS = [
    ((31,), torch.complex64, False), ((32,), torch.float32, False), ((16,), torch.complex128, True),
    ((17,), torch.float64, True), ((12, 13), torch.complex64, False), ((12, 12), torch.float32, False),
    ((9, 12), torch.complex128, False), ((11, 8), torch.complex64, True), ((10, 10), torch.float64, True),
    ((6, 7, 8), torch.complex64, False), ((6, 6, 6), torch.float32, False), ((5, 6, 7), torch.complex128, True),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("frame", "dtype", "wrap"), SETTINGS)
def test_no_orbit_has_two_representatives(frame, dtype, wrap):
    generator, pairs = torch.Generator().manual_seed(1), 10_000
    field = "complex" if dtype.is_complex else "real"
    model = FarField(len(frame), field=field, oversampling=1.0 if wrap else 2.0, chunk_size=2000)
    fix = model.canonicalizer(template=torch.randn(frame, dtype=dtype, generator=generator))
    x = drawn(pairs + pairs // 10, frame, dtype, int(wrap), generator)
    clear = fix.margin(x) > 1e-4
    assert clear.double().mean() > 0.95
    x = x[clear][:pairs]
    assert len(x) == pairs
    error = deviation(fix(RandomSymmetry(model.symmetries, generator=generator)(x)), fix(x), len(frame))
    limit = 2e-5 if dtype in (torch.complex64, torch.float32) else 1e-10
    print(f"{int((error > limit).sum())} failures in {len(x)} pairs, largest relative error {float(error.max()):.1e}")
    assert (error <= limit).all()
    y = model(x)
    assert (deviation(model(fix(x)), y, len(frame)) <= limit).all()


@pytest.mark.slow
def test_no_orbit_has_two_representatives_with_a_background():
    generator, pairs = torch.Generator().manual_seed(1), 10_000
    fix = FarField(2).canonicalizer(
        threshold=0.05, template=torch.randn(12, 13, dtype=torch.complex64, generator=generator)
    )
    x = drawn(pairs + pairs // 5, (12, 13), torch.complex64, 0, generator)
    x = torch.where(x != 0, torch.sgn(x) * (0.3 + x.abs().clamp(max=3)), 0)  # no line near the threshold
    x = x / x.abs().amax((1, 2), keepdim=True)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    x = x + 0.01 * noise / noise.abs().clamp(min=1)
    x = x[fix.margin(x) > 1e-4][:pairs]
    assert len(x) == pairs
    moved = fix.symmetry.act(fix.symmetry.sample(x, generator=generator), x)
    error = deviation(fix(moved), fix(x), 2)
    print(f"{int((error > 2e-5).sum())} failures in {pairs} pairs, largest relative error {float(error.max()):.1e}")
    assert (error <= 2e-5).all()


# -------------------------------------------------------------------------------------------------------- state


def test_state():
    _, x = crystals(20)
    fix = FarField(2).fit_canonicalizer(x, progress=False, rounds=2)
    again = pickle.loads(pickle.dumps(fix))
    assert torch.equal(again(x), fix(x))
    assert again.history == fix.history
    other = FarField(2).canonicalizer(template=torch.randn(16, 16, dtype=torch.complex64))
    other.load_state_dict(fix.state_dict())
    assert torch.equal(other(x), fix(x))
    assert "(16, 16)" in repr(fix)
    assert fix(x.to(torch.complex128)).dtype == torch.complex128
    assert deviation(fix(x.to(torch.complex128)), fix(x), 2).max() < 1e-5
    assert fix(x[:0]).shape == (0, 16, 16)
    assert fix.element(x[:0]).shift.shape == (0, 2)
    assert fix.margin(x[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (torch.zeros(4, 4), "not zero"),
        (torch.full((4, 4), torch.nan), "NaN"),
        (torch.ones(4, 4), "as it is"),
        (torch.rand(4, 5), "size mismatch"),
        (torch.rand(4, 4, dtype=torch.complex64), "complex one first"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(template, message):
    fix = AlignToTemplate(torch.rand(4, 4), [Translation(2), ConjugateFlip(2)])
    before = fix.template.clone()
    with pytest.raises(RuntimeError, match=message):
        torch.nn.Sequential(fix).load_state_dict({"0.template": template})
    assert torch.equal(fix.template, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_casting_a_network_keeps_the_imaginary_part(dtype):
    fix = FarField(2).canonicalizer(template=T)
    template = fix.template.clone()
    torch.nn.Sequential(fix).to(dtype)
    assert fix.template.is_complex()
    assert torch.allclose(fix.template.to(torch.complex64), template)


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e6, 1e200])
def test_casting_a_network_keeps_the_template(scale):
    x = torch.nn.functional.pad(torch.randn(9, 4, 5), (1, 2, 2, 2))
    fix = FarField(2, field="real").canonicalizer(template=T.real.double() * scale)
    before = fix(x)
    for dtype in (torch.float16, torch.float32):
        torch.nn.Sequential(fix).to(dtype)
        assert torch.equal(fix(x), before)


def test_a_template_of_another_range_is_refused():
    small, other = (FarField(2).canonicalizer(template=t) for t in (T.to(torch.complex128) * 1e-200, T))
    with pytest.raises(RuntimeError, match="not zero"):
        other.load_state_dict(small.state_dict())


def test_a_template_made_on_meta_takes_a_state():
    with torch.device("meta"):
        fix = FarField(2).canonicalizer(template=torch.empty(8, 8, dtype=torch.complex64))
    other = FarField(2).canonicalizer(template=T)
    fix.to_empty(device="cpu").load_state_dict(other.state_dict())
    assert torch.equal(fix(T), other(T))


@pytest.mark.parametrize(("dtype", "scale"), [(torch.complex64, 1e38), (torch.complex128, 4e307)])
def test_items_near_the_largest_number(dtype, scale):
    x = torch.complex(torch.rand(3, 40, 40) + 1, torch.rand(3, 40, 40)).to(dtype)
    x[:, :3] = 0
    fix = FarField(2).canonicalizer(template=torch.rand(40, 40) + torch.rand(40, 40) * 1j)
    z = x.clone()
    z[1] *= scale
    found = fix(z)
    torch.view_as_real(found)[1] /= scale  # complex division by a large number overflows in torch 2.6
    assert deviation(found, fix(x), 2).max() < 1e-5


def test_on_periodic_axes_the_box_decides_nothing():
    """All shifts around a torus compete, so that an item which fills it is no tie."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 8, 9, dtype=torch.complex64, generator=generator)
    around, along = (
        AlignToTemplate(torch.randn(8, 9, dtype=x.dtype, generator=generator), Translation(wrap=wrap))
        for wrap in (True, (16, 9))
    )
    gains = torch.fft.ifft2(torch.fft.fft2(x).conj() * torch.fft.fft2(around.template)).real.flatten(1)
    best = gains.topk(2).values
    gap = (best[:, 0] - best[:, 1]) / (
        torch.linalg.vector_norm(x, dim=(1, 2)) * torch.linalg.vector_norm(around.template)
    )
    assert torch.allclose(around.margin(x), gap.double(), atol=1e-6)
    x[:, 0] *= 1e-4 / x[:, 0].abs().amax(-1, keepdim=True) * x[:, 1:].abs().amax((1, 2)).reshape(-1, 1)
    assert (along.margin(x) < 1e-3).all()  # a padded axis, with a line on the threshold
    assert (around.margin(x) > 1e-3).double().mean() > 0.8


def test_margins_go_by_what_a_symmetry_does():
    class Shift(Translation):
        """A translation by another name."""

    template = torch.tensor([0, 1.0, 1, 0, 0, 0, 0, 1, 1.0004, 0, 0, 0])
    x = torch.nn.functional.pad(torch.ones(1, 2), (2, 8))
    margins = AlignToTemplate(template, Shift(1)).margins(x)
    assert list(margins) == ["shift"]
    assert margins["shift"] == AlignToTemplate(template, Translation(1)).margins(x)["translation"]


@dataclass(frozen=True)
class QuarterPhase(Scalar):
    """Powers of i, as a scalar."""

    event_dims: int = 2

    def sample(self, x, *, generator=None):
        return torch.ones(x.shape[: x.dim() - self.item_dims], dtype=x.dtype)

    def gain(self, correlation):
        return correlation.real.abs()

    def best(self, correlation):
        return torch.ones_like(correlation)


def test_gradient_and_bad_values():
    _, x = crystals(6)
    fix = FarField(2).fit_canonicalizer(x, progress=False, rounds=1)
    x = x.clone().requires_grad_()
    fix(x).abs().square().sum().backward()
    assert torch.isfinite(torch.view_as_real(x.grad)).all()
    z = x.detach().clone()
    z[1, 2, 3], z[2] = torch.nan, 0
    assert torch.allclose(fix(z)[[0, 3, 4, 5]], fix(z[[0, 3, 4, 5]]))
    assert torch.equal(fix(z)[2], z[2])


def test_compiles_and_maps():
    _, x = crystals(5)
    fix = FarField(2).fit_canonicalizer(x, progress=False, rounds=1)
    assert torch.allclose(torch.func.vmap(fix)(x), fix(x), atol=1e-5)


# ---------------------------------------------------------------------------------------------------- bad input


T = torch.randn(8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
FAR = FarField(2).symmetries
TT = torch.stack([T, T])
CENTRO = T + T.flip((0, 1)).conj()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: AlignToTemplate(T[None], FAR), ValueError, "template of one item"),
        (lambda: AlignToTemplate(T.numpy(), FAR), TypeError, "from_numpy"),
        (lambda: AlignToTemplate(T.real, FAR), TypeError, "complex target"),
        (lambda: AlignToTemplate(T, Sign(2)), TypeError, "real target"),
        (lambda: AlignToTemplate(T * torch.nan, FAR), ValueError, "finite template, but 64 of 64"),
        (lambda: AlignToTemplate(0 * T, FAR), ValueError, "not zero"),
        (lambda: AlignToTemplate(CENTRO, FAR), ValueError, "ConjugateFlip.*every item is a tie"),
        (lambda: AlignToTemplate(torch.ones(8, 8) + 0j, Translation()), ValueError, "Translation.*tie"),
        (lambda: AlignToTemplate(torch.ones(6, 6), QuarterTurns()), ValueError, "QuarterTurns.*tie"),
        (lambda: AlignToTemplate(T, [*FAR, Scale()]), TypeError, "isometries.*Scale"),
        (lambda: AlignToTemplate(T, [*FAR, PhaseRamp()]), TypeError, "PhaseRamp.*heuristic"),
        (lambda: AlignToTemplate(torch.randn(7), Conjugation()), ValueError, "Conjugation.*tie"),
        (lambda: AlignToTemplate(T, QuarterPhase()), TypeError, "not those of QuarterPhase"),
        (lambda: AlignToTemplate.fit((T, T), FAR), TypeError, "tuple of 2 tensors.*TensorDataset"),
        (lambda: AlignToTemplate.fit(torch.stack([T, T]), FAR, max_objects=-3), ValueError, "max_objects >= 2"),
        (lambda: AlignToTemplate(T, FAR)(T[:7]), ValueError, r"shape \(8, 8\).*but got \(7, 8\)"),
        (lambda: AlignToTemplate(T, Translation())(T.real), TypeError, "complex template, but got torch.float32"),
        (lambda: AlignToTemplate.fit(T[None], FAR), ValueError, "at least 2 objects, but got 1"),
        (lambda: AlignToTemplate.fit(torch.stack([T, T * torch.nan]), FAR), ValueError, r"in items \[1\]"),
        (lambda: AlignToTemplate.fit(torch.zeros(4, 8, 8) + 0j, FAR), ValueError, "mean zero.*start="),
        (lambda: AlignToTemplate.fit(torch.stack([T, T]), FAR, rounds=0), ValueError, "rounds >= 1"),
        (lambda: AlignToTemplate.fit([{"a": T}, {"a": T}], FAR), TypeError, "Say where the targets are"),
        (lambda: AlignToTemplate.fit([(T, T)], FAR, keys=(0, 1)), ValueError, r"one key, but got keys=\(0, 1\)"),
        (lambda: AlignToTemplate.fit(3, FAR), TypeError, "a tensor, a data set or a loader"),
        (lambda: AlignToTemplate.fit({"a": T}, FAR), TypeError, "a tensor, a data set or a loader.*a dict"),
        (lambda: AlignToTemplate.fit([T[0], T[1]], FAR), ValueError, "objects of at least 2 dimensions"),
        (lambda: AlignToTemplate.fit(TT, FAR, tolerance=-1.0), ValueError, "tolerance >= 0, but got -1.0"),
        (lambda: AlignToTemplate.fit(TT, FAR, tolerance="a"), ValueError, "tolerance >= 0, but got 'a'"),
        (lambda: AlignToTemplate.fit(TT, FAR, generator=0), TypeError, "manual_seed"),
        (lambda: AlignToTemplate.fit(TT, FAR, start=3), TypeError, "a canonicalizer or None as start, but got a int"),
        (lambda: AlignToTemplate.fit(TT, FAR, start=FarField(2)), ValueError, r"targets of objects.*\(2, 16, 16\)"),
        (lambda: AlignToTemplate.fit(TT.real, Translation(), start=T), TypeError, "real start for real objects"),
        (lambda: AlignToTemplate.fit([T, T[:4]], FAR), ValueError, "objects of one shape"),
        (lambda: AlignToTemplate.fit(torch.stack([T, T]), FAR, start=T[1:]), ValueError, "start of the objects' shape"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
