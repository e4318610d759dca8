"""Files: arrays in, with errors that say what is wrong and what is there; results out, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import check_finite, check_tensor


def read_array(path: str | Path, key: str | None = None) -> Tensor:
    """Read a real or complex array from a .npy or .npz file; nothing is unpickled.

    Args:
        path: The file.
        key: Which array of an .npz file. Default: its only one.

    Raises:
        FileNotFoundError: If there is no such file.
        KeyError: If the key is missing, or needed; the message says which there are.
        ValueError: If the file is damaged or of another kind, holds Python objects, or the array is not finite.
        TypeError: If the array is not floating-point or complex.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/found.npz", x=np.ones(3), y=np.zeros(2))
        ...     read_array(f"{folder}/found.npz", "x")
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"{path} is no .npy or .npz file. Save it with numpy.save(path, array).")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array = loaded
        else:
            with loaded:
                array = loaded[_key(path, list(loaded.files), key)]
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an array: {error}") from None
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        tensor = torch.from_numpy(np.array(array, order="C"))
    except TypeError:
        raise TypeError(
            f"{path} has dtype {array.dtype}, which torch has not. Save it as complex64 or float32."
        ) from None
    check_tensor(str(path), tensor, what="array")
    return check_finite(tensor, name=str(path))


def write_file(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name and move it into place, so that no reader sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _key(path: Path, there: list[str], key: str | None) -> str:
    if key is None and len(there) == 1:
        return there[0]
    if key is None:
        raise KeyError(f"{path} holds {len(there)} arrays, {there}. Say which: key=, or --key-a and --key-b.")
    if key not in there:
        raise KeyError(f"{path} has no array {key!r}. It holds {there}.")
    return key
