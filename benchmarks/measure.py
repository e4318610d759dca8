"""Operations timed beside baselines: interleaved rounds, medians and spreads, peak memory, the machine in words."""

from __future__ import annotations

import importlib.metadata
import math
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Operations = Mapping[str, Callable[[], object]]

#: A sample lasts at least so many seconds: shorter operations are repeated in it. Of the first ones a GPU is waited
#: for, and a CPU's caches have what the operation before has left.
_LEAST_SAMPLE = 2e-2
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Case:
    """One row: operations on the same data, ours first, made when its turn comes."""

    family: str  # rows of a family share a table
    parameters: dict[str, Any]
    items: int  # per call
    operations: Callable[[], Operations]


def _seconds(operation: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds per call, on the device's own clock if it is a GPU."""
    if device.type == "cuda":
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        for _ in range(repeats):
            operation()
        events[1].record()
        torch.cuda.synchronize(device)
        return events[0].elapsed_time(events[1]) / 1e3 / repeats
    start = time.perf_counter()
    for _ in range(repeats):
        operation()
    return (time.perf_counter() - start) / repeats


def measure(
    operations: Operations, *, rounds: int, budget: float = math.inf, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Return seconds per call of every operation in interleaved rounds: as many, or what the budget (seconds) allows.

    At least 5 are made, or ``rounds`` if fewer. Two before them warm up and say how often to repeat a short operation.
    """
    device = torch.device(device)
    for operation in operations.values():
        _seconds(operation, 1, device)
    repeats = {
        name: max(1, math.ceil(_LEAST_SAMPLE / max(_seconds(operation, 1, device), 1e-6)))
        for name, operation in operations.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in operations}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
        for name, operation in operations.items():
            seconds[name].append(_seconds(operation, repeats[name], device))
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def row(case: Case, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """What a case gave: of every operation seconds per call, and how many times as long as ours it takes, by round."""
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


def versions(*names: str) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in names:
        if installed(name):
            found[name] = importlib.metadata.version(name)
    return found


def installed(name: str) -> bool:
    """Whether a package is there."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def machine(device: torch.device | str = "cpu") -> str:
    """The machine in words."""
    words = f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads, {platform.system()} {platform.machine()}"
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    words += f", {model[1]}" if model and model[1] != "unknown" else ""
    return f"{torch.cuda.get_device_name(device)}, {words}" if torch.device(device).type == "cuda" else words


def _high_water() -> int:
    """The most memory that this process has had, in bytes; not from ``resource``, where a child starts at its parent's.

    Linux only.
    """
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _peak_here(make: Callable[[int], tuple[torch.Tensor, Operations]], size: int, name: str) -> float:
    small, operations = make(1)
    operations[name]()
    x, operations = make(max(1, size // (small.numel() * small.element_size())))
    before = _high_water()
    operations[name]()
    return (_high_water() - before) / (x.numel() * x.element_size())


def peak_memory(
    make: Callable[[int], tuple[torch.Tensor, Operations]], size: int, name: str, device: torch.device
) -> float | None:
    """Return the extra memory at the peak of operation ``name``, its result included, in multiples of the input.

    ``make(n)`` gives an input n times as large as the smallest, without temporary memory, and operations on it; the
    input has about ``size`` bytes. On a CPU in a fresh process, after a call on the smallest input; None where the
    system does not tell.
    """
    if device.type == "cuda":
        x, operations = make(max(1, size // (make(1)[0].numel() * make(1)[0].element_size())))
        operations[name]()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        operations[name]()
        return (torch.cuda.max_memory_allocated(device) - before) / (x.numel() * x.element_size())
    if not Path("/proc/self/status").exists():
        return None
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_here, make, size, name).result()
