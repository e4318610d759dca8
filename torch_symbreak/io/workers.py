"""Run the blocks of a file on threads, processes or a dask cluster."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import torch


def in_order(executor: Executor, job: Callable[[Any], Any], todo: Sequence[Any], ahead: int) -> Iterator[Any]:
    """Yield the results in the order of the blocks. Submit a few blocks ahead."""
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


@contextlib.contextmanager
def workers_of(processes: int, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """Yield an executor and its number of workers: threads, processes, or those of a dask cluster."""
    executor: Executor
    if scheduler is not None:
        try:
            distributed = importlib.import_module("distributed")
        except ModuleNotFoundError as error:
            text = 'A dask scheduler needs dask: pip install "torch_symbreak[dask]"'
            raise ModuleNotFoundError(text, name=error.name) from None
        with distributed.Client(scheduler, timeout=10, set_as_default=False) as client:
            yield client.get_executor(pure=False), max(1, sum(client.nthreads().values()))
        return
    if processes != 1:
        executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _follow_parent)
    else:
        processes = 2
        executor = ThreadPoolExecutor(processes, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield executor, processes
    finally:
        executor.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Compute with one thread, and end when the parent was killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
