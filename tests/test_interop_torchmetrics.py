"""The metrics as torchmetrics classes, with the real package."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from torch_symbreak import ElementwiseSquare, FarField, GaussianIntensity, relative_error, sa_mse
from torch_symbreak.metrics import measurement_residual, sa_nrmse, sa_psnr, sa_ssim
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Sign, Symmetry, Translation

torchmetrics = pytest.importorskip("torchmetrics")

from torch_symbreak.interop import torchmetrics as bridge  # noqa: E402

MODEL = FarField(2)
PAIRS = [
    (bridge.SymmetryAdjustedMSE, sa_mse),
    (bridge.SymmetryAdjustedNRMSE, sa_nrmse),
    (bridge.SymmetryAdjustedPSNR, sa_psnr),
    (bridge.SymmetryAdjustedSSIM, sa_ssim),
    (bridge.RelativeError, relative_error),
]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, 7, 12, 12, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("build", "function"), PAIRS)
def test_mean_over_batches_of_any_size(build, function) -> None:
    x, r = data()
    metric = build(MODEL.symmetries)
    for part in (slice(0, 5), slice(5, 7)):
        metric.update(x[part], r[part])
    assert torch.allclose(metric.compute(), function(x, r, MODEL.symmetries))
    again = pickle.loads(pickle.dumps(metric))
    assert torch.equal(again.compute(), metric.compute())
    metric.reset()
    assert torch.allclose(metric(x[:2], r[:2]), function(x[:2], r[:2], MODEL.symmetries))


def test_residual_and_collection() -> None:
    x, r = data()
    metric = bridge.MeasurementResidual(MODEL)
    metric.update(x, MODEL(r))
    assert torch.allclose(metric.compute(), measurement_residual(x, MODEL(r), MODEL))
    collection = torchmetrics.MetricCollection([build(MODEL.symmetries) for build, _ in PAIRS])
    collection.update(x, r)
    assert set(collection.compute()) == {build.__name__ for build, _ in PAIRS}


class Hidden(Sign):
    """A user's symmetry with a setting that is no field."""

    def __init__(self, event_dims: int, note: torch.Tensor) -> None:
        super().__init__(event_dims)
        vars(self)["note"] = note


def all_metrics() -> dict[str, torchmetrics.Metric]:
    """Return metrics of real images of every class and setting, no two alike."""
    settings: list[list[Symmetry]] = [
        [Sign(2)],
        [Sign(2, channel_dims=1)],
        [ConjugateFlip()],
        [Translation(), ConjugateFlip(), Sign(2)],
        [Translation(), ConjugateFlip()],
        [Translation(wrap=True), ConjugateFlip(wrap=True), Sign(2)],
        [ConjugateFlip(threshold=0.5)],
        [Hidden(2, torch.zeros(2000))],
        [Hidden(2, torch.arange(2000) / 1e9)],
    ]
    metrics = {f"{build.__name__} {i}": build(group) for build, _ in PAIRS for i, group in enumerate(settings)}
    other = torch.eye(8)
    other[-1, -1] = 3
    models = {"square": ElementwiseSquare(), "eye": GaussianIntensity(torch.eye(8)), "other": GaussianIntensity(other)}
    return metrics | {name: bridge.MeasurementResidual(model) for name, model in models.items()}


@pytest.mark.parametrize("scale", [1.0, 1.1])  # exact: all errors are 0; else settings agree, and no PSNR is infinite
def test_a_collection_merges_no_metrics_of_other_settings(scale: float) -> None:
    """After a first batch on which all agree, every pair still goes its own way."""
    first = torch.zeros(2, 1, 8, 8)
    first[:, :, 2:5, 1:4] = torch.eye(3)  # zeros and ones, fixed by every symmetry and measured as they are
    x, y = torch.rand(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    apart, together = (torchmetrics.MetricCollection(all_metrics(), compute_groups=on) for on in (False, True))
    for collection in (apart, together):
        for preds, target in ((scale * first, first), (x, y), (-y.flip(-1, -2), y)):
            collection.update(preds, target)
    assert len(together.compute_groups) == len(all_metrics())
    values, wanted = together.compute(), apart.compute()
    assert values.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(values[name], value), name


def test_the_collection_of_the_report() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 1.0j]]])
    flip = x.flip(-1, -2).conj().resolve_conj()
    metrics = {"phase": bridge.SymmetryAdjustedMSE(GlobalPhase(2)), "all": bridge.SymmetryAdjustedMSE(MODEL.symmetries)}
    collection = torchmetrics.MetricCollection(metrics)
    collection.update(x, x)
    collection.update(flip, x)  # its twin
    found = collection.compute()
    assert found["all"] < 1e-9
    assert found["phase"] == pytest.approx(float(sa_mse(flip, x, GlobalPhase(2))) / 2)
    assert found["phase"] > 0.1


def test_equal_settings_share_a_state() -> None:
    x, r = data()
    collection = torchmetrics.MetricCollection(
        {
            "one": bridge.SymmetryAdjustedMSE(MODEL.symmetries),
            "two": bridge.SymmetryAdjustedMSE(Product(MODEL.symmetries)),
        }
    )
    collection.update(x, r)
    collection.update(x, r)
    assert len(collection.compute_groups) == 1
    found = collection.compute()
    assert found["one"] == found["two"] == pytest.approx(float(sa_mse(x, r, MODEL.symmetries)))


def test_an_item_that_is_not_finite_is_no_good_score() -> None:
    x, r = data()
    x[3, 2, 2] = torch.nan
    for build, _ in PAIRS:
        metric = build(MODEL.symmetries)
        metric.update(x, r)
        assert metric.compute().isnan(), build
    residual = bridge.MeasurementResidual(MODEL)
    residual.update(x, MODEL(r))
    assert residual.compute().isnan()


@pytest.mark.parametrize("name", bridge.__all__)
def test_plots_show_the_values(name: str) -> None:
    axes = Figure().subplots()
    metric = getattr(bridge, name)(MODEL if name == "MeasurementResidual" else MODEL.symmetries)
    x, r = data()
    metric.update(x, MODEL(r) if name == "MeasurementResidual" else r)
    _, drawn = metric.plot(ax=axes)
    assert drawn is axes
    assert axes.lines[0].get_ydata() == pytest.approx([float(metric.compute())])
    metric.plot([torch.tensor(0.5), torch.tensor(0.25)], axes)
    assert list(axes.lines[-1].get_ydata()) == [0.5, 0.25]


def _worker(rank: int, store: str, queue) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    x, r = data()
    part = slice(0, 3) if rank == 0 else slice(3, 7)
    metric = bridge.SymmetryAdjustedMSE(MODEL.symmetries)
    metric.update(x[part], r[part])
    queue.put(float(metric.compute()))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_see_one_mean(tmp_path: Path) -> None:
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_worker, args=(rank, str(tmp_path / "store"), queue)) for rank in range(2)]
    for process in processes:
        process.start()
    values = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    x, r = data()
    assert values == pytest.approx([float(sa_mse(x, r, MODEL.symmetries))] * 2)
