"""Zarr."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torch_symbreak.io.formats.base import OURS, Array, Format, Index, Names, Regions, Sink

#: Codecs and filters that keep every value.
_LOSSLESS = re.compile(
    r"(numcodecs\.)?(bytes|transpose|sharding_indexed|gzip|zlib|bz2|lzma|lz4|zstd|blosc|shuffle|crc32c?|adler32|fletcher32)"
)

#: Names of chunks, or of the folders that they are in, beside an array's metadata.
_CHUNK = re.compile(r"c|(c\.)?\d+(\.\d+)*")


def _write(path: Path, key: str | None, index: Index, values: np.ndarray) -> None:
    """Write a block of an array of a group, or of the one array of a store (key None)."""
    found = importlib.import_module("zarr").open(path, mode="r+")
    (found if key is None else found[key])[index] = values


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
        if outside := [key for key in self._found if ".." in key.split("/")]:
            raise ValueError(f"{outside[0]} would lie outside of it")
        self.note = None if self.bare else self._root.attrs.get(OURS)
        self.arrays = {
            key: Array(found.shape, found.dtype, found.shards or found.chunks) for key, found in self._found.items()
        }

    def read(self, key: str, index: Index) -> np.ndarray:
        return self._found[key][index]

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        super().check(keys)
        for above, folders, files in os.walk(self.path):
            if links := [name for name in (*folders, *files) if Path(above, name).is_symlink()]:
                name = self.path.name
                raise ValueError(f"{Path(above, links[0])} is a link. Copy the store: cp -rL {name} whole.zarr")
        for key in keys:
            described = self._found[key].metadata.to_dict()
            for name in _codecs([described.get(part) for part in ("codecs", "filters", "compressor")]):
                if not _LOSSLESS.fullmatch(name):
                    raise ValueError(
                        f"{key} of {self.path} is stored by the codec {name}, which may change values. Write a copy of "
                        "it with compressors='auto' and no filters."
                    )

    def prepare(self, work: Path, keys: Sequence[str]) -> None:
        folders = [self.path if self.bare else self.path / key for key in keys]

        def left_out(folder: str, names: list[str]) -> list[str]:
            return [name for name in names if Path(folder) in folders and _CHUNK.fullmatch(name)]

        shutil.copytree(self.path, work / "part", ignore=left_out)

    def sinks(self, work: Path, keys: Sequence[str]) -> Sequence[Sink]:
        return [functools.partial(_write, work / "part", None if self.bare else key) for key in keys]

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        # What zarr was writing when a run was killed; the chunk itself has been written again.
        for path in (work / "part").rglob("*.partial"):
            path.unlink()
        if self.bare:
            return
        root = self._zarr.open_group(work / "part", mode="r+", use_consolidated=False)
        for name in drop - extra.keys():
            if name in root:
                del root[name]
        for name, region in extra.items():
            root.create_array(name, data=np.load(region.path), overwrite=True)
        root.attrs[OURS] = note
        if self._root.metadata.consolidated_metadata is not None:
            self._zarr.consolidate_metadata(work / "part")


def _codecs(described: Any) -> Iterator[str]:
    """Names of codecs, those within a shard too."""
    if isinstance(described, (list, tuple)):
        for each in described:
            yield from _codecs(each)
    elif isinstance(described, dict):
        yield str(described.get("name", described.get("id")))
        yield from _codecs(described.get("configuration", {}).get("codecs"))
    elif described is not None:  # a codec of numcodecs
        yield described.codec_id
