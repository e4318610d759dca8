"""``symbreak compare``: two files in, metrics, the element and a picture out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_symbreak import FarField, RandomSymmetry, Sign, relative_error, sa_mse, sa_psnr, sa_ssim
from torch_symbreak.diagnostics import compare
from torch_symbreak.io import read_array

pytest.importorskip("typer")
from torch_symbreak import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    r = torch.nn.functional.pad(torch.randn(3, 9, 8, dtype=torch.complex64, generator=generator), (2, 4, 3, 1))
    noisy = r + 0.1 * (r != 0) * torch.randn(r.shape, dtype=r.dtype, generator=generator)
    return RandomSymmetry(FarField().symmetries, generator=generator)(noisy), r


def test_compare_agrees_with_the_metrics() -> None:
    x, r = pair()
    symmetries = FarField().symmetries
    found = compare(x, r, symmetries)
    assert found.aligned["MSE"] == pytest.approx(float(sa_mse(x, r, symmetries)))
    assert found.aligned["relative error"] == pytest.approx(float(relative_error(x, r, symmetries)))
    assert found.aligned["PSNR (dB)"] == pytest.approx(float(sa_psnr(x, r, symmetries)))
    assert found.aligned["SSIM of magnitudes"] == pytest.approx(float(sa_ssim(x, r, symmetries)))
    assert found.raw["MSE"] == pytest.approx(float((x - r).abs().square().mean()), rel=1e-5)
    assert found.raw["SSIM of magnitudes"] < found.aligned["SSIM of magnitudes"]
    assert compare(r, r, Sign(2) if not r.is_complex() else symmetries).raw["relative error"] == 0


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_command(dims: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    x, r = pair()
    np.save(tmp_path / "a.npy", x.numpy())
    np.savez(tmp_path / "b.npz", truth=r.numpy(), other=np.zeros(3))
    arguments = [tmp_path / "a.npy", tmp_path / "b.npz", "--key-b", "truth", "--event-dims", dims]
    assert run(monkeypatch, *arguments, "--out", tmp_path / "c.png") == 0
    printed = capsys.readouterr().out
    found = compare(x, r, FarField(dims).symmetries)
    assert f"{found.aligned['relative error']:.6g}" in printed
    assert f"{found.raw['MSE']:.6g}" in printed
    assert "item 0: orientation" in printed
    assert (tmp_path / "c.png").read_bytes()[1:4] == b"PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npz", "c.png"]


def test_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(4, 6)))
    for forward in ("gaussian", "square"):
        out = tmp_path / f"{forward}.png"
        assert run(monkeypatch, tmp_path / "a.npy", tmp_path / "a.npy", "--forward", forward, "--out", out) == 0
        assert out.exists()


def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    good = tmp_path / "good.npy"
    np.save(good, np.ones((8, 8), np.complex64))
    np.save(tmp_path / "small.npy", np.ones((7, 8), np.complex64))
    np.save(tmp_path / "int.npy", np.ones((8, 8), int))
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan, np.complex64))
    np.savez(tmp_path / "two.npz", p=np.ones(3), q=np.ones(3))
    (tmp_path / "cut.npy").write_bytes(good.read_bytes()[:100])
    (tmp_path / "text.txt").write_text("x")
    for name, message in (
        ("missing.npy", "There is no file"),
        ("small.npy", r"(8, 8) and (7, 8)"),
        ("int.npy", "torch.int64"),
        ("object.npy", "cannot be read"),
        ("nan.npy", "64 NaN"),
        ("two.npz", "['p', 'q']"),
        ("cut.npy", "cannot be read"),
        ("text.txt", "no .npy or .npz file"),
    ):
        assert run(monkeypatch, good, tmp_path / name, "--out", tmp_path / "c.png") == 2, name
        error = capsys.readouterr().err
        assert message in error, (name, error)
        assert "Traceback" not in error
    assert run(monkeypatch, good, good, "--forward", "nearfield") == 2
    assert "farfield, gaussian or square" in capsys.readouterr().err
    assert not (tmp_path / "c.png").exists()
    with pytest.raises(KeyError, match=r"no array 'r'.*\['p', 'q'\]"):
        read_array(tmp_path / "two.npz", "r")
    np.save(tmp_path / "big-endian.npy", np.ones(3, ">f8"))
    assert read_array(tmp_path / "big-endian.npy").dtype == torch.float64


def test_the_picture_never_replaces_an_array(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((8, 8), np.complex64))
    before = path.read_bytes()
    monkeypatch.setattr(sys, "argv", ["symbreak", "compare", str(path), str(path), "--out", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "would replace an array" in capsys.readouterr().err
    assert path.read_bytes() == before
