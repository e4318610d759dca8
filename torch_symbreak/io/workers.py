"""Who computes the blocks of a file."""

from __future__ import annotations

import contextlib
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
    """Choose the workers and their number: threads, processes, or those of a dask cluster."""

    def __init__(self, processes: int, scheduler: str | None) -> None:
        if processes < 1:
            raise ValueError(f"-j needs at least one process, but got {processes}.")
        self.client: Any = None
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


def _follow_parent() -> None:
    """Compute with one thread, and end when the parent was killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
