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
    Names,
    Region,
    Regions,
    npy_header,
    npy_region,
)


class Npy(Format):
    """NumPy's .npy."""

    suffixes = (".npy",)
    bare = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._regions = {"array": npy_region(path)}
        self.arrays = {"array": self._regions["array"].array}

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        pass


class Npz(Format):
    """NumPy's .npz. A compressed target is loaded whole; a member that is no array of numbers is copied unread."""

    suffixes = (".npz",)
    in_place = False  # there are sums of it
    whole = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                with archive.open(info) as member:
                    shape, turned, dtype = npy_header(member)
                if dtype.hasobject:
                    continue
                key, region = info.filename.removesuffix(".npy"), Region(path, 0, shape, dtype, turned)
                if region.end > info.file_size:
                    raise EOFError(f"{key} is cut off: {info.file_size} bytes of {region.end}")
                if info.compress_type == zipfile.ZIP_STORED:
                    self._regions[key] = npy_region(path, _zip_offset(path, info))
                self.arrays[key] = region.array
        if OURS in self.arrays:
            self.note = str(self.read(OURS, ()))

    def _load(self, key: str) -> np.ndarray:
        with np.load(self.path, allow_pickle=False) as archive:
            return archive[f"{key}.npy"]

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        stages = {f"{key}.npy": stage for key, stage in self._stages(work, keys).items()}
        with zipfile.ZipFile(self.path) as source:
            write_npz(work / "part", note, extra, ((source, info) for info in source.infolist()), stages, drop)


def write_npz(
    path: Path,
    note: str | None,
    extra: Regions,
    members: Iterable[tuple[zipfile.ZipFile, zipfile.ZipInfo]] = (),
    stages: Mapping[str, Path] = MappingProxyType({}),
    drop: Names = frozenset(),
) -> None:
    """Write an .npz file: another's members, or what is staged for them, but those of ``drop``; extra; and any note."""
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
        if note is not None:
            with archive.open(zipfile.ZipInfo(f"{OURS}.npy"), "w") as new:
                np.lib.format.write_array(new, np.array(note), allow_pickle=False)


def _zip_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: behind a local header with a name and an extra field of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a member's header is damaged")
        return info.header_offset + 30 + sum(struct.unpack("<26xHH", header))
