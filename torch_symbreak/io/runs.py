"""Runs that write an output block by block: their hidden folder, their lock, and how far they are.

A run keeps its blocks in a hidden folder beside the output. It notes there how far it is, after each block was handed
to the operating system. If it was killed, the same command goes on from there, to the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shlex
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import torch

from torch_symbreak._version import __version__
from torch_symbreak.io.arrays import write_file
from torch_symbreak.io.formats import OURS, Format, open_file

#: Called with the number of items done, and of all.
Progress = Callable[[int, int], None]

PROGRESS = "progress.json"


class Run:
    """A call that reads ``src`` and writes ``dst``, planned but not carried out."""

    src: Path
    dst: Path
    stamp: str  # of src

    @property
    def call(self) -> tuple[object, ...]:
        """The arguments that tell this call from others with the same input and output."""
        raise NotImplementedError

    @property
    def work(self) -> Path:
        """The hidden folder of this call. Other calls have other folders."""
        return self._hidden(__version__, self.src, self.dst.name, *self.call)

    @property
    def lock(self) -> Path:
        """The lock file. A run that writes this output holds it."""
        hidden = self._hidden(self.dst.name)
        return hidden.with_name(f"{hidden.name}.lock")

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
        """Raise ``ValueError`` if the input is not the same as at the beginning."""
        if stamp_of(self.src) != self.stamp:
            raise ValueError(f"{self.src} changed while it was read. Nothing is written: do it again.")


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


@contextlib.contextmanager
def in_threads() -> Iterator[tuple[Executor, threading.Event]]:
    """Yield an executor for what is done beside the blocks, and an event that is set at the end to stop it."""
    stopped, count = threading.Event(), torch.get_num_threads()
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        try:
            yield executor, stopped
        finally:
            stopped.set()
            torch.set_num_threads(count)
