"""NumPy's .npy and .npz."""

from __future__ import annotations

import itertools
import shutil
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from torch_symbreak.io.formats.base import OURS, Format, Names, Region, Regions, npy_header, npy_region


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
        extra = {**extra, OURS: staged_note(work, note)}
        left_out = {f"{key}.npy" for key in (*extra, *drop)}

        def members(source: zipfile.ZipFile) -> Iterable[tuple[zipfile.ZipInfo, IO[bytes]]]:
            for old in source.infolist():
                if old.filename not in left_out:
                    new = zipfile.ZipInfo(old.filename, old.date_time)
                    new.compress_type, new.external_attr, new.comment = (
                        old.compress_type,
                        old.external_attr,
                        old.comment,
                    )
                    yield new, stages[old.filename].open("rb") if old.filename in stages else source.open(old)

        with zipfile.ZipFile(self.path) as source:
            write_npz(work / "part", extra, members(source))


def write_npz(path: Path, regions: Regions, members: Iterable[tuple[zipfile.ZipInfo, IO[bytes]]] = ()) -> None:
    """Write an .npz file of open members, and of arrays with no date: the same content gives the same bytes."""
    ours = ((zipfile.ZipInfo(f"{key}.npy"), region.path.open("rb")) for key, region in regions.items())
    with zipfile.ZipFile(path, "w") as archive:
        for info, old in itertools.chain(members, ours):
            with old, archive.open(info, "w", force_zip64=True) as new:
                shutil.copyfileobj(old, new, 1 << 20)


def staged_note(work: Path, note: str) -> Region:
    """Write a note to a file in the folder of a run."""
    np.save(work / "note.npy", np.array(note))
    return npy_region(work / "note.npy")


def _zip_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member that was read begin: behind a local header with an extra field of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        return info.header_offset + 30 + sum(struct.unpack("<26xHH", file.read(30)))
