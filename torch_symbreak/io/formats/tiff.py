"""TIFF stacks."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torch_symbreak.io.formats.base import Array, Format, Index, Names, Region, Regions

#: Numbers of the compressions that keep every value: none, LZW, deflate (two), PackBits, LZMA, Zstandard.
_LOSSLESS = (1, 5, 8, 32946, 32773, 34925, 50000)


class Tiff(Format):
    """A .tif stack: pages of one shape, real or complex.

    Values that lie in one piece are overwritten there. Otherwise every strip or tile is: at its place, or at the end of
    the file if it has grown. All tags but the places and sizes of strips stay.
    """

    suffixes = (".tif", ".tiff")
    package = "tifffile"
    bare = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._library = importlib.import_module("tifffile")
        with _strict():
            self._file = self._library.TiffFile(path)
            series = self._file.series
        first = series[0]
        if any((each.shape, each.dtype, each.is_pyramidal) != (first.shape, first.dtype, False) for each in series):
            raise ValueError(f"it holds {len(series)} series of pages of different shapes, and not one stack")
        self._pages = _pages(self._file)
        if None in self._pages or first.is_multifile or first.transform is not None:
            raise ValueError("some of its pages are missing, or in other files. Save all of them to one file")
        # Written page by page, a stack is as many series.
        shape = first.shape if len(series) == 1 else (len(series), *first.shape)
        dtype = first.dtype.newbyteorder(self._file.byteorder)
        if len(series) == 1 and first.dataoffset is not None:
            self._regions["array"] = Region(path, first.dataoffset, shape, dtype).check()
        for page in () if self._regions else self._pages:
            if max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=False)), default=0) > path.stat().st_size:
                raise EOFError("it is cut off within a page")
            if (how := page.keyframe.compression) not in self._library.TIFF.DECOMPRESSORS:
                text = f"{path} is compressed by {how.name}. To read it: pip install imagecodecs"
                raise ModuleNotFoundError(text, name="imagecodecs")
        self.arrays = {"array": Array(shape, dtype.newbyteorder("="), (1,) * len(shape))}

    def read(self, key: str, index: Index) -> np.ndarray:
        if self._regions:
            return super().read(key, index)
        shape, count = self.arrays[key].shape, len(self._pages)
        whole = not shape or count % shape[0]
        rows = slice(0, count) if whole else slice(*(i * count // shape[0] for i in (index[0].start, index[0].stop)))
        with _strict():
            values = np.stack([page.asarray() for page in self._pages[rows]])
        if whole:
            return values.reshape(shape)[index]
        return values.reshape(-1, *shape[1:])[(slice(None), *index[1:])]

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        for page in () if self._regions else self._pages:
            key, codecs = page.keyframe, self._library.TIFF.COMPRESSORS
            plain = key.fillorder == 1 and key.bitspersample == 8 * key.dtype.itemsize
            if key.compression not in _LOSSLESS or key.compression not in codecs or not plain:
                raise ValueError(
                    f"{self.path} is stored as {key.compression.name}, {key.bitspersample} bits, which this package "
                    'cannot write without a change of values. Write a copy: python -c "import tifffile as t; '
                    f"t.imwrite('copy.tif', t.imread('{self.path.name}'), photometric='minisblack')\""
                )

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        for values in self._staged(work, keys).values():
            shutil.copyfile(self.path, work / "part")
            per_page = values.reshape(len(self._pages), *self._pages[0].keyframe.shaped)
            with self._library.TiffFile(work / "part", mode="r+b") as out:
                for page, new in zip(_pages(out), per_page, strict=True):
                    self._overwrite(page.aspage(), new, out)
            with self._library.TiffFile(work / "part") as out:
                for page, new in zip(_pages(out), per_page, strict=True):
                    if page.asarray().tobytes() != new.tobytes():
                        raise ValueError(f"{self.path} is a kind of TIFF that cannot be written back. Save it anew.")

    def _overwrite(self, page: Any, values: np.ndarray, out: Any) -> None:
        """Write the strips or tiles of a page, (separate samples, depth, length, width, samples)."""
        key, tiff = page.keyframe, self._library.TIFF
        places, counts = list(page.dataoffsets), list(page.databytecounts)
        for number in range(len(places)):
            _, (sample, *at), shape = key.decode(None, number)
            block = values[sample][tuple(slice(start, start + size) for start, size in zip(at, shape, strict=True))]
            block = np.pad(block, [(0, size - there) for size, there in zip(shape, block.shape, strict=True)])
            block = block.astype(block.dtype.newbyteorder(out.byteorder))
            if key.predictor != 1:
                block = tiff.PREDICTORS[key.predictor](block, axis=-2)
            data = block.tobytes() if key.compression == 1 else tiff.COMPRESSORS[key.compression](block)
            if len(data) > counts[number]:
                places[number] = out.filehandle.seek(0, 2) or out.filehandle.tell()
            counts[number] = len(data)
            out.filehandle.seek(places[number])
            out.filehandle.write(data)
        for code, numbers in ((273, places), (324, places), (279, counts), (325, counts)):
            if code in page.tags:
                page.tags[code].overwrite(numbers)


def _pages(file: Any) -> list[Any]:
    return [page for series in file.series for page in series.pages]


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Raise the first error that tifffile only logs: of a file that is cut off it returns what is left."""
    logger, errors = logging.getLogger("tifffile"), []

    def collect(record: logging.LogRecord) -> bool:
        if fault := record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return not fault

    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)
    if errors:
        raise ValueError(errors[0])
