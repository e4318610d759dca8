"""The losses for raw targets: invariant, differentiable, and equal to the metrics they stand for."""

from __future__ import annotations

import pytest
import torch

from torch_symbreak import FarField, GaussianIntensity, RandomSymmetry, sa_mse
from torch_symbreak.losses import MagnitudeLoss, OrbitMinLoss
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Sign, Translation

MODEL = FarField(2)


def pair(dtype: torch.dtype = torch.complex128) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, r = torch.randn(2, 3, 4, 5, dtype=dtype, generator=generator)
    return x, r


@pytest.mark.parametrize("base", ["mse", "l1", torch.nn.L1Loss()])
def test_orbit_min_is_invariant_and_differentiable(base) -> None:
    x, r = pair()
    if callable(base):
        base = lambda a, b: (a - b).abs().pow(1.5).sum()  # noqa: E731
    loss = OrbitMinLoss(MODEL.symmetries, base)
    framed = torch.nn.functional.pad(r, (2, 2, 2, 2))
    estimate = torch.nn.functional.pad(x, (2, 2, 2, 2))
    moved = RandomSymmetry(MODEL.symmetries, generator=torch.Generator().manual_seed(1))(framed)
    assert torch.allclose(loss(estimate, moved), loss(estimate, framed))
    assert loss(framed, moved) < 1e-12
    # The chosen phase is a constant for autograd: only for "mse" is that the whole gradient. Choices always are.
    differentiable = loss if base == "mse" else OrbitMinLoss([Translation(), ConjugateFlip()], base)
    assert torch.autograd.gradcheck(lambda z: differentiable(z, r), x.clone().requires_grad_())


def test_mse_is_the_sa_mse() -> None:
    x, r = pair()
    loss = OrbitMinLoss(MODEL.symmetries)
    assert torch.allclose(loss(x, r), sa_mse(r, x, MODEL.symmetries))
    assert torch.allclose(loss(x, r), sa_mse(x, r, MODEL.symmetries))  # moving either is the same on Z^d
    assert loss(x, r) <= (x - r).abs().square().mean()
    # The gradient is that of the minimum: to the nearest point of the orbit.
    z = x.clone().requires_grad_()
    loss(z, r).backward()
    step = 1e-6 * torch.randn_like(x)
    change = float(loss(x + step, r) - loss(x - step, r)) / 2
    assert change == pytest.approx(float((z.grad.conj() * step).real.sum()), rel=1e-4)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch.compile of 2.6 cannot make a Product")
@pytest.mark.parametrize("base", ["mse", "l1"])
def test_compiles_as_one_graph(base: str) -> None:
    loss = OrbitMinLoss([Translation(), ConjugateFlip()], base)
    for dtype in (torch.complex64, torch.float16):
        x, r = pair(dtype)
        compiled = torch.compile(loss, fullgraph=True, backend="eager")(x, r)
        torch.compiler.reset()
        assert compiled.dtype == torch.float32
        torch.testing.assert_close(compiled, loss(x, r))


def test_l1_and_signs() -> None:
    x = torch.tensor([[1.0, -2.0], [0.5, 1.0]])
    assert OrbitMinLoss(Sign(1), "l1")(-x, x) == 0
    assert OrbitMinLoss(Sign(1))(x + 1, -x) == pytest.approx(1.0)
    assert repr(OrbitMinLoss(Sign(1), "l1")).startswith("OrbitMinLoss([Sign(event_dims=1")
    with pytest.raises(ValueError, match="base="):
        OrbitMinLoss(Sign(1), "huber")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one shape"):
        OrbitMinLoss(Sign(1))(x, x[:1])


def test_magnitude_loss() -> None:
    x, r = pair()
    loss = MagnitudeLoss(MODEL)
    y = MODEL(r)
    assert torch.allclose(loss(x, y), (MODEL(x).sqrt() - y.sqrt()).square().mean(), rtol=1e-6)
    assert loss(x.to(torch.complex64), y).dtype == torch.float64  # the wider of the two
    moved = RandomSymmetry(MODEL.symmetries, generator=torch.Generator().manual_seed(1))(
        torch.nn.functional.pad(r, (2, 2, 2, 2))
    )
    assert loss(moved, MODEL(torch.nn.functional.pad(r, (2, 2, 2, 2)))) < 1e-12
    assert torch.autograd.gradcheck(lambda z: loss(z, y), x.clone().requires_grad_())
    zero = torch.zeros(1, 4, 5, dtype=torch.complex64, requires_grad=True)
    loss(zero, y[:1].float()).backward()
    assert torch.isfinite(torch.view_as_real(zero.grad)).all()
    gaussian = GaussianIntensity.draw(12, 3)
    signal = torch.randn(5, 3)
    assert MagnitudeLoss(gaussian)(-signal, gaussian(signal)) < 1e-10
    with pytest.raises(ValueError, match="one shape"):
        loss(x, y[:1])


def test_missing_and_negative_intensities_keep_gradients_finite() -> None:
    """Background subtraction leaves 0.8 % of the entries negative, and detectors have dead pixels."""
    generator = torch.Generator().manual_seed(0)
    x, r = torch.randn(2, 4, 16, 16, dtype=torch.complex64, generator=generator)
    y = MODEL(r)
    marks = torch.rand(y.shape, generator=generator)
    y[marks < 0.004], y[marks > 0.996] = -1.0, torch.nan
    z = x.clone().requires_grad_()
    value = MagnitudeLoss(MODEL)(z, y)
    seen = ~y.isnan()
    assert torch.allclose(value, (MODEL(x).sqrt() - y.clamp(min=0).sqrt())[seen].square().mean(), rtol=1e-5)
    value.backward()
    assert z.grad.isfinite().all()
    # A pixel that is left out has no say.
    other = torch.where(seen, y, 0)
    other_model = lambda w: torch.where(seen, MODEL(w), 0)  # noqa: E731
    w = x.clone().requires_grad_()
    (MagnitudeLoss(other_model)(w, other) * y.numel() / seen.sum()).backward()
    assert torch.allclose(z.grad, w.grad, rtol=1e-4, atol=1e-7)
    nothing = torch.zeros(1, 4, 4, dtype=torch.complex64, requires_grad=True)
    MagnitudeLoss(MODEL)(nothing, torch.zeros(1, 8, 8)).backward()
    assert nothing.grad.isfinite().all()


@pytest.mark.filterwarnings("error")
def test_empty_batches_behave_as_in_torch() -> None:
    x = torch.zeros(0, 4, 4, dtype=torch.complex64)
    losses = [
        lambda z: torch.nn.functional.mse_loss(z.real, x.real),
        lambda z: OrbitMinLoss(MODEL.symmetries)(z, x),
        lambda z: OrbitMinLoss(MODEL.symmetries, "l1")(z, x),
        lambda z: MagnitudeLoss(MODEL)(z, MODEL(x)),
        lambda z: sa_mse(z, x, MODEL.symmetries),
    ]
    for loss in losses:
        z = x.clone().requires_grad_()
        value = loss(z)
        assert value.shape == ()
        assert value.isnan()
        value.backward()
        assert z.grad.shape == x.shape


@pytest.mark.parametrize("base", ["mse", "l1"])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 1e3), (torch.bfloat16, 1e30), (torch.float32, 1e25)])
def test_large_values_overflow_to_infinity_at_most(base: str, dtype: torch.dtype, scale: float) -> None:
    x, r = (torch.randn(2, 6, generator=torch.Generator().manual_seed(seed)).mul(scale).to(dtype) for seed in (0, 1))
    z = x.clone().requires_grad_()
    value = OrbitMinLoss(Sign(1), base)(z, r)
    exact = OrbitMinLoss(Sign(1), base)(x.double(), r.double())
    assert value.dtype == torch.float32
    assert torch.allclose(value, exact.float())  # infinite where single precision has no such number
    value.backward()
    doubled = x.double().requires_grad_()
    OrbitMinLoss(Sign(1), base)(doubled, r.double()).backward()
    assert z.grad.dtype == dtype
    assert torch.allclose(z.grad.double(), doubled.grad, rtol=1e-2)


def test_training_on_raw_targets_goes_down() -> None:
    torch.manual_seed(0)
    model = GaussianIntensity.draw(12, 3, field="complex", generator=torch.Generator().manual_seed(0))
    r = torch.randn(256, 3, dtype=torch.complex64)
    y = model(r)
    net = torch.nn.Sequential(torch.nn.Linear(12, 64), torch.nn.ReLU(), torch.nn.Linear(64, 6))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss = OrbitMinLoss(GlobalPhase(1))
    values = []
    for _ in range(60):
        value = loss(torch.view_as_complex(net(y.sqrt()).unflatten(1, (3, 2))), r)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.5 * values[0]
