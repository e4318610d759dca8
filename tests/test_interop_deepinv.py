"""Physics, metrics, losses and data in deepinv, with the real package."""

from __future__ import annotations

import itertools
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from torch import Tensor, nn
from torch.utils.data import DataLoader

import torch_symbreak
from torch_symbreak import CollateTransform, FarField, RandomSymmetry, SymmetryBrokenDataset, ToChannels
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, PhaseRamp, Sign, Translation

deepinv = pytest.importorskip("deepinv")

from torch_symbreak.interop import deepinv as bridge  # noqa: E402

MODEL = FarField(2)
FIX = MODEL.canonicalizer()


def flat(x: Tensor) -> Tensor:
    """(B, C, H, W), complex, as deepinv takes it."""
    return ToChannels()(x).flatten(1, 2)


def objects(batch: int = 4, channels: int = 1, size: int = 8) -> Tensor:
    return torch.randn(batch, channels, size, size, dtype=torch.complex64)


@pytest.mark.filterwarnings("ignore:FarField measures")
@given(case=cases(channel_dims=1))
def test_physics_is_the_model(case: Drawn) -> None:
    """A is the model; A_adjoint the adjoint of its linear part, in every norm and centering; A_vjp of the slope."""
    x, d = case.make(), case.event_dims
    x = x.reshape(-1, *x.shape[-d - 1 :])
    dims = tuple(range(-d, 0))
    for norm, centered in (("backward", False), ("ortho", True), ("forward", True)):
        model = FarField(d, oversampling=case.oversampling, field=case.field, norm=norm, centered=centered)
        physics, y = bridge.FarFieldPhysics(model, case.frame), model(x)
        given = ToChannels(d)(x).flatten(1, 2) if x.is_complex() else x
        assert torch.equal(physics.A(given), y)
        assert torch.equal(physics(x), y)
        v = torch.randn(y.shape, dtype=y.dtype)
        linear = torch.fft.fftn(x, s=y.shape[-d:], dim=dims, norm=norm)
        linear = torch.fft.fftshift(linear, dim=dims) if centered else linear
        scale = float((linear.abs().sum() * v.abs().amax()).clamp(min=1e-30))
        back = physics.A_adjoint(v)
        assert back.shape == given.shape
        assert float(((linear.real * v).sum() - (given * back).sum()).abs()) < 1e-5 * scale
        slope = physics.A_vjp(given, v)
        assert float((2 * (y * v).sum() - (given * slope).sum()).abs()) < 1e-5 * max(1e-30, float((y * v).abs().sum()))


def test_error_reduction_never_gets_worse() -> None:
    for field, norm in (("complex", "backward"), ("complex", "ortho"), ("real", "forward")):
        model = FarField(2, field=field, norm=norm)
        x = objects(channels=2)
        x = x if field == "complex" else x.real
        y = model(x)
        errors = []
        for steps in (0, 1, 2, 5, 20, 100):
            found = bridge.FarFieldPhysics(model, (8, 8), max_iter=steps).A_dagger(y)
            errors.append(
                (model(found if field == "real" else bridge.to_complex("", found, 2)).sqrt() - y.sqrt()).norm()
            )
        assert all(b <= a * (1 + 1e-5) for a, b in itertools.pairwise(errors)), errors
        assert errors[-1] < 0.7 * errors[1]
        zero = bridge.FarFieldPhysics(model, (8, 8)).A_dagger(torch.zeros_like(y) - 1e-3)
        assert not zero.any()
    solved = flat(objects())
    physics = bridge.FarFieldPhysics(MODEL, (8, 8))
    assert torch.allclose(physics.A_dagger(physics.A(solved), x_init=solved), solved, atol=1e-4)


def test_error_reduction_leaves_dead_pixels_free() -> None:
    """One NaN pixel made every object NaN."""
    x = flat(objects())
    physics = bridge.FarFieldPhysics(MODEL, (8, 8))
    y = physics.A(x)
    y[:, :, 3:5, 7] = torch.nan
    assert torch.allclose(physics.A_dagger(y, x_init=x), x, atol=1e-4)
    errors = []
    for steps in (0, 1, 5, 50):
        found = bridge.FarFieldPhysics(MODEL, (8, 8), max_iter=steps).A_dagger(y)
        errors.append(float((physics.A(found).sqrt() - y.sqrt()).square().nansum().sqrt()))
    assert all(b <= a * (1 + 1e-5) for a, b in itertools.pairwise(errors)), errors


def test_physics_in_deepinv() -> None:
    noise = deepinv.physics.GaussianNoise(0.0, rng=torch.Generator().manual_seed(0))
    physics = bridge.FarFieldPhysics(MODEL, (8, 8), noise_model=noise)
    x = flat(objects())
    y = physics.A(x)
    assert torch.equal(physics(x), y)
    physics.update(sigma=torch.tensor(2.0))  # reaches the noise model
    assert float((physics(x) - y).std()) == pytest.approx(2.0, rel=0.1)
    copy = physics.clone()
    assert torch.equal(copy.A(x), y)
    stacked = physics.stack(copy)
    assert [part.shape for part in stacked(x)] == [y.shape, y.shape]
    with pytest.raises(ValueError, match=r"frame \(8, 8\)"):
        physics(torch.ones(1, 2, 9, 8))
    with pytest.raises(ValueError, match="ToChannels"):
        physics(torch.ones(1, 3, 8, 8))
    with pytest.warns(UserWarning, match="oversampling=2"):
        bridge.FarFieldPhysics(FarField(2, oversampling=1.5), (8, 8))


METRICS = [
    (bridge.SymmetryAdjustedMSE, torch_symbreak.sa_mse, True),
    (bridge.SymmetryAdjustedNRMSE, torch_symbreak.metrics.sa_nrmse, True),
    (bridge.SymmetryAdjustedPSNR, torch_symbreak.metrics.sa_psnr, False),
    (bridge.SymmetryAdjustedSSIM, torch_symbreak.metrics.sa_ssim, False),
    (bridge.RelativeError, torch_symbreak.relative_error, True),
]


@pytest.mark.parametrize(("build", "function", "lower"), METRICS)
def test_metrics(build: Any, function: Any, lower: bool) -> None:
    x, r = objects(channels=2, size=12), objects(channels=2, size=12)
    metric = build(MODEL.symmetries)
    want = function(x, r, MODEL.symmetries, reduction="none").mean(1)
    assert torch.allclose(metric(flat(x), flat(r)), want)
    assert torch.allclose(metric(x_net=x, x=r, y=None, physics=None, model=None), want)
    assert metric.lower_better is lower
    assert torch.allclose(build(MODEL.symmetries, reduction="mean")(x, r), want.mean())
    real = FarField(field="real").symmetries
    assert torch.allclose(build(real)(x.real, r.real), function(x.real, r.real, real, reduction="none").mean(1))
    with pytest.raises(ValueError, match="ToChannels"):
        metric(torch.ones(1, 3, 12, 12), torch.ones(1, 3, 12, 12))


@pytest.mark.parametrize(("build", "function", "lower"), METRICS)
def test_metrics_of_magnitudes(build: Any, function: Any, lower: bool) -> None:
    """deepinv takes the magnitude before the metric sees the data: what is left of the symmetries is real."""
    x, r = objects(size=12), objects(size=12)
    shifts, real = [Translation(), ConjugateFlip()], FarField(field="real").symmetries
    want = function(x.abs(), r.abs(), shifts, reduction="none").mean(1)
    for symmetries in (MODEL.symmetries, [*MODEL.symmetries, PhaseRamp()], shifts, real):
        metric = build(symmetries, complex_abs=True)
        assert torch.allclose(metric(flat(x), flat(r)), want)
        assert torch.allclose(metric(x, r), want)
        assert torch.allclose(build(symmetries, complex_abs=True, train_loss=True)(x, r), want if lower else -want)
    plain = function(x.abs(), r.abs(), Sign(2), reduction="none").mean(1)
    assert torch.allclose(build(GlobalPhase(), complex_abs=True)(x, r), plain)


def test_orbit_min_loss() -> None:
    x, r = objects(), objects()
    for base in ("mse", "l1"):
        loss, ours = bridge.OrbitMinLoss(MODEL.symmetries, base), torch_symbreak.OrbitMinLoss(MODEL.symmetries, base)
        z = flat(x).requires_grad_()
        value = loss(x=flat(r), x_net=z, y=None, physics=None, model=None, epoch=3)
        assert torch.allclose(value, ours(x, r))
        assert torch.autograd.grad(value, z)[0].abs().max() > 0
    network = nn.Identity()
    assert loss.adapt_model(network) is network


class Linear(nn.Module):
    """A reconstruction network: (B, 1, 16, 16) to (B, 2, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.Unflatten(1, (2, 8, 8)))

    def forward(self, y: Tensor, physics: Any) -> Tensor:
        return self.net(y.sqrt().log1p())


def trainer(data: Any, **options: Any) -> Any:
    model = Linear()
    settings: dict[str, Any] = {
        "physics": bridge.FarFieldPhysics(MODEL, (8, 8)),
        "optimizer": torch.optim.Adam(model.parameters(), 1e-2),
        "epochs": 3,
        "train_dataloader": data,
        "eval_dataloader": data,
        "losses": bridge.OrbitMinLoss(MODEL.symmetries),
        "metrics": [bridge.SymmetryAdjustedMSE(MODEL.symmetries), bridge.RelativeError(MODEL.symmetries)],
        "device": "cpu",
        "save_path": None,
        "verbose": False,
        "show_progress_bar": False,
    }
    return deepinv.Trainer(model, **settings | options)


def test_trainer_takes_all_of_it() -> None:
    crystals = BraggCrystals(32, frame=(8, 8), target_transform=FIX)
    loader = DataLoader(bridge.DeepinvDataset(crystals), batch_size=16)
    run = trainer(loader, compare_no_learning=True, no_learning_method="A_dagger")
    run.train()
    errors = run.eval_metrics_history["SymmetryAdjustedMSE"]
    assert errors[-1] < errors[0]
    # The history is the mean of our metric, on the model's answers.
    y, x = crystals.batch(range(32))
    with torch.no_grad():
        found = run.model.eval()(y[:, None], None)
    want = torch_symbreak.sa_mse(torch.complex(*found.unbind(1)), FIX(x), MODEL.symmetries)
    assert errors[-1] == pytest.approx(float(want), rel=1e-4)
    start = run.physics[0].A_dagger(y[:, None])
    want = torch_symbreak.relative_error(torch.complex(*start.unbind(1)), FIX(x), MODEL.symmetries)
    assert run.test(loader)["RelativeError no learning"] == pytest.approx(float(want), rel=1e-4)
    # Measurements made by the physics: online.
    run = trainer(loader, online_measurements=True, epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that y of the data set is discarded
        run.train()
    assert math.isfinite(run.loss_history["OrbitMinLoss"][0])


def hdf5(path: Path, x: Tensor, y: Tensor) -> str:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["x_train"], file["y_train"] = x.numpy(), y.numpy()
    return str(path)


@pytest.mark.parametrize("complex_file", [False, True])
@pytest.mark.parametrize("as_dict", [False, True])
def test_data_sets_of_deepinv(tmp_path: Path, complex_file: bool, as_dict: bool) -> None:
    x, fix = objects(batch=6), bridge.OnChannels(FIX)
    y = MODEL(x)
    path = hdf5(tmp_path / "data.h5", x if complex_file else flat(x), y)
    want = FIX(x) if complex_file else flat(FIX(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        raw = deepinv.datasets.HDF5Dataset(path, train=True, use_dict_output=as_dict)
    keys: tuple[Any, Any] = ("x", "y") if as_dict else (0, 1)
    hook = CollateTransform(fix, keys=keys[0])
    for loader in (
        DataLoader(SymmetryBrokenDataset(raw, fix, keys=keys[0]), batch_size=6),
        DataLoader(raw, batch_size=6, collate_fn=pickle.loads(pickle.dumps(hook))),
    ):
        batch = next(iter(loader))
        assert torch.allclose(batch[keys[0]], want, atol=1e-6)
        assert torch.equal(batch[keys[1]], y)
        if as_dict or not complex_file:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                deepinv.datasets.check_dataset(loader.dataset)


def test_the_trap_that_the_hook_avoids(tmp_path: Path) -> None:
    """``HDF5Dataset(transform=)`` of deepinv 0.5.0 transforms y too."""
    x = flat(objects(batch=3))
    path = hdf5(tmp_path / "data.h5", x, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        data = deepinv.datasets.HDF5Dataset(path, train=True, transform=torch.neg)
    assert torch.equal(data[0][0], -x[0])
    if deepinv.__version__ == "0.5.0":
        assert torch.equal(data[0][1], -x[0])


def test_pairs_as_deepinv_takes_them() -> None:
    x = objects(batch=5, channels=3)
    for targets, shape in ((x, (6, 8, 8)), (x[:, 0], (2, 8, 8)), (x.real, (3, 8, 8)), (x[:, 0].real, (1, 8, 8))):
        model = FarField(field="complex" if targets.is_complex() else "real")
        pairs = SymmetryBrokenDataset(targets, model.canonicalizer(), forward=model)
        data = bridge.DeepinvDataset(pairs)
        data.check_dataset()
        assert len(data) == 5
        assert data[2]["x"].shape == shape
        batch = next(iter(DataLoader(data, batch_size=5)))
        fixed = model.canonicalizer()(targets).reshape(5, -1, 8, 8)
        assert torch.allclose(batch["x"], flat(fixed) if fixed.is_complex() else fixed, atol=1e-6)
        assert torch.equal(bridge.FarFieldPhysics(model, (8, 8))(batch["x"]), batch["y"])


def test_channels_share_an_element_if_wanted() -> None:
    x = objects(channels=2)
    moved = RandomSymmetry(GlobalPhase(2, channel_dims=1))(x)
    shared = bridge.OnChannels(MODEL.canonicalizer(channel_dims=1))
    assert torch.allclose(shared(flat(moved)), shared(flat(x)), atol=1e-5)
    assert torch.equal(shared(x), MODEL.canonicalizer(channel_dims=1)(x))
    assert not torch.allclose(shared(flat(x)), bridge.OnChannels(FIX)(flat(x)), atol=1e-3)
