"""A Lightning data module that breaks symmetries on the device, with the real package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from torch_symbreak import FarField, RandomSymmetry, SymmetryBrokenDataset
from torch_symbreak.datasets import BraggCrystals

pl = pytest.importorskip("lightning.pytorch")

from torch_symbreak.interop.lightning import SymmetryBrokenDataModule  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning")
MODEL = FarField(2)
FIX = MODEL.canonicalizer()


class Network(pl.LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[Any]] = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch: Any, index: int) -> Tensor:
        self.seen["train"].append(batch)
        return self.weight.square()

    def validation_step(self, batch: Any, index: int) -> None:
        self.seen["val"].append(batch)

    def test_step(self, batch: Any, index: int) -> None:
        self.seen["test"].append(batch)

    def predict_step(self, batch: Any, index: int) -> None:
        self.seen["predict"].append(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Counted(nn.Module):
    """The canonicalizer, counting the items that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.items = 0

    def forward(self, x: Tensor) -> Tensor:
        self.items += len(x)
        return FIX(x)


def trainer(**options: Any) -> Any:
    return pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def objects(count: int = 10, seed: int = 0) -> Tensor:
    x = torch.zeros(count, 8, 8, dtype=torch.complex64)
    x[:, 1:6, 2:] = torch.randn(count, 5, 6, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    return x


def same(batches: list[Tensor], x: Tensor) -> bool:
    """Assert that batches hold the canonical points of x, in any order."""
    seen, want = (z[z.sum((1, 2)).real.argsort()] for z in (torch.cat(batches), FIX(x)))
    return torch.allclose(seen, want, atol=1e-5)


def test_fit_validate_test_and_predict() -> None:
    x, other = objects(), objects(6, seed=1)
    counted, network = Counted(), Network()
    data = SymmetryBrokenDataModule(
        x, other, other, MODEL(other), canonicalizer=counted, forward=MODEL, batch_size=4, drop_last=False
    )
    run = trainer()
    run.fit(network, data)
    assert [len(target) for _, target in network.seen["train"]] == [4, 4, 2] * 2
    assert counted.items == 2 * (10 + 6)  # nothing is broken twice
    targets = [target for _, target in network.seen["train"]]
    assert same(targets[:3], x)
    assert same(targets[3:], x)
    assert not torch.equal(torch.cat(targets[:3]), torch.cat(targets[3:]))  # shuffled
    for y, target in network.seen["train"]:
        assert torch.equal(y, MODEL(target))
    run.test(network, data, verbose=False)
    for split in ("val", "test"):
        seen = torch.cat([target for _, target in network.seen[split]][:2])
        assert torch.equal(seen, FIX(other))
    run.predict(network, data)
    assert torch.equal(torch.cat(network.seen["predict"]), MODEL(other))  # as they are
    assert counted.items == 2 * (10 + 6) + 6


class Dicts(Dataset[Any]):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": self.x[index], "index": index}


def fitted(*sets: Any, **options: Any) -> list[Any]:
    network = Network()
    trainer().fit(network, SymmetryBrokenDataModule(*sets, canonicalizer=FIX, batch_size=5, **options))
    return network.seen["train"]


def test_data_of_any_form() -> None:
    x = objects()
    moved = RandomSymmetry(MODEL.symmetries)(x)
    y = MODEL(x)
    pair = fitted((y, moved))
    assert same([target for _, target in pair[:2]], x)
    assert all((measured[:, None] == y).flatten(2).all(2).any(1).all() for measured, _ in pair)  # untouched
    crystals = BraggCrystals(10, frame=(8, 8))
    measured, target = fitted(crystals, num_workers=1)[0]
    assert torch.allclose(target, FIX(target), atol=1e-6)
    assert torch.allclose(MODEL(target), measured, atol=1e-3)
    alone = fitted(x)  # targets only
    assert same(alone[:2], x)
    assert same([target for (target,) in fitted((x,))[:2]], x)  # a tuple of one part keeps its container
    measured_pairs = fitted((x,), forward=MODEL)[:2]
    assert same([target for _, target in measured_pairs], x)
    assert all(torch.equal(y, MODEL(target)) for y, target in measured_pairs)
    for batch in fitted(Dicts(x), keys="x"):
        assert torch.equal(batch["x"], FIX(x[batch["index"]]))
    # A data set that is broken already stays as it is: C(C(x)) = C(x).
    again = fitted(SymmetryBrokenDataset(x, FIX, forward=MODEL))
    assert same([target for _, target in again[:2]], x)


def test_errors_say_what_to_type() -> None:
    with pytest.raises(TypeError, match="keys='x'"):
        fitted(Dicts(objects()))
    with pytest.raises(ValueError, match="at least one key"):
        fitted(objects(), keys=[])
    with pytest.raises(ValueError, match="forward=None"):
        fitted((MODEL(objects()), objects()), forward=MODEL)


class Written(Network):
    """Writes the indices that this process was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self) -> None:
        last = self.seen["train"][-len(self.seen["train"]) // 2 :]
        torch.save(torch.cat([target for _, target in last]), self.folder / f"{self.global_rank}.pt")


@pytest.mark.slow
def test_two_processes_share_the_items(tmp_path: Path) -> None:
    x = objects()
    data = SymmetryBrokenDataModule(x, canonicalizer=FIX, forward=MODEL, batch_size=2)
    trainer(devices=2, strategy="ddp_spawn").fit(Written(tmp_path), data)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert [len(part) for part in parts] == [5, 5]
    assert same(parts, x)
