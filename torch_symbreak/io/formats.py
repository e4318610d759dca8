"""The formats: one class per format that lists arrays, reads blocks of them, and makes the same file with new values.

An output is its input with some arrays' values replaced; all else in the file is carried over. Values go to *sinks*,
which any number of threads, processes and machines can write to at once, as long as their blocks are disjoint: to
ranges of bytes of a file (HDF5 has its contiguous arrays there too), or to chunks of a zarr array. A format that cannot
be written in place is assembled from such files at the end.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import re
import shutil
import struct
import sys
import traceback
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

#: The name of the provenance.
OURS = "symbreak"
#: The names of the group elements: of a run on some keys, whose hash is in the middle, or of a run before 0.1.
_ELEMENT = re.compile(rf"{OURS}_([0-9a-f]{{8}}_)?(flipped|shift|scalar)")

Index = tuple[slice, ...]


def is_ours(name: str) -> bool:
    """Whether an array at a file's root is the provenance or part of stored elements."""
    return name == OURS or _ELEMENT.fullmatch(name) is not None


class Array(NamedTuple):
    """What is known of an array before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grid: tuple[int, ...]  # per axis, how many entries the format reads and writes as one piece


class Sink(Protocol):
    """Where values of one array go."""

    def write(self, index: Index, values: np.ndarray) -> None:
        """Write one block."""


class Region(NamedTuple):
    """An array in a range of bytes of a file; ``turned`` if its first index varies fastest."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    turned: bool = False

    def _runs(self, index: Index) -> tuple[Iterator[int], int, tuple[int, ...]]:
        """Where the block's runs of bytes begin, the length of one, and the block's shape, as they lie in the file."""
        shape = self.shape[::-1] if self.turned else self.shape
        index = index[::-1] if self.turned else index
        counts = tuple(part.stop - part.start for part in index)
        strides = np.cumprod([self.dtype.itemsize, *shape[:0:-1]])[::-1]
        partial = [axis for axis, (count, size) in enumerate(zip(counts, shape, strict=True)) if count != size]
        last = partial[-1] if partial else 0
        starts = np.full(1, self.offset)
        for part, stride in zip(index[:last], strides, strict=False):
            starts = np.add.outer(starts, np.arange(part.start, part.stop) * stride).reshape(-1)
        if not shape:
            return iter([self.offset]), self.dtype.itemsize, ()
        starts = starts + index[last].start * strides[last]
        return iter(starts.tolist()), int(counts[last] * strides[last]), counts

    def read(self, index: Index) -> np.ndarray:
        """Read one block."""
        starts, length, counts = self._runs(index)
        values = np.empty(counts, self.dtype)
        rest = values.reshape(-1).view(np.uint8).data
        with self.path.open("rb", buffering=0) as file:
            for start in starts:
                file.seek(start)
                run, rest = rest[:length], rest[length:]
                while run:
                    count = file.readinto(run)
                    if not count:
                        raise EOFError(f"{self.path} ends before its array does.")
                    run = run[count:]
        return values.T if self.turned else values

    def write(self, index: Index, values: np.ndarray) -> None:
        starts, length, counts = self._runs(index)
        values = np.ascontiguousarray(values.T if self.turned else values, self.dtype).reshape(counts)
        rest = values.reshape(-1).view(np.uint8).data
        with self.path.open("r+b", buffering=0) as file:
            for start in starts:
                file.seek(start)
                run, rest = rest[:length], rest[length:]
                while run:
                    run = run[file.write(run) :]

    def check(self) -> Region:
        """Return the region if the file is long enough for it."""
        wanted = self.offset + self.dtype.itemsize * int(np.prod(self.shape, dtype=object))
        there = self.path.stat().st_size
        if there < wanted:
            raise EOFError(f"it is cut off: {there} bytes, of which its header promises {wanted}")
        return self


def npy_region(path: Path, start: int = 0) -> Region:
    """The array of a .npy file, or of one that begins at ``start`` in another file."""
    with path.open("rb") as file:
        file.seek(start)
        shape, turned, dtype = _npy_header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not unpickled")
        return Region(path, file.tell(), shape, dtype, turned).check()


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def new_npy(path: Path, array: Array, *, turned: bool = False) -> None:
    """Write a .npy file that has room for an array, and no values yet."""
    np.lib.format.open_memmap(path, "w+", array.dtype, array.shape, fortran_order=turned)


class Format(ABC):
    """A file that is open for reading."""

    suffixes: ClassVar[tuple[str, ...]]
    package: ClassVar[str | None] = None
    #: Whether :meth:`finish` can be done again after it was interrupted.
    repeatable: ClassVar[bool] = True

    #: Whether the file is one array, with no place for anything beside it.
    bare: bool = False
    arrays: dict[str, Array]
    #: The provenance that an earlier run left.
    note: str | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def resolve(self, key: str) -> str:
        """The name in :attr:`arrays` of what the user calls ``key``."""
        return key.strip("/")

    @abstractmethod
    def read(self, key: str, index: Index) -> np.ndarray:
        """Read one block of an array."""

    @abstractmethod
    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        """Make the output in the folder ``work``, with room for the values of ``keys``."""

    @abstractmethod
    def sinks(self, work: Path, keys: Sequence[str]) -> list[Sink]:
        """Where the values of ``keys`` go."""

    @abstractmethod
    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        """Make ``work / "part"`` the whole output: with a note and, unless bare, arrays beside; without ``drop``."""


class Staged(Format):
    """A format whose values are collected in .npy files and assembled at the end."""

    def _turned(self, key: str) -> bool:
        return False

    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        for path, key in zip(self._stages(work, keys), keys, strict=True):
            new_npy(path, self.arrays[key], turned=self._turned(key))

    def _stages(self, work: Path, keys: Sequence[str]) -> list[Path]:
        return [work / f"{number}.npy" for number in range(len(keys))]

    def sinks(self, work: Path, keys: Sequence[str]) -> list[Sink]:
        return [npy_region(path) for path in self._stages(work, keys)]

    def _staged(self, work: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
        stages = self._stages(work, keys)
        return {key: np.load(path, mmap_mode="c") for key, path in zip(keys, stages, strict=True)}


class Npy(Staged):
    """NumPy's .npy."""

    suffixes = (".npy",)
    bare = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._region = npy_region(path)
        self.arrays = {"array": Array(self._region.shape, self._region.dtype, (1,) * len(self._region.shape))}

    def _turned(self, key: str) -> bool:
        return self._region.turned

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._region.read(index)

    def _stages(self, work: Path, keys: Sequence[str]) -> list[Path]:
        return [work / "part"]

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        pass


class Npz(Staged):
    """NumPy's .npz. A compressed member is loaded whole; one that is no array of numbers is carried over unread."""

    suffixes = (".npz",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, Region | np.ndarray] = {}
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as whole:
            for info in archive.infolist():
                with archive.open(info) as member:
                    if not info.filename.endswith(".npy") or _npy_header(member)[2].hasobject:
                        continue  # carried over
                key = info.filename.removesuffix(".npy")
                if info.compress_type == zipfile.ZIP_STORED:
                    self._members[key] = npy_region(path, _zip_offset(path, info))
                else:
                    self._members[key] = whole[info.filename]
            if OURS in self._members:
                self.note = str(whole[f"{OURS}.npy"])
        self.arrays = {
            key: Array(member.shape, member.dtype, (1,) * len(member.shape)) for key, member in self._members.items()
        }

    def _turned(self, key: str) -> bool:
        member = self._members[key]
        return member.turned if isinstance(member, Region) else not member.flags.c_contiguous

    def read(self, key: str, index: Index) -> np.ndarray:
        member = self._members[key]
        return member.read(index) if isinstance(member, Region) else member[index]

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        stages = {f"{key}.npy": path for key, path in zip(keys, self._stages(work, keys), strict=True)}
        with zipfile.ZipFile(self.path) as source:
            write_npz(work / "part", note, extra, ((source, info) for info in source.infolist()), stages, drop)


def write_npz(
    path: Path,
    note: str,
    extra: Mapping[str, Region],
    members: Iterable[tuple[zipfile.ZipFile, zipfile.ZipInfo]] = (),
    stages: Mapping[str, Path] = MappingProxyType({}),
    drop: Collection[str] = (),
) -> None:
    """Write an .npz file: another's members, or what is staged for them, without ``drop``; and extra."""
    with zipfile.ZipFile(path, "w") as archive:
        for source, info in members:
            if info.filename in {f"{key}.npy" for key in (OURS, *extra, *drop)}:
                continue
            copy = zipfile.ZipInfo(info.filename)  # with no date: the same content gives the same bytes
            copy.compress_type = info.compress_type
            with (
                stages[info.filename].open("rb") if info.filename in stages else source.open(info) as old,
                archive.open(copy, "w", force_zip64=True) as new,
            ):
                shutil.copyfileobj(old, new, 1 << 20)
        for key, region in extra.items():
            with region.path.open("rb") as old, archive.open(zipfile.ZipInfo(f"{key}.npy"), "w") as new:
                shutil.copyfileobj(old, new, 1 << 20)
        with archive.open(zipfile.ZipInfo(f"{OURS}.npy"), "w") as new:
            np.lib.format.write_array(new, np.array(note), allow_pickle=False)


def _zip_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind a local header, whose own name and extra field have their own lengths."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member's header is damaged")
        return info.header_offset + 30 + sum(struct.unpack("<26xHH", header))


class Torch(Staged):
    """``torch.save`` of a tensor or of (nested) dicts of tensors; weights only."""

    suffixes = (".pt", ".pth")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError:
            raise ValueError(
                "it is damaged, or holds Python objects other than tensors, which are not loaded"
            ) from None
        except (RuntimeError, EOFError, LookupError, OSError) as error:
            hint = str(error).partition(".")[0]
            raise ValueError(f"it is damaged ({hint})" if " " in hint else "it is damaged") from None
        if not isinstance(content, (Tensor, dict)):
            raise ValueError(f"it holds a {type(content).__name__}, neither a tensor nor a dict of them")
        self._content: Any = content
        if isinstance(content, Tensor):
            self.bare = True
            self._tensors = {"array": content.detach()}
        else:
            self._tensors = dict(_flat(content))
            self.note = content.get(OURS)
        self.arrays = {
            key: Array(tuple(x.shape), dtype, (1,) * x.dim())
            for key, x in self._tensors.items()
            if x.layout == torch.strided and (dtype := _numpy_dtype(x.dtype)) is not None
        }

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._tensors[key][index].resolve_conj().resolve_neg().numpy()

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        staged = {key: torch.from_numpy(values) for key, values in self._staged(work, keys).items()}
        if self.bare:
            torch.save(staged[keys[0]], work / "part")
            return
        content = _replaced(self._content, staged)
        content = {key: value for key, value in content.items() if key not in drop}
        content |= {key: torch.from_numpy(np.load(region.path)) for key, region in extra.items()}
        torch.save(content | {OURS: note}, work / "part")


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any] | None:
    """The same in NumPy, which has not all."""
    try:
        return torch.empty(0, dtype=dtype).numpy().dtype
    except TypeError:
        return None


def _flat(content: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{above}{key}", value.detach()
        elif isinstance(value, dict):
            yield from _flat(value, f"{above}{key}/")


def _replaced(content: Mapping[Any, Any], new: Mapping[str, Tensor], above: str = "") -> dict[Any, Any]:
    return {
        key: _replaced(value, new, f"{above}{key}/") if isinstance(value, dict) else new.get(f"{above}{key}", value)
        for key, value in content.items()
    }


class Mat(Staged):
    """MATLAB up to version 7, which scipy loads and saves whole."""

    suffixes = (".mat",)
    package = "scipy.io"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        io = importlib.import_module("scipy.io")
        if io.matlab.matfile_version(path)[0] == 0:
            raise ValueError("it is of MATLAB 4. Save it with -v7 or -v7.3")
        content = io.loadmat(path)
        content |= {key: content[key].astype(bool) for key, _, kind in io.whosmat(path) if kind == "logical"}
        self._content = {key: value for key, value in content.items() if not key.startswith("__")}
        if OURS in self._content:
            self.note = str(self._content[OURS].squeeze())
        self.arrays = {
            key: Array(value.shape, value.dtype, (1,) * value.ndim)
            for key, value in self._content.items()
            if isinstance(value, np.ndarray) and not value.dtype.hasobject
        }

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._content[key][index]

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        content = {key: value for key, value in self._content.items() if key not in drop}
        content |= self._staged(work, keys) | {key: np.load(region.path) for key, region in extra.items()}
        importlib.import_module("scipy.io").savemat(
            work / "part", content | {OURS: note}, oned_as="column", long_field_names=True
        )
        with self.path.open("rb") as old, (work / "part").open("r+b") as new:
            new.write(old.read(116))  # the text in front, which has the date in it


class Tiff(Staged):
    """A .tif stack: its one series of pages, real or complex. Tags are not carried over."""

    suffixes = (".tif", ".tiff")
    package = "tifffile"
    bare = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _strict():
            self._file = importlib.import_module("tifffile").TiffFile(path)
            series = self._file.series
        if len(series) != 1 or series[0].is_pyramidal:
            raise ValueError(f"it holds {len(series)} series of pages of different shapes, and not one stack")
        self._series = series[0]
        shape, dtype = self._series.shape, self._series.dtype.newbyteorder(self._file.byteorder)
        self._region = None
        if self._series.dataoffset is not None:
            self._region = Region(path, self._series.dataoffset, shape, dtype).check()
        elif last := self._series.pages[-1]:
            ends = [at + count for at, count in zip(last.dataoffsets, last.databytecounts, strict=False)]
            if max(ends, default=0) > path.stat().st_size:
                raise EOFError("it is cut off within its last page")
        self.arrays = {"array": Array(shape, dtype.newbyteorder("="), (1,) * len(shape))}

    def read(self, key: str, index: Index) -> np.ndarray:
        if self._region is not None:
            return self._region.read(index)
        with _strict():
            return self._decoded(index)

    def _decoded(self, index: Index) -> np.ndarray:
        shape, pages = self._series.shape, len(self._series.pages)
        if not shape or pages % shape[0]:
            return self._file.asarray(series=0)[index]
        rows, per_row = index[0], pages // shape[0]
        read = self._file.asarray(series=0, key=slice(rows.start * per_row, rows.stop * per_row))
        return read.reshape(rows.stop - rows.start, *shape[1:])[(slice(None), *index[1:])]

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        (values,) = self._staged(work, keys).values()
        options = {"photometric": "minisblack", "byteorder": self._file.byteorder}
        importlib.import_module("tifffile").imwrite(work / "part", values, **options)


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Raise the first error that tifffile only logs: of a file that is cut off it returns what is left."""
    logger, errors = logging.getLogger("tifffile"), []

    def collect(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return record.levelno < logging.ERROR

    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)
    if errors:
        raise ValueError(errors[0])


@contextlib.contextmanager
def _told_shortly() -> Iterator[None]:
    """Raise what the system said, once, where HDF5 says it in many lines, and again for all that it cannot close."""
    untold: list[Any] = []
    before = sys.unraisablehook, sys.excepthook  # h5py prints to both
    sys.unraisablehook, sys.excepthook = untold.append, lambda *error: None
    try:
        yield
        for each in untold:
            raise each.exc_value
    except (OSError, RuntimeError) as error:
        traceback.clear_frames(error.__traceback__)  # closes what is still open, while nothing is printed
        if said := re.search(r"errno = (\d+)", str(error)):
            raise OSError(int(said[1]), os.strerror(int(said[1]))) from None
        raise
    finally:
        sys.unraisablehook, sys.excepthook = before


class Hdf5(Format):
    """HDF5, and what is HDF5 underneath: CXI, NeXus, and MATLAB 7.3, whose axes are listed as MATLAB has them.

    The replaced arrays are contiguous in the output and not compressed: their place in the file is then fixed, a
    process that is killed leaves the file's structure whole, and several can write at once.
    """

    suffixes = (".h5", ".hdf5", ".cxi", ".nxs")
    package = "h5py"
    repeatable = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._h5 = h5 = importlib.import_module("h5py")
        importlib.import_module("hdf5plugin")  # registers the filters that compressed arrays may need
        self._file = h5.File(path, "r")
        self._turned = path.suffix == ".mat"
        self.note = self._file.attrs.get(OURS)
        self.arrays = {}

        def visit(key: str, found: Any) -> None:
            if isinstance(found, h5.Dataset) and found.shape is not None and not found.dtype.hasobject:
                shape, grid = found.shape, found.chunks or (1,) * found.ndim
                turned = slice(None, None, -1 if self._turned else 1)
                self.arrays[key] = Array(shape[turned], found.dtype, grid[turned])

        self._file.visititems(visit)
        if self._turned:
            self.arrays = {key: array for key, array in self.arrays.items() if not key.startswith("#")}

    def resolve(self, key: str) -> str:
        if isinstance(self._file.get(key), self._h5.Dataset):  # by whatever link
            return next((name for name in self.arrays if self._file[name] == self._file[key]), key)
        return super().resolve(key)

    def read(self, key: str, index: Index) -> np.ndarray:
        values = self._file[key][index[::-1] if self._turned else index]
        return values.T if self._turned else values

    @_told_shortly()
    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        block = self._file.userblock_size
        targets = {self._address(self._file[key]) for key in keys}  # each may have several names
        with self._h5.File(work / "part", "w", userblock_size=block) as out:
            self._copy(self._file, out, targets, {})
        with self.path.open("rb") as old, (work / "part").open("r+b") as new:
            new.write(old.read(block))

    def _address(self, found: Any) -> Any:
        return self._h5.h5o.get_info(found.id).addr

    def _copy(self, old: Any, new: Any, targets: set[Any], seen: dict[Any, str]) -> None:
        """Copy a group with all but our own, and make room for the targets; what has two names keeps both."""
        h5 = self._h5
        self._copy_attributes(old, new)
        for name in old:
            link = old.get(name, getlink=True)
            if not isinstance(link, h5.HardLink):
                new[name] = link
                continue
            found = old[name]
            address = self._address(found)
            if address in seen:
                new[name] = new.file[seen[address]]
                continue
            seen[address] = found.name
            if isinstance(found, h5.Group):
                self._copy(found, new.create_group(name), targets, seen)
            elif address in targets:
                how = h5.h5p.create(h5.h5p.DATASET_CREATE)
                how.set_alloc_time(h5.h5d.ALLOC_TIME_EARLY)
                how.set_fill_time(h5.h5d.FILL_TIME_NEVER)
                how.set_obj_track_times(False)
                kind, space = h5.h5t.py_create(found.dtype, logical=True), h5.h5s.create_simple(found.shape)
                h5.h5d.create(new.id, name.encode(), kind, space, dcpl=how)
                self._copy_attributes(found, new[name])
            else:
                old.copy(name, new)

    def _copy_attributes(self, old: Any, new: Any) -> None:
        for name in old.attrs:
            dtype = old.attrs.get_id(name).dtype
            # References to objects mean nothing in another file.
            if name != OURS and (not dtype.hasobject or self._h5.check_string_dtype(dtype)):
                new.attrs.create(name, old.attrs[name], dtype=dtype)

    def sinks(self, work: Path, keys: Sequence[str]) -> list[Sink]:
        with self._h5.File(work / "part", "r") as out:
            return [
                Region(
                    work / "part",
                    out[key].id.get_offset() if out[key].size else 0,
                    self.arrays[key].shape,
                    out[key].dtype,
                    self._turned,
                )
                for key in keys
            ]

    @_told_shortly()
    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        with self._h5.File(work / "part", "r+") as out:
            for key in sorted({*extra, *drop} & set(out)):
                del out[key]
            for key, region in extra.items():
                values = np.load(region.path)
                if self._turned:
                    values = values.T
                    name = _MATLAB_CLASSES[values.dtype.char]
                    if values.dtype.kind == "c":
                        part = values.real.dtype
                        values = np.ascontiguousarray(values).view([("real", part), ("imag", part)])
                    dataset = out.create_dataset(key, data=values)
                    dataset.attrs["MATLAB_class"] = np.bytes_(name)
                else:
                    out.create_dataset(key, data=values)
            out.attrs[OURS] = note


_MATLAB_CLASSES = {
    "?": "logical",
    "l": "int64",
    "q": "int64",
    "f": "single",
    "d": "double",
    "F": "single",
    "D": "double",
}


class ZarrSink(NamedTuple):
    """An array of a zarr group, or the one array of the store (key None)."""

    path: Path
    key: str | None

    def write(self, index: Index, values: np.ndarray) -> None:
        found = importlib.import_module("zarr").open(self.path, mode="r+")
        (found if self.key is None else found[self.key])[index] = values


class Zarr(Format):
    """A zarr store in a folder, format 2 or 3; chunks and compressors stay as they are."""

    suffixes = (".zarr",)
    package = "zarr"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._zarr = importlib.import_module("zarr")
        self._root = self._zarr.open(path, mode="r")
        self.bare = isinstance(self._root, self._zarr.Array)
        members = [("array", self._root)] if self.bare else self._root.members(max_depth=None)
        self._found = {key: found for key, found in members if isinstance(found, self._zarr.Array)}
        self.note = None if self.bare else self._root.attrs.get(OURS)
        self.arrays = {
            key: Array(found.shape, found.dtype, found.shards or found.chunks) for key, found in self._found.items()
        }

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._found[key][index]

    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        described = ("zarr.json", ".zarray", ".zattrs")
        folders = [self.path if self.bare else self.path / key for key in keys]

        def left_out(folder: str, names: list[str]) -> list[str]:
            return [name for name in names if Path(folder) in folders and name not in described]

        shutil.copytree(self.path, work / "part", ignore=left_out)

    def sinks(self, work: Path, keys: Sequence[str]) -> list[Sink]:
        return [ZarrSink(work / "part", None if self.bare else key) for key in keys]

    def finish(
        self, work: Path, keys: Sequence[str], note: str, extra: Mapping[str, Region], drop: Collection[str] = ()
    ) -> None:
        # What zarr was writing when a run was killed; the chunk itself has been written again.
        for path in (work / "part").rglob("*.partial"):
            path.unlink()
        if self.bare:
            return
        root = self._zarr.open_group(work / "part", mode="r+", use_consolidated=False)
        for key in sorted(set(drop) & set(root)):
            del root[key]
        for key, region in extra.items():
            root.create_array(key, data=np.load(region.path), overwrite=True)
        root.attrs[OURS] = note
        if self._root.metadata.consolidated_metadata is not None:
            self._zarr.consolidate_metadata(work / "part")


FORMATS: tuple[type[Format], ...] = (Hdf5, Npy, Npz, Mat, Tiff, Zarr, Torch)


def open_file(path: Path) -> Format:
    """Open a file for reading, by its suffix.

    Raises:
        FileNotFoundError: If there is none.
        ModuleNotFoundError: If the package that reads it is missing.
        ValueError: If it is of no supported format, or damaged.
    """
    kind = next((kind for kind in FORMATS if path.suffix in kind.suffixes), None)
    if kind is None:
        known = ", ".join(suffix for kind in FORMATS for suffix in kind.suffixes)
        raise ValueError(f"{path} has none of the suffixes that are read: {known}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
        raise ValueError(f"{path} is no regular file. Save its content to one.")
    if path.is_dir() != (kind is Zarr):
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'no folder'}, and no {path.suffix} store.")
    if kind is Mat and _is_hdf5(path):
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


def _is_hdf5(path: Path) -> bool:
    """Whether the HDF5 signature stands at 0 or 512, where MATLAB puts it."""
    with path.open("rb") as file:
        return any(file.seek(at) == at and file.read(8) == b"\x89HDF\r\n\x1a\n" for at in (0, 512))
