"""MATLAB 5 to 7: a header and one element per variable, of which those of the targets are written anew."""

from __future__ import annotations

import importlib
import io
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from torch_symbreak.io.formats.base import OURS, Array, Format, Names, Regions

#: Numbers of the format: classes of numeric arrays, types of stored numbers, and classes that hold other variables.
_CLASSES = dict(zip(range(6, 16), ("d", "f", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), strict=True))
_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
_NESTED = {1: "cell array", 2: "struct", 3: "object"}
_LOGICAL, _COMPLEX = 0x200, 0x800
_CHAR, _OPAQUE, _UTF8 = 4, 17, 16
_ARRAY, _COMPRESSED = 14, 15


class _Element(NamedTuple):
    """One variable in the file."""

    start: int
    size: int
    compressed: bool
    flags: int
    shape: tuple[int, ...]

    @property
    def kind(self) -> int:
        return self.flags & 0xFF


class Mat(Format):
    """MATLAB 5 to 7. A target is loaded whole; all else is copied unread."""

    suffixes = (".mat",)
    package = "scipy.io"
    whole = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._io = importlib.import_module("scipy.io")
        if self._io.matlab.matfile_version(path)[0] == 0:
            raise ValueError("it is of MATLAB 4. Save it with -v7 or -v7.3")
        self._elements: list[tuple[str, _Element]] = []
        with path.open("rb") as file:
            self._header = file.read(128)
            self._order: Literal["<", ">"] = "<" if self._header.endswith(b"IM") else ">"
            # Where the data of the file's objects begin. Zeros or spaces if it has none.
            (self._subsystem,) = struct.unpack(f"{self._order}Q", self._header[116:124])
            while tag := file.read(8):
                self._elements.append(self._parsed(file, tag))
        named = dict(self._elements)
        for name, element in named.items():
            real, is_complex = _CLASSES.get(element.kind, "i"), bool(element.flags & _COMPLEX)
            if name and element.kind in _CLASSES and (real in "df" or not is_complex):
                dtype = np.dtype("?" if element.flags & _LOGICAL else real.upper() if is_complex else real)
                self.arrays[name] = Array(element.shape, dtype, (1,) * len(element.shape), turned=True)
        self._nested = {name: _NESTED[element.kind] for name, element in named.items() if element.kind in _NESTED}
        self.hidden = tuple(self._nested)
        if OURS in named:
            self.note = str(self._load(OURS).squeeze())
        if not self.arrays and self._nested:
            self.resolve(next(iter(self._nested)))

    def _parsed(self, file: BinaryIO, tag: bytes) -> tuple[str, _Element]:
        """Name and place of the element behind a tag, at whose end the file then is."""
        start, order = file.tell() - 8, self._order
        kind, size = struct.unpack(f"{order}II", tag)
        head = tag + file.read(min(size, 4096))
        if start + 8 + size > file.seek(0, 2):
            raise EOFError("it is cut off")
        file.seek(start + 8 + size)
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(head[8:], 4096)
        elif kind != _ARRAY:
            return "", _Element(start, 8 + size, False, 0, ())
        flags, at, shape = struct.unpack_from(f"{order}I", head, 16)[0], 24, ()
        if flags & 0xFF != _OPAQUE:  # which has no shape
            (count,) = struct.unpack_from(f"{order}I", head, at + 4)
            shape = struct.unpack_from(f"{order}{count // 4}i", head, at + 8)
            at += 8 + count + -count % 8
        word, length = struct.unpack_from(f"{order}II", head, at)
        short = word >> 16  # at most four bytes stand in the tag itself
        name = head[at + 4 :][:short] if short else head[at + 8 :][:length]
        return name.decode("latin1"), _Element(start, 8 + size, kind == _COMPRESSED, flags, shape)

    def resolve(self, key: str) -> str:
        head = re.split(r"[./]", key.strip("/"))[0]
        if head in self._nested:
            name = self.path.name
            raise ValueError(
                f"{head} of {self.path} is a {self._nested[head]}. Save the array in it as a variable of its own, in "
                f"MATLAB: load('{name}'); targets = {head}.NAME; save('{name}', 'targets', '-append')"
            )
        return super().resolve(key)

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        super().check(keys)
        starts = {element.start for _, element in self._elements}
        if self._header[116:124].strip(b"\0 ") and self._subsystem not in starts:
            raise ValueError(f"{self.path} has objects at byte {self._subsystem}, where none begins. Save it anew.")

    def _load(self, key: str) -> np.ndarray:
        element = dict(self._elements)[key]
        with self.path.open("rb") as file:
            file.seek(element.start)
            content = self._io.loadmat(io.BytesIO(self._header + file.read(element.size)))[key]
        # MATLAB stores whole numbers in few bytes, whatever their class.
        return content.astype(self.arrays[key].dtype) if key in self.arrays else content

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        staged, moved = self._staged(work, keys), {}
        with self.path.open("rb") as old, (work / "part").open("wb") as new:
            new.write(self._header)
            for name, element in self._elements:
                moved[element.start] = new.tell()
                if name in staged:
                    new.write(self._encoded(name, staged[name], element.flags, compress=element.compressed))
                elif name not in {OURS, *extra, *drop}:
                    old.seek(element.start)
                    new.write(old.read(element.size))
            for name, region in extra.items():
                values = np.load(region.path)
                new.write(self._encoded(name, values if values.ndim > 1 else values[:, None], _flags(values.dtype)))
            text = np.frombuffer(note.encode(), np.uint8)
            new.write(self._encoded(OURS, text[None], _CHAR, kind=_UTF8))
            if self._subsystem in moved:
                new.seek(116)
                new.write(struct.pack(f"{self._order}Q", moved[self._subsystem]))

    def _encoded(
        self, name: str, values: np.ndarray, flags: int, *, kind: int | None = None, compress: bool = False
    ) -> bytes:
        """A variable as the format has it."""

        def tagged(kind: int, content: bytes) -> bytes:
            if len(content) > 0xFFFF_FFF0:
                raise ValueError(f"{name} is too large for MATLAB 7. Save the input with -v7.3.")
            return struct.pack(f"{self._order}II", kind, len(content)) + content + bytes(-len(content) % 8)

        parts = [values.real, values.imag] if flags & _COMPLEX else [values]
        numbers = [part.astype("u1" if part.dtype == bool else part.dtype.newbyteorder(self._order)) for part in parts]
        content = tagged(
            _ARRAY,
            tagged(6, struct.pack(f"{self._order}II", flags, 0))
            + tagged(5, np.array(values.shape, f"{self._order}i4").tobytes())
            + tagged(1, name.encode("latin1"))
            + b"".join(tagged(kind or _TYPES[part.dtype.str[1:]], part.tobytes("F")) for part in numbers),
        )
        if not compress:
            return content
        packed = zlib.compress(content)
        return struct.pack(f"{self._order}II", _COMPRESSED, len(packed)) + packed


def _flags(dtype: np.dtype[np.generic]) -> int:
    if dtype.kind == "b":
        return 9 | _LOGICAL
    part = np.empty(0, dtype).real.dtype
    kind = next(number for number, name in _CLASSES.items() if np.dtype(name) == part)
    return kind | (_COMPLEX if dtype.kind == "c" else 0)
