"""The .safetensors format."""

from __future__ import annotations

import importlib
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torch_symbreak.io.formats.base import OURS, Format, Names, Region, Regions, copy_bytes, is_ours, npy_region

#: The numbers that both the format and NumPy can hold. The format has no complex128.
_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


class _Tensor(NamedTuple):
    """A tensor as the header describes it, and the range of bytes that holds its values."""

    dtype: str
    shape: list[int]
    path: Path
    start: int
    size: int


class Safetensors(Format):
    """Read and write .safetensors files, a header in JSON and then the values.

    Tensors of numbers that NumPy lacks, such as bfloat16, are copied without being read.
    """

    suffixes = (".safetensors",)
    package = "safetensors"
    in_place = False  # the header grows with the note, and the values lie behind it

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # safe_open checks that the tensors fill the file without gaps or overlaps. It does not say where they begin.
        with importlib.import_module("safetensors").safe_open(path, "np"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self._metadata: dict[str, str] = header.pop("__metadata__", None) or {}  # null is allowed
        self.note = self._metadata.get(OURS)
        self._tensors = {
            key: _Tensor(entry["dtype"], entry["shape"], path, 8 + length + start, end - start)
            for key, entry in header.items()
            for start, end in [entry["data_offsets"]]
        }
        self._regions = {key: _region(key, x) for key, x in self._tensors.items() if x.dtype in _DTYPES}
        self.arrays = {key: region.array for key, region in self._regions.items()}
        if not self.arrays:
            self.resolve(next(iter(self._tensors), ""))

    def resolve(self, key: str) -> str:
        key = super().resolve(key)
        if key in self._tensors and key not in self.arrays:
            raise ValueError(
                f"{key} of {self.path} is {self._tensors[key].dtype}, which NumPy does not have. Save it as another "
                f"type: safetensors.torch.save_file({{{key!r}: tensor.float()}}, "
                f"{f'{self.path.stem}-float32.safetensors'!r})"
            )
        return key

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        tensors = {key: x for key, x in self._tensors.items() if key not in drop}
        for key, stage in self._stages(work, keys).items():
            tensors[key] = tensors[key]._replace(path=stage, start=npy_region(stage).offset)
        for key, region in extra.items():
            pair = region.dtype == np.complex128
            shape, dtype = [*region.shape, *[2] * pair], np.dtype("<f8") if pair else region.dtype
            tensors[key] = _Tensor(_NAMES[dtype], shape, region.path, region.offset, region.end - region.offset)
        # Like the package, put tensors of wide numbers first, so that all are aligned.
        ordered = sorted(tensors.items(), key=lambda item: (-item[1].size // max(1, math.prod(item[1].shape)), item[0]))
        ends = [0, *itertools.accumulate(x.size for _, x in ordered)]
        header: dict[str, object] = {"__metadata__": self._metadata | {OURS: note}}
        for (key, x), place in zip(ordered, itertools.pairwise(ends), strict=True):
            header[key] = {"dtype": x.dtype, "shape": x.shape, "data_offsets": place}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        with (work / "part").open("wb") as new:
            new.write(len(text).to_bytes(8, "little") + text)
            for _, x in ordered:
                with x.path.open("rb") as old:
                    old.seek(x.start)
                    copy_bytes(old, new, x.size)


def _region(key: str, x: _Tensor) -> Region:
    """Return the region that holds an array. Our elements of complex128 are stored as pairs of F64."""
    shape, dtype = tuple(x.shape), np.dtype(_DTYPES[x.dtype])
    if is_ours(key) and x.dtype == "F64" and len(shape) == 2 == shape[1]:
        shape, dtype = shape[:1], np.dtype("<c16")
    return Region(x.path, x.start, shape, dtype)
