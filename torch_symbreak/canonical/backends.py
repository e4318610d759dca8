"""The backends of the far-field canonicalizer: which of them runs, and how to ask for one.

A backend is a module with ``decide(items, threshold, out) -> Decision``. It takes a contiguous batch (B, *event)
without channels on a frame without periodic axes, and moves the items of which it is certain into ``out`` unless that
is None. ``PIECE`` is the number of bytes of items that it should be given at once, None for any.
"""

from __future__ import annotations

import functools
import importlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torch_symbreak._checks import check_choice

Name = Literal["reference", "cpu", "numba", "triton"]

_asked: ContextVar[Name | None] = ContextVar("asked", default=None)

#: Largest item, in entries, and largest threshold that Triton's kernels accept: one program may have to read a whole
#: item, and single precision must tell the threshold from 1.
_TRITON_LARGEST, _TRITON_THRESHOLD = 2**20, 0.999


@contextmanager
def using(name: Name) -> Iterator[None]:
    """Run far-field canonicalizers on one backend inside a ``with`` block, for tests and benchmarks.

    It holds for the calling thread, and in a generator also between its steps, for whoever runs it. Items that the
    backend does not take (channels, periodic axes, another device, half precision) go to the reference.

    Args:
        name: "reference" (tensor operations alone, any device), "cpu" (NumPy), "numba" (one compiled loop on a CPU) or
            "triton" (kernels on a GPU).

    Raises:
        ValueError: If there is no such backend.
        RuntimeError: If the backend does not run here.

    Example: all backends give one answer.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> fix, x = FarField().canonicalizer(), torch.randn(3, 8, 8, dtype=torch.complex64)
        >>> with using("reference"):
        ...     wanted = fix(x)
        >>> torch.allclose(fix(x), wanted, atol=1e-5)
        True
    """
    check_choice("backend", name, get_args(Name))
    if name == "numba" and not numba_runs(torch.complex64):
        raise RuntimeError('Numba does not run here. Install it with: pip install "torch_symbreak[numba]"')
    if name == "triton" and not triton_runs(torch.device("cuda" if torch.cuda.is_available() else "cpu")):
        raise RuntimeError("Triton does not run here: it needs a GPU, or TRITON_INTERPRET=1 before its first import.")
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


def backend_for(items: Tensor, threshold: float) -> Any:
    """Return the module of the fastest backend that takes items (B, *event), or the one asked for; None: none does."""
    asked = _asked.get()
    for name, takes in _TAKES.items():
        if asked in (None, name) and takes(items, threshold):
            return _module(name)
    return None


@functools.cache
def _module(name: Name) -> Any:
    return importlib.import_module(f"torch_symbreak.canonical._{name}")


def _triton_takes(items: Tensor, threshold: float) -> bool:
    if items.device.type != "cuda" and _asked.get() != "triton":  # which the interpreter runs on a CPU too
        return False
    fits = items.dim() <= 4 and math.prod(items.shape[1:]) <= _TRITON_LARGEST and threshold <= _TRITON_THRESHOLD
    return fits and items.dtype in (torch.float32, torch.complex64) and triton_runs(items.device)


def _cpu_takes(items: Tensor, threshold: float) -> bool:
    return items.device.type == "cpu" and items.dtype.itemsize >= 4


def _numba_takes(items: Tensor, threshold: float) -> bool:
    return _cpu_takes(items, threshold) and numba_runs(items.dtype)


#: From the fastest to the slowest.
_TAKES: dict[Name, Callable[[Tensor, float], bool]] = {
    "triton": _triton_takes,
    "numba": _numba_takes,
    "cpu": _cpu_takes,
}


def _runs(attempt: Callable[[], object], otherwise: str) -> bool:
    """Return whether a first call of a backend succeeds. If it fails though all is installed, warn ``otherwise``."""
    try:
        attempt()
    except ImportError:
        return False
    except torch.OutOfMemoryError:  # this time, not for good
        raise
    except Exception as error:  # a GPU too old, no C compiler or no place for compiled code: another backend runs
        warnings.warn(otherwise.format(f"{type(error).__name__}: {error}"), stacklevel=3)
        return False
    return True


@functools.cache
def numba_runs(dtype: torch.dtype) -> bool:
    """Return whether Numba is installed and compiles for items of this dtype."""

    def attempt() -> None:
        from torch_symbreak.canonical import _numba

        if not _numba.COMPILES:
            raise ImportError
        _numba.decide(torch.ones(1, 2, dtype=dtype, device="cpu"), 0.0, None)

    return _runs(
        attempt,
        "Numba does not run ({}); canonicalizing on a CPU is slower. If its compiled files are damaged, delete *.nbi "
        "and *.nbc in the folders of torch_symbreak.",
    )


@functools.cache
def triton_runs(device: torch.device) -> bool:
    """Return whether Triton's kernels run on this device."""

    def attempt() -> None:
        from torch_symbreak.canonical import _triton

        if device.type != "cuda" and not _triton.INTERPRETED:
            raise ImportError
        x = torch.ones(1, 2, 2, dtype=torch.complex64, device=device)
        _triton.decide(x, 0.0, torch.empty_like(x))

    return _runs(attempt, f"Triton does not run on {device} ({{}}); canonicalizing there is slower.")
