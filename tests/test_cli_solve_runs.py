"""Runs of ``symbreak solve`` that are killed, interrupted, or come second."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("h5py")

from torch_symbreak import cli
from torch_symbreak.cli import solve as command
from torch_symbreak.datasets import BraggCrystals

Y = BraggCrystals(4, frame=(16, 16), strain=0.5, seed=3).batch([0, 1, 2, 3])[0].numpy()
#: Options of a run that takes no time, and finds nothing: with pictures, and without.
OPTIONS = ("--iterations", 12, "--starts", 2)
QUICK = (*OPTIONS, "--no-pictures")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", "solve", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def blocks_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command._ITERATES, "cpu", 2)


def interrupt_at(item: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve in.npy, and press Ctrl-C at an item."""
    call = command._Job.__call__

    def stop(job: Any, patterns: Any) -> Any:
        if patterns.first == item:
            raise KeyboardInterrupt
        return call(job, patterns)

    with monkeypatch.context() as patch:
        patch.setattr(command._Job, "__call__", stop)
        assert run(patch, "in.npy", "found.npz", *QUICK) == 130


@pytest.mark.parametrize(("suffix", "options"), [pytest.param("npz", OPTIONS, marks=pytest.mark.slow), ("h5", QUICK)])
def test_a_killed_run_goes_on_to_the_same_bytes(suffix: str, options: tuple[Any, ...], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks_of_one(monkeypatch)
    np.save("in.npy", Y[:3])
    assert run(monkeypatch, "in.npy", f"whole.{suffix}", *options) == 0
    solved: list[int] = []
    call = command._Job.__call__

    def killed(job: Any, patterns: Any) -> Any:
        if patterns.first == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(job, patterns)

    def counted(job: Any, patterns: Any) -> Any:
        solved.append(patterns.first)
        return call(job, patterns)

    def child() -> None:
        command._Job.__call__ = killed  # type: ignore[method-assign]
        run(monkeypatch, "in.npy", f"found.{suffix}", *options)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not Path(f"found.{suffix}").exists()
    monkeypatch.setattr(command._Job, "__call__", counted)
    assert run(monkeypatch, "in.npy", f"found.{suffix}", *options) == 0
    assert solved == [1, 2]
    assert Path(f"found.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()
    for name in ("item-0.png", "item-2.png") if options is OPTIONS else ():
        assert Path("found-pictures", name).read_bytes() == Path("whole-pictures", name).read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_run_that_was_killed_between_the_pictures_and_the_output(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y[:1])
    replace = os.replace

    def stop(old: Any, new: Any) -> None:
        if Path(new).name == "found.npz":
            raise KeyboardInterrupt
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        assert run(patch, "in.npy", "found.npz", *OPTIONS) == 130
    assert capsys.readouterr().err.endswith("symbreak: interrupted. To go on, type the same command.\n")
    assert [path.name for path in Path("found-pictures").iterdir()] == ["item-0.png"]
    monkeypatch.setattr(command._Job, "__call__", None)  # nothing is solved again
    assert run(monkeypatch, "in.npy", "found.npz", *OPTIONS) == 0
    assert [path.name for path in Path("found-pictures").iterdir()] == ["item-0.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found-pictures", "found.npz", "in.npy"]


def test_an_input_that_was_replaced_is_told(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    blocks_of_one(monkeypatch)
    np.save("in.npy", Y)
    interrupt_at(2, monkeypatch)
    np.save("in.npy", Y[::-1])
    assert run(monkeypatch, "in.npy", "found.npz", *QUICK) == 2
    assert "was replaced or changed after a run that was interrupted" in capsys.readouterr().err


def test_a_progress_file_without_a_number_starts_afresh(tmp_path, monkeypatch) -> None:
    """The machine went down before it was written."""
    monkeypatch.chdir(tmp_path)
    blocks_of_one(monkeypatch)
    np.save("in.npy", Y[:2])
    interrupt_at(1, monkeypatch)
    (progress,) = tmp_path.glob(".found.npz*/progress.json")
    progress.write_bytes(b"")
    assert run(monkeypatch, "in.npy", "found.npz", *QUICK) == 0
    assert run(monkeypatch, "in.npy", "whole.npz", *QUICK) == 0
    assert Path("found.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_a_second_run_is_refused(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y)
    call = command._Job.__call__
    second: list[int] = []

    def twice(job: Any, patterns: Any) -> Any:
        if not second:
            second.append(run(monkeypatch, "in.npy", "found.npz", "--seed", 1, *QUICK))
        return call(job, patterns)

    monkeypatch.setattr(command._Job, "__call__", twice)
    assert run(monkeypatch, "in.npy", "found.npz", *QUICK) == 0
    assert second == [1]
    assert f"Another run is writing {tmp_path / 'found.npz'}: process {os.getpid()}" in capsys.readouterr().err


def test_pictures_of_another_run_are_kept(tmp_path, monkeypatch, capsys) -> None:
    """found.npz and found.h5 have one folder. The run that ends second keeps its work until it may replace it."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y[:1])
    call, other = command._Job.__call__, Path("found-pictures/item-0.png")

    def beside(job: Any, patterns: Any) -> Any:
        other.parent.mkdir()
        other.touch()
        return call(job, patterns)

    with monkeypatch.context() as patch:
        patch.setattr(command._Job, "__call__", beside)
        assert run(patch, "in.npy", "found.npz", *OPTIONS) == 1
    assert "found-pictures exists. To replace it: --overwrite." in capsys.readouterr().err
    assert run(monkeypatch, "in.npy", "found.npz", *OPTIONS) == 2
    assert other.stat().st_size == 0
    monkeypatch.setattr(command._Job, "__call__", None)  # nothing is solved again
    assert run(monkeypatch, "in.npy", "found.npz", *OPTIONS, "--overwrite") == 0
    assert other.stat().st_size > 0


def test_interrupted_at_work(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y)

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    monkeypatch.setattr(command._Job, "__call__", interrupted)
    assert run(monkeypatch, "in.npy", "found.npz") == 130
    choice, error = capsys.readouterr().err.splitlines()
    assert "4 patterns" in choice
    assert error == "symbreak: interrupted. To go on, type the same command."
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_overwrite_replaces_the_pictures_too(tmp_path, monkeypatch) -> None:
    """Pictures of an earlier run would show other objects."""
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", Y[:2])
    assert run(monkeypatch, "in.npy", "found.npz", *OPTIONS) == 0
    np.save("in.npy", Y[:1])
    assert run(monkeypatch, "in.npy", "found.npz", "--overwrite", *OPTIONS) == 0
    assert [path.name for path in Path("found-pictures").iterdir()] == ["item-0.png"]
    assert run(monkeypatch, "in.npy", "found.npz", "--overwrite", *QUICK) == 0
    assert not Path("found-pictures").exists()
