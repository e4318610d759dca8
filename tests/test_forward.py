"""The forward models against their definitions, written out."""

from __future__ import annotations

import math

import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import (
    DistanceMatrix,
    ElementwiseSquare,
    FarField,
    FixGlobalPhase,
    FixSign,
    GaussianIntensity,
    GramMatrix,
    LinearMixing,
    RandomSymmetry,
)
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Sign, Translation
from torch_symbreak.testing import assert_invariant, off_ties

pytestmark = pytest.mark.filterwarnings("ignore:FarField measures")


def by_definition(x: torch.Tensor, shape: tuple[int, ...], norm: str) -> torch.Tensor:
    """|sum_n x(n) exp(-2 pi i k n / M)|² by matrix products, axis by axis."""
    z = x.to(torch.complex128)
    for axis, (n, m) in enumerate(zip(x.shape[x.dim() - len(shape) :], shape, strict=True)):
        k = torch.arange(m)[:, None] * torch.arange(n)[None]
        matrix = torch.polar(torch.ones(m, n, dtype=torch.float64), -2 * math.pi * (k % m).double() / m)
        dim = x.dim() - len(shape) + axis
        z = torch.tensordot(z, matrix, ([dim], [1])).movedim(-1, dim)
    factor = {"backward": 1.0, "ortho": 1 / math.prod(shape), "forward": 1 / math.prod(shape) ** 2}[norm]
    return z.abs().square() * factor


@given(
    cases(),
    st.sampled_from([1.0, 1.1, 1.5, 2.0, 2.3]),
    st.sampled_from(["backward", "ortho", "forward"]),
    st.booleans(),
    st.sampled_from([None, 1, 4]),
)
def test_far_field(case: Drawn, oversampling: float, norm: str, centered: bool, chunk_size: int | None) -> None:
    x = case.make()
    model = FarField(
        case.event_dims,
        oversampling=oversampling,
        field=case.field,
        norm=norm,
        centered=centered,
        chunk_size=chunk_size,
    )
    shape = tuple(math.ceil(round(oversampling * n, 6)) for n in case.frame)
    expected = by_definition(x, shape, norm)
    if centered:
        expected = torch.fft.fftshift(expected, dim=tuple(range(-case.event_dims, 0)))
    y = model(x)
    assert y.shape == (*case.batch, *shape)
    assert y.dtype == x.real.dtype
    assert torch.allclose(y.double(), expected, rtol=1e-4, atol=float(expected.max()) * 1e-5)
    by_shape = FarField(case.event_dims, shape=shape, field=case.field, norm=norm, centered=centered)
    assert torch.allclose(by_shape(x), y)
    assert model.detector_shape(case.frame) == shape


def test_periodic_where_the_detector_has_the_frame() -> None:
    """M = N: shifts wrap, per axis; the canonicalizer follows."""
    assert FarField(2, oversampling=1.0).symmetries[0].wrap is True
    assert FarField(2, oversampling=1.01).symmetries[0].wrap is False
    model = FarField(2, shape=(8, 20))
    assert model.symmetries[:2] == (Translation(2, wrap=(8, 20)), ConjugateFlip(2, wrap=(8, 20)))
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(200, 8, 10, dtype=torch.complex64)
    x[:, :5, :6] = torch.randn(200, 5, 6, dtype=torch.complex64, generator=generator)
    g = model.symmetries[0].sample(x, generator=generator)
    assert set(g.shift[:, 0].tolist()) == set(range(8))  # any shift on the periodic axis
    assert set(g.shift[:, 1].tolist()) == set(range(5))  # those inside the frame on the padded one
    moved = RandomSymmetry(model.symmetries, generator=generator)(x)
    assert torch.allclose(model(moved), model(x), rtol=1e-3, atol=1e-2)
    fix = model.canonicalizer()
    clear = fix.margin(x) > 1e-4
    assert torch.allclose(fix(moved)[clear], fix(x)[clear], atol=1e-4)


@pytest.mark.parametrize("frame", [(1, 9), (2, 9), (1, 5, 4)])
@pytest.mark.parametrize("oversampling", [1.0, 2.0])
def test_thin_frames(frame: tuple[int, ...], oversampling: float) -> None:
    model = FarField(len(frame), oversampling=oversampling)
    fix = model.canonicalizer()
    x = torch.randn(500, *frame, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    for axis, n in enumerate(frame):  # leave a gap where there is room for one
        x.narrow(axis + 1, max(n - 1, 1), n - max(n - 1, 1)).zero_()
    clear = off_ties(fix, x)
    assert len(clear) > 400
    assert_invariant(fix, clear)


def test_far_field_gradient_and_empty() -> None:
    x = torch.randn(2, 3, 4, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(FarField(), x)
    r = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FarField(field="real"), r)
    zero = torch.zeros(1, 3, 3, dtype=torch.complex64, requires_grad=True)
    FarField()(zero).sum().backward()
    assert torch.equal(zero.grad, torch.zeros_like(zero))
    assert FarField()(torch.zeros(0, 3, 4, dtype=torch.complex64)).shape == (0, 6, 8)
    assert FarField()(torch.zeros(2, 0, 3, 4, dtype=torch.complex64)).shape == (2, 0, 6, 8)
    assert FarField(field="real")(torch.ones(3, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_memory_on_a_device_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any device, not only on a CPU, the spectra are divided among calls."""
    sizes, exact = [], FarField._intensity
    monkeypatch.setattr(FarField, "_intensity", lambda self, x, shape: (sizes.append(len(x)), exact(self, x, shape))[1])
    x = torch.empty(5, 2048, 2048, dtype=torch.complex64, device="meta")  # spectra of 2^27 bytes
    assert FarField()(x).shape == (5, 4096, 4096)
    assert sizes == [2, 2, 1]


def test_gaussian() -> None:
    generator = torch.Generator().manual_seed(0)
    for field, fix, group in (("real", FixSign, Sign), ("complex", FixGlobalPhase, GlobalPhase)):
        model = GaussianIntensity.draw(400, 50, field=field, generator=generator)
        A = model.A
        assert abs(float(A.abs().square().mean()) - 1) < 0.03
        x = torch.randn(7, 50, dtype=A.dtype, generator=generator)
        assert torch.allclose(model(x), torch.einsum("mn,bn->bm", A, x).abs().square(), rtol=1e-4, atol=1e-4)
        assert model.symmetries == (group(1),)
        assert isinstance(model.canonicalizer(), fix)
        fixed = model.canonicalizer()(x)
        assert (fixed[:, -1].real > 0).all()
        assert torch.allclose(fixed[:, -1].imag if field == "complex" else torch.zeros(7), torch.zeros(7), atol=1e-6)
    again = GaussianIntensity.draw(4, 3, generator=torch.Generator().manual_seed(5)).A
    assert torch.equal(again, GaussianIntensity.draw(4, 3, generator=torch.Generator().manual_seed(5)).A)
    model = GaussianIntensity.draw(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.ones(3)).dtype == torch.float32
    assert "A" in model.state_dict()
    assert model.double()(torch.ones(3)).dtype == torch.float64


@pytest.mark.parametrize(
    "model", [ElementwiseSquare(), GaussianIntensity(torch.eye(3)), GramMatrix(), DistanceMatrix(), LinearMixing(2)]
)
def test_shapes_are_found_on_the_meta_device(model: ForwardModel) -> None:
    x = torch.randn(4, 2, 3)
    assert model.to("meta")(x.to("meta")).shape == model.to_empty(device="cpu")(x).shape


def test_square() -> None:
    x = torch.tensor([-1.5, 0.0, 2.0])
    assert torch.equal(ElementwiseSquare()(x), torch.tensor([2.25, 0.0, 4.0]))
    assert ElementwiseSquare().symmetries == (Sign(0),)
    with pytest.raises(TypeError, match="real target"):
        ElementwiseSquare()(x + 0j)
