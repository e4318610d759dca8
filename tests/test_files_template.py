"""``symbreak fit`` and ``break --template``: the template is fitted, used, noted, and undone."""

import json
import re
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("typer")

from torch_symbreak import FarField, RandomSymmetry, cli
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.io import Targets, fit_template, read_template
from torch_symbreak.io.template import note_of_template


def symbreak(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


@pytest.fixture
def objects(tmp_path):
    x = BraggCrystals(60, frame=(12, 12)).objects(torch.arange(60))
    x = RandomSymmetry(FarField().symmetries, generator=torch.Generator().manual_seed(0))(x)
    np.save(tmp_path / "x.npy", x.numpy())
    return x


def test_fit_break_and_back(tmp_path, objects, monkeypatch):
    assert symbreak(monkeypatch, "fit", tmp_path / "x.npy", tmp_path / "t.npz") == 0
    template = read_template(tmp_path / "t.npz")
    fix = AlignToTemplate(template, FarField().canonicalizer().symmetry)
    broken = ("break", tmp_path / "x.npy", tmp_path / "y.npy", "--template", tmp_path / "t.npz", "--elements")
    assert symbreak(monkeypatch, *broken) == 0
    assert np.allclose(np.load(tmp_path / "y.npy"), fix(objects).numpy(), atol=1e-6)
    note = json.loads(str(np.load(tmp_path / "y.npy.symbreak.npz")["symbreak"]))
    assert note["template"] == "t.npz"
    assert len(note["template_sha256"]) == 64
    assert symbreak(monkeypatch, "unbreak", tmp_path / "y.npy", tmp_path / "z.npy") == 0
    assert np.allclose(np.load(tmp_path / "z.npy"), objects.numpy(), atol=1e-6)


def test_the_file_says_how_the_template_was_made(tmp_path, objects):
    fix = fit_template(tmp_path / "x.npy", tmp_path / "t.npz", Targets(), max_objects=30, progress=False)
    assert fix.seen == 30
    note = json.loads(str(np.load(tmp_path / "t.npz")["note"]))
    assert note["seen"] == 30
    assert note["explained"] == pytest.approx(fix.explained)
    again = fit_template(
        tmp_path / "x.npy", tmp_path / "t.npz", Targets(), max_objects=30, progress=False, overwrite=True
    )
    assert torch.equal(again.template, fix.template)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "x.npy", "t.npy"), "t.npz"),
        (("fit", "none.npy", "t.npz"), "no file"),
        (("fit", "x.npy", "nowhere/t.npz"), "no folder"),
        (("fit", "x.npy", "u.npz"), "--overwrite"),
        (("break", "x.npy", "y.npy", "--template", "none.npz"), "no file"),
        (("break", "x.npy", "y.npy", "--template", "x.npy"), "a template of one item"),
        (("break", "x.npy", "y.npy", "--template", "u.npz"), r"shape \(5, 5\), but the targets.* symbreak fit IN"),
        (("fit", "zero.npy", "t.npz"), "not zero, but all 4 of .*zero.npy are. Name another array: --key"),
        (("break", "x.npy", "y.npy", "--template", "v.npz"), "'template'"),
        (("break", "x.npy", "y.npy", "--template", "w.npz"), "other options.*--oversampling 1.5 --threshold 0.3"),
    ],
)
def test_bad_calls(arguments, message, tmp_path, objects, monkeypatch, capsys):
    np.savez(tmp_path / "u.npz", template=np.random.default_rng(0).normal(size=(5, 5)) + 1j)
    np.save(tmp_path / "zero.npy", np.zeros((4, 8, 8), np.complex64))
    np.savez(tmp_path / "v.npz", other=np.ones(3))
    note = np.array('{"torch_symbreak": "0.2.0", "forward": "farfield", "oversampling": 1.5, "threshold": 0.3}')
    np.savez(tmp_path / "w.npz", template=np.random.default_rng(0).normal(size=(5, 5)) + 1j, note=note)
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert symbreak(monkeypatch, *arguments) == 2

    assert re.search(message, capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, objects, monkeypatch):
    fit = AlignToTemplate.fit

    def slow(*arguments, **options):
        (tmp_path / "t.npz").write_bytes(b"another's")
        return fit(*arguments, **options)

    monkeypatch.setattr(AlignToTemplate, "fit", slow)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        fit_template(tmp_path / "x.npy", tmp_path / "t.npz", Targets(), progress=False)
    assert (tmp_path / "t.npz").read_bytes() == b"another's"


@pytest.mark.parametrize("note", ["plain words", "[1, 2]", "null", "3", '{"threshold": 0.3}', {"a": 1}])
def test_a_note_of_another_program_says_nothing(note, tmp_path, objects, monkeypatch):
    template = AlignToTemplate.fit(objects, FarField().symmetries, progress=False, rounds=1).template.numpy()
    np.savez(tmp_path / "t.npz", template=template, note=np.array(note))
    assert note_of_template(tmp_path / "t.npz") == {}
    names = tmp_path / "x.npy", tmp_path / "y.npy"
    assert symbreak(monkeypatch, "break", *names, "--template", tmp_path / "t.npz") == 0
    assert symbreak(monkeypatch, "info", tmp_path / "t.npz") == 0


def test_info_says_that_a_file_is_a_template_and_what_to_type(tmp_path, monkeypatch, capsys):
    x = np.random.default_rng(0).normal(size=(9, 8, 8)).astype(np.float32)
    x[:, :2] = 0
    np.save(tmp_path / "x.npy", x)
    fit_template(tmp_path / "x.npy", tmp_path / "t.npz", Targets(event_dims=2, threshold=0.01), progress=False)
    assert symbreak(monkeypatch, "info", tmp_path / "t.npz") == 0
    printed = capsys.readouterr().out
    assert "a template, fitted to 9 targets of x.npy" in printed
    assert "targets: " not in printed
    names = [tmp_path / "x.npy", tmp_path / "y.npy", "--event-dims", 2, "--batch-axis", 0]
    options = printed.partition("symbreak break IN OUT")[2].split()
    assert symbreak(monkeypatch, "break", *names, *options) == 0
    assert symbreak(monkeypatch, "break", *names, "--overwrite", "--template", tmp_path / "t.npz") == 2
    assert "Add --threshold 0.01" in capsys.readouterr().err
