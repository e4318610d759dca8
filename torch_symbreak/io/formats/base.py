"""The common part of all formats: arrays, the places where their values lie, and the class that a format fills in."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from io import FileIO
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np

#: Name of the provenance.
OURS = "symbreak"
#: Names of the elements: of a run on some keys, whose hash is in the middle, or of a run before 0.1.
_ELEMENT = re.compile(rf"{OURS}_([0-9a-f]{{8}}_)?(flipped|shift|scalar)")

Index = tuple[slice, ...]
#: Writes the values of one block of an array.
Sink = Callable[[Index, np.ndarray], None]


def is_ours(name: str) -> bool:
    """Return whether an array at the root of a file is the provenance or part of stored elements."""
    return name == OURS or _ELEMENT.fullmatch(name) is not None


class Array(NamedTuple):
    """An array that is not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grid: tuple[int, ...]  # per axis, how many entries the format reads and writes as one piece
    turned: bool = False  # whether the first index varies fastest


class Region(NamedTuple):
    """An array in a range of bytes of a file; ``turned`` if its first index varies fastest."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    turned: bool = False

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)

    @property
    def array(self) -> Array:
        return Array(self.shape, self.dtype, (1,) * len(self.shape), self.turned)

    def read(self, index: Index) -> np.ndarray:
        return self._move(index, None)

    def write(self, index: Index, values: np.ndarray) -> None:
        self._move(index, values)

    def _move(self, index: Index, values: np.ndarray | None) -> np.ndarray:
        """Write the values of one block, or read them.

        Not through memory that is mapped: a file that is cut meanwhile, or a full disk, would kill the process.
        """
        order = slice(None, None, -1 if self.turned else 1)
        shape, index = self.shape[order], index[order]
        counts = tuple(part.stop - part.start for part in index)
        strides = np.cumprod([self.dtype.itemsize, *shape[:0:-1]])[::-1]
        # The block is as many runs of bytes as there are indices before its last axis that is not whole.
        last = max((axis for axis, size in enumerate(shape) if counts[axis] != size), default=0)
        starts = np.full(1, self.offset + (index[last].start * strides[last] if shape else 0))
        for part, stride in zip(index[:last], strides, strict=False):
            starts = np.add.outer(starts, np.arange(part.start, part.stop) * stride).reshape(-1)
        if values is None:
            block = np.empty(counts, self.dtype)
        else:
            block = np.ascontiguousarray(values.T if self.turned else values, self.dtype).reshape(counts)
        content = block.reshape(-1).view(np.uint8).data
        length = len(content) // max(1, len(starts))
        with FileIO(self.path, "r" if values is None else "r+") as file:
            move: Callable[[memoryview], int | None] = file.readinto if values is None else file.write
            for number, start in enumerate(starts.tolist()):
                file.seek(start)
                run = content[number * length : (number + 1) * length]
                while run:
                    if not (count := move(run)):
                        raise EOFError(f"{self.path} ends before its array does")
                    run = run[count:]
        return block.T if self.turned else block

    def check(self) -> Region:
        """Return the region if the file is long enough for it."""
        there = self.path.stat().st_size
        if there < self.end:
            raise EOFError(f"it is cut off: {there} bytes, of which its header promises {self.end}")
        return self


#: Arrays that lie in files, by name.
Regions = Mapping[str, Region]
Names = AbstractSet[str]


def npy_region(path: Path, start: int = 0) -> Region:
    """The array of a .npy file, or of one that begins at ``start`` in another file."""
    with path.open("rb") as file:
        file.seek(start)
        shape, turned, dtype = npy_header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not unpickled")
        return Region(path, file.tell(), shape, dtype, turned).check()


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether the first index varies fastest, and dtype."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def new_npy(path: Path, array: Array) -> None:
    """Write a .npy file that has room for an array, and no values yet."""
    np.lib.format.open_memmap(path, "w+", array.dtype, array.shape, fortran_order=array.turned)


def check_memory(name: str, array: Array) -> None:
    """Raise ``ValueError`` if an array that has to be held whole is larger than the machine's memory."""
    if not hasattr(os, "sysconf"):  # Windows, whose allocation fails by itself
        return
    size = array.dtype.itemsize * math.prod(array.shape)
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > most:
        raise ValueError(f"{name} takes {size / 1e9:.3g} GB of memory, and this machine has {most / 1e9:.3g} GB.")


def copy_bytes(old: IO[bytes], new: IO[bytes], count: int) -> None:
    """Copy the next bytes of a file."""
    while count:
        if not (part := old.read(min(count, 1 << 20))):
            raise EOFError(f"{old.name} ends before its array does")
        count -= new.write(part)


class Format(ABC):
    """A file that is open for reading."""

    suffixes: ClassVar[tuple[str, ...]]
    package: ClassVar[str | None] = None

    #: Whether an array that lies in one piece in the input can be overwritten in a copy.
    in_place: ClassVar[bool] = True
    #: Whether other arrays are loaded whole.
    whole: ClassVar[bool] = False
    #: Whether the file is one array, with no place for anything beside it.
    bare: bool = False
    #: Variables that are no arrays and may hold some.
    hidden: tuple[str, ...] = ()
    #: The provenance that an earlier run left.
    note: str | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays: dict[str, Array] = {}
        self._regions: dict[str, Region] = {}  # the arrays that lie in one piece
        self._loaded: dict[str, np.ndarray] = {}

    def resolve(self, key: str) -> str:
        """The name in :attr:`arrays` of what the user calls ``key``."""
        return key if key in self.arrays else key.strip("/")

    def read(self, key: str, index: Index) -> np.ndarray:
        """Read one block of an array."""
        if key in self._regions:
            return self._regions[key].read(index)
        if key not in self._loaded:
            Format.check(self, [key])
            self._loaded[key] = self._load(key)
        return self._loaded[key][index]

    def read_whole(self, key: str) -> np.ndarray:
        """Read an array."""
        return self.read(key, tuple(slice(0, size) for size in self.arrays[key].shape))

    def _load(self, key: str) -> np.ndarray:
        raise NotImplementedError

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        """Raise ``ValueError`` if ``keys`` cannot be overwritten, or a copy in ``folder`` would lack something."""
        for key in set(keys) & (self.arrays.keys() - self._regions.keys()):
            array = self.arrays[key]
            check_memory(f"{key} of {self.path}", array if self.whole else array._replace(shape=array.grid))

    def repeatable(self, keys: Sequence[str]) -> bool:
        """Return whether :meth:`finish` can be done again after it was interrupted."""
        return True

    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        """Make room for the values of ``keys`` in the folder ``work``: in a copy of the input, or in .npy files."""
        stages = self._stages(work, keys)
        if places := sorted((self._regions[key].offset, self._regions[key].end) for key in keys if key not in stages):
            size, at = self.path.stat().st_size, 0
            with self.path.open("rb") as old, (work / "part").open("wb") as new:
                new.truncate(size)
                for start, end in (*places, (size, size)):
                    old.seek(at)
                    new.seek(at)
                    copy_bytes(old, new, max(0, start - at))
                    at = max(at, end)
        for key, stage in stages.items():
            new_npy(stage, self.arrays[key])

    def sinks(self, work: Path, keys: Sequence[str]) -> Sequence[Sink]:
        """Return what writes the values of ``keys``. Any number of processes can write disjoint blocks at once."""
        stages, part = self._stages(work, keys), work / "part"
        regions = (npy_region(stages[key]) if key in stages else self._regions[key]._replace(path=part) for key in keys)
        return [region.write for region in regions]

    def _stages(self, work: Path, keys: Sequence[str]) -> dict[str, Path]:
        inside = self._regions if self.in_place else {}
        return {key: work / f"{number}.npy" for number, key in enumerate(keys) if key not in inside}

    def _staged(self, work: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
        return {key: np.load(stage, mmap_mode="c") for key, stage in self._stages(work, keys).items()}

    @abstractmethod
    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        """Make ``work / "part"`` the whole output, with a note.

        Unless bare, ``extra`` is added and replaces arrays of the same names, and arrays of the names in ``drop`` are
        left out.
        """
