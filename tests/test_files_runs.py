"""Two runs on one output, and an input that was replaced between a run and its resumption."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processes import Started

from torch_symbreak import FarField
from torch_symbreak.io import Plan, canonical, plan
from torch_symbreak.io.formats import Hdf5

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("typer")

FIX = FarField().canonicalizer()
#: Rounds of the race. The nightly profile runs 20.
ROUNDS = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 4


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 4000)


def objects(seed: int = 0, count: int = 60) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, 6, dtype=torch.complex64, generator=generator)
    return torch.nn.functional.pad(x, (1, 5, 3, 0)).numpy()


def save(path: Path, x: np.ndarray) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = x
    elif path.suffix == ".zarr":
        zarr.create_array(path, shape=x.shape, chunks=(10, *x.shape[1:]), dtype=x.dtype)[:] = x
    else:
        np.save(path, x)


def broken(path: Path) -> bool:
    """Return whether a .npy output holds the canonical points of :func:`objects`."""
    return np.allclose(np.load(path), FIX(torch.from_numpy(objects())).numpy(), atol=1e-5)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def interrupt(planned: Plan) -> None:
    """Run until half of the blocks are done."""

    def stop(done: int, count: int) -> None:
        if done > count // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planned.run(progress=stop)


# ------------------------------------------------------------------------------------------------ two runs


@pytest.mark.parametrize("command", ["break", "scramble"])
def test_a_second_run_is_refused_and_told_who_is_first(command: str, tmp_path: Path) -> None:
    """The same call or another one: what counts is the output."""
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    save(src, objects())
    refused = []

    def second(done: int, count: int) -> None:
        with pytest.raises(FileExistsError) as error:
            plan(command, src, out, overwrite=True).run()
        refused.append(str(error.value))

    plan("break", src, out).run(progress=second)
    who = rf"process {os.getpid()} on {re.escape(socket.gethostname())}, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    assert refused
    assert all(re.search(rf"Another run is writing {re.escape(str(out))}: {who}", each) for each in refused)
    assert broken(out)
    assert not hidden(tmp_path)


def test_planned_before_the_first_run_ended_and_run_after_it(tmp_path: Path) -> None:
    """The second run took the finished work folder for an empty one, and an all-zero file was left."""
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    save(src, objects())
    planned = []
    plan("break", src, out).run(progress=lambda done, count: planned.append(plan("break", src, out)))
    assert planned
    for late in planned:
        with pytest.raises(FileExistsError, match="overwrite=True"):
            late.run()
    assert broken(out)
    assert not hidden(tmp_path)


def test_a_killed_run_does_not_block_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    monkeypatch.setattr(canonical, "SECONDS", 0.0)  # each block is noted
    save(src, objects())

    def kill(done: int, count: int) -> None:
        if done > count // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=lambda: plan("break", src, out).run(progress=kill))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert any(name.endswith(".lock") for name in hidden(tmp_path))
    steps: list[int] = []
    plan("break", src, out).run(progress=lambda done, count: steps.append(done))
    assert min(steps) > 30  # it went on
    assert broken(out)
    assert not hidden(tmp_path)


def test_nothing_is_said_to_be_kept_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an HDF5 file cannot be done again, so a run that fails there begins anew."""
    src, out = tmp_path / "in.h5", tmp_path / "out.h5"
    save(src, objects())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Hdf5, "finish", full)
        with pytest.raises(OSError, match="No space left on device") as error:
            plan("break", src, out).run()
    assert "kept" not in str(error.value)
    assert not hidden(tmp_path)
    plan("break", src, out).run()
    with h5py.File(out) as file:
        assert np.allclose(file["x"], FIX(torch.from_numpy(objects())).numpy(), atol=1e-5)


@pytest.mark.slow
def test_two_processes_on_one_output(tmp_path: Path) -> None:
    """Started 0 to 1 s apart: one right output and one refusal, every time."""
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    x = objects(count=15_000)
    save(src, x)
    right = FIX(torch.from_numpy(x)).numpy()
    command = ("from torch_symbreak.cli import main; main()", "break", src, out)
    refusals = []
    for delay in np.linspace(0, 1, ROUNDS):
        started = []
        for _ in range(2):
            started.append(Started(*command))
            time.sleep(delay if len(started) == 1 else 0)
        ended = [process.ended() for process in started]
        assert [end.returncode == 0 for end in ended].count(True) == 1, ended
        refusal = next(end.stderr for end in ended if end.returncode)
        winner = next(process for process, end in zip(started, ended, strict=True) if end.returncode == 0)
        assert f"process {winner.pid} on " in refusal or f"{out} exists" in refusal, refusal
        assert "kept" not in refusal
        assert "Traceback" not in refusal
        refusals.append(refusal)
        assert np.allclose(np.load(out), right, atol=1e-5)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "out.npy", "out.npy.symbreak.npz"]
        out.unlink()
        Path(f"{out}.symbreak.npz").unlink()
    assert any("Another run" in refusal for refusal in refusals)


# ------------------------------------------------------------------------------------------- a replaced input


def copy_over(src: Path, other: Path) -> None:
    """Replace src as ``cp -p`` to a new file does."""
    shutil.copy2(src, other.with_name("times"))
    src.unlink()
    shutil.copy(other, src)
    shutil.copystat(other.with_name("times"), src)


def write_into(src: Path, other: Path) -> None:
    """Replace src in place and turn its time back."""
    before = src.stat()
    with src.open("r+b") as file:
        file.write(other.read_bytes())
    os.utime(src, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("replace", [copy_over, write_into])
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_another_input_of_the_same_size_and_time(suffix: str, replace, tmp_path: Path) -> None:
    src, other, out = (tmp_path / f"{stem}{suffix}" for stem in ("in", "other", "out"))
    save(src, objects())
    save(other, objects(seed=1))
    before = src.stat()
    interrupt(plan("break", src, out))
    replace(src, other)
    after = src.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    with pytest.raises(ValueError, match=r"was replaced or changed .* To start afresh: rm -r ") as error:
        plan("break", src, out)
    assert not out.exists()
    subprocess.run(shlex.split(str(error.value).partition("afresh: ")[2]), check=True)
    plan("break", src, out).run()
    layout, _ = canonical.Targets().find(file := canonical.open_file(out))
    assert torch.allclose(layout.read(file, ()), FIX(torch.from_numpy(objects(seed=1))), atol=1e-5)


def test_a_file_system_without_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ends of the file tell."""
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    save(src, objects())
    stat = Path.stat

    def poor(self: Path, **options: bool) -> object:
        found = stat(self, **options)
        return SimpleNamespace(
            st_size=found.st_size, st_mode=found.st_mode, st_mtime_ns=1, st_ino=0, st_ctime_ns=0, st_dev=0
        )

    monkeypatch.setattr(Path, "stat", poor)
    interrupt(plan("break", src, out))
    plan("break", src, out)
    x = objects()
    x[-1] = 1
    save(src, x)
    with pytest.raises(ValueError, match="replaced or changed"):
        plan("break", src, out)


def test_one_chunk_of_a_zarr_store(tmp_path: Path) -> None:
    src, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    save(src, objects())
    interrupt(plan("break", src, out))
    chunks = sorted((path for path in (src / "c").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    times = chunks[0].stat()
    chunks[0].write_bytes(chunks[0].read_bytes())
    os.utime(chunks[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match="replaced or changed"):
        plan("break", src, out)


def test_the_elements_beside_an_array(tmp_path: Path) -> None:
    """They belong to the input of unbreak."""
    src, out, back = (tmp_path / f"{stem}.npy" for stem in ("in", "out", "back"))
    save(src, objects())
    plan("break", src, out, elements=True).run()
    interrupt(plan("unbreak", out, back))
    beside = canonical.companion(out)
    beside.write_bytes(beside.read_bytes())
    with pytest.raises(ValueError, match="replaced or changed"):
        plan("unbreak", out, back)


def test_the_same_input_goes_on(tmp_path: Path) -> None:
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    save(src, objects())
    interrupt(plan("break", src, out))
    steps: list[int] = []
    plan("break", src, out).run(progress=lambda done, count: steps.append(done))
    assert min(steps) > 30
    assert broken(out)
