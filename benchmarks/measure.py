"""Time operations beside their baselines in interleaved rounds, measure peak memory, name the machine in words."""

from __future__ import annotations

import importlib.metadata
import math
import multiprocessing
import os
import platform
import re
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils import benchmark

T = TypeVar("T")
Operations = Mapping[str, Callable[[], object]]

#: Shortest sample in seconds. Shorter operations are repeated within a sample: waiting for a GPU, and a first call that
#: finds the previous operation's data in the caches, must not decide the result.
LEAST_SAMPLE = 2e-2
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """One row: operations on the same data, ours first. ``operations`` makes them just before they are timed.

    ``setup`` is called before every sample, and its time does not count.
    """

    family: str  # rows of a family share a table
    parameters: dict[str, Any]
    items: int  # per call
    operations: Callable[[], Operations]
    setup: Callable[[], object] = lambda: None


def repeats(seconds: float) -> int:
    """Return how often to call an operation of so many seconds in one sample."""
    return max(1, math.ceil(LEAST_SAMPLE / max(seconds, 1e-6)))


def measure(
    operations: Operations, *, rounds: int, budget: float = math.inf, setup: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return seconds per call of every operation, one number per interleaved round.

    Stop after ``rounds``, or when the budget (seconds) is used up, but not before 5 rounds (or ``rounds`` if fewer).
    Two calls before them warm up and tell how often to repeat a short operation.
    """
    # The standard library's Timer on torch's clock, which waits for the GPU. torch's own Timer would make two untimed
    # calls before every sample: three times the work for slow operations.
    timers = {name: timeit.Timer(operation, setup, benchmark.timer) for name, operation in operations.items()}
    for timer in timers.values():
        timer.timeit(1)
    calls = {name: repeats(timer.timeit(1)) for name, timer in timers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
        for name, timer in timers.items():
            seconds[name].append(timer.timeit(calls[name]) / calls[name])
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def row(case: Timing, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return a row: seconds per call of every operation, and the ratios of the others to ours, taken round by round."""
    ours = next(iter(seconds.values()))
    return {
        "family": case.family,
        **case.parameters,
        "items": case.items,
        "rounds": len(ours),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratios": {
            name: spread([b / a for a, b in zip(ours, values, strict=True)])
            for name, values in list(seconds.items())[1:]
        },
    }


def installed(name: str) -> bool:
    """Return whether a package is installed."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def versions(*names: str) -> dict[str, str]:
    """Return the versions of Python, torch and the named packages, but for those that are not installed."""
    return {"python": platform.python_version(), "torch": torch.__version__} | {
        name: importlib.metadata.version(name) for name in names if installed(name)
    }


def machine(device: torch.device | str = "cpu") -> str:
    """Describe the machine in words."""
    words = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads, {platform.system()} {platform.machine()}"
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    words += f", {model[1]}" if model and model[1] != "unknown" else ""
    return f"{torch.cuda.get_device_name(device)}, {words}" if torch.device(device).type == "cuda" else words


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Return the function's result from a process of its own, whose memory holds nothing of earlier calls."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def tells_memory() -> bool:
    """Return whether the system tells a process's memory (Linux does)."""
    return Path("/proc/self/status").exists()


def memory(name: str) -> int:
    """Return bytes of this process: "VmRSS" now, "VmHWM" at the peak so far. Linux only.

    ``resource`` would give a child the peak of its parent.
    """
    line = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert line is not None
    return int(line[1]) * 1024


def _peak_here(make: Callable[[int], tuple[torch.Tensor, Operations]], size: int, name: str) -> float:
    small, operations = make(1)
    operations[name]()
    x, operations = make(max(1, size // (small.numel() * small.element_size())))
    before = memory("VmHWM")
    operations[name]()
    return (memory("VmHWM") - before) / (x.numel() * x.element_size())


def peak_memory(
    make: Callable[[int], tuple[torch.Tensor, Operations]], size: int, name: str, device: torch.device
) -> float | None:
    """Return the extra memory at the peak of operation ``name``, its result included, in multiples of the input.

    ``make(n)`` returns an input n times as large as the smallest, made without temporary memory, and operations on it.
    The input measured has about ``size`` bytes. On a CPU the operation runs in a fresh process, after a call on the
    smallest input. The result is None where the system does not tell a process's memory.
    """
    if device.type == "cuda":
        x, operations = make(max(1, size // (make(1)[0].numel() * make(1)[0].element_size())))
        operations[name]()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        operations[name]()
        return (torch.cuda.max_memory_allocated(device) - before) / (x.numel() * x.element_size())
    return in_fresh_process(_peak_here, make, size, name) if tells_memory() else None
