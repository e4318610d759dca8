"""Write an output block by block, under a lock, so that a killed run can go on.

A run keeps its blocks in a hidden folder beside the output. It notes there how far it is, after each block was handed
to the operating system. If it was killed, the same command goes on from there, to the same bytes. Nothing is
synchronized to the disk: that protects from a killed process, not from a power cut.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import shlex
import shutil
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from torch_symbreak._version import __version__
from torch_symbreak.io.arrays import locked, write_file
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.formats.base import OURS, Format, Index
from torch_symbreak.io.layouts import Layout

#: Called with the number of items done, and of all.
Progress = Callable[[int, int], None]

PROGRESS = "progress.json"


@dataclass(frozen=True)
class Run(ABC):
    """A call that reads ``src`` and writes ``dst``, planned but not carried out."""

    src: Path
    dst: Path
    stamp: str  # of src
    overwrite: bool
    layout: Layout
    choice: str  # what is taken, and why

    @property
    @abstractmethod
    def call(self) -> tuple[object, ...]:
        """The arguments that tell this call from others with the same input and output."""

    @property
    def count(self) -> int:
        """Number of items."""
        return math.prod(self.layout.batch)

    @property
    def work(self) -> Path:
        """The hidden folder of this call. Other calls have other folders."""
        return self._hidden(__version__, self.src, self.dst.name, *self.call)

    @abstractmethod
    def check_output(self) -> None:
        """Raise ``FileExistsError`` if there is an output that is not to be replaced."""

    def checked(self) -> Self:
        """Return the call if its output and what an interrupted run left allow it."""
        self.check_output()
        self.resumable()
        return self

    def _hidden(self, *parts: object) -> Path:
        name = os.fsdecode(os.fsencode(self.dst.name)[:200])  # of at most 255 bytes, with the rest
        digest = hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:12]
        return self.dst.with_name(f".{name}.{OURS}-{digest}")

    def resumable(self) -> int | None:
        """Return how many blocks an interrupted run of the same call left, or None if there was none.

        Raises:
            ValueError: If that run read another input, as far as can be told without reading it whole.
        """
        try:
            before = json.loads((self.work / PROGRESS).read_text())
        except (FileNotFoundError, ValueError):  # no number after the machine went down while it was written
            return None
        if before["stamp"] != self.stamp:
            raise ValueError(
                f"{self.src} was replaced or changed after a run that was interrupted, whose blocks are in "
                f"{self.work}. To start afresh: rm -r {shlex.quote(str(self.work))}"
            )
        return int(before["done"])

    def write_progress(self, done: int) -> None:
        """Note that so many blocks are done, after their output was handed to the system."""
        write_file(self.work / PROGRESS, json.dumps({"done": done, "stamp": self.stamp}).encode())

    def check_unchanged(self) -> None:
        """Raise ``ValueError`` if the input is not the same as at the beginning, or is gone."""
        check_same(self.src, self.stamp)

    @contextlib.contextmanager
    def carried_out(self, todo: Sequence[Index]) -> Iterator[tuple[int, Executor, Future[str]]]:
        """Hold the output's lock. Keep finished blocks if the same call can go on from them.

        Yield the number of finished blocks, an executor for work beside the blocks, and the future of the input's
        SHA-256. If no block is finished, the folder is new and empty.
        """
        stopped, threads = threading.Event(), torch.get_num_threads()
        hidden = self._hidden(self.dst.name)
        with locked(hidden.with_name(f"{hidden.name}.lock"), f"is writing {self.dst}"):
            # Another run may have ended between the plan and the lock.
            self.check_output()
            self.check_unchanged()
            before = self.resumable()
            try:
                if not before:
                    shutil.rmtree(self.work, ignore_errors=True)
                    self.work.mkdir(parents=True)
                    self.write_progress(0)
                with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as executor:
                    try:
                        yield before or 0, executor, executor.submit(sha256_of, self.src, stopped)
                    finally:
                        stopped.set()
                        torch.set_num_threads(threads)
            except FileExistsError:  # the output appeared meanwhile
                raise
            except Exception as error:
                # The end of a run that cannot be done again begins by forgetting its blocks.
                done = self.resumable() if isinstance(error, OSError) else None
                try:
                    self.check_unchanged()
                except ValueError:  # the same call would begin anew
                    done = None
                    raise
                finally:
                    if not done:
                        shutil.rmtree(self.work, ignore_errors=True)
                if not isinstance(error, OSError):
                    raise
                message = f"{error}. {self.dst} is not written."
                if done:
                    message += f" {done} of {len(todo)} blocks are done and kept: the same command goes on from there."
                raise OSError(message) from error
            finally:
                opened.cache_clear()
                if self.resumable() == 0:
                    shutil.rmtree(self.work, ignore_errors=True)


def check_paths(src: Path, dst: Path, *, folder: bool) -> None:
    """Check that an input exists, and that an output lies elsewhere, in a folder, and replaces only its own kind.

    Both paths are absolute. ``folder`` tells whether the output is one.
    """
    if not src.exists():
        raise FileNotFoundError(f"There is no file {src}.")
    if dst.exists() and src.samefile(dst):
        raise ValueError(f"The output {dst} is the input, which is never changed. Name another file.")
    if dst.resolve() in src.resolve().parents or src.resolve() in dst.resolve().parents:
        raise ValueError(f"The output {dst} and the input {src} lie in one another. Name another place.")
    if not dst.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {dst.parent}.")
    if dst.exists() and dst.is_dir() != folder:
        raise ValueError(f"{dst} is {'no folder' if folder else 'a folder'}, and is not replaced.")


def companion(path: Path) -> Path:
    """Return the .npz file beside a single-array file, which holds its provenance and elements."""
    return path.with_name(f"{path.name}.{OURS}.npz")


#: Bytes at each end of a file that tell it from another of the same size and times.
_ENDS = 1 << 20


def stamp_of(path: Path) -> str:
    """Return a hash of a file's size, times of change, inode and ends, or of all that is in a folder.

    A copy that keeps size and time (``cp -p``) has another inode or time of change of the inode. The ends are for
    file systems that keep neither.
    """
    digest, beside = hashlib.sha256(), companion(path)
    for each in (path, *(sorted(path.rglob("*")) if path.is_dir() else [beside] if beside.is_file() else [])):
        found = each.stat()
        kept = (str(each.relative_to(path.parent)), found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
        digest.update(repr(kept).encode(errors="surrogateescape"))
        if stat.S_ISREG(found.st_mode) and not path.is_dir():
            with each.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, found.st_size - _ENDS))
                digest.update(file.read(_ENDS))
    return digest.hexdigest()


def check_same(path: Path, stamp: str) -> None:
    """Raise ``ValueError`` if a file has another stamp by now, or is gone."""
    try:
        same = stamp_of(path) == stamp
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} was removed while it was read. Nothing is written.") from error
    if not same:
        raise ValueError(f"{path} changed while it was read. Nothing is written: do it again.")


@functools.lru_cache(maxsize=4)
def opened(path: Path, stamp: str) -> Format:
    """Open a file once per process. The caller clears the cache at the end."""
    return open_file(path)


#: Held while a file that :func:`opened` returned is read. Not every library lets two threads read one.
reading = threading.Lock()


def sha256_of(path: Path, stopped: threading.Event) -> str:
    """Return the SHA-256 of a file. For a folder, that of the ``sha256sum`` lines of its sorted files."""
    digest = hashlib.sha256()
    if path.is_dir():
        for each in sorted(each for each in path.rglob("*") if each.is_file()):
            digest.update(f"{sha256_of(each, stopped)}  ./{each.relative_to(path).as_posix()}\n".encode())
        return digest.hexdigest()
    with path.open("rb", buffering=0) as file:
        while not stopped.is_set() and (part := file.read(1 << 20)):
            digest.update(part)
    return digest.hexdigest()
