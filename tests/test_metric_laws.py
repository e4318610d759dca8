"""Laws of all metrics: one value per orbit of the reference, NaN for what is not finite, plain errors, arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, align, relative_error, sa_mse
from torch_symbreak.metrics import (
    average_modes,
    compare,
    frc,
    measurement_residual,
    orbit_distance,
    prtf,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Scale, Sign, Symmetry, Translation

Metric = Callable[..., Tensor]


def ssim_of_parts(x: Any, reference: Any, symmetries: Any, **options: Any) -> Tensor:
    return sa_ssim(x, reference, symmetries, on="real_imag", **options)


def frc_curve(x: Any, reference: Any, symmetries: Any, **options: Any) -> Tensor:
    return frc(x, reference, symmetries, **options).value


ABSOLUTE: list[Metric] = [sa_mse, orbit_distance]
RELATIVE: list[Metric] = [relative_error, sa_nrmse, sa_psnr, frc_curve]
SSIM: list[Metric] = [sa_ssim, ssim_of_parts]


@dataclass(frozen=True)
class Turns(Symmetry):
    """A user's finite group: quarter turns of square frames about their centers."""

    commutes = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(0, 4, x.shape[:-2], generator=generator)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        turned = torch.stack([x.rot90(steps, (-2, -1)) for steps in range(4)])
        steps = torch.arange(4).reshape(4, *[1] * (g.dim() + 2))
        return torch.where(g[..., None, None] == steps, turned, 0).sum(0)

    def inverse(self, g: Tensor) -> Tensor:
        return -g % 4

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return (g2 + g1) % 4

    def elements(self, x: Tensor) -> Iterator[Tensor]:
        for steps in range(4):
            yield torch.full(x.shape[:-2], steps)


def groups(case: Drawn, kind: str) -> list[Symmetry]:
    d = case.event_dims
    whole = list(FarField(d, oversampling=case.oversampling, field=case.field).symmetries)
    motions, scalar = whole[:2], whole[2]
    return {
        "far field": whole,
        "motions": motions,
        "translation": motions[:1],
        "translation and scalar": [motions[0], scalar],
        "scalar": [scalar],
        "far field and scale": [*whole, Scale(d)],
    }[kind]


KINDS = ["far field", "motions", "translation", "translation and scalar", "scalar", "far field and scale"]


@pytest.mark.filterwarnings("ignore:FarField measures")
@given(case=cases(dtypes=(torch.complex128, torch.float64)), kind=st.sampled_from(KINDS), noise=st.floats(0.01, 1.0))
def test_one_value_for_all_points_of_the_references_orbit(case: Drawn, kind: str, noise: float) -> None:
    """The prediction is noisy all over its frame, so that alignment to another point pushes other noise out of it."""
    case = replace(case, batch=(5,))
    symmetries, r = groups(case, kind), case.make()
    group = Product(symmetries)
    x = group.act(group.sample(r, generator=case.generator), r)
    x = x + noise * torch.randn(r.shape, dtype=r.dtype, generator=case.generator)
    other = group.act(group.sample(r, generator=case.generator), r)
    metrics = RELATIVE + (SSIM if case.event_dims == 2 else []) + ([] if group.scale else ABSOLUTE)
    for metric in metrics:
        options = {"window_size": 3} if metric in SSIM else {}
        value = metric(x, r, symmetries, reduction="none", **options)
        assert torch.allclose(metric(x, other, symmetries, reduction="none", **options), value, atol=1e-9), metric


@pytest.mark.parametrize("on", ["magnitude", "real_imag"])
def test_one_ssim_under_a_users_group_and_for_channels(on: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    r, noise = torch.randn(2, 20, 3, 12, 12, dtype=torch.complex128, generator=generator)
    for group in (Product([Turns(2), GlobalPhase(2)]), Product(Turns(2))):
        other = group.act(group.sample(r, generator=generator), r)
        value = sa_ssim(r + noise, r, group, on=on, reduction="none")
        assert torch.allclose(sa_ssim(r + noise, other, group, on=on, reduction="none"), value)
    parts = [symmetry(2, channel_dims=1) for symmetry in (Translation, ConjugateFlip, GlobalPhase)]
    r[..., :3], r[..., 9:, :] = 0, 0
    other = Product(parts).act(Product(parts).sample(r, generator=generator), r)
    assert not torch.allclose(other, r)
    value = sa_ssim(r + noise, r, parts, on=on, reduction="none")
    assert value.shape == (20,)
    assert torch.allclose(sa_ssim(r + noise, other, parts, on=on, reduction="none"), value)


def test_the_two_values_of_the_report() -> None:
    """One network output at one aligned MSE had two SSIMs, as the frame cut other noise."""
    generator = torch.Generator().manual_seed(0)
    r = torch.zeros(1, 24, 24, dtype=torch.complex64)
    r[:, 2:10, 3:12] = torch.randn(1, 8, 9, dtype=torch.complex64, generator=generator)
    x = r + 0.3 * torch.randn(r.shape, dtype=r.dtype, generator=generator)
    symmetries = FarField().symmetries
    other = r.roll((12, 11), (1, 2))
    for found, wanted in (
        (compare(x, other, symmetries).aligned, compare(x, r, symmetries).aligned),
        ({"": float(sa_ssim(x, other, symmetries))}, {"": float(sa_ssim(x, r, symmetries))}),
    ):
        assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("window_size", [5, 7])
def test_ssim_is_kornias_away_from_the_edges(window_size: int) -> None:
    from kornia.metrics import ssim

    r, x = torch.rand(2, 4, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.3
    r, x = (torch.nn.functional.pad(z, (4, 4, 5, 4)) for z in (r, x))
    peak = r.abs().amax((1, 2), keepdim=True)
    for on, a, b, span in (("magnitude", x.abs(), r.abs(), 1.0), ("real_imag", x, r, 2.0)):
        wanted = ssim((a / peak)[:, None], (b / peak)[:, None], window_size, max_val=span).mean((1, 2, 3))
        found = sa_ssim(x, r, (), on=on, window_size=window_size, reduction="none")  # type: ignore[arg-type]
        assert torch.allclose(found, wanted, atol=1e-9)


# What is not finite


BAD = [math.nan, math.inf, complex(0, math.nan), complex(1, -math.inf)]


def noisy(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    r = torch.zeros(count, 11, 12, dtype=torch.complex64)
    r[:, 1:7, 5:10] = torch.randn(count, 6, 5, dtype=torch.complex64, generator=generator)
    x = r.flip(-1, -2).conj() + 0.2 * torch.randn(r.shape, dtype=r.dtype, generator=generator)
    return x, r


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("where", ["x", "reference"])
@pytest.mark.parametrize("metric", ABSOLUTE + RELATIVE + SSIM, ids=lambda metric: metric.__name__)
def test_what_is_not_finite_is_nan_and_nothing_else_is(metric: Metric, where: str, bad: complex) -> None:
    x, r = noisy()
    for symmetries in ([*FarField().symmetries, Scale()], GlobalPhase(), ()):
        if metric is frc_curve and not symmetries:
            continue
        clean = metric(x, r, symmetries, reduction="none")
        for place in ((0, 0), (3, 7)):
            z = (x if where == "x" else r).clone()
            z[(2, *place)] = bad
            pair = (z, r) if where == "x" else (x, z)
            values = metric(*pair, symmetries, reduction="none")
            assert values[2].isnan().all()
            others = torch.tensor([0, 1, 3])
            assert torch.allclose(values[others], clean[others])
            assert metric(*pair, symmetries).isnan().all()
            assert metric(*pair, symmetries, reduction="sum").isnan().all()


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("where", ["x", "reference"])
def test_no_number_of_a_comparison_survives_an_item_that_is_not_finite(where: str, bad: complex) -> None:
    x, r = noisy()
    (x if where == "x" else r)[1, 4, 6] = bad
    comparison = compare(x, r, FarField().symmetries)
    assert len(comparison.raw) == len(comparison.aligned) == 4
    for name, value in (*comparison.raw.items(), *comparison.aligned.items()):
        assert math.isnan(value), name


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_diverged_reconstruction_has_no_residual_and_no_transfer_function(bad: complex) -> None:
    x, r = noisy()
    model = FarField()
    y = model(r)
    clean = measurement_residual(x, y, model, reduction="none"), prtf(x, y, model, reduction="none").value
    x[1, 4, 6] = bad
    y[1, :, 3] = torch.nan  # and the pixels that would tell are dead
    found = measurement_residual(x, y, model, reduction="none"), prtf(x, y, model, reduction="none").value
    for values, wanted in zip(found, clean, strict=True):
        assert values[1].isnan().all()
        assert torch.allclose(values[[0, 2, 3]], wanted[[0, 2, 3]])


def test_a_diverged_restart_is_not_the_best() -> None:
    _, r = noisy()
    assert average_modes(r, GlobalPhase(), errors=torch.tensor([math.nan, 2.0, 1.0, math.nan])).best == 2


def test_dead_pixels_and_negative_intensities() -> None:
    x, r = noisy()
    model = FarField()
    y = model(r)
    y[0, 3, 3:9], y[1, 5, 5], y[2] = -2.0, torch.nan, torch.nan
    measured, modeled = y.double().clamp(min=0).sqrt(), model(x).double().sqrt()
    gap, seen = (measured - modeled).abs(), ~y.isnan()
    wanted = torch.stack([gap[i][seen[i]].sum() / measured[i][seen[i]].sum() for i in (0, 1, 3)])
    z = x.clone().requires_grad_()
    values = measurement_residual(z, y, model, reduction="none")
    assert torch.allclose(values[[0, 1, 3]], wanted, rtol=1e-5)
    assert values[2].isnan()  # no pixel left
    (gradient,) = torch.autograd.grad(values[[0, 1, 3]].sum(), z)
    assert gradient.isfinite().all()
    # The curve leaves both out: it is that of the pixels that are left.
    whole = prtf(r, model(r), model, reduction="none").value
    assert torch.allclose(prtf(r, y, model, reduction="none").value[:2], whole[:2], atol=1e-3)


# No symmetries, and arrays


@pytest.mark.parametrize("shape", [(), (6,), (5, 6), (5, 2, 6, 7)])
def test_without_symmetries_the_error_is_the_plain_one(shape: tuple[int, ...]) -> None:
    x, r = torch.randn(2, *shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    batch = shape[:1] if len(shape) > 1 else ()
    gap, truth = ((z.reshape(*batch, -1)) for z in (x - r, r))
    relative = torch.linalg.vector_norm(gap, dim=-1) / torch.linalg.vector_norm(truth, dim=-1)
    for none in ((), []):
        assert torch.allclose(relative_error(x, r, none, reduction="none"), relative)
        assert torch.allclose(relative_error(x, r, none), relative.mean())
        assert torch.allclose(sa_mse(x, r, none), gap.abs().square().mean())
        assert torch.allclose(orbit_distance(x, r, none, reduction="none"), torch.linalg.vector_norm(gap, dim=-1))
    for metric in (relative_error, sa_psnr, sa_nrmse):
        one = Sign(len(shape) - len(batch))  # the same items, and a sign that is right already
        same = r.real.abs() + 0.1
        assert torch.allclose(metric(same + 0.1, same, ()), metric(same + 0.1, same, one))


ARRAYS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda a: a,
    lambda a: a.astype(a.dtype.newbyteorder(">")),
    lambda a: np.asfortranarray(a),
    lambda a: a[::-1][::-1],
    lambda a: np.flip(a, 1).copy()[:, ::-1],
    lambda a: np.broadcast_to(a, a.shape),  # cannot be written
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", range(len(ARRAYS)))
def test_arrays_are_taken(form: int) -> None:
    x, r = noisy()
    a, b = (ARRAYS[form](z.resolve_conj().numpy()) for z in (x, r))
    symmetries, model = FarField().symmetries, FarField()
    for metric in (*ABSOLUTE, *RELATIVE, *SSIM):
        for pair in ((a, b), (x, b), (a, r)):
            assert torch.equal(metric(*pair, symmetries), metric(x, r, symmetries)), metric
    for found, wanted in zip(align(a, b, symmetries)[::2], align(x, r, symmetries)[::2], strict=True):
        assert torch.equal(found, wanted)
    assert compare(a, b, symmetries).aligned == compare(x, r, symmetries).aligned
    y = model(r)
    assert measurement_residual(a, ARRAYS[form](y.numpy()), model) == measurement_residual(x, y, model)
    assert torch.equal(prtf(b, ARRAYS[form](y.numpy()), model).value, prtf(r, y, model).value)
    assert torch.equal(average_modes(a, symmetries).average, average_modes(x, symmetries).average)
