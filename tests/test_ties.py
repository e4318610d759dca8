"""Ties that are left are counted and said once, with the remedy: by data sets, the Lightning module and files."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from processes import python
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from torch_symbreak import ElementwiseSquare, FarField, FixGlobalPhase, FixSign, SymmetryBrokenDataset
from torch_symbreak.canonical import AlignToTemplate, ties
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.io import Targets, inspection, plan
from torch_symbreak.symmetries import Sign, Translation

MODEL = FarField(2, field="real")
FIX = MODEL.canonicalizer()


def images(count: int, own_twins: int, zeros: int = 0) -> Tensor:
    """Return images, the first of which are zero, and the next their own twins."""
    x = torch.rand(count, 6, 7, generator=torch.Generator().manual_seed(0))
    x[:zeros] = 0
    x[zeros : zeros + own_twins] += x[zeros : zeros + own_twins].flip((1, 2))
    return x


def messages_of(call: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught if "ties" in str(warning.message)]


def test_zero_items_and_bad_values_are_no_ties() -> None:
    x = images(9, own_twins=2, zeros=3)
    x[8, 0, 0] = torch.nan
    assert FIX.tied(x).tolist() == [False] * 3 + [True] * 2 + [False] * 4
    assert FixSign(0).tied(torch.tensor([0.0, 1e-30, -2.0])).tolist() == [False] * 3
    last = torch.tensor([[1.0, 0.0], [1.0, 1e-9], [0.0, 0.0], [1.0, 1e-3]])
    assert FixSign(1, anchor=-1).tied(last).tolist() == [True, True, False, False]


def test_a_template_leaves_neighboring_shifts_out() -> None:
    x, t = torch.zeros(1, 12), torch.zeros(12)
    x[:, 2:6], t[3:8] = 1, 1  # two shifts gain the same
    fix = AlignToTemplate(t, [Translation(1), Sign(1)])
    assert fix.margins(x)["translation"] == 0
    assert not fix.tied(x)
    odd = torch.zeros(1, 12)
    odd[0, 0], odd[0, 11] = 1, -1  # of no shift, and of both signs alike
    assert fix.tied(odd)


def test_a_data_set_warns_once() -> None:
    data = SymmetryBrokenDataset(TensorDataset(images(60, own_twins=6, zeros=6)), FIX)

    def two_epochs() -> None:
        for _ in range(2):
            assert len(list(DataLoader(data, batch_size=12))) == 5

    assert messages_of(two_epochs) == [
        "SymmetryBrokenDataset: 6 of 12 targets looked at (50.0%) are ties: equal measurements can get several "
        "targets. Fit a template: model.fit_canonicalizer(x)."
    ]


WORKERS = """
import torch
from torch.utils.data import DataLoader
from torch_symbreak import FarField, SymmetryBrokenDataset
data = SymmetryBrokenDataset(torch.ones(60, 6, 7), FarField(2, field="real").canonicalizer())
for epoch in range(3):
    list(DataLoader(data, batch_size=30, num_workers=1))
"""


def test_workers_of_all_epochs_warn_once() -> None:
    done = python(WORKERS)
    assert done.returncode == 0
    assert done.stderr.count("are ties") == 1


def test_a_data_set_without_ties_is_looked_at_no_longer_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ties, "LOOK", 10)
    looked = []
    tied = type(FIX).tied
    monkeypatch.setattr(type(FIX), "tied", lambda self, x: looked.append(len(x)) or tied(self, x))
    data = SymmetryBrokenDataset(images(60, own_twins=0), FIX)
    assert messages_of(lambda: [data.__getitems__(range(start, start + 6)) for start in range(0, 60, 6)]) == []
    assert looked == [6, 4]
    assert len(pickle.loads(pickle.dumps(data))) == 60


@pytest.mark.parametrize(
    ("fix", "x", "remedy"),
    [
        (
            FixSign(1, anchor=-1),
            torch.eye(3),
            r"Choose another anchor, e.g. FixSign\(1, anchor=-1\), or fit a template",
        ),
        (FixGlobalPhase(1, anchor=0), torch.eye(3).to(torch.complex64), r"e.g. FixGlobalPhase\(1, anchor=-1\)"),
        (MODEL.canonicalizer(template=images(2, 0)[1]), images(3, 0)[:1] * 0 + images(2, 0)[1].flip(0), None),
        (FIX, images(3, 3), r"Fit a template: model.fit_canonicalizer\(x\)"),
        (FIX.forward, images(3, 3), None),  # a plain function has no margin
    ],
)
def test_remedies(fix: Any, x: Tensor, remedy: str | None) -> None:
    data = SymmetryBrokenDataset(x, fix)
    if remedy is None:
        assert messages_of(lambda: data.__getitems__([0])) == []
    else:
        with pytest.warns(UserWarning, match=remedy):
            data.__getitems__([0, 1, 2])


def test_the_lightning_module_warns_once() -> None:
    pytest.importorskip("lightning.pytorch")
    from torch_symbreak.interop.lightning import SymmetryBrokenDataModule

    data = SymmetryBrokenDataModule(images(20, own_twins=2), canonicalizer=FIX, batch_size=20)

    def two_epochs() -> None:
        for _ in range(2):
            for batch in data.train_dataloader():
                data.on_after_batch_transfer(batch, 0)

    (told,) = messages_of(two_epochs)
    assert told.startswith("SymmetryBrokenDataModule: 2 of 20 targets looked at (10.0%) are ties")


@pytest.mark.parametrize("elements", [False, True])
def test_files(elements: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(500, own_twins=50)
    np.save(tmp_path / "x.npy", x.numpy())
    targets = Targets("farfield")

    def run(name: str, command: Any = "break") -> list[str]:
        call = plan(command, tmp_path / "x.npy", tmp_path / name, targets, elements=elements)
        return messages_of(lambda: call.run())

    (told,) = run("all.npy")
    assert told == (
        "50 of 500 targets looked at (10.0%) are ties: equal measurements can get several targets. "
        "Fit a template: symbreak fit x.npy template.npz, then break --template template.npz."
    )
    monkeypatch.setattr(inspection, "LOOK", 100)
    (told,) = run("some.npy")  # evenly from the file
    assert told.startswith("10 of 100 targets looked at (10.0%) are ties")
    assert (tmp_path / "some.npy").read_bytes() == (tmp_path / "all.npy").read_bytes()
    assert run("scrambled.npy", "scramble") == []


def test_the_command_says_it_on_one_line(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    np.save(tmp_path / "x.npy", images(20, own_twins=2).numpy())
    done = python("from torch_symbreak.cli import main; main()", "break", "x.npy", "y.npy", folder=tmp_path)
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "ties" in line]
    assert line.startswith("symbreak: 2 of 20 targets looked at (10.0%) are ties")


# ---------------------------------------------------------------------------------------------- ties in training


class Pair(NamedTuple):
    """A sample with fixed fields."""

    y: Tensor
    x: Tensor


SUMS = torch.tensor([[3.0, 1.0], [1.0, -1.1], [2.0, -1.9], [-1.0, -2.0], [0.0, 0.0]])
SIGN = FixSign(1)


def margins_by_hand(x: Tensor) -> list[float]:
    """Return ``|sum x| / sum |x|``, the margin of a sign, and 1 for a zero target, which is no tie."""
    return [abs(sum(row)) / sum(map(abs, row)) if any(row) else 1.0 for row in x.tolist()]


@pytest.mark.parametrize("kind", [lambda x: x, lambda x: TensorDataset(x), lambda x: [(row, row) for row in x]])
def test_dropped_near_ties(kind: Any) -> None:
    assert margins_by_hand(SUMS)[1:3] == pytest.approx([0.1 / 2.1, 0.1 / 3.9])
    data = SymmetryBrokenDataset(kind(SUMS), SIGN, ties="drop", min_margin=0.1)
    assert data.dropped.tolist() == [1, 2]
    assert len(data) == 3
    kept = [sample if isinstance(sample, Tensor) else sample[-1] for sample in data]
    assert torch.equal(torch.stack(kept), SIGN(SUMS[[0, 3, 4]]))
    assert torch.equal(data[-1][-1] if isinstance(data[-1], tuple) else data[-1], SUMS[4])
    with pytest.raises(IndexError):
        data[3]
    rest = SymmetryBrokenDataset(kind(SUMS[[0, 3]]), SIGN, ties="drop")
    assert (len(rest), rest.dropped.tolist()) == (2, [])


def test_weights_of_near_ties() -> None:
    expected = [min(1, margin / 0.1) for margin in margins_by_hand(SUMS)]
    makers: list[Callable[[Tensor], Any]] = [lambda x: x, lambda x: (x,), lambda x: (2 * x, x), lambda x: [2 * x, x]]
    for make in makers:
        data = SymmetryBrokenDataset([make(x) for x in SUMS], SIGN, ties="weight", min_margin=0.1)
        bare = SymmetryBrokenDataset([make(x) for x in SUMS], SIGN)
        for number, (sample, plain) in enumerate(zip(data, bare, strict=True)):
            assert type(sample) is (tuple if isinstance(plain, Tensor) else type(plain))
            parts = (plain,) if isinstance(plain, Tensor) else plain
            assert all(torch.equal(*pair) for pair in zip(sample[:-1], parts, strict=True))
            assert float(sample[-1]) == pytest.approx(expected[number], rel=1e-5)
    weights = next(iter(DataLoader(data, batch_size=5)))[-1]
    assert weights.shape == (5,)
    mapped = SymmetryBrokenDataset(
        [{"a": x, "b": SUMS[0]} for x in SUMS], SIGN, keys=("a", "b"), ties="weight", min_margin=0.1
    )
    assert [float(sample["weight"]) for sample in mapped] == pytest.approx(expected, rel=1e-5)
    measured = SymmetryBrokenDataset(SUMS, SIGN, ElementwiseSquare(), ties="weight", min_margin=0.1)
    y, x, weight = measured[2]
    assert torch.equal(y, x.square())
    assert float(weight) == pytest.approx(expected[2], rel=1e-5)


def test_a_templates_shifts_make_no_near_ties() -> None:
    x = BraggCrystals(60, frame=(12, 12)).objects(torch.arange(60))
    fix = FarField(2).fit_canonicalizer(x, progress=False)
    near = torch.stack(list(fix.deciding_margins(x).values())).amin(0) < 0.05
    assert 0 < int(near.sum()) < int((fix.margin(x) < 0.05).sum())
    assert SymmetryBrokenDataset(x, fix, ties="drop", min_margin=0.05).dropped.tolist() == near.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"ties": "dorp"}, ValueError, "Did you mean 'drop'"),
        ({"min_margin": 0.1}, ValueError, 'ties="drop" or ties="weight"'),
        ({"ties": "drop", "min_margin": 0.0}, ValueError, r"min_margin in \(0, 1\]"),
        ({"ties": "drop", "min_margin": "a"}, TypeError, "a number as min_margin"),
        ({"ties": "drop", "min_margin": True}, TypeError, "a number as min_margin"),
        ({"ties": "weight", "canonicalizer": torch.abs}, TypeError, "Pass a Canonicalizer"),
    ],
)
def test_bad_options_of_ties(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        SymmetryBrokenDataset(SUMS, **{"canonicalizer": SIGN, **options})


def test_samples_that_take_no_weight() -> None:
    with pytest.raises(TypeError, match="fixed fields"):
        SymmetryBrokenDataset([Pair(x, x) for x in SUMS], SIGN, ties="weight")[0]
    with pytest.raises(ValueError, match="Rename theirs"):
        SymmetryBrokenDataset([{"x": x, "weight": 1} for x in SUMS], SIGN, keys="x", ties="weight")[0]
