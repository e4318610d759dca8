"""``symbreak solve``: files of intensities in, objects, verdicts and pictures out."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("typer")
h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

from torch_symbreak import FarField, cli, relative_error  # noqa: E402
from torch_symbreak.cli import solve as command  # noqa: E402
from torch_symbreak.datasets import BraggCrystals  # noqa: E402
from torch_symbreak.io import open_file  # noqa: E402
from torch_symbreak.io.solutions import ARRAYS  # noqa: E402
from torch_symbreak.solvers import _choice, _run, solve  # noqa: E402

Y, X = (z.numpy() for z in BraggCrystals(4, frame=(16, 16), strain=0.5, seed=3).batch([0, 1, 2, 3]))
SHIFTED = np.fft.fftshift(Y, axes=(1, 2))
COUNTS = np.round(Y / Y.max() * 60_000)
#: Options of a run that takes no time, and finds nothing.
QUICK = ("--iterations", 12, "--starts", 2, "--no-pictures")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", "solve", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def whole(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in shape)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):  # type: ignore[no-untyped-def]
    """Run quickly in a folder of its own, and return the arrays of the output and what was said."""
    monkeypatch.chdir(tmp_path)

    def call(src: str, dst: str = "found.npz", *options: object) -> tuple[dict[str, np.ndarray], str]:
        status = run(monkeypatch, src, dst, *QUICK, *options)
        said = capsys.readouterr().err
        assert status == 0, said
        found = open_file(Path(dst))
        return {name: found.read(name, whole(found.arrays[name].shape)) for name in ARRAYS}, said

    return call


def test_unsolved_items_come_with_a_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {name: np.ones(3) for name in ("residual", "held_out", "agreement")}
    told = "To solve more: check --centered and --mask. Then try more --starts, or --method raar (under noise) or rrr."
    for words, wanted in ((["solved", "doubtful", "not solved"], True), (["solved", "doubtful", "solved"], False)):
        command._print_summary({**numbers, "verdict": np.array(words)})
        assert (told in capsys.readouterr().out) is wanted


def refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> str:
    """Return the one line that a refused call says. It leaves nothing behind."""
    before = sorted(path.name for path in Path().iterdir())
    status = run(monkeypatch, *arguments)
    *said, error = capsys.readouterr().err.splitlines()
    assert status == (1 if said else 2)  # 1: after the choice was told
    assert error.startswith("symbreak: ")
    assert sorted(path.name for path in Path().iterdir()) == before
    return error


def save(path: str, y: np.ndarray) -> None:
    if path.endswith(".npz"):
        np.savez_compressed(path, y=y)
    elif path.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file.create_dataset("entry/data", data=y, chunks=True, compression="gzip")
    elif path.endswith(".mat"):
        scipy_io.savemat(path, {"y": y.transpose(1, 2, 0)}, do_compression=True)
    elif path.endswith(".tif"):
        tifffile.imwrite(path, y, photometric="minisblack")
    elif path.endswith(".zarr"):
        zarr.create_array(path, shape=y.shape, chunks=(3, *y.shape[1:]), dtype=y.dtype)[:] = y
    elif path.endswith(".pt"):
        torch.save({"y": torch.from_numpy(y)}, path)
    else:
        np.save(path, y)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(a[name], b[name], equal_nan=name in ("agreement", "held_out")) for name in ARRAYS)


# ------------------------------------------------------------------------------------------------------ results


def test_from_a_file_to_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The objects agree with the truth, which the command does not see."""
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", y=Y[:2], truth=X[:2])
    assert run(monkeypatch, "in.npz", "found.h5", "--seed", 5) == 0
    shown = capsys.readouterr()
    assert "2 patterns of 32 x 32, float32, from one array: y (the only real array" in shown.err
    assert re.search(r"solved +2 +100%", shown.out)
    assert shown.out.splitlines()[-2:] == ["found-pictures", "found.h5"]
    assert "To solve more" not in shown.out
    with h5py.File("found.h5") as file:
        found = {name: file[name][()] for name in (*ARRAYS, "note")}
    assert found["verdict"].tolist() == [b"solved", b"solved"]
    error = relative_error(torch.from_numpy(found["object"]), X[:2], FarField().symmetries, reduction="none")
    assert (error < 0.05).all()
    note = json.loads(found["note"])
    assert (note["keys"], note["seed"], note["method"], note["input"]) == (["y"], 5, "hio", "in.npz")
    assert [path.name for path in sorted(Path("found-pictures").iterdir())] == ["item-0.png", "item-1.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in Path("found-pictures").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found-pictures", "found.h5", "in.npz"]


@pytest.mark.parametrize("suffix", ["npy", "npz", "h5", "mat", "tif", "zarr", "pt"])
def test_every_format_gives_the_same(suffix: str, quick) -> None:
    np.save("plain.npy", Y)
    save(f"in.{suffix}", Y)
    axes = ("--axes", "y,x,n") if suffix == "mat" else ()
    expected, _ = quick("plain.npy", "expected.npz")
    found, _ = quick(f"in.{suffix}", "found.h5", *axes)
    found["verdict"] = found["verdict"].astype(str)
    assert found["object"].shape == (4, 16, 16)
    assert same(found, expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, ">u2"])
def test_detector_counts(dtype: Any, quick) -> None:
    np.save("floats.npy", COUNTS.astype(np.float32))
    np.save("counts.npy", COUNTS.astype(dtype))
    expected, _ = quick("floats.npy", "expected.npz")
    found, said = quick("counts.npy")
    assert said.count("\n") == 1  # the choice alone
    assert np.allclose(found["residual"], expected["residual"], atol=1e-4)
    assert np.abs(found["object"] - expected["object"]).max() < 1e-2 * np.abs(expected["object"]).max()


def test_the_batch_keeps_its_shape_and_volumes_and_single_patterns_are_solved(quick) -> None:
    np.save("many.npy", Y.reshape(2, 2, 32, 32))
    np.save("one.npy", Y[0])
    np.save("volume.npy", np.abs(np.fft.fftn(X[0, :6, :6, None] * np.ones(5), (12, 12, 10), (0, 1, 2))) ** 2)
    np.save("flat.npy", Y)
    many, one = quick("many.npy")[0], quick("one.npy", "one.npz")[0]
    alike = quick("flat.npy", "alike.npz")[0]
    assert many["object"].shape == (2, 2, 16, 16)
    assert many["verdict"].shape == (2, 2)
    assert same({name: z.reshape(4, *z.shape[2:]) for name, z in many.items()}, alike)
    assert one["object"].shape == (16, 16)
    assert one["residual"].shape == ()
    assert quick("volume.npy", "v.npz", "--event-dims", 3)[0]["object"].shape == (6, 6, 5)


def test_centered_patterns(quick) -> None:
    np.save("in.npy", Y)
    np.save("shifted.npy", SHIFTED)
    expected, _ = quick("in.npy")
    found, said = quick("shifted.npy", "centered.npz", "--centered")
    assert same(found, expected)
    assert "--centered" not in said
    _, said = quick("shifted.npy", "wrong.npz")
    assert "as if zero frequency were in the middle. If it is there, type --centered." in said
    _, said = quick("in.npy", "wrong2.npz", "--centered")
    assert "as if zero frequency were at index 0. If it is there, leave out --centered." in said
    assert "model=" not in said


def test_centered_patterns_without_the_option_are_not_called_solved(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("shifted.npy", SHIFTED[:1])
    options = ("--starts", 4, "--no-pictures")
    for dst, more, verdict in (("wrong.npz", (), "doubtful"), ("right.npz", ("--centered",), "solved")):
        assert run(monkeypatch, "shifted.npy", dst, *options, *more) == 0
        assert ("doubtful: item 0" in capsys.readouterr().out) == (verdict == "doubtful")
        with np.load(dst) as found:
            assert found["verdict"].tolist() == [verdict]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_devices(device: str, quick) -> None:
    """Masks go there with the patterns. The output says where it was computed."""
    np.save("in.npy", Y)
    np.save("mask.npy", np.ones((32, 32), bool))
    expected, _ = quick("in.npy", "here.npz")
    found, _ = quick("in.npy", "there.npz", "--mask", "mask.npy", "--device", device)
    with np.load("there.npz") as file:
        used = json.loads(str(file["note"]))["device"]
    assert used == ("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    assert np.allclose(found["residual"], expected["residual"], atol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_torch_does_not_find(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y)
    error = refused(monkeypatch, capsys, "in.npy", "found.npz", "--device", "cuda")
    assert "device is cuda, but torch finds no CUDA device here. Use auto or cpu." in error
    assert "one of auto, cpu, cuda, but got 'gpu'" in refused(
        monkeypatch, capsys, "in.npy", "found.npz", "--device", "gpu"
    )


def test_masks_by_key_and_by_file(quick) -> None:
    """One for all, or one each; pixels that are not measured may hold anything."""
    mask = np.ones((32, 32), bool)
    mask[3:5], mask[0, 0] = False, False
    y = np.where(mask, Y, np.nan)
    np.savez("in.npz", intensity=y, good=mask, each=np.broadcast_to(mask, Y.shape), bytes=mask.astype(np.uint8))
    np.save("mask.npy", mask)
    np.savez("masks.npz", a=mask, b=~mask, c=(np.indices((32, 32)).sum(0) % 16 == 5) & mask)
    expected = solve(
        y, mask=mask, iterations=12, starts=2, generator=torch.Generator().manual_seed(0), progress=False
    )  # fmt: skip
    for number, name in enumerate(("good", "each", "bytes", "mask.npy", "masks.npz:a")):
        found, said = quick("in.npz", f"{number}.npz", "--key", "intensity", "--mask", name)
        assert "93.7% of the pixels are measured" in said
        assert "Few pixels" not in said
        assert np.allclose(found["residual"], expected.residual, atol=1e-4)
    said = quick("in.npz", "few.npz", "--key", "intensity", "--mask", "masks.npz:c")[1]
    assert "5.9% of the pixels are measured" in said
    assert "If the mask is True where pixels are bad, type in Python numpy.save('good.npy', mask == 0)" in said


def test_what_else_is_known(quick) -> None:
    """Options reach the solver: frame, support, number of pixels, signs."""
    small = np.abs(np.fft.fft2(np.abs(X[:, 2:14, 3:13]), (32, 32))) ** 2
    support = np.zeros((12, 10), bool)
    support[1:9, 2:9] = True
    np.savez("in.npz", y=small, support=support)
    found, _ = quick("in.npz", "a.npz", "--key", "y", "--frame", "12,10", "--support", "support")
    assert found["object"].shape == (4, 12, 10)
    assert found["support"].sum(axis=(1, 2)).tolist() == [56] * 4
    found, _ = quick("in.npz", "b.npz", "--key", "y", "--support-size", 40, "--nonnegative", "--oversampling", 3)
    assert found["object"].dtype == np.float32
    assert found["object"].shape == (4, 10, 10)
    assert found["object"].min() >= 0
    assert not same(
        quick("in.npz", "c.npz", "--key", "y", "--method", "er")[0], quick("in.npz", "d.npz", "--key", "y")[0]
    )


def test_negative_pixels_are_told_once(quick) -> None:
    y = Y.copy()
    y[1, 5, :3] = -1
    np.save("in.npy", y)
    found, said = quick("in.npy")
    assert "has 3 negative pixels. They count as zero. To leave them out: --mask." in said
    assert said.count("negative pixels") == 1
    np.save("zero.npy", y.clip(0))
    assert same(found, quick("zero.npy", "zero.npz")[0])


# ------------------------------------------------------------------------------------------------------ bad input


def bad(name: str) -> np.ndarray:
    y = {"complex": X, "zero": Y * (np.arange(4) != 2)[:, None, None], "negative": -Y}.get(name, Y).copy()
    if name == "NaN":
        y[3, 1, 2] = np.nan
    return y


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (bad("complex"), "", "in.npz holds only complex arrays, but solve wants intensities"),
        (bad("complex"), "--key y", "y of .*in.npz is complex, but solve wants intensities, .*save abs"),
        (bad("zero"), "", "y of .* has no positive value on any measured pixel of 1 items: 2. Drop them."),
        (bad("negative"), "", "no positive value on any measured pixel of 4 items: 0, 1, 2, 3"),
        (bad("NaN"), "", r"NaN or infinite pixels, the first in item 3 at \(1, 2\). .*--mask KEY or --mask FILE"),
        (Y > 0, "--key y", "y of .* has dtype bool, but solve wants integers or floats"),
        (Y[:0], "", r"holds no patterns: its shape is \(0, 32, 32\)"),
        (Y, "--key intensities", r"no array 'intensities'. It holds y: float32, \(4, 32, 32\)"),
        (Y, "--frame 20,20", "detector of at least 2 N - 1 .* Pass --support or --support-size, or a smaller frame"),
        (Y, "--frame 20", "frame"),
        (Y, "--frame 20,x", "--frame needs whole numbers"),
        (Y, "--oversampling 1", "Pass --support or --support-size"),
        (Y, "--starts 0", "starts >= 1"),
        (Y, "--mask m.npy", r"--mask array of .*m.npy has shape \(32, 31\), but needs \(32, 32\), or \(4, 32, 32\)"),
        (Y, "--seed 18446744073709551616", r"--seed needs a number from 0 to 2\^63 - 1, but got 18446744073709551616"),
        (Y, "--event-dims -1", "A pattern has 0 axes or more, but got --event-dims -1"),
        (Y, "--axes r,y,x", "Intensities have no real and imaginary parts, but got --axes r,y,x. Leave out r."),
        (Y > 0, "", r"holds no integers or floats, .* It holds y: bool, \(4, 32, 32\)"),
        (Y, "--mask m.npy:good", "but m.npy has no 'good'. Say which: --mask m.npy:array"),
        (Y, "--mask f.npy", "--mask array of .*f.npy has dtype float64: no bool. .* values > 0"),
        (Y, "--mask bits.npy", "bits.npy holds 4, but needs bools, or 0 and 1"),
        (Y, "--mask two.npz", "two.npz holds 2. Say which: --mask two.npz:a, or --mask two.npz:b"),
        (Y, "--mask nothing", "--mask nothing is neither an array of .*in.npz nor a file. That file holds y"),
        (Y, "--mask none.npy", "or check the mask, which is True where measured"),
        (Y, "--support dark.npy", "--support array of .*dark.npy is False everywhere in item 1. Leave it out."),
        (np.ones((2, 2, 2, 8, 8)), "--event-dims 4", "1 to 3 dimensions, but these have 4: --no-pictures"),
        (Y, "--support m.npy", r"--support array of .* needs \(16, 16\), or \(4, 16, 16\) with one for each pattern"),
        (
            np.ones((20, 20, 20)),
            "",
            "--axes n,y,x for 20 real patterns of 20 x 20, or --axes z,y,x for 1 real pattern",
        ),
    ],
)
def test_bad_input_gets_one_line(y: np.ndarray, options: str, message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", y=y)
    np.save("m.npy", np.ones((32, 31), bool))
    np.save("f.npy", np.ones((32, 32)))
    np.save("bits.npy", np.full((32, 32), 4, np.uint8))
    np.save("none.npy", np.zeros((32, 32), bool))
    np.save("dark.npy", np.ones((4, 16, 16), bool) & (np.arange(4) != 1)[:, None, None])
    np.savez("two.npz", a=np.ones((32, 32), bool), b=np.ones((32, 32), bool))
    assert re.search(message, refused(monkeypatch, capsys, "in.npz", "found.npz", *QUICK[:4], *options.split()))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": Y, "b": Y}, "2 arrays that may be the intensities. Say which: --key a, or --key b"),
        ({"detector_mask": Y, "b": Y}, "Say which: --key b, or --key detector_mask"),
        ({"amplitudes": Y}, "by its name it holds no intensities. If it does: --key amplitudes"),
        ({"object": Y}, "by its name it holds no intensities"),
        ({"labels": np.arange(3)}, "no integers or floats, of at most 64 bits, of at least 2 dimensions"),
    ],
)
def test_doubt_is_asked_about(arrays: dict[str, np.ndarray], message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", **arrays)
    assert message in refused(monkeypatch, capsys, "in.npz", "found.npz")


def test_many_arrays_have_one_mask(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("in.h5", "w") as file:
        for name in ("scan_0", "scan_1"):
            file[f"{name}/data"], file[f"{name}/good"] = Y[:2], np.ones((2, 32, 32), bool)
    error = refused(monkeypatch, capsys, "in.h5", "f.npz", "--key", "scan_*/data", "--mask", "scan_0/good")
    assert error.endswith("has shape (2, 32, 32), but needs (32, 32).")


@pytest.mark.parametrize(("name", "mask"), [("in.cxi", "entry/mask"), ("in.h5", "entry/pixel_mask")])
def test_masks_of_cxi_and_nexus_are_no_bools(tmp_path, monkeypatch, capsys, name, mask) -> None:
    """They are 0 where a pixel counts."""
    monkeypatch.chdir(tmp_path)
    with h5py.File(name, "w") as file:
        file["entry/data"], file[mask] = Y, np.zeros((32, 32), np.uint32)
    error = refused(monkeypatch, capsys, name, "f.npz", "--key", "entry/data", "--mask", mask)
    assert "0 where a pixel counts" in error
    assert "values == 0" in error


def test_a_mask_of_integers_that_hides_most_pixels_is_asked_about(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    bad = np.zeros((32, 32), np.uint8)
    bad[3:5] = 1
    np.savez("in.npz", intensity=Y, bad=bad)
    error = refused(monkeypatch, capsys, "in.npz", "f.npz", "--key", "intensity", "--mask", "bad")
    assert "holds integers and is 0 at 93.8% of the pixels" in error
    assert "numpy.save('good.npy', mask == 0), else numpy.save('good.npy', mask == 1)" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("in.npy found.zarr", "is an .npz or HDF5 file, but got .*found.zarr. Name it .*found.npz or .*found.h5"),
        ("in.npy nowhere/found.npz", "There is no folder .*nowhere"),
        ("missing.npy found.npz", "There is no file .*missing.npy"),
        ("empty.npy found.npz", "empty.npy is empty"),
        ("in.npz in.npz", "is the input, which is never changed"),
        ("in.npy mask.npz --mask mask.npz", "is the file of --mask"),
        ("in.zarr in.zarr/found.npz", "found.npz and the input .*in.zarr lie in one another. Name another place"),
        ("in.npy old.npz", "old.npz exists. To replace it: --overwrite"),
        ("in.npy new.npz", "new-pictures exists. To replace it: --overwrite"),
        ("in.npy new.npz --overwrite", "new-pictures holds mine.txt, which no run made"),
        ("in.npy link.npz --overwrite", "link-pictures is no folder, and is not replaced"),
    ],
)
def test_files_that_are_not_written(arguments: str, message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y)
    np.savez("in.npz", y=Y)
    np.savez("mask.npz", m=np.ones((32, 32), bool))
    save("in.zarr", Y)
    Path("empty.npy").touch()
    Path("old.npz").touch()
    Path("new-pictures").mkdir()
    Path("new-pictures/mine.txt").touch()
    Path("empty").mkdir()
    Path("link-pictures").symlink_to("empty")
    assert re.search(message, refused(monkeypatch, capsys, *arguments.split()))


def test_words_are_those_of_the_library() -> None:
    assert set(_run.METHODS) == set(command.METHODS)
    assert (_choice.SOLVED, _choice.DOUBTFUL, _choice.NOT_SOLVED) == command.VERDICTS


def test_arrays_called_like_measurements_are_offered_first(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", **dict.fromkeys(("a", "b", "c", "object", "z_intensity"), Y))
    error = refused(monkeypatch, capsys, "in.npz", "found.npz")
    assert "Say which: --key z_intensity, or --key a, or --key b, and 2 more" in error
