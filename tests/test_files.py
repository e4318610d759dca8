"""Files in and out: every format and layout, killed and resumed, bad input, the command, a dask cluster."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_symbreak import FarField, ScrambledDataset
from torch_symbreak.io import Plan, Targets, canonical, find, inspect, open_file, plan
from torch_symbreak.io.formats.base import Region
from torch_symbreak.io.formats.zarr import Zarr

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")
scipy_io = pytest.importorskip("scipy.io")
safetensors = pytest.importorskip("safetensors.numpy")
pytest.importorskip("typer")
from torch_symbreak import cli  # noqa: E402

FIX = FarField().canonicalizer()


def objects(count: int = 7, dtype: torch.dtype = torch.complex64) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, 6, dtype=dtype, generator=generator)
    return torch.nn.functional.pad(x, (1, 5, 3, 0)).numpy()


def channels(x: np.ndarray) -> np.ndarray:
    return np.stack([x.real, x.imag], 1)


def save_h5(path: Path, arrays: dict[str, np.ndarray], **options) -> None:
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file.create_dataset(key, data=value, **options)
        file["other/measured"] = np.arange(12)
        file["alias"] = file["other/measured"]
        file["soft"] = h5py.SoftLink("/other/measured")
        file.attrs["beamline"] = "P06"


def save_mat73(path: Path, x: np.ndarray) -> None:
    """As MATLAB does: axes turned around, complex numbers as a compound, a block of text in front."""
    with h5py.File(path, "w", userblock_size=512) as file:
        turned = np.ascontiguousarray(x.T)
        part = turned.real.dtype
        file["x"] = turned.view([("real", part), ("imag", part)]) if np.iscomplexobj(x) else turned
        file["x"].attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def save_zarr(path: Path, arrays: dict[str, np.ndarray], **options) -> None:
    group = zarr.open_group(path, mode="w", **options)
    for key, value in arrays.items():
        group.create_array(key, shape=value.shape, chunks=(3, *value.shape[1:]), dtype=value.dtype)[:] = value


X = objects()
POLAR = {"e/magnitude": np.abs(X), "e/phase": np.angle(X)}
PARTS = {"object_real": X.real, "object_imag": X.imag}
COMPOUND = X.view([("re", "f4"), ("im", "f4")])

#: name: how it is written, and what has to be said to read it.
CASES = {
    "complex.h5": (lambda p: save_h5(p, {"entry/data": X, "y": np.arange(3)}), {}),
    "compressed.cxi": (lambda p: save_h5(p, {"entry_1/image_1/data": X}, chunks=(2, 4, 12), compression="gzip"), {}),
    "big-endian.h5": (lambda p: save_h5(p, {"x": X.astype(">c16")}), {}),
    "compound.h5": (lambda p: save_h5(p, {"x": COMPOUND}), {}),
    "parts.h5": (lambda p: save_h5(p, PARTS), {}),
    "polar.h5": (lambda p: save_h5(p, POLAR), {}),
    "channels.h5": (lambda p: save_h5(p, {"x": channels(X)}), {"layout": "channels"}),
    "real.h5": (lambda p: save_h5(p, {"x": X.real}), {}),
    "one.h5": (lambda p: save_h5(p, {"x": X[0]}), {}),
    "grid.h5": (lambda p: save_h5(p, {"x": objects(6).reshape(2, 3, *X.shape[1:])}), {}),
    "last.h5": (lambda p: save_h5(p, {"x": np.moveaxis(X, 0, -1)}), {"batch_axis": -1}),
    "gaussian.h5": (lambda p: save_h5(p, {"x": X[:, 3:, 1:7].reshape(7, -1)}), {"forward": "gaussian"}),
    "square.h5": (lambda p: save_h5(p, {"x": X.real}), {"forward": "square"}),
    "a.npy": (lambda p: np.save(p, X), {}),
    "double.npy": (lambda p: np.save(p, objects(dtype=torch.complex128)), {}),
    "half.npy": (lambda p: np.save(p, X.real.astype("f2")), {}),
    "fortran.npy": (lambda p: np.save(p, np.asfortranarray(X)), {}),
    "a.npz": (lambda p: np.savez(p, x=X, y=np.arange(3)), {}),
    "parts.npz": (lambda p: np.savez(p, re=X.real, im=X.imag), {}),
    "compressed.npz": (lambda p: np.savez_compressed(p, x=X, y=np.arange(3)), {}),
    "v5.mat": (lambda p: scipy_io.savemat(p, {"x": X, "label": "text"}), {}),
    "v73.mat": (lambda p: save_mat73(p, X), {}),
    "pages.mat": (lambda p: save_mat73(p, np.moveaxis(X, 0, -1)), {"batch_axis": -1}),
    "real.tif": (lambda p: tifffile.imwrite(p, X.real, photometric="minisblack"), {}),
    "complex.tif": (lambda p: tifffile.imwrite(p, X, photometric="minisblack"), {}),
    "zlib.tiff": (lambda p: tifffile.imwrite(p, X.real, photometric="minisblack", compression="zlib"), {}),
    "channels.tif": (
        lambda p: tifffile.imwrite(p, channels(X), photometric="minisblack", byteorder=">"),
        {"layout": "channels"},
    ),
    "a.zarr": (lambda p: save_zarr(p, {"g/x": X, "y": np.arange(3)}), {}),
    "v2.zarr": (lambda p: save_zarr(p, PARTS, zarr_format=2), {}),
    "bare.zarr": (lambda p: zarr.save_array(p, X), {}),
    "bare.pt": (lambda p: torch.save(torch.from_numpy(X), p), {}),
    "dict.pt": (lambda p: torch.save({"a": {"x": torch.from_numpy(X)}, "n": 3, "y": torch.ones(2)}, p), {}),
    "a.safetensors": (lambda p: safetensors.save_file({"a/x": X, "y": np.arange(3)}, p), {}),
    "half.safetensors": (lambda p: safetensors.save_file({"x": X.real.astype("f2")}, p), {}),
    "double.safetensors": (
        lambda p: safetensors.save_file({"real": X.real.astype("f8"), "imag": X.imag.astype("f8")}, p),
        {},
    ),
}


def read(path: Path, targets: Targets) -> torch.Tensor:
    file = open_file(path)
    layout, _ = targets.find(file)
    return layout.read(file, ())


def everything(path: Path) -> dict[str, object]:
    """All arrays of a file, in full."""
    file = open_file(path)
    return {
        key: file.read(key, tuple(slice(0, n) for n in array.shape))
        for key, array in file.arrays.items()
        if key != "symbreak"
    }


@pytest.mark.parametrize("name", CASES)
def test_unbreak_undoes_break_and_scramble(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, options = CASES[name]
    monkeypatch.setattr(canonical, "BLOCK", 2000)  # a few targets
    src, out, back = (tmp_path / f"{stem}{Path(name).suffix}" for stem in ("in", "out", "back"))
    save(src)
    targets = Targets(**options)
    x, before = read(src, targets), everything(src)
    fix = targets.fix(x.dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-3 if "half" in name else 1e-5}
    for command in ("break", "scramble"):
        plan(command, src, out, targets, elements=True, seed=3, overwrite=True).run()
        changed = fix(x) if command == "break" else torch.stack([*ScrambledDataset(x, fix.symmetry, seed=3)])
        assert torch.allclose(read(out, targets), changed, **tolerance)
        assert not torch.allclose(changed, x, **tolerance)
        plan("unbreak", out, back, overwrite=True).run()
        assert torch.allclose(read(back, targets), x, **tolerance)
    after = everything(back)
    assert before.keys() == after.keys()
    layout, _ = targets.find(open_file(src))
    for key, array in before.items():
        assert array.dtype == after[key].dtype
        assert key in layout.keys or np.array_equal(array, after[key])
    note = inspect(back).note
    assert note["before"]["command"] == "scramble"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_rest_of_an_hdf5_file_is_carried_over(tmp_path: Path) -> None:
    save_h5(tmp_path / "a.h5", {"x": X})
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["x"].attrs["unit"] = "m"
        file["group/itself"] = file["group"] if "group" in file else file["other"]
    plan("break", tmp_path / "a.h5", tmp_path / "b.h5").run()
    with h5py.File(tmp_path / "b.h5") as file:
        assert file.attrs["beamline"] == "P06"
        assert file["x"].attrs["unit"] == "m"
        assert file["alias"] == file["other/measured"]
        assert file["group/itself"] == file["other"]
        assert isinstance(file.get("soft", getlink=True), h5py.SoftLink)
        note = json.loads(file.attrs["symbreak"])
    printed = subprocess.run(["sha256sum", tmp_path / "a.h5"], capture_output=True, text=True, check=True).stdout
    assert note["input_sha256"] == printed.split()[0]
    assert (note["command"], note["forward"], note["keys"], note["input"]) == ("break", "farfield", ["x"], "a.h5")


def test_a_target_of_two_names(tmp_path: Path) -> None:
    """Whichever of them is met first."""
    with h5py.File(tmp_path / "a.h5", "w", track_order=True, userblock_size=4096) as file:
        file.create_dataset("z", data=X, chunks=(1, 8, 12))
        file["a"] = file["z"]
    plan("break", tmp_path / "a.h5", tmp_path / "b.h5").run()
    assert (tmp_path / "b.h5").read_bytes()[:4096] == (tmp_path / "a.h5").read_bytes()[:4096]
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["a"] == file["z"]
        assert np.allclose(file["z"], FIX(torch.from_numpy(X)), atol=1e-5)


def test_one_number(tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.npy" for stem in ("in", "out", "back"))
    np.save(src, np.array(-3.0))
    plan("break", src, out, Targets("square"), elements=True).run()
    plan("unbreak", out, back).run()
    assert (np.load(out).tolist(), np.load(back).tolist()) == (3.0, -3.0)


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".npz", ".mat", ".pt", ".safetensors"])
def test_names_that_only_begin_like_ours(suffix: str, tmp_path: Path) -> None:
    arrays = {"symbreak_targets": X, "symbreaking": np.arange(12).reshape(3, 4)}
    save = {
        ".h5": lambda p: save_h5(p, arrays),
        ".zarr": lambda p: save_zarr(p, arrays),
        ".npz": lambda p: np.savez(p, **arrays),
        ".mat": lambda p: scipy_io.savemat(p, arrays),
        ".pt": lambda p: torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, p),
        ".safetensors": lambda p: safetensors.save_file(arrays, p),
    }
    src, out, back = (tmp_path / f"{stem}{suffix}" for stem in ("in", "out", "back"))
    save[suffix](src)
    plan("break", src, out, elements=True).run()
    plan("unbreak", out, back).run()
    before, after = everything(src), everything(back)
    assert before.keys() == after.keys()
    assert np.array_equal(after["symbreaking"], arrays["symbreaking"])
    assert np.allclose(after["symbreak_targets"], X, atol=1e-5)


def test_what_is_no_array_of_numbers_is_carried_over(tmp_path: Path) -> None:
    beside = {
        "conjugate": torch.from_numpy(X[:, 3, 1]).conj(),
        "eighth": torch.ones(3).to(torch.float8_e4m3fn),
        "brain": torch.ones(3, dtype=torch.bfloat16),
    }
    torch.save({"x": torch.from_numpy(X), **beside}, tmp_path / "in.pt")
    np.savez_compressed(tmp_path / "in.npz", x=X, found=np.array([{"at": 3}]))
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive:
        archive.writestr("x", "of whom this is")
    scipy_io.savemat(tmp_path / "in.mat", {"x": X, "good": X.real > 0, "how": {"n" * 50: 3}}, long_field_names=True)
    for suffix in (".pt", ".npz", ".mat"):
        plan("break", tmp_path / f"in{suffix}", tmp_path / f"out{suffix}").run()
        layout, _ = Targets().find(out := open_file(tmp_path / f"out{suffix}"))
        assert torch.allclose(layout.read(out, ()), FIX(torch.from_numpy(X)), atol=1e-5)
    content = torch.load(tmp_path / "out.pt")
    assert all(torch.equal(content[key].float(), value.float()) for key, value in beside.items() if key != "conjugate")
    assert torch.equal(content["conjugate"], beside["conjugate"])
    with np.load(tmp_path / "out.npz", allow_pickle=True) as archive:
        assert archive["found"][0] == {"at": 3}
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        assert archive.read("x") == b"of whom this is"
    assert ("good", X.shape, "logical") in scipy_io.whosmat(tmp_path / "out.mat")
    assert scipy_io.loadmat(tmp_path / "out.mat")["how"]["n" * 50][0, 0] == 3


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def in_child(call) -> int:
    """Run a call in a forked process and return its exit status, negative if a signal ended it."""
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join(60)
    return child.exitcode


class Deadline:
    """Kill this process in the given one of all calls of ours, in whatever thread."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame, event: str, argument: object) -> None:
        if event in ("call", "return") and "/torch_symbreak/io/" in frame.f_code.co_filename:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def run(self, planned: Plan) -> None:
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            planned.run()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


@pytest.mark.parametrize(
    "name", ["a.h5", "gzip.h5", "a.zarr", "a.npz", "a.npy", "a.tif", "zlib.tif", "a.mat", "a.pt", "a.safetensors"]
)
def test_killed_and_resumed_is_the_same_to_the_bit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 4000)
    suffix = Path(name).suffix
    src, out, undisturbed = (tmp_path / f"{stem}{suffix}" for stem in ("in", "out", "undisturbed"))
    x = objects(60)
    save = {
        "a.h5": lambda: save_h5(src, {"x": x}),
        "gzip.h5": lambda: save_h5(src, {"x": x}, chunks=(7, 8, 12), compression="gzip"),
        "a.zarr": lambda: save_zarr(src, {"x": x}),
        "a.npz": lambda: np.savez(src, x),
        "a.npy": lambda: np.save(src, x),
        "a.tif": lambda: tifffile.imwrite(src, x, photometric="minisblack"),
        "zlib.tif": lambda: tifffile.imwrite(src, x, photometric="minisblack", compression="zlib"),
        "a.mat": lambda: scipy_io.savemat(src, {"x": x}, do_compression=True),
        "a.pt": lambda: torch.save({"x": torch.from_numpy(x)}, src),
        "a.safetensors": lambda: safetensors.save_file({"x": x}, src),
    }
    save[name]()
    before = content(src)
    counting = Deadline(0)
    counting.run(plan("break", src, undisturbed, elements=True))
    draw = random.Random(name)
    planned, marks = plan("break", src, out, elements=True), []  # how far it was when it was killed
    while len(marks) < 3 or (not any(marks) and len(marks) < 20):
        number = draw.randrange(1, -counting.left // 2)  # a run that goes on makes fewer calls
        if in_child(lambda number=number: Deadline(number).run(planned)) == 0:
            out.unlink() if out.is_file() else shutil.rmtree(out)
            continue
        assert not out.exists()
        marks += [json.loads(path.read_text())["done"] for path in tmp_path.glob(".out*/progress.json")]
    assert any(marks)  # it did go on from somewhere
    planned.run()
    assert content(out) == content(undisturbed)
    assert content(src) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_ended_between_the_companion_and_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "in.npy", X)
    out, move = tmp_path / "out.npy", os.replace

    def ended(source: Path, destination: Path) -> None:
        if destination == out:
            raise KeyboardInterrupt
        move(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", ended)
        with pytest.raises(KeyboardInterrupt):
            plan("break", tmp_path / "in.npy", out, elements=True).run()
    assert not out.exists()
    plan("break", tmp_path / "in.npy", out, elements=True).run()
    plan("unbreak", out, tmp_path / "back.npy").run()
    assert np.allclose(np.load(tmp_path / "back.npy"), X, atol=1e-5)


@pytest.mark.slow
def test_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 4000)
    save_h5(tmp_path / "in.h5", {"x": objects(60)})
    for name, processes in (("one.h5", 1), ("two.h5", 2)):
        assert run(monkeypatch, "break", tmp_path / "in.h5", tmp_path / name, "--elements", "-j", processes) == 0
    assert content(tmp_path / "one.h5") == content(tmp_path / "two.h5")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.fixture
def bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill the working directory with good files, damaged files and files of others."""
    monkeypatch.chdir(tmp_path)
    save_h5(Path("good.h5"), {"x": X, "count": np.arange(9).reshape(3, 3)})
    save_h5(Path("two.h5"), {"a": X, "b": X})
    save_h5(Path("channels.h5"), {"x": channels(X)})
    Path("cut.h5").write_bytes(Path("good.h5").read_bytes()[:-300])
    np.save("good.npy", X)
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:-300])
    safetensors.save_file({"x": X}, "good.safetensors")
    Path("cut.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:-300])
    Path("noise.safetensors").write_bytes(b"nothing" * 100)
    safetensors.save_file({"x": X}, "noted.safetensors", {"symbreak": "mine"})
    np.save("object.npy", np.array([{}]), allow_pickle=True)
    torch.save({"x": Path()}, "pickled.pt")
    Path("noise.tif").write_bytes(b"nothing")
    tifffile.imwrite("whole.tif", X, photometric="minisblack", compression="zlib")
    Path("cut.tif").write_bytes(Path("whole.tif").read_bytes()[:-300])
    Path("noise.mat").write_bytes(b"nothing" * 100)
    scipy_io.savemat("4.mat", {"x": X[0]}, format="4")
    Path("folder.h5").mkdir()
    Path("empty.zarr").mkdir()
    Path("taken.h5").write_text("mine")
    Path("folder.zarr").mkdir()
    Path("taken.npy.symbreak.npz").write_text("mine")
    for name, note in (("text", "made by hand"), ("others", '{"command": "break"}'), ("number", 3)):
        shutil.copy("good.h5", f"{name}.h5")
        with h5py.File(f"{name}.h5", "a") as file:
            file.attrs["symbreak"] = note
    np.savez("noted.npz", x=X, symbreak=np.array("[]"))
    np.save("noted.npy", X)
    np.savez("noted.npy.symbreak.npz", symbreak=np.array("[]"))
    Path("link.h5").symlink_to("good.h5")
    os.link("good.h5", "hard.h5")
    save_zarr(Path("store.zarr"), {"x": X})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["good.h5", "out.h5", "--key", "z"],
            "has no array 'z'. It holds alias: int64, (12,); count: int64, (3, 3); x: complex64",
        ),
        (["good.h5", "out.h5", "--key", "count"], "int64, which cannot be that of a target"),
        (["two.h5", "out.h5"], "Say which: --key a, or --key b"),
        (
            ["channels.h5", "out.h5"],
            "--axes n,r,y,x for 7 complex targets of 8 x 12, or --axes n,n,y,x for 14 real targets",
        ),
        (["channels.h5", "out.h5", "--layout", "parts"], "needs two arrays"),
        (["good.h5", "out.h5", "--layout", "rows"], "plain, channels, parts, polar"),
        (["good.h5", "out.h5", "--forward", "square", "--key", "x"], "is complex"),
        (["good.h5", "out.h5", "--event-dims", "4", "--key", "x"], "--event-dims"),
        (["good.h5", "out.h5", "--forward", "farfeild"], "Did you mean 'farfield'?"),
        (["good.h5", "out.h5", "--threshold", "2"], "Give 0 or more, and less than 1"),
        (["good.h5", "out.h5", "-j", "0"], "at least one process"),
        (["cut.h5", "out.h5"], "truncated"),
        (["cut.npy", "out.npy"], "cut off"),
        (["object.npy", "out.npy"], "Python objects"),
        (["cut.safetensors", "out.safetensors"], "cannot be read as .safetensors"),
        (["noise.safetensors", "out.safetensors"], "cannot be read as .safetensors"),
        (["noted.safetensors", "out.safetensors"], "not of this package"),
        (["pickled.pt", "out.pt"], "cannot be read"),
        (["noise.tif", "out.tif"], "cannot be read"),
        (["cut.tif", "out.tif"], "cut off"),
        (["noise.mat", "out.mat"], "cannot be read"),
        (["4.mat", "out.mat"], "MATLAB 4. Save it with -v7"),
        (["folder.h5", "out.h5"], "is a folder"),
        (["empty.zarr", "out.zarr"], "cannot be read"),
        (["none.h5", "out.h5"], "There is no file"),
        (["good.h5", "none/out.h5"], "There is no folder"),
        (["good.h5", "out.npy"], "the same format"),
        (["good.h5", "taken.h5"], "--overwrite"),
        (["good.npy", "taken.npy"], "taken.npy.symbreak.npz exists. To replace it: --overwrite"),
        (["good.npy", "x" * 250 + ".npy"], "File name too long"),
        (["good.npy", "out.npy", "--oversampling", "0.5"], "oversampling >= 1"),
        (["good.npy", "out.npy", "--oversampling", "nan"], "oversampling >= 1"),
        (["text.h5", "out.h5"], "text.h5 has an entry 'symbreak' that is not of this package"),
        (["others.h5", "out.h5"], "not of this package"),
        (["number.h5", "out.h5"], "not of this package"),
        (["noted.npz", "out.npz"], "not of this package"),
        (["noted.npy", "out.npy"], "noted.npy.symbreak.npz has an entry 'symbreak' that is not of this package"),
        (["store.zarr", "folder.zarr", "--overwrite"], "cannot be read"),
        (["store.zarr", "store.zarr/x.zarr"], "lie in one another"),
        (["good.h5", "good.h5", "--overwrite"], "is the input"),
        (["good.h5", "link.h5", "--overwrite"], "is the input"),
        (["good.h5", "hard.h5", "--overwrite"], "is the input"),
    ],
)
def test_bad_calls_and_bad_files(
    arguments: list[str], message: str, bad_files: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    before = {path: content(path) for path in bad_files.iterdir()}
    assert run(monkeypatch, "break", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error.replace("\n", " ")
    assert "Traceback" not in error
    assert {path: content(path) for path in bad_files.iterdir()} == before


def test_nothing_to_unbreak(bad_files: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    before = {path: content(path) for path in bad_files.iterdir()}
    assert run(monkeypatch, "unbreak", "good.h5", "out.h5") == 2
    assert "no group elements" in capsys.readouterr().err
    assert {path: content(path) for path in bad_files.iterdir()} == before


def test_good_calls_beside_bad_files(bad_files: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert run(monkeypatch, "break", "good.h5", "taken.h5", "--overwrite", "--elements") == 0
    assert run(monkeypatch, "unbreak", "taken.h5", "out.h5") == 0
    assert run(monkeypatch, "break", "good.h5", "x" * 250 + ".h5") == 0
    assert run(monkeypatch, "break", "good.npy", "taken.npy", "--overwrite") == 0
    assert run(monkeypatch, "break", "store.zarr", "store2.zarr") == 0
    assert run(monkeypatch, "scramble", "store.zarr", "store2.zarr", "--overwrite", "--seed", 1) == 0
    assert run(monkeypatch, "break", "cut.h5", "out2.h5", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {"metadata": None}, {"imagej": True}, {}])
def test_a_tiff_that_is_cut_off_is_refused_or_all_there(options: dict[str, object], tmp_path: Path) -> None:
    """Wherever it is cut."""
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    x = X.real.copy()
    tifffile.imwrite(whole, x, photometric="minisblack", **options)
    refused = 0
    for end in range(300, whole.stat().st_size, 97):
        cut.write_bytes(whole.read_bytes()[:end])
        try:
            assert np.array_equal(everything(cut)["array"], x)
        except AssertionError:
            raise
        except Exception:
            refused += 1
    assert refused


def test_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 2000)
    x = objects(30)
    x[20, 3, 4] = np.nan
    x[25, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "out.npy") == 1
    assert "has 1 NaN and 12 infinite entries, the first in target 20 at (3, 4)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_an_input_that_changes_meanwhile(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = tmp_path / f"x{suffix}"
    x = objects(60)
    save_zarr(src, {"x": x}) if suffix == ".zarr" else np.save(src, x)
    monkeypatch.setattr(canonical, "BLOCK", 4000)

    def change(done: int, of: int) -> None:
        if done > of // 2:
            file = src / "x" / "c" / "0" / "0" / "0" if src.is_dir() else src
            file.write_bytes(file.read_bytes())

    with pytest.raises(ValueError, match=f"x{suffix} changed while it was read"):
        plan("break", src, tmp_path / f"out{suffix}").run(progress=change)
    assert [*tmp_path.iterdir()] == [src]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of a file stands for it; with it lifted, the run goes on."""
    monkeypatch.setattr(canonical, "BLOCK", 8000)
    np.save(tmp_path / "x.npy", objects(200))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        sys.stderr = (tmp_path / "stderr").open("w")
        sys.argv = ["symbreak", "break", f"{tmp_path}/x.npy", f"{tmp_path}/out.npy"]
        cli.main()

    assert in_child(limited) == 1
    error = (tmp_path / "stderr").read_text()
    assert "File too large" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.npy").exists()
    plan("break", tmp_path / "x.npy", tmp_path / "out.npy").run()
    assert np.allclose(np.load(tmp_path / "out.npy"), FIX(torch.from_numpy(objects(200))).numpy(), atol=1e-5)


def test_disk_full_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 8000)
    np.save(tmp_path / "x.npy", objects(200))
    write = Region.write

    def full(self: Region, index, values: np.ndarray) -> None:
        if index[0].start > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, index, values)

    with monkeypatch.context() as patch:
        patch.setattr(Region, "write", full)
        assert run(patch, "break", tmp_path / "x.npy", tmp_path / "out.npy") == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert error.count("Errno") == 1
    assert "kept: the same command goes on" in error
    assert not (tmp_path / "out.npy").exists()
    written = []
    monkeypatch.setattr(
        Region, "write", lambda self, index, values: (written.append(index), write(self, index, values))
    )
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "out.npy") == 0
    assert 0 < len(written) < 15  # not from the start
    assert np.allclose(np.load(tmp_path / "out.npy"), FIX(torch.from_numpy(objects(200))).numpy(), atol=1e-5)


def test_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    save_h5(tmp_path / "x.h5", POLAR)
    assert run(monkeypatch, "info", tmp_path / "x.h5") == 0
    printed = capsys.readouterr().out
    assert "e/phase: float32, (7, 8, 12)" in printed
    assert "7 targets of 8 x 12, complex64, from two arrays, magnitude and phase: e/magnitude, e/phase" in printed
    layout, reason = find(open_file(tmp_path / "x.h5"), key="e")
    assert (layout.kind, reason) == ("polar", "the key names it")
    np.save(tmp_path / "int.npy", np.zeros((3, 4, 4), int))
    assert run(monkeypatch, "info", tmp_path / "int.npy") == 2
    printed = capsys.readouterr()
    assert printed.out == "array: int64, (3, 4, 4)\n"
    assert "array of" in printed.err


@pytest.mark.slow
def test_dask_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    save_zarr(tmp_path / "in.zarr", {"x": objects(60)})
    monkeypatch.setattr(canonical, "BLOCK", 4000)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert run(monkeypatch, "break", tmp_path / "in.zarr", tmp_path / "out.zarr", "--scheduler", address) == 0
    plan("break", tmp_path / "in.zarr", tmp_path / "here.zarr").run()
    assert content(tmp_path / "out.zarr") == content(tmp_path / "here.zarr")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    save_h5(tmp_path / "x.h5", {"x": X})
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert run(monkeypatch, "break", tmp_path / "x.h5", tmp_path / "out.h5") == 1
    assert 'pip install "torch_symbreak[io]"' in capsys.readouterr().err


def test_what_zarr_was_writing_when_it_was_killed_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_zarr(tmp_path / "x.zarr", {"x": objects(6)})
    finish = Zarr.finish

    def after_a_kill(self: Zarr, work: Path, *rest: object) -> None:
        (work / "part" / "x" / "c" / "0.0123.partial").write_bytes(b"half")
        finish(self, work, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Zarr, "finish", after_a_kill)
    plan("break", tmp_path / "x.zarr", tmp_path / "out.zarr").run()
    assert not list((tmp_path / "out.zarr").rglob("*.partial"))
    assert len(list((tmp_path / "out.zarr" / "x" / "c").iterdir())) > 0
