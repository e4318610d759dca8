"""A Lightning data module that breaks symmetries on the device, with the real package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision import tv_tensors

from torch_symbreak import DeviceLoader, FarField, FixSign, RandomSymmetry, SymmetryBrokenDataset
from torch_symbreak.datasets import BraggCrystals

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.utilities import CombinedLoader  # noqa: E402

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


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        return iter(objects())


class Several(Network):
    """Takes batches of several loaders."""

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        self.seen["val"].append((dataloader_idx, batch))

    def test_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        self.seen["test"].append((dataloader_idx, batch))

    def predict_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        self.seen["predict"].append((dataloader_idx, batch))


def canonical(y: Tensor, x: Tensor) -> bool:
    """Return whether targets are canonical and fit their measurements."""
    return torch.allclose(FIX(x), x, atol=1e-5) and torch.allclose(MODEL(x), y, rtol=1e-3, atol=1e-3)


def pairs(count: int = 10, seed: int = 0) -> TensorDataset:
    x = RandomSymmetry(MODEL.symmetries)(objects(count, seed))
    return TensorDataset(MODEL(x), x)


X, PAIRS = objects(), pairs()
LOADER = DataLoader(PAIRS, batch_size=3)

#: What a user passes, how its pairs are measured, and the batches (y, x) in what the training step gets.
FORMS: dict[str, tuple[Any, Any, Any]] = {
    "data set": (PAIRS, None, lambda batch: [batch]),
    "tensor": (X, MODEL, lambda batch: [batch]),
    "pair of tensors": (PAIRS.tensors, None, lambda batch: [batch]),
    "iterable data set": (Stream(), MODEL, lambda batch: [batch]),
    "list of data sets": ([PAIRS, pairs(7, 1)], None, list),
    "tuple of data sets": ((PAIRS, pairs(7, 1)), None, list),
    "dict of data sets": ({"a": PAIRS, "b": pairs(7, 1)}, None, lambda batch: [batch["a"], batch["b"]]),
    "one data set in a list": ([PAIRS], None, list),
    "loader": (LOADER, None, lambda batch: [batch]),
    "loader of ours": (DeviceLoader(LOADER, FIX, "cpu"), None, lambda batch: [batch]),
    "list of loaders": ([LOADER, DataLoader(pairs(4, 2), batch_size=2)], None, list),
    "dict of loaders": ({"a": LOADER, "b": DataLoader(pairs(4, 2))}, None, lambda batch: [batch["a"], batch["b"]]),
    "list of both": ([LOADER, pairs(4, 2)], None, list),
    "nested": ({"a": [PAIRS, LOADER], "b": PAIRS}, None, lambda batch: [*batch["a"], batch["b"]]),
    "combined loader": (CombinedLoader([LOADER, DataLoader(pairs(4, 2))], "min_size"), None, list),
}


@pytest.mark.parametrize("form", FORMS)
def test_lightnings_own_forms(form: str) -> None:
    data, forward, parts = FORMS[form]
    network = Several()
    evaluated = data.iterables if isinstance(data, CombinedLoader) else data
    module = SymmetryBrokenDataModule(
        data, evaluated, evaluated, evaluated, canonicalizer=FIX, forward=forward, batch_size=5
    )
    run = trainer(fast_dev_run=True)
    run.fit(network, module)
    run.test(network, module, verbose=False)
    run.predict(network, module)
    (batch,) = network.seen["train"]
    count = len(parts(batch))
    for y, x in parts(batch):
        assert canonical(y, x)
    for stage in ("val", "test"):  # one after another
        assert [index for index, _ in network.seen[stage]] == list(range(count))
        for _, (y, x) in network.seen[stage]:
            assert canonical(y, x)
    assert [index for index, _ in network.seen["predict"]] == list(range(count))
    for _, batch in network.seen["predict"]:  # as they are
        if forward is None and "ours" not in form:
            assert not torch.allclose(FIX(batch[1]), batch[1], atol=1e-5)


def test_loaders_keep_their_batches_and_data_sets_get_ours() -> None:
    module = SymmetryBrokenDataModule([LOADER, PAIRS], canonicalizer=FIX, batch_size=5, drop_last=True)
    own, ours = module.train_dataloader()
    assert own is LOADER
    assert (ours.batch_size, ours.drop_last) == (5, True)
    assert torch.equal(torch.cat([x for _, x in own]), PAIRS.tensors[1])
    assert not torch.equal(torch.cat([x for _, x in ours]), PAIRS.tensors[1])  # shuffled
    for nothing in (None, [], ()):
        assert SymmetryBrokenDataModule(nothing, canonicalizer=FIX).train_dataloader() == []


@pytest.mark.parametrize("mode", ["max_size", "max_size_cycle"])
def test_a_shorter_loader_that_is_used_up(mode: Any) -> None:
    network = Several()
    both = CombinedLoader({"long": LOADER, "short": DataLoader(pairs(2, 2), batch_size=2)}, mode)
    run = trainer()
    run.fit(network, SymmetryBrokenDataModule(both, canonicalizer=FIX))
    seen = network.seen["train"][:4]
    assert [batch["short"] is None for batch in seen] == [mode == "max_size" and i > 0 for i in range(4)]
    assert all(canonical(*pair) for batch in seen for pair in batch.values() if pair is not None)


@pytest.mark.parametrize("several", [False, True])
def test_from_datasets(several: bool) -> None:
    train: Any = {"a": PAIRS, "b": pairs(7, 1)} if several else PAIRS
    val: Any = [PAIRS, pairs(7, 1)] if several else PAIRS
    module = SymmetryBrokenDataModule.from_datasets(train, val, batch_size=5, canonicalizer=FIX)
    network = Several()
    trainer(fast_dev_run=True).fit(network, module)
    (batch,) = network.seen["train"]
    for y, x in batch.values() if several else [batch]:
        assert len(x) == 5
        assert canonical(y, x)
    assert [index for index, _ in network.seen["val"]] == ([0, 1] if several else [0])
    assert all(canonical(*pair) for _, pair in network.seen["val"])


def test_keys_of_several_data_sets() -> None:
    network = Several()
    module = SymmetryBrokenDataModule([Dicts(X), Dicts(X)], canonicalizer=FIX, keys="x", batch_size=5)
    trainer(fast_dev_run=True).fit(network, module)
    for batch in network.seen["train"][0]:
        assert torch.equal(batch["x"], FIX(X[batch["index"]]))


def test_tv_tensors_keep_their_type() -> None:
    fix, x = FixSign(2), torch.randn(4, 1, 8, 8)
    module = SymmetryBrokenDataModule(x, canonicalizer=fix)
    image = module.on_after_batch_transfer(tv_tensors.Image(x), 0)
    assert type(image) is tv_tensors.Image
    assert torch.equal(image.as_subclass(Tensor), fix(x))


Y = PAIRS.tensors[0]
NO_DATA: dict[str, tuple[Any, str]] = {
    "a list of tensors": ([X, X], r"got a list as train\. .*torch\.stack.*\[TensorDataset\(x1\), "),
    "a pair as a list": ([Y, X], r"a list as train\. .*or \(y, x\)"),
    "a list of pairs of tensors": ([(Y, X), (Y, X)], r"a list as train\. .*samples or data sets"),
    "a tuple of pairs of tensors": (((Y, X), (Y, X)), r"a tuple as train\. .*samples or data sets"),
    "a dict of tensors": ({"y": Y, "x": X}, r"a dict as train\. .*pass \(y, x\).*TensorDataset\(y, x\)"),
    "a list of tensors in a list": ([PAIRS, [X, X]], r"a list as train\[1\]\. .*samples or data sets"),
    "None among data sets": ([PAIRS, None], r"got None as train\[1\]\. Leave it out"),
    "None in a dict": ({"a": PAIRS, "b": None}, r"got None as train\['b'\]"),
    "a file's name": ("train.h5", r"got a str as train\. .*DataLoader"),
    "a number among loaders": ([LOADER, 3], r"got a int as train\[1\]\. .*DataLoader"),
    "an iterator": (iter(LOADER), "as train.*every epoch can read again"),
    "a generator": ((batch for batch in LOADER), "a generator as train.*every epoch can read again"),
    "a data module": (
        SymmetryBrokenDataModule(PAIRS, canonicalizer=FIX),
        r"as train\. Pass its data sets or its loaders: train=module\.train_dataloader\(\)",
    ),
}


@pytest.mark.parametrize("name", NO_DATA)
def test_other_data_are_refused_at_construction(name: str) -> None:
    data, message = NO_DATA[name]
    with pytest.raises(TypeError, match=f"^SymmetryBrokenDataModule (needs data sets or loaders, but )?.*{message}"):
        SymmetryBrokenDataModule(data, canonicalizer=FIX)
    if "data module" not in name:
        with pytest.raises(TypeError, match=message.replace("train", "val").replace("val.h5", "train.h5")):
            SymmetryBrokenDataModule(PAIRS, data, canonicalizer=FIX)


def test_other_arguments_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match=r"one entry per item, but got the shapes \[\(10, .*\(4, 8, 8\)\] as val"):
        SymmetryBrokenDataModule(PAIRS, (Y, X[:4]), canonicalizer=FIX)
    with pytest.raises(TypeError, match=r"as val\. Pass its loaders: val=combined\.iterables"):
        SymmetryBrokenDataModule(PAIRS, CombinedLoader([LOADER], "max_size"), canonicalizer=FIX)
    with pytest.raises(TypeError, match=r"function of a tensor as canonicalizer.*model\.canonicalizer\(\)"):
        SymmetryBrokenDataModule(PAIRS, canonicalizer=MODEL.symmetries)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an instance as forward, but got the class FarField"):
        SymmetryBrokenDataModule(X, canonicalizer=FIX, forward=FarField)  # type: ignore[arg-type]


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
