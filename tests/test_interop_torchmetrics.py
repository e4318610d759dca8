"""The metrics as torchmetrics classes, with the real package."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from torch_symbreak import FarField, relative_error, sa_mse
from torch_symbreak.metrics import measurement_residual, sa_nrmse, sa_psnr, sa_ssim

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
