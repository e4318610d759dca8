"""Experiments through their command and from Python: rows, numbers, resumption, and errors in the arguments."""

import copy
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

pytest.importorskip("lightning")
from experiments import CPU, numbers, symbreak
from processes import python

from torch_symbreak import align, relative_error
from torch_symbreak.experiments import (
    PRESETS,
    Case,
    Deconvolution,
    FarFieldPhaseRetrieval,
    Gaussian,
    Grid,
    Separation,
    SquareRoot,
    predictors,
    read_rows,
)
from torch_symbreak.experiments.farfield import BREAK
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.symmetries import Sign
from torch_symbreak.training import Curves, Training

SHORT = Training(max_epochs=2, batch_size=16)


SMALL = {
    "square": ("--samples", "40,60", "--repeats", 2),
    "factorization": ("--samples", 60, "--data", "gram-2,distances-2", "--breaking", ",".join(BREAKINGS)),
    "gaussian": ("--samples", 60, "--dims", "3,4", "--fields", "real,complex"),
    "deconvolution": ("--samples", 40, "--width", 8),
    "farfield": (
        "--samples",
        40,
        "--frame",
        "16,16",
        "--data",
        "digits",
        "--breaking",
        ",".join((*BREAKINGS, *BREAK)),
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "farfield" else ()) for name in SMALL]
)
def test_command_writes_what_it_measured(name, tmp_path, monkeypatch, capsys):
    arguments = ("--epochs", 1, "--device", "cpu", "--out", tmp_path, *SMALL[name])
    assert symbreak(monkeypatch, "reproduce", name, *arguments) in (0, None)
    rows = read_rows(tmp_path)
    experiment = PRESETS[name]["quick"].experiment
    assert len({tuple(row[key] for key in ("data", "network", "breaking", "n", "seed")) for row in rows}) == len(rows)
    constants = {
        tuple(row[key] for key in ("data", "breaking", "n", "seed")) for row in rows if row["network"] == "constant"
    }
    assert all(tuple(row[key] for key in ("data", "breaking", "n", "seed")) in constants for row in rows)
    for row in rows:
        assert row["experiment"] == name
        assert row["parameters"]["training"]["max_epochs"] == 1
        assert set(row["versions"]) >= {"torch", "torch_symbreak", "python"}
        assert all(math.isfinite(row[metric]) and row[metric] >= 0 for metric in experiment.metrics)
        adjusted, raw = (
            ("sa_error", "error") if name in ("gaussian", "factorization", "deconvolution") else ("sa_mse", "mse")
        )
        for part in ("test", "train"):
            assert row[f"{part}_{adjusted}"] <= row[f"{part}_{raw}"] * (1 + 1e-6)
    names = {path.name for path in tmp_path.iterdir()}
    figures = {
        "square": {"functions.png"},
        "factorization": set(),
        "gaussian": set(),
        "deconvolution": set(),
        "farfield": {"objects_digits_unet.png", "refined_digits_unet.png"},
    }
    assert (
        names - {"arrays", "checkpoints", ".lock"}
        == {"results.jsonl", "table.md", "errors.png", "curves.png"} | figures[name]
    )
    assert not list((tmp_path / "checkpoints").iterdir())
    assert all((tmp_path / one).read_bytes().startswith(b"\x89PNG") for one in names if one.endswith(".png"))
    printed = capsys.readouterr().out.replace("\n", "")
    assert all(one in printed for one in figures[name] | {"table.md"})
    table = (tmp_path / "table.md").read_text()
    if name != "square":  # with several repeats the table has means
        assert all(f"{row[metric]:.4g} (" in table for row in rows for metric in experiment.metrics)


def test_constant_and_neighbors_are_what_they_say(tmp_path):
    experiment = Gaussian(test_samples=50)
    grid = Grid(data=("real-3",), networks=("knn",), breaking=("none", "exact"), samples=(200,))
    rows = {(row["network"], row["breaking"]): row for row in experiment.run(grid, tmp_path, hardware=CPU)}
    for breaking in ("none", "exact"):
        (y, x), (yt, xt), _ = experiment.split("real-3", breaking, 200, 0)
        mean = sum(x) / len(x)
        errors = torch.stack([100 * (mean - one).norm() / one.norm() for one in xt])
        assert rows["constant", breaking]["test_error"] == pytest.approx(errors.mean().item(), rel=1e-5)
        adjusted = 100 * relative_error(mean.expand_as(xt), xt, Sign(1))
        assert rows["constant", breaking]["test_sa_error"] == pytest.approx(adjusted.item(), rel=1e-5)
        nearest = torch.cdist(yt.sqrt(), y.sqrt()).topk(5, largest=False).indices
        errors = 100 * (x[nearest].mean(1) - xt).norm(dim=1) / xt.norm(dim=1)
        assert rows["knn", breaking]["test_error"] == pytest.approx(errors.mean().item(), rel=1e-4)


def test_same_seed_same_numbers(tmp_path):
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), width=4, test_samples=16)
    runs = []
    for number, seed in enumerate((3, 3, 4)):
        grid = Grid(data=("crystals",), networks=("unet", "sisprnet"), breaking=("exact",), samples=(40,), seed=seed)
        torch.manual_seed(number)  # a run must neither read nor advance the user's generator
        state = torch.get_rng_state()
        runs.append(numbers(experiment.run(grid, tmp_path / str(number), training=SHORT, hardware=CPU)))
        assert torch.equal(torch.get_rng_state(), state)
    assert runs[0] == runs[1]
    assert all(one[m] != other[m] for one, other in zip(runs[0], runs[2], strict=True) for m in ("train_mse",))


@pytest.mark.parametrize(
    "experiment", [SquareRoot(), Gaussian(), Separation(), Deconvolution(), FarFieldPhaseRetrieval(frame=(16, 16))]
)
def test_train_and_test_differ_and_small_sets_are_part_of_large_ones(experiment):
    data = experiment.axes["data"][0]
    small, large = (experiment.split(data, "exact", n, 0) for n in (20, 30))
    assert torch.allclose(small.train[1], large.train[1][:20], atol=1e-6)
    assert torch.equal(small.test[1], large.test[1])
    assert not torch.isclose(small.train[0][:, None], small.test[0][None, :20]).flatten(2).all(-1).any()
    assert torch.equal(small.test[1], experiment.split(data, "exact", 20, 1).test[1])


def test_seconds_of_a_row_are_those_of_all_epochs(tmp_path, monkeypatch):
    curves = Curves(train=[1.0, 1.0], validation=[1.0, 1.0], seconds=[30.0, 12.34])  # 30 before a resumption
    monkeypatch.setattr("torch_symbreak.experiments.predictors.fit", lambda *args, **kwargs: curves)
    grid = Grid(data=("uniform",), networks=("dnn",), breaking=("exact",), samples=(40,))
    rows = SquareRoot().run(grid, tmp_path, hardware=CPU)
    assert [row["seconds"] for row in rows if row["network"] == "dnn"] == [42.3]


@pytest.mark.parametrize(("experiment", "data"), [(SquareRoot(), "uniform"), (Gaussian(), "complex-3")])
def test_template_orbit_goes_on_with_the_network_and_its_own_answers(experiment, data, tmp_path, monkeypatch):
    seen, weights = [], []
    fit = predictors.fit

    def recorded(model, train, validation, **options):
        before = copy.deepcopy(model)
        curves = fit(model, train, validation, **options)
        seen.append((before, model, train, validation, options["folder"]))
        weights.append([torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (before, model)])
        return curves

    monkeypatch.setattr(predictors, "fit", recorded)
    grid = Grid(data=(data,), networks=("dnn",), breaking=("template-orbit",), samples=(60,))
    row = experiment.run(grid, tmp_path, training=SHORT, hardware=CPU)[-1]
    assert (row["epochs"], row["limited"]) == (3 * SHORT.max_epochs, True)
    assert len({folder for *_, folder in seen}) == 3
    rates = [model.training_plan.learning_rate for _, model, *_ in seen]
    assert rates == pytest.approx([5e-3, 5e-4, 5e-4])
    assert [type(model.loss).__name__ for _, model, *_ in seen] == ["NoneType", "OrbitMinLoss", "NoneType"]
    for (_, end), (start, _) in pairwise(weights):
        assert torch.equal(end, start)
    symmetries = experiment.model(data).symmetries
    template, own = (validation.tensors for _, _, _, validation, _ in seen[1:])
    before, model = seen[2][0], seen[2][1]
    y, x = own
    assert torch.equal(x, align(template[1], before.predict(y), symmetries).aligned)
    y, x = seen[2][2].tensors  # training targets are aligned batch by batch, by the network as it was
    assert torch.equal(model.augment(y, x)[1], align(x, before.predict(y), symmetries).aligned)


ARGUMENTS = (
    *("reproduce", "gaussian", "--dims", "3", "--samples", "200", "--breaking", "exact,template-orbit"),
    *("--batch-size", "32", "--device", "cpu"),
)


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_table(tmp_path, monkeypatch):
    """Send SIGKILL at random moments, resume, and compare with an undisturbed run."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    arguments = (*ARGUMENTS, "--epochs", 6, "--resume", "--out")
    start = time.monotonic()
    assert symbreak(monkeypatch, *arguments, straight) in (0, None)
    duration = time.monotonic() - start
    moments, ends = random.Random(0), []
    for _ in range(2):
        # A fork of this process starts at once: Lightning is imported.
        process = multiprocessing.get_context("fork").Process(target=symbreak, args=(monkeypatch, *arguments, killed))
        process.start()
        time.sleep(duration * moments.uniform(0.1, 0.6))
        process.kill()
        process.join()
        ends.append(process.exitcode)
    assert -signal.SIGKILL in ends
    assert symbreak(monkeypatch, *arguments, killed) in (0, None)
    assert numbers(read_rows(killed)) == numbers(read_rows(straight))
    assert (killed / "table.md").read_text() == (straight / "table.md").read_text()


@pytest.mark.slow
def test_two_processes_make_one_table(tmp_path):
    """Train with Lightning's distributed data parallel on the CPU."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "torch_symbreak.cli", *ARGUMENTS),
            *("--epochs", "2", "--devices", "2", "--networks", "dnn", "--out", tmp_path),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    rows = read_rows(tmp_path)
    assert [row["network"] for row in rows] == ["constant", "dnn"] * 2
    epochs = {row["breaking"]: row["epochs"] for row in rows if row["network"] == "dnn"}
    assert epochs == {"exact": 2, "template-orbit": 6}
    assert ended.stdout.count("[2/4]") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "needs to be one of quick, cpu, paper"),
        (["--data", "cats"], "data of farfield needs to be among crystals, photographs, digits, but got 'cats'"),
        (["--networks", "resnet"], "networks of farfield needs to be among unet, sisprnet"),
        (["--breaking", "all"], "breaking of farfield needs to be among none"),
        (["--frame", "16,16,16", "--networks", "sisprnet"], "networks of farfield needs to be among unet, knn"),
        (["--frame", "16"], "The frame needs 2 or 3 axes, but got (16,)"),
        (["--frame", "16,16,16", "--rotated", "0.5"], "needs 2 axes, because volumes are not rotated"),
        (["--frame", "a"], "--frame needs whole numbers"),
        (["--samples", "-3"], "samples needs to be at least 20, but got -3"),
        (["--samples", "100.5"], "needs whole numbers"),
        (["--samples", "many"], "needs whole numbers"),
        (["--samples", ","], "samples needs at least one value"),
        (["--repeats", "0"], "repeats needs to be at least 1"),
        (["--epochs", "0"], "max_epochs needs to be at least 1"),
        (["--learning-rate", "nan"], "learning_rate needs to be positive"),
        (["--device", "tpu"], "one of auto, cpu, cuda"),
        (["--precision", "half"], "precision needs to be one of 32-true, bf16-mixed"),
        (["--data", "constant"], "data of farfield needs to be among crystals"),
        (["--breaking", "constant"], "breaking of farfield needs to be among none"),
        (["--devices", "0"], "devices needs to be at least 1"),
        (["--resume", "--overwrite"], "contradict one another"),
        (["--dims", "5"], "of gaussian, and of it alone"),
        (["--rotated", "75"], "rotated needs to be a share in [0, 1], but got 75"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_arguments_end_with_2(arguments, message, tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_only_objects_of_the_far_field_are_rotated(tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "square", "--out", tmp_path / "out", "--rotated", "0.5") == 2
    assert "--rotated is for the objects of farfield, but the experiment is square" in capsys.readouterr().err


def test_unknown_experiment_ends_with_2(tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "cube", "--out", tmp_path / "out") == 2
    assert (
        "one of square, factorization, gaussian, separation, deconvolution, farfield, but got 'cube'"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_is_a_wrong_argument(tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path, "--device", "cuda") == 2
    assert "finds no CUDA device" in capsys.readouterr().err


def test_python_users_get_the_same_errors(tmp_path):
    grid = Grid(data=("uniform",), networks=("dnn",), breaking=("none",), samples=(40,))
    with pytest.raises(ValueError, match="networks of square needs to be among dnn, knn, but got 'unet'"):
        SquareRoot().run(replace(grid, networks=("unet",)), tmp_path)
    assert not list(tmp_path.iterdir())
    assert str(Case("uniform", "dnn", "none", 40, 0)) == "uniform, dnn, none, n = 40, seed 0"


@pytest.mark.parametrize("debug", [False, True])
def test_failures_end_with_1(debug, tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("torch_symbreak.experiments.results.write_file", broken)
    flag = ["--debug"] if debug else []
    arguments = ("--out", tmp_path, "--samples", 40, "--networks", "knn")
    assert symbreak(monkeypatch, "reproduce", "square", *arguments, *flag) == 1
    error = capsys.readouterr().err
    assert "symbreak: the disk is full" in error
    assert ("Traceback" in error) is debug


@pytest.mark.parametrize("missing", ["typer", "lightning", "sklearn"])
def test_missing_extras_are_named(missing, tmp_path):
    """Run a fresh interpreter in which the package cannot be imported."""
    code = f"import sys; sys.modules[{missing!r}] = None; from torch_symbreak.cli import main; main()"
    ended = python(code, "reproduce", "farfield", "--out", tmp_path)
    assert ended.returncode == 1
    assert 'pip install "torch_symbreak[experiments]"' in ended.stderr
    assert missing in ended.stderr
    assert "Traceback" not in ended.stderr


def test_version(monkeypatch, capsys):
    import torch_symbreak

    assert symbreak(monkeypatch, "--version") in (0, None)
    assert capsys.readouterr().out == f"symbreak {torch_symbreak.__version__}\n"
