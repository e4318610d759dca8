"""Time ``break`` on an HDF5 file, beside copies with h5py and of the file, and the transform alone.

Needs twice the largest size (2 GB) on the disk of the temporary folder, which TMPDIR names. Every call writes a new
file. "on the disk": the system was told to forget the input, as after a restart. "in memory": the system still
holds the whole input. That happens only for files just written or read.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  # imported by the first call otherwise, whose memory would then include it
import numpy as np
import torch

from benchmarks.measure import Operations, Timing, in_fresh_process, memory, tells_memory
from benchmarks.report import rates as figure
from torch_symbreak import FarField
from torch_symbreak.io import Targets, plan
from torch_symbreak.io.layouts import BLOCK

__all__ = ["cases", "figure", "notes"]

SIZE, ITEM = 128, 128 * 128 * 8  # bytes of one complex64 object
ROWS = 256  # objects written at once


def _counts(quick: bool) -> tuple[int, ...]:
    return (ROWS,) if quick else (8 * ROWS, 32 * ROWS)


def _gigabytes(count: int) -> float:
    return round(count * ITEM / 1e9, 2)


def write(path: Path, count: int, compression: str | None = None) -> None:
    """Write complex64 objects of 128 x 128, whose content is in a box of 70 x 70."""
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        x = file.create_dataset("objects", (count, SIZE, SIZE), np.complex64, **_storage(compression))
        for start in range(0, count, ROWS):
            x[start : start + ROWS] = objects(generator)


def objects(generator: np.random.Generator) -> np.ndarray:
    """Return objects that are written at once."""
    block = np.zeros((ROWS, SIZE, SIZE), np.complex64)
    block[:, 20:90, 30:100] = generator.normal(size=(ROWS, 70, 70, 2)).astype("f4").view("c8")[..., 0]
    return block


def _storage(compression: str | None) -> dict[str, Any]:
    return {"chunks": (8, SIZE, SIZE), "compression": compression} if compression else {}


def copy(src: Path, dst: Path) -> None:
    """Copy the objects block by block."""
    with h5py.File(src, "r") as old, h5py.File(dst, "w") as new:
        x = old["objects"]
        y = new.create_dataset("objects", x.shape, x.dtype, **_storage(x.compression))
        rows = BLOCK // x[0].nbytes
        for start in range(0, len(x), rows):
            y[start : start + rows] = x[start : start + rows]


def break_file(src: Path, dst: Path) -> None:
    """Break the objects' symmetry as ``symbreak break`` does."""
    plan("break", src, dst, Targets(event_dims=2), overwrite=True).run()


def transform(blocks: Sequence[torch.Tensor], times: int) -> None:
    """Break objects in memory, in the blocks of a file, with one thread."""
    fix, threads = FarField().canonicalizer(), torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(times):
        for block in blocks:
            fix(block)
    torch.set_num_threads(threads)


def _paths(folder: str) -> tuple[Path, Path]:
    return Path(folder) / "in.h5", Path(folder) / "out.h5"


def _operations(folder: tempfile.TemporaryDirectory[str], count: int, compression: str | None) -> Operations:
    write(_paths(folder.name)[0], count, compression)
    blocks = torch.from_numpy(objects(np.random.default_rng(0))).split(BLOCK // ITEM)
    return {
        "break": lambda: break_file(*_paths(folder.name)),
        "transform alone": lambda: transform(blocks, count // ROWS),
        "copy": lambda: copy(*_paths(folder.name)),
        "cp": lambda: shutil.copyfile(*_paths(folder.name)),
    }


def _prepare(folder: tempfile.TemporaryDirectory[str], place: str) -> None:
    """Remove the output, and read the input or make the system forget it."""
    src, dst = _paths(folder.name)
    dst.unlink(missing_ok=True)
    with src.open("rb") as file:
        if place == "on the disk":
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while place == "in memory" and file.read(1 << 20):
            pass


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    if device.type != "cpu":  # files are broken on the CPU
        return
    folder = tempfile.TemporaryDirectory()  # goes with the cases, which refer to it
    places = ("on the disk", "in memory") if hasattr(os, "posix_fadvise") else ("in memory",)
    # Compressing takes so much longer that the smaller file tells enough.
    for count, compression in [*((count, None) for count in _counts(quick)), (_counts(quick)[0], "gzip")]:
        for place in places:
            parameters = {"GB": _gigabytes(count), "objects": count, "compression": compression, "input": place}
            operations = functools.partial(_operations, folder, count, compression)
            yield Timing("HDF5", parameters, count, operations, functools.partial(_prepare, folder, place))


def _peak(src: Path, dst: Path) -> float:
    before = memory("VmRSS")
    break_file(src, dst)
    return (memory("VmHWM") - before) / 1e6


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    """Return the peak memory of breaking a file in a fresh process, beyond what the process holds after its imports.

    Numba is loaded by the first call, so its memory (some 100 MB) is included.
    """
    peaks: dict[str, Any] = {}
    for count in _counts(quick):
        with tempfile.TemporaryDirectory() as folder:
            src, dst = _paths(folder)
            write(src, count)
            peak = round(in_fresh_process(_peak, src, dst), 1) if tells_memory() else None
        peaks[f"peak MB beyond imports, break, {_gigabytes(count)} GB"] = peak
    return peaks
