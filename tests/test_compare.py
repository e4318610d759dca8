"""``symbreak compare``: two files in, metrics, the elements and a picture out."""

from __future__ import annotations

import csv
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_symbreak import FarField, RandomSymmetry, align, cli, relative_error, sa_mse
from torch_symbreak.io import read_array
from torch_symbreak.metrics import compare, sa_psnr, sa_ssim
from torch_symbreak.symmetries import Element, Product, Scale, Sign


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    pytest.importorskip("typer")
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
    comparison = compare(x, r, symmetries)
    assert comparison.aligned["MSE"] == pytest.approx(float(sa_mse(x, r, symmetries)))
    assert comparison.aligned["relative error"] == pytest.approx(float(relative_error(x, r, symmetries)))
    assert comparison.aligned["PSNR (dB)"] == pytest.approx(float(sa_psnr(x, r, symmetries)))
    assert comparison.aligned["SSIM of magnitudes"] == pytest.approx(float(sa_ssim(x, r, symmetries)))
    assert comparison.raw["MSE"] == pytest.approx(float((x - r).abs().square().mean()), rel=1e-5)
    norms = torch.linalg.vector_norm(x - r, dim=(1, 2)) / torch.linalg.vector_norm(r, dim=(1, 2))
    assert comparison.raw["relative error"] == pytest.approx(float(norms.mean()), rel=1e-5)
    assert comparison.raw["SSIM of magnitudes"] < comparison.aligned["SSIM of magnitudes"]


def test_equal_and_zero_items() -> None:
    """0/0 counts as 0, and the error of anything against a zero truth is infinite: as in the metrics."""
    _, r = pair()
    same = compare(r, r, FarField().symmetries)
    assert (same.raw["relative error"], same.raw["PSNR (dB)"]) == (0, math.inf)
    zero = torch.zeros(2, 4)
    assert compare(zero, zero, Sign(1)).raw["relative error"] == 0
    against_zero = compare(zero + 1, zero, Sign(1))
    assert (against_zero.raw["relative error"], against_zero.raw["PSNR (dB)"]) == (math.inf, -math.inf)


def test_an_element_says_what_it_does() -> None:
    x = torch.zeros(4, 8, 8, dtype=torch.complex64)
    x[:, 1:4, 2:7] = 1
    flipped = torch.tensor([False, True, True, False])
    shift = torch.tensor([[0, 0], [4, 8], [7, 8], [2, -1]])
    phase = 0.7
    scalar = torch.polar(torch.tensor([1.0, 1.0, 1.0, 1.2]), torch.tensor([0.0, 0.0, phase, 0.0]))
    assert Element(flipped, shift, scalar).describe(x) == [
        "unchanged",
        "flipped",
        "flipped, then moved by (3, 0), phase 0.70 rad",
        "moved by (2, -1), scaled by 1.2",
    ]
    signs = Product([Sign(0), Scale(0)]).identity(torch.ones(3))._replace(scalar=torch.tensor([1.0, -1.0, -2.0]))
    assert signs.describe(torch.ones(3)) == ["unchanged", "sign -1", "sign -1, scaled by 2"]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_command(dims: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    x, r = pair()
    np.save(tmp_path / "a.npy", x.numpy())
    np.savez(tmp_path / "b.npz", truth=r.numpy(), other=np.zeros(3))
    arguments = [tmp_path / "a.npy", tmp_path / "b.npz", "--key-b", "truth", "--event-dims", dims]
    assert run(monkeypatch, *arguments, "--out", tmp_path / "c.png") == 0
    printed = capsys.readouterr().out
    comparison = compare(x, r, FarField(dims).symmetries)
    assert f"{comparison.aligned['relative error']:.6g}" in printed
    assert f"{comparison.raw['MSE']:.6g}" in printed
    sentences = comparison.alignment.element.describe(x)
    assert all(f"item {index}: {sentence}\n" in printed for index, sentence in enumerate(sentences[:5]))
    assert ("... and " in printed) is (len(sentences) > 5)
    assert (tmp_path / "c.png").read_bytes()[1:4] == b"PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npz", "c.png"]


@pytest.mark.parametrize(("forward", "items"), [("gaussian", 4), ("square", 24)])
def test_other_models(
    forward: str, items: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    r = 1 + np.random.default_rng(0).random(size=(4, 6))
    np.save(tmp_path / "a.npy", np.where(np.arange(4)[:, None] == 1, -r, r))
    np.save(tmp_path / "b.npy", r)
    out = tmp_path / "c.png"
    assert run(monkeypatch, tmp_path / "a.npy", tmp_path / "b.npy", "--forward", forward, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "item 0: unchanged" in printed
    assert ("item 1: sign -1" in printed) is (forward == "gaussian")
    assert printed.count("item ") == min(items, 5)
    assert out.exists()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill the working directory with a good file and damaged ones."""
    monkeypatch.chdir(tmp_path)
    np.save("good.npy", np.ones((8, 8), np.complex64))
    np.save("small.npy", np.ones((7, 8), np.complex64))
    np.save("int.npy", np.ones((8, 8), int))
    np.save("object.npy", np.array([{}]), allow_pickle=True)
    np.save("nan.npy", np.full((8, 8), np.nan, np.complex64))
    np.savez("two.npz", p=np.ones((8, 8)), q=np.ones((8, 8)))
    np.save("real.npy", np.ones((8, 8)))
    Path("mine.csv").write_text("mine")
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:100])
    Path("text.txt").write_text("x")
    Path("folder.csv").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.npy"], "There is no file"),
        (["small.npy"], "(8, 8) and (7, 8)"),
        (["int.npy"], "dtype int64, which cannot be that of a target"),
        (["object.npy"], "Python objects"),
        (["nan.npy"], "64 NaN"),
        (["two.npz"], "Say which: --key-b p, or --key-b q"),
        (["cut.npy"], "cannot be read as .npy"),
        (["text.txt"], "none of the suffixes that are read"),
        (["real.npy"], "good.npy has complex targets and"),
        (["good.npy", "--item", "1"], "--item needs a number from 0 to 0, but got 1"),
        (["good.npy", "--csv", "good.npy"], "The table is a CSV file"),
        (["good.npy", "--csv", "text.txt"], "The table is a CSV file"),
        (["good.npy", "--csv", "mine.csv"], "mine.csv exists. To replace it: --overwrite."),
        (["good.npy", "--csv", "folder.csv", "--overwrite"], "is a folder"),
        (["good.npy", "--forward", "gausian"], "Did you mean 'gaussian'?"),
        (["good.npy", "--out", "good.npy", "--overwrite"], "The picture is a PNG file"),
    ],
)
def test_bad_calls(
    arguments: list[str],
    message: str,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    before = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
    assert run(monkeypatch, "good.npy", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()} == before


def test_read_array(files: Path) -> None:
    with pytest.raises(KeyError, match=r"no array 'r'.*\['p', 'q'\]"):
        read_array("two.npz", "r")
    np.save("big-endian.npy", np.ones(3, ">f8"))
    assert read_array("big-endian.npy").dtype == torch.float64


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("keep.txt", "Name it keep.png"),
        ("text.png", "text.png exists. To replace it: --overwrite."),
        ("link.png", "link.png exists. To replace it: --overwrite."),
        ("lost.png", "lost.png exists. To replace it: --overwrite."),
    ],
)
def test_the_picture_replaces_nothing_unasked(
    out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", pair()[1].numpy())
    for name in ("keep.txt", "text.png"):
        Path(name).write_text("precious")
    Path("link.png").symlink_to("keep.txt")
    Path("lost.png").symlink_to("nowhere.png")
    assert run(monkeypatch, "a.npy", "a.npy", "--out", out) == 2
    assert message in capsys.readouterr().err
    assert Path("keep.txt").read_text() == Path("text.png").read_text() == "precious"


def test_elements_on_a_torus_are_told_by_the_shortest_move() -> None:
    values = torch.tensor([1, 2 + 1j, 3, 0.5j])
    x, r = torch.zeros(2, 12, dtype=torch.complex64), torch.zeros(2, 12, dtype=torch.complex64)
    x[:, [11, 0, 1, 2]] = values
    r[0, [11, 0, 1, 2]], r[1, [10, 11, 0, 1]] = values.flip(0).conj(), values
    element = align(x, r, FarField(1, oversampling=1.0).symmetries).element
    assert element.describe(x, wrap=True) == ["flipped", "moved by (-1)"]


def test_every_format_in_blocks_with_a_table_and_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Means over blocks are the means over all, and the table has what `compare` gives for each item."""
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    generator = torch.Generator().manual_seed(1)
    r = torch.nn.functional.pad(torch.randn(11, 7, 6, dtype=torch.complex64, generator=generator), (2, 1, 1, 2))
    noisy = r + 0.1 * (r != 0) * torch.randn(r.shape, dtype=r.dtype, generator=generator)
    x = RandomSymmetry(FarField().symmetries, generator=generator)(noisy)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan/real"], file["scan/imag"], file["other"] = x.real, x.imag, x.numpy()
    zarr.save_array(tmp_path / "b.zarr", np.moveaxis(torch.stack([r.real, r.imag], 1).numpy(), 0, -1))
    monkeypatch.setattr(importlib.import_module("torch_symbreak.cli.compare"), "BLOCK", 2000)
    made = tmp_path / "new" / "folder"
    options = ["--key-a", "scan", "--axes-b", "r,y,x,n", "--event-dims", 2, "--item", 9]
    outputs = ["--out", made / "c.png", "--csv", made / "c.csv"]
    assert run(monkeypatch, tmp_path / "a.h5", tmp_path / "b.zarr", *options, *outputs) == 0
    printed = capsys.readouterr().out
    whole = compare(x, r, FarField().symmetries)
    for name in whole.raw:
        line = next(line for line in printed.splitlines() if line.strip().startswith(name))
        shown = [float(word) for word in line.split()[-2:]]
        assert shown == pytest.approx([whole.raw[name], whole.aligned[name]], rel=1e-4)
    with (made / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["item"]) for row in rows] == list(range(11))
    for name in whole.raw:
        for which, items in (("raw", whole.raw_items), ("aligned", whole.aligned_items)):
            assert [float(row[f"{name} {which}"]) for row in rows] == pytest.approx(items[name].tolist(), rel=1e-4)
    element = whole.alignment.element
    assert [int(row["flipped"]) for row in rows] == element.flipped.int().tolist()
    assert [[int(row["shift 0"]), int(row["shift 1"])] for row in rows] == element.shift.tolist()
    assert [float(row["phase (rad)"]) for row in rows] == pytest.approx(element.scalar.angle().tolist(), abs=1e-5)
    assert sorted(path.name for path in made.iterdir()) == ["c.csv", "c.png"]
    before = [(made / name).read_bytes() for name in ("c.csv", "c.png")]
    for name in ("c.png", "c.csv"):
        assert run(monkeypatch, tmp_path / "a.h5", tmp_path / "b.zarr", *options, *outputs) == 2
        assert f"{name} exists. To replace it: --overwrite." in capsys.readouterr().err
        (made / name).unlink()
    outputs.append("--overwrite")
    (made / "c.png").write_bytes(b"old")
    for _ in range(2):
        assert run(monkeypatch, tmp_path / "a.h5", tmp_path / "b.zarr", *options, *outputs) == 0
        assert [(made / name).read_bytes() for name in ("c.csv", "c.png")] == before


def test_the_picture_shows_the_item_its_errors_and_their_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    plots = pytest.importorskip("torch_symbreak.plots")
    x, r = pair()
    np.save(tmp_path / "a.npy", x.numpy())
    np.save(tmp_path / "b.npy", r.numpy())
    figures = []
    draw = plots.plot_comparison
    monkeypatch.setattr(plots, "plot_comparison", lambda *a, **k: figures.append(draw(*a, **k)) or figures[-1])
    assert run(monkeypatch, tmp_path / "a.npy", tmp_path / "b.npy", "--item", 2, "--out", tmp_path / "c.png") == 0
    (figure,) = figures
    assert figure.get_suptitle() == "a.npy against b.npy, item 2"
    whole = compare(x, r, FarField().symmetries)
    titles = [axes.get_title() for axes in figure.axes[:8]]
    for title, items in zip(titles[1:3], (whole.raw_items, whole.aligned_items), strict=True):
        assert title.endswith(f"relative error {float(items['relative error'][2]):.3g}")
    shown = [axes.images[0].get_array() for axes in figure.axes[:8]]
    assert np.allclose(shown[0], r[2].abs())
    assert np.allclose(shown[3], (x[2] - r[2]).abs(), atol=1e-6)
    assert np.allclose(shown[7], (whole.alignment.aligned[2] - r[2]).abs(), atol=1e-6)
    assert len(figure.axes) == 12  # four color bars


def test_a_row_that_fails_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    x, r = pair()
    x[2, 3, 4] = math.inf
    np.save(tmp_path / "a.npy", x.numpy())
    np.save(tmp_path / "b.npy", r.numpy())
    monkeypatch.setattr(importlib.import_module("torch_symbreak.cli.compare"), "BLOCK", 2000)
    names = [tmp_path / "a.npy", tmp_path / "b.npy", "--csv", tmp_path / "c.csv", "--out", tmp_path / "c.png"]
    assert run(monkeypatch, *names) == 2
    assert "0 NaN and 1 infinite entries" in (error := capsys.readouterr().err)
    assert "the first in item 2" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]
