"""NumPy's .npy and .npz."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from torch_symbreak.io.formats.base import (
    OURS,
    Format,
    Index,
    Names,
    Region,
    Regions,
    check_memory,
    npy_header,
    npy_region,
)


class Npy(Format):
    """NumPy's .npy."""

    suffixes = (".npy",)
    bare = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._region = npy_region(path)
        self.arrays = {"array": self._region.array}

    def _place(self, key: str) -> Region:
        return self._region

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._region.read(index)

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        pass


class Npz(Format):
    """NumPy's .npz. A compressed target is loaded whole; a member that is no array of numbers is copied unread."""

    suffixes = (".npz",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.arrays = {}
        self._stored: dict[str, Region] = {}
        self._loaded: dict[str, np.ndarray] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    if not info.filename.endswith(".npy"):
                        continue
                    shape, turned, dtype = npy_header(member)
                key = info.filename.removesuffix(".npy")
                region = Region(path, 0, shape, dtype, turned)
                if dtype.hasobject:
                    continue
                if region.end > info.file_size:
                    raise EOFError(f"{key} is cut off: {info.file_size} bytes of {region.end}")
                if info.compress_type == zipfile.ZIP_STORED:
                    self._stored[key] = npy_region(path, _zip_offset(path, info))
                self.arrays[key] = region.array
        if OURS in self.arrays:
            self.note = str(self._load(OURS))

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        for key in set(keys) - self._stored.keys():
            check_memory(f"{key} of {self.path}", self.arrays[key])

    def _load(self, key: str) -> np.ndarray:
        if key not in self._loaded:
            self.check([key])
            with np.load(self.path, allow_pickle=False) as archive:
                self._loaded[key] = archive[f"{key}.npy"]
        return self._loaded[key]

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._stored[key].read(index) if key in self._stored else self._load(key)[index]

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        stages = {f"{key}.npy": work / f"{number}.npy" for number, key in enumerate(keys)}
        with zipfile.ZipFile(self.path) as source:
            write_npz(work / "part", note, extra, ((source, info) for info in source.infolist()), stages, drop)


def write_npz(
    path: Path,
    note: str,
    extra: Regions,
    members: Iterable[tuple[zipfile.ZipFile, zipfile.ZipInfo]] = (),
    stages: Mapping[str, Path] = MappingProxyType({}),
    drop: Names = frozenset(),
) -> None:
    """Write an .npz file: another's members, or what is staged for them, but those of ``drop``; extra; and the note."""
    left_out = {f"{key}.npy" for key in (OURS, *extra, *drop)}
    with zipfile.ZipFile(path, "w") as archive:
        for source, info in members:
            if info.filename in left_out:
                continue
            copy = zipfile.ZipInfo(info.filename, info.date_time)
            copy.compress_type, copy.external_attr, copy.comment = info.compress_type, info.external_attr, info.comment
            with (
                stages[info.filename].open("rb") if info.filename in stages else source.open(info) as old,
                archive.open(copy, "w", force_zip64=True) as new,
            ):
                shutil.copyfileobj(old, new, 1 << 20)
        for key, region in extra.items():  # with no date: the same content gives the same bytes
            with (
                region.path.open("rb") as old,
                archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as new,
            ):
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
