"""The experiment through its command: what it writes, that its numbers mean what they say, and how it fails."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
from torch_symbreak import FarField, cli, sa_mse
from torch_symbreak.experiments import FarFieldParameters, run
from torch_symbreak.experiments.farfield import DATA, digit_images, pairs
from torch_symbreak.models import UNet

METRICS = ("test_mse", "test_sa_mse", "train_mse", "train_sa_mse")


def symbreak(monkeypatch, *arguments):
    """Run the command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def farfield(monkeypatch, out, *, data="crystals", seed=0):
    arguments = ("--data", data, "--seed", seed, "--out", out, "--samples", 64, "--epochs", 1, "--device", "cpu")
    assert symbreak(monkeypatch, "reproduce", "farfield", *arguments) in (0, None)
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize(
    ("detector", "frame"),
    [((48, 48), (24, 24)), ((33, 33), (17, 17)), ((31, 20), (16, 9)), ((40, 25), (24, 24)), ((9, 5), (9, 1))],
)
def test_unet_shapes_and_receptive_field(detector, frame):
    network = UNet(detector, frame).eval()
    y = torch.randn(2, 1, *detector, requires_grad=True)
    out = network(y)
    assert out.shape == (2, 2, *frame)
    out[0, :, frame[0] // 2, frame[1] // 2].sum().backward()
    assert y.grad[1].count_nonzero() == 0
    corners = y.grad[0, 0][:: detector[0] - 1, :: detector[1] - 1]
    assert corners.count_nonzero() == 4, "the middle of the object does not see the whole detector"


def test_unet_refuses_sizes():
    with pytest.raises(ValueError, match="at least the frame's shape"):
        UNet((8, 8), (9, 8))
    with pytest.raises(ValueError, match="needs measurements of shape"):
        UNet((8, 8), (4, 4))(torch.zeros(1, 1, 9, 8))


@pytest.mark.parametrize("data", DATA)
def test_command_writes_what_it_measured(data, tmp_path, monkeypatch, capsys):
    results = farfield(monkeypatch, tmp_path, data=data)
    names = ["curves.png", "objects.png", "results.json", "table.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names  # nothing temporary is left
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names[:2])
    printed = capsys.readouterr().out.replace("\n", "")
    assert all(name in printed for name in names)

    rows = {(row["targets"], row["predictor"]): row for row in results["rows"]}
    assert list(rows) == [(t, p) for t in ("before", "after") for p in ("unet", "constant")]
    for (targets, _), row in rows.items():
        for metric in METRICS:
            assert math.isfinite(row[metric])
            assert row[f"{metric}_share"] == pytest.approx(row[metric] / rows[targets, "constant"][metric], rel=1e-9)
        assert row["test_sa_mse"] <= row["test_mse"] * (1 + 1e-6)
        assert row["train_sa_mse"] <= row["train_mse"] * (1 + 1e-6)
    for predictor, ratios in results["ratios"].items():
        for metric, ratio in ratios.items():
            quotient = rows["before", predictor][metric] / rows["after", predictor][metric]
            assert ratio == pytest.approx(quotient, rel=1e-9)
    assert results["data"] == data
    assert results["parameters"]["samples"] == 64
    assert len(results["curves"]["after"]["test"]) == 1
    # The last point of the curve is the test error of the row: the same network, measured twice.
    assert results["curves"]["after"]["test"][-1] == pytest.approx(rows["after", "unet"]["test_mse"], rel=1e-4)
    table = (tmp_path / "table.md").read_text()
    assert f"{rows['after', 'unet']['test_mse']:.4f}" in table


def test_constant_predictor_is_what_it_says(tmp_path, monkeypatch):
    rows = {(row["targets"], row["predictor"]): row for row in farfield(monkeypatch, tmp_path)["rows"]}
    parameters = FarFieldParameters(data="crystals", samples=64)
    for targets in ("before", "after"):
        train, test = (pairs(parameters, targets, train=part).tensors[1] for part in (True, False))
        mean = sum(train) / len(train)
        errors = torch.stack([(mean - x).abs().square().mean() for x in test])
        row = rows[targets, "constant"]
        assert row["test_mse"] == pytest.approx(errors.mean().item(), rel=1e-4)
        aligned = sa_mse(mean.expand_as(test), test, FarField().symmetries)
        assert row["test_sa_mse"] == pytest.approx(aligned.item(), rel=1e-6)


def test_same_seed_same_numbers():
    sizes = {"data": "crystals", "samples": 64, "test_samples": 16, "epochs": 2, "width": 4}
    first, again, other = (run(FarFieldParameters(seed=seed, **sizes)) for seed in (3, 3, 4))
    assert first.rows == again.rows
    assert first.curves == again.curves
    assert first.rows != other.rows


def test_before_and_after_are_the_same_measurements():
    few = FarFieldParameters(samples=8)
    (y, scrambled), (same, canonical) = (pairs(few, targets, train=True).tensors for targets in ("before", "after"))
    assert torch.equal(y, same)
    assert not torch.allclose(scrambled, canonical, atol=1e-2)
    assert torch.allclose(scrambled.abs().flatten(1).sort()[0], canonical.abs().flatten(1).sort()[0], atol=1e-5)


def test_train_and_test_come_from_different_photographs():
    parameters = FarFieldParameters(samples=40, test_samples=40)
    every = {name: {bytes(p.numpy()) for p in _all_patches(name)} for name in ("flower.jpg", "china.jpg")}
    for train, own, other in ((True, "flower.jpg", "china.jpg"), (False, "china.jpg", "flower.jpg")):
        data = DATA["photographs"](40, 2 * parameters.seed + (not train), train)
        drawn = {bytes(image.contiguous().numpy()) for image in data.images}
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset needs to be one of quick"),
        (["--data", "cats"], "data needs to be one of photographs, digits, crystals"),
        (["--samples", "-3"], "samples needs to be at least 2, but got -3"),
        (["--epochs", "0"], "epochs needs to be at least 1"),
        (["--device", "tpu"], "auto, cpu or cuda"),
        (["--samples", "many"], "--samples"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_arguments_end_with_2(arguments, message, tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_is_a_wrong_argument(tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path, "--device", "cuda") == 2
    assert "finds no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("debug", [False, True])
def test_failures_end_with_1(debug, tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("torch_symbreak.experiments.run", broken)
    flag = ["--debug"] if debug else []
    assert symbreak(monkeypatch, "reproduce", "farfield", "--out", tmp_path, *flag) == 1
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
