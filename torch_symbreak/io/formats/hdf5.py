"""HDF5."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torch_symbreak.io.formats.base import OURS, Array, Format, Index, Names, Region, Regions, npy_region

#: Numbers of the filters that keep every value: deflate, shuffle, checksum, szip, nbit, bzip2, LZF, Blosc, LZ4,
#: bitshuffle, Zstandard, and Blosc2, which is asked not to cut digits.
_LOSSLESS = (1, 2, 3, 4, 5, 307, 32000, 32001, 32004, 32008, 32015, _BLOSC2 := 32026)
_CUT_DIGITS = 4
#: Bytes of a compressed target that are written at once.
_BLOCK = 16 << 20
_MATLAB_CLASSES = {"b1": "logical", "i8": "int64", "f4": "single", "f8": "double"}


class Hdf5(Format):
    """HDF5, and what is HDF5 underneath: CXI, NeXus, and MATLAB 7.3, whose axes are listed as MATLAB has them.

    Contiguous targets are overwritten in a copy of the file's bytes. Others, chunked or compressed, are staged and
    written by HDF5 at the end, with the chunks and filters that they have.
    """

    suffixes = (".h5", ".hdf5", ".cxi", ".nxs")
    package = "h5py"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._h5 = h5 = importlib.import_module("h5py")
        importlib.import_module("hdf5plugin")  # registers the filters that compressed arrays may need
        self._file = h5.File(path, "r")
        self._turned = path.suffix.lower() == ".mat"
        self.note = self._file.attrs.get(OURS)
        self._names: dict[str, bytes] = {}  # as they stand in the file, which need not be UTF-8
        self._virtual: dict[str, list[str]] = {}  # virtual data sets, and the files of their sources
        self._external: dict[bytes, tuple[bytes, bytes]] = {}  # links, and the file and path they name
        h5.h5o.visit(self._file.id, self._visit)
        self._file.id.links.visit(self._visit_link, info=True)
        if self._external and not self.arrays:
            self.resolve(_decoded(next(iter(self._external))))

    def _visit(self, name: bytes) -> None:
        key = _decoded(name)
        with contextlib.suppress(TypeError):  # NumPy has no such type
            found = self._file[name]
            if not isinstance(found, self._h5.Dataset):
                return
            if found.is_virtual:
                self._virtual[key] = sorted({each.file_name for each in found.virtual_sources()} - {"."})
            if found.shape is None or found.dtype.hasobject or (self._turned and key.startswith("#")):
                return
            # An array of arrays has their axes behind its own.
            dtype, inner = found.dtype.base, found.dtype.shape
            dtype = np.dtype(dtype.str) if dtype.names is None else dtype  # names of an enumeration do not go to .npy
            turn = slice(None, None, -1 if self._turned else 1)
            shape, grid = (*found.shape, *inner), (*(found.chunks or (1,) * found.ndim), *inner)
            self.arrays[key] = Array(shape[turn], dtype, grid[turn], self._turned)
            self._names[key] = name
            written = self._h5.h5t.py_create(found.dtype, logical=True)
            if (offset := found.id.get_offset()) is not None and found.id.get_type() == written:
                self._regions[key] = Region(self.path, offset, shape[turn], dtype, self._turned)

    def _visit_link(self, name: bytes, info: Any) -> None:
        if info.type == self._h5.h5l.TYPE_EXTERNAL:
            self._external[name] = self._file.id.links.get_val(name)

    def resolve(self, key: str) -> str:
        key = super().resolve(key)
        for name, (file, there) in self._external.items():
            if f"{key}/".startswith(f"{_decoded(name)}/"):
                raise ValueError(
                    f"{key} of {self.path} is a link to {_decoded(there)} of {_decoded(file)}, and that file is not "
                    f"changed. Name it instead: {self._beside(_decoded(file)) or _decoded(file)}"
                )
        found = None if key in self.arrays else self._file.get(key)
        if isinstance(found, self._h5.Dataset):  # by another link
            return next((name for name, raw in self._names.items() if self._file[raw] == found), key)
        return key

    def _beside(self, name: str) -> Path | None:
        """A file that is named from this one, if it is there."""
        folders = (self.path.parent, self.path.resolve().parent)
        return next((path for folder in folders if (path := folder / name).exists()), None)

    def _moves(self, name: str, folder: Path) -> Path | None:
        """A file that is named from this one, if a copy in a folder would not find it by that name."""
        there = self._beside(name)
        return None if there is None or ((folder / name).exists() and there.samefile(folder / name)) else there

    def read(self, key: str, index: Index) -> np.ndarray:
        for name in self._virtual.get(key, ()):
            if self._beside(name) is None and "%" not in name:  # HDF5 would read fill values
                raise ValueError(f"{key} of {self.path} is a virtual dataset of {name}, which is not there.")
        if key in self._regions:
            return super().read(key, index)
        found, index = self._file[self._names[key]], index[::-1] if self._turned else index
        values = found[index[: found.ndim]][(..., *index[found.ndim :])]
        return values.T if self._turned else values

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        super().check(keys)
        h5z = self._h5.h5z
        for key in keys:
            found = self._file[self._names[key]]
            made, fault = found.id.get_create_plist(), ""
            if sources := self._virtual.get(key) or [name for name, *_ in found.external or ()]:
                fault = f"in other files, which are not changed: {', '.join(sources)}"
            for code, _, values, name in (made.get_filter(number) for number in range(made.get_nfilters())):
                if code not in _LOSSLESS or (code == _BLOSC2 and _CUT_DIGITS in values[5:6]):
                    fault = f"by a filter that may change values: {_decoded(name)} ({code})"
                elif not (h5z.filter_avail(code) and h5z.get_filter_info(code) & h5z.FILTER_CONFIG_ENCODE_ENABLED):
                    fault = f"by a filter that cannot write here: {_decoded(name)} ({code})"
            if fault:
                old, new = self.path.name, f"whole{self.path.suffix}"
                raise ValueError(
                    f'{key} of {self.path} is stored {fault}. Store the values in a copy: python -c "import h5py, '
                    f"hdf5plugin, shutil; f = h5py.File(shutil.copy('{old}', '{new}'), 'r+'); x = f['{key}'][()]; "
                    f"del f['{key}']; f['{key}'] = x\""
                )
        for key, names in self._virtual.items():
            if folder and (lost := [name for name in names if self._moves(name, folder)]):
                raise ValueError(
                    f"{key} of {self.path} is a virtual dataset of {', '.join(lost)}, which a copy in {folder} would "
                    f"not find. Name an output in {self.path.parent}"
                )

    def repeatable(self, keys: Sequence[str]) -> bool:
        return not self._regions.keys() & set(keys)

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        if self.repeatable(keys):
            shutil.copyfile(self.path, work / "part")
        with _told_shortly(), self._h5.File(work / "part", "r+") as out:
            for key, stage in self._stages(work, keys).items():
                self._write(out[self._names[key]], npy_region(stage))
            self._mend_links(out, work.parent)
            for name in sorted({*drop, *extra} & set(out)):  # in an order that gives the same bytes
                del out[name]
            for name, region in extra.items():
                self._add(out, name, np.load(region.path))
            out.attrs[OURS] = note

    def _write(self, found: Any, stage: Region) -> None:
        """Write whole chunks, so that none is read."""
        size, rows = (found.shape or (1,))[0], (found.chunks or (1,))[0]
        rows *= max(1, _BLOCK * size // max(1, rows * (stage.end - stage.offset)))
        whole = [slice(0, size) for size in stage.shape]
        for start in range(0, 0 if 0 in stage.shape else size, rows):
            part = [slice(start, min(start + rows, size))][: found.ndim]
            values = stage.read((*whole[:-1], *part) if self._turned else (*part, *whole[1:]))
            found[tuple(part)] = values.T if self._turned else values

    def _mend_links(self, out: Any, folder: Path) -> None:
        """Name the files of external links from the output's folder."""
        for name, (file, there) in self._external.items():
            if path := self._moves(os.fsdecode(file), folder):
                above, _, last = name.rpartition(b"/")
                group = out[above or b"/"].id
                names = [*group]
                group.unlink(last)
                group.links.create_external(last, os.fsencode(os.path.relpath(path, folder)), there)
                for each in names[names.index(last) + 1 :]:  # keeps the order of creation, if the group has one
                    group.links.move(each, group, b"symbreak_moved")
                    group.links.move(b"symbreak_moved", group, each)

    def _add(self, out: Any, name: str, values: np.ndarray) -> None:
        if not self._turned:
            out[name] = values
            return
        part, values = values.real.dtype, values.T
        if values.dtype.kind == "c":
            values = np.ascontiguousarray(values).view([("real", part), ("imag", part)])
        out[name] = values
        out[name].attrs["MATLAB_class"] = np.bytes_(_MATLAB_CLASSES[part.str[1:]])


def write_hdf5(path: Path, regions: Regions) -> None:
    """Write arrays that lie in .npy files to a new HDF5 file, words in ASCII."""
    h5 = importlib.import_module("h5py")
    with _told_shortly(), h5.File(path, "w") as out:
        for name, region in regions.items():
            values = np.load(region.path, mmap_mode="c")
            out[name] = values.astype("S") if values.dtype.kind == "U" else values


def _decoded(name: bytes) -> str:
    """A name that is UTF-8, or Latin-1 as older programs write it."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin1")


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
