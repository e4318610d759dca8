"""Metrics and curves against their definitions, invariant under every symmetry."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import ElementwiseSquare, FarField, RandomSymmetry, align, relative_error, sa_mse
from torch_symbreak.metrics import (
    average_modes,
    frc,
    measurement_residual,
    orbit_distance,
    prtf,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Sign, Translation

MODEL = FarField(2)


def pair(count: int = 4, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    r = torch.zeros(count, 16, 17, dtype=torch.complex128)
    r[:, 4:12, 3:13] = torch.randn(count, 8, 10, dtype=torch.complex128, generator=generator)
    support = r != 0
    return r + noise * support * torch.randn(r.shape, dtype=r.dtype, generator=generator), r


METRICS = [sa_mse, orbit_distance, relative_error, sa_nrmse, sa_psnr, sa_ssim]


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.__name__)
def test_does_not_change_along_the_orbit(metric) -> None:
    x, r = pair()
    moved = RandomSymmetry(MODEL.symmetries, generator=torch.Generator().manual_seed(1))(x)
    none = metric(x, r, MODEL.symmetries, reduction="none")
    assert none.shape == (4,)
    assert torch.allclose(metric(moved, r, MODEL.symmetries, reduction="none"), none)
    assert torch.allclose(metric(moved, r, MODEL.symmetries), none.mean())
    assert torch.allclose(metric(moved, r, MODEL.symmetries, reduction="sum"), none.sum())
    single = torch.stack([metric(one, truth, MODEL.symmetries) for one, truth in zip(x, r, strict=True)])
    assert torch.allclose(single, none)
    with pytest.raises(ValueError, match="reduction"):
        metric(x, r, MODEL.symmetries, reduction="median")


def test_definitions() -> None:
    x, r = pair()
    aligned = align(x, r, MODEL.symmetries).aligned
    difference = (aligned - r).abs().square().sum((1, 2))
    energy, magnitude = r.abs().square().sum((1, 2)), r.abs().flatten(1)
    mse = difference / (16 * 17)
    for metric, expected in (
        (sa_mse, mse),
        (orbit_distance, difference.sqrt()),
        (relative_error, (difference / energy).sqrt()),
        (sa_nrmse, mse.sqrt() / (magnitude.amax(1) - magnitude.amin(1))),
        (sa_psnr, 10 * torch.log10(magnitude.amax(1) ** 2 / mse)),
    ):
        assert torch.allclose(metric(x, r, MODEL.symmetries, reduction="none"), expected), metric
    assert torch.allclose(
        sa_psnr(x, r, MODEL.symmetries, data_range=3.0, reduction="none"), 10 * torch.log10(9.0 / mse)
    )
    y = MODEL(r)
    residual = (y.sqrt() - MODEL(x).sqrt()).abs().sum((1, 2)) / y.sqrt().sum((1, 2))
    assert torch.allclose(measurement_residual(x, y, MODEL, reduction="none"), residual)


@given(st.integers(0, 2**31 - 1))
def test_orbit_distance_is_a_metric(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    group = Product(FarField(1, oversampling=1.0).symmetries)
    a, b, c = torch.randn(3, 5, 9, dtype=torch.complex128, generator=generator)
    ab, ba, bc, ac = (orbit_distance(p, q, group, reduction="none") for p, q in ((a, b), (b, a), (b, c), (a, c)))
    assert torch.allclose(ab, ba)
    assert (ac <= ab + bc + 1e-12).all()
    assert orbit_distance(a, a, group) < 1e-9


def test_equal_and_empty_content() -> None:
    x, _ = pair()
    zero = torch.zeros_like(x)
    assert relative_error(zero, zero, MODEL.symmetries) == 0
    assert sa_nrmse(zero, zero, MODEL.symmetries) == 0
    assert sa_psnr(x, x, Sign(2)) if not x.is_complex() else sa_psnr(x, x, [Translation(), ConjugateFlip()]) > 200
    assert sa_ssim(zero, zero, MODEL.symmetries) == pytest.approx(1.0, abs=1e-4)
    assert measurement_residual(zero, MODEL(zero), MODEL) == 0
    single = x.to(torch.complex64)
    assert relative_error(1j * single, single, MODEL.symmetries).dtype == torch.float64
    real = torch.rand(2, 12, 12)
    assert sa_ssim(-real, real, Sign(2), on="real_imag") == pytest.approx(1.0, abs=1e-4)


def test_zero_items_keep_gradients_finite() -> None:
    x, r = pair(2)
    r[0] = 0
    x.requires_grad_()
    for metric in (relative_error, sa_nrmse, sa_psnr):
        (gradient,) = torch.autograd.grad(metric(x, r, MODEL.symmetries, reduction="none").sum(), x)
        assert torch.isfinite(torch.view_as_real(gradient)).all(), metric
    assert sa_psnr(x * 0, r * 0, MODEL.symmetries) == torch.inf
    assert sa_ssim(x[:0], r[:0], MODEL.symmetries, reduction="none").shape == (0,)
    z = torch.randn(1, 8, dtype=torch.complex128)
    for scale in (1e90, 1e-90):
        assert torch.allclose(frc(z * scale, z * scale, FarField(1).symmetries).value, torch.ones(5).double())
    with pytest.raises(ValueError, match="window_size"):
        sa_ssim(x, r, MODEL.symmetries, window_size=4)
    with pytest.raises(ValueError, match=r"reconstructions .*NaN"):
        average_modes(torch.full((2, 4, 4), float("nan"), dtype=torch.complex64), MODEL.symmetries)


def test_ssim_sees_structure() -> None:
    x, r = pair(noise=0.1)
    worse, _ = pair(noise=1.0)
    for on in ("magnitude", "real_imag"):
        near = sa_ssim(x, r, MODEL.symmetries, on=on, reduction="none")
        far = sa_ssim(worse, r, MODEL.symmetries, on=on, reduction="none")
        assert (near <= 1).all()
        assert (near > far).all()
    with pytest.raises(ValueError, match="event_dims=1"):
        sa_ssim(x, r, GlobalPhase(1))
    with pytest.raises(ValueError, match="on="):
        sa_ssim(x, r, GlobalPhase(2), on="phase")


def test_gradients_flow_with_the_element_fixed() -> None:
    x, r = pair(2)
    x = x[:, 4:8, 3:7].clone().requires_grad_()
    r = r[:, 4:8, 3:7]
    for metric in (sa_mse, orbit_distance, relative_error, sa_psnr):
        assert torch.autograd.gradcheck(lambda z, m=metric: m(z, r, MODEL.symmetries), x)
    y = MODEL(r)
    assert torch.autograd.gradcheck(lambda z: measurement_residual(z, y, MODEL), x)
    same = r.clone().requires_grad_()
    relative_error(same, r, GlobalPhase(2)).backward()
    assert torch.isfinite(same.grad.abs()).all()


def test_residual_of_other_models_and_errors() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert measurement_residual(x, torch.tensor([1.0, 4.0]), ElementwiseSquare()) == 0
    with pytest.raises(ValueError, match="one shape"):
        measurement_residual(torch.ones(2, 4, 4) + 0j, torch.ones(2, 4, 4), MODEL)


@pytest.mark.parametrize("frame", [(16, 16), (15, 20), (24,), (8, 9, 10)])
def test_frc(frame: tuple[int, ...]) -> None:
    d, generator = len(frame), torch.Generator().manual_seed(0)
    symmetries = FarField(d).symmetries
    x = torch.randn(3, *frame, dtype=torch.complex128, generator=generator)
    frequency, value = frc(x, x, symmetries, reduction="none")
    assert frequency.shape == (min(frame) // 2 + 1,)
    assert (frequency[0], frequency[-1]) == (0, 0.5)
    assert value.shape == (3, *frequency.shape)
    assert torch.allclose(value, torch.ones_like(value))
    assert torch.allclose(frc(x, x, symmetries).value, torch.ones(len(frequency), dtype=torch.float64))
    # Low frequencies alike, high ones not: the curve falls where they part.
    axes = torch.meshgrid(*(torch.fft.fftfreq(n) for n in frame), indexing="ij")
    low = sum(axis.square() for axis in axes).sqrt() < 0.25
    dims = tuple(range(1, d + 1))
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    mixed = torch.fft.ifftn(torch.where(low, torch.fft.fftn(x, dim=dims), torch.fft.fftn(noise, dim=dims)), dim=dims)
    curve = frc(mixed, x, ConjugateFlip(d)).value  # a shift or a phase would follow the noise a little
    assert (curve[frequency < 0.2] > 0.99).all()
    assert (curve[frequency > 0.35].abs() < 0.6).all()
    with pytest.raises(ValueError, match="channel_dims"):
        frc(x, x, GlobalPhase(d, channel_dims=1) if d == 1 else GlobalPhase(d - 1, channel_dims=1))


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("frame", [(16, 16), (15, 20), (24,)])
def test_prtf(frame: tuple[int, ...], centered: bool) -> None:
    model = FarField(len(frame), centered=centered)
    x = torch.randn(3, *frame, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    frequency, value = prtf(0.5 * x, model(x), model, reduction="none")
    assert frequency.shape == (min(frame) // 2 + 1,)
    assert torch.allclose(value, torch.full_like(value, 0.5))
    # Blurred: the transfer function falls, from DC on.
    if len(frame) == 1:
        blurred = (x + x.roll(1, -1)) / 2
        value = prtf(blurred[:, 1:-1], model(x[:, 1:-1]), FarField(1, centered=centered)).value
        assert value[0] > value[-1]
    y = model(x)
    y[0].flatten()[1:4] = 0
    assert torch.isfinite(prtf(x, y, model).value).all()
    with pytest.raises(ValueError, match="y of one shape"):
        prtf(x, y[..., :-1], model)


def test_modes() -> None:
    generator = torch.Generator().manual_seed(0)
    _, r = pair(1)
    many = r.expand(12, *r.shape[1:])
    moved = RandomSymmetry(MODEL.symmetries, generator=generator)(many)
    found = average_modes(moved, MODEL.symmetries)
    assert found.weight == pytest.approx(1.0)
    assert torch.allclose(found.average, moved[found.best], atol=1e-9)
    assert torch.allclose(found.mode, found.average, atol=1e-9)
    assert sa_mse(found.average[None], r, MODEL.symmetries) < 1e-12
    noise = 0.5 * (many != 0) * torch.randn(many.shape, dtype=many.dtype, generator=generator)
    noisy = RandomSymmetry(MODEL.symmetries, generator=generator)(many + noise)
    noisy[5] = torch.randn(r.shape[1:], dtype=r.dtype, generator=generator)
    found = average_modes(noisy, MODEL.symmetries)
    assert found.best != 5
    assert 0.3 < found.weight < 1
    single = relative_error(noisy[:1], r, MODEL.symmetries)
    assert relative_error(found.average[None], r, MODEL.symmetries) < 0.7 * single
    assert relative_error(found.mode[None], r, MODEL.symmetries) < 0.7 * single
    group = Product(MODEL.symmetries)
    assert torch.allclose(group.act(found.element, noisy)[:5], found.aligned[:5], atol=1e-9)
    errors = torch.ones(12)
    errors[7] = 0
    assert average_modes(noisy, MODEL.symmetries, errors=errors).best == 7
    for bad in (r[0], r[:0], many[None]):
        with pytest.raises(ValueError, match=r"\(R, \*item\)"):
            average_modes(bad, MODEL.symmetries)
    with pytest.raises(ValueError, match=r"errors as a tensor of shape \(12,\)"):
        average_modes(noisy, MODEL.symmetries, errors=torch.ones(3))


def test_the_figure_of_the_purpose() -> None:
    """A perfect but flipped solution has a relative error near sqrt(2) under the usual phase-only correction."""
    r = torch.randn(64, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    twin = ConjugateFlip().act(ConjugateFlip().sample(r, generator=torch.Generator().manual_seed(1)), r)
    flipped = (twin - r).abs().flatten(1).amax(1) > 0
    phase_only = relative_error(twin[flipped], r[flipped], GlobalPhase(), reduction="none")
    assert phase_only.mean() == pytest.approx(math.sqrt(2), abs=0.1)
    assert relative_error(twin, r, MODEL.symmetries) < 1e-6


@pytest.mark.parametrize("scale", [1e-200, 1e-308, 1e200, 1e307])
@pytest.mark.parametrize("metric", [relative_error, sa_nrmse, sa_psnr])
def test_ratios_at_any_scale_of_double_precision(metric: Callable[..., torch.Tensor], scale: float) -> None:
    x, reference = torch.tensor([[3.0, -1.0, 0.5]], dtype=torch.float64), torch.tensor([[-2.0, 1.0, 0.0]]).double()
    for symmetries in (Sign(1), ()):
        at_scale = metric(scale * x, scale * reference, symmetries)
        assert torch.allclose(at_scale, metric(x, reference, symmetries), rtol=1e-6)
