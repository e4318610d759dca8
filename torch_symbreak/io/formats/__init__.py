"""The formats behind :mod:`torch_symbreak.io`, an internal package: one class per format.

A class lists arrays, reads blocks of them, and makes the same file with new values. An output is its input, copied,
with the values of some arrays overwritten. Values go to *sinks*, which any number of threads, processes and machines
can write to at once, as long as their blocks are disjoint: to ranges of bytes of the copy, or to chunks of a zarr
array. Values that a format cannot take in place are staged in .npy files until the end.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from torch_symbreak.io.formats.base import Format
from torch_symbreak.io.formats.hdf5 import Hdf5
from torch_symbreak.io.formats.mat import Mat
from torch_symbreak.io.formats.npy import Npy, Npz
from torch_symbreak.io.formats.pt import Torch
from torch_symbreak.io.formats.safetensors import Safetensors
from torch_symbreak.io.formats.tiff import Tiff
from torch_symbreak.io.formats.zarr import Zarr

FORMATS: tuple[type[Format], ...] = (Hdf5, Npy, Npz, Mat, Tiff, Zarr, Torch, Safetensors)


def open_file(path: Path) -> Format:
    """Open a file for reading, by its suffix, in whatever case.

    Raises:
        FileNotFoundError: If there is none.
        ModuleNotFoundError: If the package that reads it is missing.
        ValueError: If it is of no supported format, or damaged.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", objects=np.zeros((5, 8)))
        ...     [(name, array.shape) for name, array in open_file(Path(folder, "x.npz")).arrays.items()]
        [('objects', (5, 8))]
    """
    kinds = {suffix: kind for kind in FORMATS for suffix in kind.suffixes}
    kind = kinds.get(path.suffix.lower())
    if path.name.lower().endswith(".zarr.zip"):
        raise ValueError(f"{path} is zipped. Unzip it: python -m zipfile -e {path.name} {path.stem}")
    if kind is None:
        raise ValueError(f"{path} has none of the suffixes that are read: {', '.join(kinds)}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise ValueError(f"{path} is no regular file. Save its content to one.")
    if path.is_dir() != (kind is Zarr):
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'no folder'}, and no {path.suffix} store.")
    if kind is Mat:
        with path.open("rb") as file:  # HDF5's signature stands at 0, or where MATLAB puts it
            if any(file.seek(at) == at and file.read(8) == b"\x89HDF\r\n\x1a\n" for at in (0, 512)):
                kind = Hdf5
    if kind.package is not None:
        try:
            importlib.import_module(kind.package)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'{path} needs the package {error.name}. Install it with: pip install "torch_symbreak[io]"',
                name=error.name,
            ) from None
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path} is empty.")
    try:
        return kind(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # every library has its own kinds
        raise ValueError(f"{path} cannot be read as {path.suffix}: {str(error) or type(error).__name__}") from error
