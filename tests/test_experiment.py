"""The experiments through their command: what they write, that the numbers mean what they say, and how they fail."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

pytest.importorskip("lightning")
from torch.utils.data import TensorDataset

from torch_symbreak import (
    CenterContent,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    RandomSymmetry,
    Sign,
    cli,
    relative_error,
    sa_mse,
)
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.experiments import PRESETS, Case, FarFieldPhaseRetrieval, Gaussian, Grid, SquareRoot, read_rows
from torch_symbreak.experiments.farfield import BREAK, MODEL, digit_images, photograph_patches, rotated, turned
from torch_symbreak.experiments.results import locked
from torch_symbreak.models import MLP
from torch_symbreak.training import Curves, Hardware, Regression, Training, fit

CPU = Hardware(device="cpu")
SHORT = Training(max_epochs=2, batch_size=16)
#: What does not depend on the clock or the machine.
CLOCK = ("seconds", "machine")


def symbreak(monkeypatch, *arguments):
    """Run the command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def numbers(rows):
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]


SMALL = {
    "square": ("--samples", "40,60", "--repeats", 2),
    "gaussian": ("--samples", 60, "--dims", "3,4", "--fields", "real,complex"),
    "farfield": ("--samples", 40, "--data", "crystals,digits", "--breaking", ",".join(BREAK)),
}


@pytest.mark.parametrize("name", SMALL)
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
        adjusted, raw = ("sa_error", "error") if name == "gaussian" else ("sa_mse", "mse")
        for part in ("test", "train"):
            assert row[f"{part}_{adjusted}"] <= row[f"{part}_{raw}"] * (1 + 1e-6)
    names = {path.name for path in tmp_path.iterdir()}
    figures = {
        "square": {"functions.png"},
        "gaussian": set(),
        "farfield": {"objects_crystals_unet.png", "objects_digits_unet.png"},
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
    if name != "square":  # one repeat: the table has the number itself
        assert all(f"{row[metric]:.4g} (" in table for row in rows for metric in experiment.metrics)


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
    assert ratios["dnn"][3] == "17.5 ± 3.5"  # of 80 / 4 and 90 / 6: pair by pair
    assert ratios["dnn"][-2:] == ["85.37 → 4.08", "20.92"]
    assert ratios["constant"][3] == "1 ± 0"
    for row_ in rows:  # nothing to learn: no error, and no ratio, but a table
        row_ |= dict.fromkeys(Gaussian.metrics, 0.0)
    assert {line[5] for line in experiment.table(rows)[1:]} == {"0 ± 0 (nan)"}
    rows[-1] |= dict.fromkeys(Gaussian.metrics, 1.0)
    rows[4] |= dict.fromkeys(Gaussian.metrics, 1.0)
    assert {line[2]: line[3] for line in experiment.ratios(rows)[1:]} == {"constant": "nan", "dnn": "inf"}


def test_constant_and_neighbors_are_what_they_say(tmp_path):
    experiment = Gaussian(test_samples=50)
    grid = Grid(data=("real-3",), networks=("knn",), breaking=("none", "exact"), samples=(200,))
    rows = {(row["network"], row["breaking"]): row for row in experiment.run(grid, tmp_path, hardware=CPU)}
    for breaking in ("none", "exact"):
        (y, x), (yt, xt) = experiment.split("real-3", breaking, 200, 0)
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
        torch.manual_seed(number)  # nothing hidden steers a run, and a run leaves the user's generator alone
        state = torch.get_rng_state()
        runs.append(numbers(experiment.run(grid, tmp_path / str(number), training=SHORT, hardware=CPU)))
        assert torch.equal(torch.get_rng_state(), state)
    assert runs[0] == runs[1]
    assert all(one[m] != other[m] for one, other in zip(runs[0], runs[2], strict=True) for m in ("train_mse",))


def test_breakings_share_their_measurements_and_orbits():
    experiment = FarFieldPhaseRetrieval(frame=(16, 16))
    y, scrambled = experiment.pairs("crystals", "none", 6, 0, train=True)
    found = {breaking: experiment.pairs("crystals", breaking, 6, 0, train=True) for breaking in BREAK}
    exact = found["exact"][1]
    for breaking, (same, x) in found.items():
        assert torch.equal(y, same)
        assert (breaking in ("none", "orbit-loss")) == torch.equal(x, scrambled)
        assert sa_mse(x, scrambled, MODEL.symmetries) < (1e-6 if breaking == "literal" else 1e-10)
    assert torch.allclose(exact, MODEL.canonicalizer()(scrambled))
    # A scramble by one symmetry leaves what the others fix alone.
    translated, turned_phase, flipped = (found[f"{one}-only"][1] for one in ("translation", "phase", "flip"))
    assert torch.allclose(CenterContent()(translated), exact)
    assert not torch.allclose(translated, exact, atol=1e-2)
    assert torch.allclose(turned_phase.abs(), exact.abs(), atol=1e-6)
    assert not torch.allclose(turned_phase, exact, atol=1e-2)
    kept = (flipped - exact).abs().flatten(1).amax(1) < 1e-6
    assert kept.any()
    assert not kept.all()


def test_orbit_loss_is_a_loss_of_its_own(tmp_path):
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), width=4, test_samples=16)
    grid = Grid(data=("crystals",), networks=("unet",), breaking=("none", "orbit-loss"), samples=(100,))
    training = Training(max_epochs=15, batch_size=16)
    rows = {
        row["breaking"]: row for row in experiment.run(grid, tmp_path, training=training, hardware=CPU) if row["epochs"]
    }
    assert rows["orbit-loss"]["train_sa_mse"] < 0.9 * rows["none"]["train_sa_mse"]


@given(
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    square=st.booleans(),
    oversampling=st.sampled_from([1.0, 1.5, 2.0, 2.3]),
    seed=st.integers(0, 2**31),
)
@pytest.mark.filterwarnings("ignore:FarField measures")
def test_turned_pairs_are_pairs(size, square, oversampling, seed):
    torch.manual_seed(seed)
    frame = (size[0], size[0]) if square else size
    model = FarField(2, oversampling=oversampling, centered=True)
    x = torch.randn(8, *frame, dtype=torch.complex128)
    y, moved = turned(model(x), x)
    assert torch.allclose(model(moved), y)
    kinds = {bytes(one.numpy()) for one in turned(model(x[:1]).expand(64, -1, -1), x[:1].expand(64, -1, -1))[1]}
    assert len(kinds) == (8 if frame[0] == frame[1] else 4)


@given(size=st.integers(3, 9), quarters=st.lists(st.integers(0, 3), min_size=1, max_size=5), seed=st.integers(0, 2**31))
def test_a_quarter_of_a_rotation_interpolates_nothing(size, quarters, seed):
    x = torch.randn(len(quarters), size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *size: torch.tensor(quarters).view(size) / 4)
        moved = rotated(x)
    for one, new, k in zip(x, moved, quarters, strict=True):
        assert torch.allclose(new, one.rot90(k), atol=1e-5)


@given(size=st.tuples(st.integers(32, 40), st.integers(32, 40)), seed=st.integers(0, 2**31))
def test_rotation_keeps_lengths_and_shows_every_angle(size, seed):
    torch.manual_seed(seed)
    rows, columns = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size)
    x = torch.exp(-((rows[:, None] / 6) ** 2) - (columns / 4) ** 2 + 1j)  # longer along the first axis
    moved = rotated(x.expand(64, *size))
    along = (moved.abs() * rows[:, None] ** 2).sum((1, 2)) / moved.abs().sum((1, 2))
    across = (moved.abs() * columns**2).sum((1, 2)) / moved.abs().sum((1, 2))
    assert torch.allclose(along + across, torch.tensor(18.0 + 8.0, dtype=torch.float64), rtol=0.02)
    assert along.min() < 9
    assert along.max() > 17
    assert torch.allclose(moved.abs().sum((1, 2)), x.abs().sum(), rtol=1e-3)


def test_autocast_does_not_round_rotations():
    x = torch.randn(4, 32, 32, dtype=torch.complex64)
    torch.manual_seed(0)
    want = rotated(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotated(x), want)


def test_a_share_of_the_pairs_is_rotated_and_measured_again():
    y, x = FarFieldPhaseRetrieval(frame=(16, 16)).pairs("crystals", "none", 400, 0, train=True)
    noisy = y + 1
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), augmented=False, rotated=0.75)
    torch.manual_seed(0)
    new_y, new_x = experiment.augment("none")(noisy, x)
    kept = (new_x == x).all((1, 2))
    assert torch.equal(new_y[kept], noisy[kept])  # as it was measured
    assert torch.allclose(new_y[~kept], MODEL(new_x[~kept]), rtol=1e-4, atol=1e-3)
    assert 0.68 < (~kept).float().mean() < 0.82


@pytest.mark.parametrize("breaking", ["none", "orbit-loss", "literal", "translation-only"])
def test_rotated_objects_are_scrambled_again(breaking):
    experiment = FarFieldPhaseRetrieval(frame=(24, 24), rotated=1.0)
    y, x = experiment.pairs("crystals", "exact", 100, 0, train=True)
    rows = torch.arange(24.0)[:, None] - 11.5
    torch.manual_seed(0)
    _, new = experiment.augment(breaking)(y, x)
    place = ((new.abs() * rows).sum((1, 2)) / new.abs().sum((1, 2))).std()
    exact = ((x.abs() * rows).sum((1, 2)) / x.abs().sum((1, 2))).std()
    assert (place > 3 * exact) == (breaking != "literal")  # which centers


def test_objects_are_centered_before_they_are_rotated():
    x = torch.zeros(40, 16, 16, dtype=torch.complex64)
    x[:, :4, -4:] = 1  # which a rotation about the middle of the frame would cut off
    _, new = FarFieldPhaseRetrieval(frame=(16, 16), rotated=1.0).augment("none")(MODEL(x), x)
    assert (new.abs().sum((1, 2)) > 14).all()


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match=r"rotated needs to be a share in \[0, 1\]"):
        FarFieldPhaseRetrieval(rotated=share)


@pytest.mark.parametrize("rotating", [0.0, 0.75])
@pytest.mark.parametrize("breaking", BREAK)
def test_augmented_targets_are_broken_again(breaking, rotating):
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), rotated=rotating)
    y, x = experiment.pairs("crystals", breaking, 20, 0, train=True)
    torch.manual_seed(0)
    _, new = experiment.augment(breaking)(y, x)
    if breaking == "exact":
        moved = RandomSymmetry(MODEL.symmetries)(new)
        agree = (MODEL.canonicalizer()(moved) - new).abs().flatten(1).amax(1) < 1e-4
        assert agree.float().mean() > 0.9  # but for ties
    if breaking == "literal" and not rotating:  # which is not idempotent
        torch.manual_seed(0)
        assert torch.equal(new, LiteralAlgorithm2()(turned(y, x)[1]))
    if breaking.endswith("-only"):  # the one symmetry is left, and no other comes back
        left = {"translation-only": 0, "flip-only": 1, "phase-only": 2}[breaking]
        fixes = [CenterContent(), FixConjugateFlip(), FixGlobalPhase()]
        for number, fix in enumerate(fixes):
            same = (fix(new) - new).abs().flatten(1).amax(1) < 1e-4
            assert same.float().mean() < 0.9 if number == left else same.float().mean() > 0.9
    assert not torch.allclose(new, x, atol=1e-2)


def test_train_and_test_come_from_different_photographs():
    every = {name: {bytes(p.numpy()) for p in _all_patches(name)} for name in ("flower.jpg", "china.jpg")}
    for own, other in (("flower.jpg", "china.jpg"), ("china.jpg", "flower.jpg")):
        drawn = {bytes(image.contiguous().numpy()) for image in photograph_patches(own, 40, seed=0)}
        assert drawn <= every[own]
        assert not drawn & every[other]


def _all_patches(name):
    from sklearn.datasets import load_sample_image

    gray = torch.from_numpy(load_sample_image(name).copy()).float().div(255).mean(-1)
    gray = torch.nn.functional.avg_pool2d(gray[None], 2)[0]
    return [
        gray[i : i + 16, j : j + 16].contiguous() for i in range(gray.shape[0] - 15) for j in range(gray.shape[1] - 15)
    ]


def test_train_and_test_digits_are_disjoint():
    train, test = ({bytes(d.numpy()) for d in digit_images(2000, 5, train=part)} for part in (True, False))
    assert not train & test


@pytest.mark.parametrize("experiment", [SquareRoot(), Gaussian(), FarFieldPhaseRetrieval(frame=(16, 16))])
def test_train_and_test_differ_and_small_sets_are_part_of_large_ones(experiment):
    data = experiment.axes["data"][0]
    small, large = (experiment.split(data, "exact", n, 0) for n in (20, 30))
    assert torch.allclose(small.train[1], large.train[1][:20], atol=1e-6)
    assert torch.equal(small.test[1], large.test[1])
    assert not torch.isclose(small.train[0][:, None], small.test[0][None, :20]).flatten(2).all(-1).any()
    assert torch.equal(small.test[1], experiment.split(data, "exact", 20, 1).test[1])


# ------------------------------------------------------------------------------------------------------- training


def line(n=64):
    """Pairs (y, x) of a map that is easy to learn."""
    y = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(y, y.sum(1, keepdim=True))


def learner(plan, seed=0):
    torch.manual_seed(0)
    y, x = line().tensors
    return Regression(
        torch.nn.Sequential(MLP(3, 1, width=8), torch.nn.Dropout(0.1)),
        y,
        x,
        feature="intensity",
        training=plan,
        seed=seed,
    )


def test_training_ends_at_the_plateau_and_keeps_the_best(tmp_path):
    plan = Training(max_epochs=500, patience=2, batch_size=16, learning_rate=1e-2)
    model = learner(plan)
    curves = fit(model, line(), line(20), folder=tmp_path, hardware=CPU)
    assert 10 < len(curves.validation) < 500
    best = min(curves.validation)
    assert min(curves.validation[-3 * plan.patience :]) >= best * (1 - 1e-6)
    y, x = line(20).tensors
    assert (model.predict(y) - x).square().mean().item() == pytest.approx(best, rel=1e-4)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-2
    assert torch.allclose(saved["state_dict"]["mean"], line().tensors[0].mean(0))  # the statistics travel along


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", [0, 1, 5, 11])
def test_interrupted_training_goes_on_with_the_same_numbers(when, tmp_path, monkeypatch):
    plan = Training(max_epochs=12, patience=1, batch_size=16)
    straight = learner(plan)
    expected = fit(straight, line(), line(20), folder=tmp_path / "straight", hardware=CPU)
    step = Regression.training_step

    def killing(self, batch):
        if self.current_epoch == when and self.trainer.is_last_batch:
            raise Killed
        return step(self, batch)

    when = min(when, len(expected.train) - 1)
    monkeypatch.setattr(Regression, "training_step", killing)
    with pytest.raises(Killed):
        fit(learner(plan), line(), line(20), folder=tmp_path / "killed", hardware=CPU)
    monkeypatch.setattr(Regression, "training_step", step)
    again = learner(plan)
    assert fit(again, line(), line(20), folder=tmp_path / "killed", hardware=CPU) == expected
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), straight.state_dict().values(), strict=True)
    )
    # ... and once more after its end: nothing is left to do.
    assert fit(learner(plan), line(), line(20), folder=tmp_path / "killed", hardware=CPU) == expected


def test_a_moved_training_goes_on_with_its_best_epoch(tmp_path):
    y = torch.linspace(0, 1, 64)[:, None]
    train, validation = TensorDataset(y, 2 * y), TensorDataset(y, y / 2)  # the first epochs are the best ones

    def trained(epochs, folder):
        torch.manual_seed(0)
        plan = Training(max_epochs=epochs, batch_size=16, learning_rate=0.05)
        model = Regression(torch.nn.Linear(1, 1), *train.tensors, feature="intensity", training=plan)
        curves = fit(model, train, validation, folder=folder, hardware=CPU)
        return curves, model.predict(y)

    curves, expected = trained(10, tmp_path / "straight")
    assert curves.validation.index(min(curves.validation)) < 6
    trained(6, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    for _ in range(2):  # ... and once more after its end
        found = trained(10, tmp_path / "b")
        assert found[0] == curves
        assert len(found[0].seconds) == 10
        assert torch.equal(found[1], expected)


def test_seconds_of_a_row_are_those_of_all_epochs(tmp_path, monkeypatch):
    curves = Curves(train=[1.0, 1.0], validation=[1.0, 1.0], seconds=[30.0, 12.34])  # the first before a resumption
    monkeypatch.setattr("torch_symbreak.experiments.predictors.fit", lambda *args, **kwargs: curves)
    grid = Grid(data=("uniform",), networks=("dnn",), breaking=("exact",), samples=(40,))
    rows = SquareRoot().run(grid, tmp_path, hardware=CPU)
    assert [row["seconds"] for row in rows if row["network"] == "dnn"] == [42.3]


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def pressed(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Regression, "training_step", pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="resume to go on"):  # Lightning would leave the process
        fit(learner(Training()), line(), line(20), folder=tmp_path, hardware=CPU)
    assert signal.getsignal(signal.SIGINT) is before  # Lightning would ignore the next one


def test_an_exit_that_is_no_ctrl_c_stays_one(tmp_path, monkeypatch):
    def left(self, batch):
        raise SystemExit(143)  # as a handler of SIGTERM would

    monkeypatch.setattr(Regression, "training_step", left)
    with pytest.raises(SystemExit, match="143"):
        fit(learner(Training()), line(), line(20), folder=tmp_path, hardware=CPU)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_named(name, tmp_path):
    plan = Training(max_epochs=2)
    fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)
    checkpoint = tmp_path / name
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(RuntimeError, match=f"{name} is damaged or missing. Delete"):
        fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)


def test_diverging_training_says_so(tmp_path):
    plan = Training(max_epochs=3, learning_rate=1e20)
    with pytest.raises(RuntimeError, match="diverged"):
        fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)


COMMAND = (
    *(sys.executable, "-m", "torch_symbreak.cli", "reproduce", "gaussian", "--dims", "3", "--samples", "300,500"),
    *("--epochs", "8", "--batch-size", "32", "--device", "cpu", "--resume"),
)
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_killed_runs_resume_to_the_same_table(tmp_path):
    """SIGKILL at random moments, then --resume, until the end."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    start = time.monotonic()
    subprocess.run([*COMMAND, "--out", straight], check=True, env=ALONE, capture_output=True)
    duration = time.monotonic() - start
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            [*COMMAND, "--out", killed], env=ALONE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(duration * moments.uniform(0.4, 0.95))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*COMMAND, "--out", killed], check=True, env=ALONE, capture_output=True)
    assert numbers(read_rows(killed)) == numbers(read_rows(straight))
    assert (killed / "table.md").read_text() == (straight / "table.md").read_text()


def test_two_processes_make_one_table(tmp_path):
    """Lightning's distributed data parallel, on the CPU."""
    ended = subprocess.run(
        [*(part for part in COMMAND if part != "--resume"), "--devices", "2", "--networks", "dnn", "--out", tmp_path],
        env=ALONE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    rows = read_rows(tmp_path)
    assert [row["network"] for row in rows] == ["constant", "dnn"] * 4
    assert all(row["epochs"] == 8 for row in rows if row["network"] == "dnn")
    assert ended.stdout.count("[2/8]") == 1


# --------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "needs to be one of quick, cpu, paper"),
        (["--data", "cats"], "data of farfield needs to be among crystals, photographs, digits, but got 'cats'"),
        (["--networks", "resnet"], "networks of farfield needs to be among unet, sisprnet"),
        (["--breaking", "all"], "breaking of farfield needs to be among none"),
        (["--samples", "-3"], "samples needs to be at least 20, but got -3"),
        (["--samples", "100.5"], "needs whole numbers"),
        (["--samples", "many"], "needs whole numbers"),
        (["--samples", ","], "samples needs at least one value"),
        (["--repeats", "0"], "repeats needs to be at least 1"),
        (["--epochs", "0"], "max_epochs needs to be at least 1"),
        (["--learning-rate", "nan"], "learning_rate needs to be positive"),
        (["--device", "tpu"], "auto, cpu or cuda"),
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
    assert "one of square, gaussian, farfield, but got 'cube'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_is_a_wrong_argument(tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path, "--device", "cuda") == 2
    assert "finds no CUDA device" in capsys.readouterr().err


def test_rows_are_neither_overwritten_nor_mixed(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        few = ("--samples", 40, "--networks", "knn", "--out", tmp_path)
        status = symbreak(monkeypatch, "reproduce", "square", *few, *arguments)
        return status or 0, capsys.readouterr().err

    assert run()[0] == 0
    before = (tmp_path / "results.jsonl").read_bytes()
    status, error = run()
    assert status == 2
    assert "has 4 rows. Add --resume" in error
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
    """In a fresh interpreter in which the package cannot be imported."""
    code = f"import sys; sys.modules[{missing!r}] = None; from torch_symbreak.cli import main; main()"
    command = [sys.executable, "-c", code, "reproduce", "farfield", "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert ended.returncode == 1
    assert 'pip install "torch_symbreak[experiments]"' in ended.stderr
    assert missing in ended.stderr
    assert "Traceback" not in ended.stderr


def test_version(monkeypatch, capsys):
    import torch_symbreak

    assert symbreak(monkeypatch, "--version") in (0, None)
    assert capsys.readouterr().out == f"symbreak {torch_symbreak.__version__}\n"


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
    with locked(tmp_path), pytest.raises(FileExistsError, match="Another run is at work"):
        SquareRoot().run(grid, tmp_path)
    assert len(SquareRoot().run(grid, tmp_path)) == 2


def test_checkpoints_of_other_parameters_are_not_gone_on_with(tmp_path, monkeypatch):
    grid = Grid(data=("uniform",), networks=("dnn",), breaking=("exact",), samples=(40,))

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Regression, "predict", killed)  # after the training, before its row
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
