"""Rows on disk, and the tables made from them: correct numbers, nothing lost, nothing mixed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
from experiments import symbreak

from torch_symbreak.experiments import PRESETS, Case, Gaussian, Grid, SquareRoot, read_rows, remove_results
from torch_symbreak.experiments.report import largest, limited
from torch_symbreak.experiments.results import only_run, read_arrays, write_arrays
from torch_symbreak.training import Regression, Training


def test_table_and_ratios_are_what_they_say():
    def row(network, breaking, seed, error):
        case = {"data": "real-5", "network": network, "breaking": breaking, "n": 20000, "seed": seed}
        return case | dict.fromkeys(Gaussian.metrics, error)

    rows = [row("constant", b, s, 100.0) for b in ("none", "exact") for s in (0, 1)]
    rows += [
        row("dnn", "none", 0, 80.0),
        row("dnn", "none", 1, 90.0),
        row("dnn", "exact", 0, 4.0),
        row("dnn", "exact", 1, 6.0),
    ]
    experiment = Gaussian()
    table = {tuple(line[2:4]): line for line in experiment.table(rows)[1:]}
    assert table["dnn", "exact"][:6] == ["real-5", "20000", "dnn", "exact", "2", "5 ± 1.4 (0.05)"]
    assert table["dnn", "none"][5] == "85 ± 7.1 (0.85)"
    ratios = {line[2]: line for line in experiment.ratios(rows)[1:]}
    assert ratios["dnn"][3:5] == ["exact", "17.5 ± 3.5"]  # 80 / 4 and 90 / 6, seed by seed
    assert ratios["dnn"][-2:] == ["85.37 → 4.08", "20.92"]
    assert ratios["constant"][4] == "1 ± 0"
    for row_ in rows:  # without errors no ratio exists, and the table must still be made
        row_ |= dict.fromkeys(Gaussian.metrics, 0.0)
    assert {line[5] for line in experiment.table(rows)[1:]} == {"0 ± 0 (nan)"}
    rows[-1] |= dict.fromkeys(Gaussian.metrics, 1.0)
    rows[4] |= dict.fromkeys(Gaussian.metrics, 1.0)
    assert {line[2]: line[4] for line in experiment.ratios(rows)[1:]} == {"constant": "nan", "dnn": "inf"}


@pytest.mark.parametrize("networks", ["dnn,knn", "knn"])
def test_trainings_that_were_cut_short_are_named(networks, tmp_path, monkeypatch, capsys):
    arguments = ("--epochs", 1, "--samples", 40, "--networks", networks, "--device", "cpu", "--out", tmp_path)
    assert symbreak(monkeypatch, "reproduce", "square", *arguments) in (0, None)
    remark = limited(read_rows(tmp_path))
    assert (remark == "") == (networks == "knn")  # nearest neighbors and the constant are not trained
    for text in (capsys.readouterr().out, (tmp_path / "table.md").read_text()):
        assert ("cut short" in text) == ("not by a plateau" in text) == bool(remark)
        assert not remark or remark in text.splitlines()
    if remark:
        assert remark == (
            "Trainings cut short by the limit of 1 epoch, not by a plateau: dnn, none (n = 40); dnn, exact (n = 40). "
            "More epochs (--epochs) may change which targets are better."
        )


def test_only_trainings_that_were_cut_short_are_named():
    def row(breaking, n, epochs, **more):
        return {"network": "unet", "breaking": breaking, "n": n, "epochs": epochs, **more} | {
            "parameters": {"training": {"max_epochs": 20}}
        }

    plateau = [row("none", 500, 12), row("exact", 500, 20, limited=False), row("exact", 1500, 60, limited=False)]
    assert limited(plateau) == limited([]) == ""
    cut = [row("none", 500, 20), row("exact", 1500, 45, limited=True), row("exact", 500, 20, limited=True)]
    assert "epochs, not by a plateau: unet, none (n = 500); unet, exact (n = 500, 1500). " in limited(plateau + cut * 2)


def test_rows_are_neither_overwritten_nor_mixed(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        few = ("--samples", 40, "--networks", "knn", "--out", tmp_path)
        status = symbreak(monkeypatch, "reproduce", "square", *few, *arguments)
        return status or 0, capsys.readouterr().err

    assert run()[0] == 0
    before = (tmp_path / "results.jsonl").read_bytes()
    status, error = run()
    assert status == 2
    assert "has 4 rows." in error
    assert "Here: --resume, --overwrite" in error
    assert run("--resume")[0] == 0
    assert (tmp_path / "results.jsonl").read_bytes() == before
    status, error = run("--resume", "--epochs", 7)
    assert status == 2
    assert "other parameters" in error
    assert run("--resume", "--seed", 1)[0] == 0
    assert len(read_rows(tmp_path)) == 8
    assert read_rows(tmp_path)[:4] == [json.loads(one) for one in before.splitlines()]
    (tmp_path / "mine.txt").write_text("stays")
    assert run("--overwrite")[0] == 0
    assert len(read_rows(tmp_path)) == 4
    assert (tmp_path / "mine.txt").exists()
    (tmp_path / "results.jsonl").write_text("{}\n")
    status, error = run("--resume")
    assert status == 2
    assert "Line 1" in error


def test_overwrite_removes_nothing_of_others(tmp_path, monkeypatch, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "arrays").mkdir()
    foreign = [tmp_path / "checkpoints" / "mine.pt", tmp_path / "arrays" / "mine.npy", tmp_path / "mine.png"]
    for path in foreign:
        path.write_text("precious")
    options = ("reproduce", "square", "--samples", 40, "--networks", "knn", "--device", "cpu", "--out", tmp_path)
    for _ in range(2):
        assert symbreak(monkeypatch, *options, "--overwrite") in (0, None)
        assert all(path.read_text() == "precious" for path in foreign)
    (tmp_path / "results.jsonl").write_text('{"id": 1}\n')
    assert symbreak(monkeypatch, *options, "--overwrite") == 2
    assert "no row of an experiment" in capsys.readouterr().err
    assert (tmp_path / "results.jsonl").read_text() == '{"id": 1}\n'


def test_overwrite_starts_trainings_anew(tmp_path):
    """An interrupted training leaves a checkpoint, which only --resume may continue."""
    ours = tmp_path / "checkpoints" / f"{Case('uniform', 'dnn', 'none', 40, 0).slug}-0123abcd"
    other = tmp_path / "checkpoints" / "my-folder"
    for folder in (ours, other):
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_text("")
    remove_results(tmp_path)
    assert not ours.exists()
    assert (other / "last.ckpt").exists()


@pytest.mark.parametrize("flag", [[], ["--resume"], ["--overwrite"]])
@pytest.mark.parametrize("name", ["table.md", "functions.png"])
def test_a_table_of_others_is_not_replaced(name, flag, tmp_path, monkeypatch, capsys):
    (tmp_path / name).write_text("precious")
    options = ("reproduce", "square", "--samples", 40, "--networks", "knn", "--device", "cpu", "--out", tmp_path)
    assert symbreak(monkeypatch, *options, *flag) == 2
    assert f"{name} would be replaced" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "precious"
    assert not (tmp_path / "results.jsonl").exists()


def test_a_second_run_is_kept_out(tmp_path):
    grid = Grid(data=("uniform",), networks=("knn",), breaking=("exact",), samples=(40,))
    with only_run(tmp_path), pytest.raises(FileExistsError, match=rf"at work in .*: process {os.getpid()} on "):
        SquareRoot().run(grid, tmp_path)
    assert len(SquareRoot().run(grid, tmp_path)) == 2


def test_checkpoints_of_other_parameters_are_not_gone_on_with(tmp_path, monkeypatch):
    grid = Grid(data=("uniform",), networks=("dnn",), breaking=("exact",), samples=(40,))

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Regression, "predict", killed)  # after the training, before its row is written
        with pytest.raises(KeyboardInterrupt):
            SquareRoot().run(grid, tmp_path / "one", training=Training(max_epochs=3))
    (tmp_path / "one" / "results.jsonl").unlink()
    other = Training(max_epochs=2, learning_rate=1e-4)
    rows = [SquareRoot().run(grid, tmp_path / name, training=other)[-1] for name in ("one", "two")]
    assert rows[0]["test_mse"] == rows[1]["test_mse"]


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b'{"experiment": "square", "data": "uniform", "network": "knn", "breaking": "none", "n": 40}']
)
def test_damaged_rows_name_their_file(line, tmp_path):
    (tmp_path / "results.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r"Line 1 of .*results.jsonl is no row of an experiment"):
        read_rows(tmp_path)


STORED = sorted((Path(__file__).parents[1] / "docs" / "results").glob("*/results.jsonl"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_stored_rows_can_be_resumed_and_give_their_table(path):
    rows = read_rows(path.parent)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in rows[0]["parameters"].items()}
    training = Training(**fields.pop("training"))
    experiment = replace(PRESETS[rows[0]["experiment"]]["cpu"].experiment, **fields)
    assert experiment.resumable(path.parent, training, resume=True) == rows
    assert experiment.markdown(rows) == (path.parent / "table.md").read_text()


def test_stored_rows_are_found():
    assert len(STORED) >= 5


def test_largest_keeps_the_most_pairs_of_the_first_seed():
    names = ("data", "network", "breaking", "n", "seed")
    cases = [("a", "dnn", "none", n, seed) for n in (20, 40) for seed in (1, 0)] + [("b", "dnn", "none", 20, 3)]
    rows = [dict(zip(names, case, strict=True)) for case in cases]
    assert largest(rows) == [rows[3], rows[4]]


def test_arrays_are_read_as_they_were_written(tmp_path):
    case = Case("a", "dnn", "none", 20, 0)
    row = {"data": "a", "network": "dnn", "breaking": "none", "n": 20, "seed": 0}
    assert read_arrays(tmp_path, row) == {}
    arrays = {"real": torch.arange(6.0).reshape(2, 3), "complex": torch.tensor([1 + 2j])}
    write_arrays(tmp_path, case, arrays)
    written = read_arrays(tmp_path, row)
    assert written.keys() == arrays.keys()
    assert all(torch.equal(written[name], arrays[name]) for name in arrays)


def test_removing_results_of_an_empty_directory_removes_nothing(tmp_path):
    (tmp_path / "table.md").write_text("precious")
    remove_results(tmp_path)
    assert (tmp_path / "table.md").read_text() == "precious"
