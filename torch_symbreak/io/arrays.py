"""Read one array, and write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from torch_symbreak._checks import check_finite, check_tensor
from torch_symbreak.io.formats import open_file


def read_array(path: str | Path, key: str | None = None) -> Tensor:
    """Read a real or complex array from a file of any format; nothing is unpickled.

    Args:
        path: The file.
        key: Which array. Default: its only one.

    Raises:
        FileNotFoundError: If there is no such file.
        KeyError: If the key is missing or needed; the message says which there are.
        ValueError: If the file is damaged or of another kind, holds Python objects, or the array is not finite.
        TypeError: If the array is not floating-point or complex.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/found.npz", x=np.ones(3), y=np.zeros(2))
        ...     read_array(f"{folder}/found.npz", "x")
        tensor([1., 1., 1.], dtype=torch.float64)
    """
    file = open_file(Path(path))
    if key is None and len(file.arrays) == 1:
        (key,) = file.arrays
    if key not in file.arrays:
        why = "holds several arrays. Say which: key=." if key is None else f"has no array {key!r}."
        raise KeyError(f"{path} {why} It holds {[*file.arrays]}.")
    array = file.read_whole(key)
    try:
        tensor = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise TypeError(
            f"{path} has dtype {array.dtype}, which torch has not. Save it as complex64 or float32."
        ) from None
    check_tensor(str(path), tensor, what="array")
    return check_finite(tensor, name=str(path))


def write_file(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name and move it into place, so that no reader sees half of it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder, "note.txt"), b"whole").read_text()
        'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def locked(path: Path, work: str) -> Iterator[None]:
    """Hold a lock, and leave no file behind. The system frees the lock of a killed process.

    Args:
        path: The lock's file. Who holds it stands beside it.
        work: Completes "Another run ..." for the process that comes second.

    Raises:
        FileExistsError: If another process or thread holds the lock. It says who, and since when.
        OSError: If the lock's file cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, "lock"), "writes here"):
        ...     with locked(Path(folder, "lock"), "writes here"):  # doctest: +ELLIPSIS
        ...         pass
        Traceback (most recent call last):
        FileExistsError: Another run writes here: process ... on ..., since .... Wait for it, or choose another output.
    """
    owner = path.with_name(f"{path.name}-owner")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.2)  # the holder may be about to write its name, or to remove the file
    except Timeout:
        if not path.exists():  # filelock waits for a folder that takes no files as it waits for a holder
            path.touch()
        try:
            name = f": {owner.read_text()}"
        except (OSError, ValueError):
            name = ""
        raise FileExistsError(f"Another run {work}{name}. Wait for it, or choose another output.") from None
    try:
        with contextlib.suppress(OSError):  # a full disk ends the work itself, with a better message
            owner.write_text(
                f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
            )
        yield
    finally:
        owner.unlink(missing_ok=True)
        with contextlib.suppress(PermissionError):  # Windows, where the release removes it
            path.unlink(missing_ok=True)
        lock.release()


def check_new(path: Path, *, overwrite: bool) -> None:
    """Raise ``FileExistsError`` if an output exists, a link that leads nowhere too, unless it is to be replaced."""
    try:
        path.lstat()  # whose error tells a name that is too long
    except FileNotFoundError:
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists. To replace it: overwrite=True.")
