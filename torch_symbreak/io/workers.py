"""Who computes the blocks of a file, and how a file is told from another."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from torch_symbreak.io.provenance import companion

#: Bytes at each end of a file that tell it from another of the same size and times.
_ENDS = 1 << 20


def stamp_of(path: Path) -> str:
    """Tell a file from any other: size, times of change, inode, and a hash of its ends; a folder, by all that is in it.

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


def in_order(executor: Executor, job: Callable[[Any], Any], todo: Sequence[Any], ahead: int) -> Iterator[Any]:
    """The results in the order of the blocks, a few blocks ahead of the one that is waited for."""
    waiting: deque[Future[Any]] = deque()
    for block in todo:
        with _uninterrupted():
            waiting.append(executor.submit(job, block))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while processes may start: they inherit that for good, and end with this one instead."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """What computes, and how many at once: threads, processes, or the workers of a dask cluster."""

    def __init__(self, processes: int, scheduler: str | None) -> None:
        if processes < 1:
            raise ValueError(f"-j needs at least one process, but got {processes}.")
        self.client: Any = None
        self.threads = torch.get_num_threads()
        if scheduler is not None:
            try:
                from distributed import Client
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    'A dask scheduler needs dask: pip install "torch_symbreak[dask]"', name=error.name
                ) from None
            client: Any = Client
            self.client = client(scheduler, timeout=10, set_as_default=False)
            self.executor: Any = self.client.get_executor(pure=False)
            self.workers = max(1, sum(self.client.nthreads().values()))
        elif processes > 1:
            context = multiprocessing.get_context("spawn")
            self.executor = ProcessPoolExecutor(processes, context, _follow_parent)
            self.workers = processes
        else:
            self.workers = 2
            self.executor = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> tuple[Executor, int]:
        return self.executor, self.workers

    def __exit__(self, *error: object) -> None:
        if self.client is not None:
            self.client.close()
        else:
            self.executor.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)


def _follow_parent() -> None:
    """Compute with one thread, and end when the parent was killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Hashing:
    """SHA-256 of a file, in a thread; of a folder, that of the lines that ``sha256sum`` prints for its sorted files."""

    def __init__(self, path: Path) -> None:
        self._stopped = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self.result = self._thread.submit(self._hash, path).result

    def _hash(self, path: Path) -> str:
        digest = hashlib.sha256()
        if path.is_dir():
            for each in sorted(each for each in path.rglob("*") if each.is_file()):
                digest.update(f"{self._hash(each)}  ./{each.relative_to(path).as_posix()}\n".encode())
            return digest.hexdigest()
        with path.open("rb", buffering=0) as file:
            while not self._stopped.is_set() and (part := file.read(1 << 20)):
                digest.update(part)
        return digest.hexdigest()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.shutdown()
