"""Files of intensities, solved block by block into a file of objects and a folder of pictures."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._version import __version__
from torch_symbreak.io.arrays import check_new, write_file
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.formats.base import Array, Format, Index, is_ours, new_npy, npy_region
from torch_symbreak.io.formats.hdf5 import write_hdf5
from torch_symbreak.io.formats.npy import staged_note, write_npz
from torch_symbreak.io.layouts import BLOCK, Layout, blocks, find_intensities, inventory
from torch_symbreak.io.runs import Progress, Run, check_paths, check_same, opened, stamp_of

#: Suffixes of outputs.
SUFFIXES = (".npz", ".h5", ".hdf5")
#: Arrays of outputs, which have the batch of the patterns.
ARRAYS = ("object", "support", "residual", "agreement", "held_out", "verdict")
_PICTURE = re.compile(r"item-\d+\.png")


class Patterns(NamedTuple):
    """A block of patterns."""

    first: int  # number of the first, counted over the flattened batch
    y: Tensor  # (B, *M), real
    mask: Tensor | None  # (B, *M) or (*M,), bool
    support: Tensor | None  # (B, *frame) or (*frame,), bool


class Solved(NamedTuple):
    """Results of a block of patterns."""

    arrays: Mapping[str, np.ndarray]  # (B, ...) each of ARRAYS, words as NumPy strings
    pictures: Mapping[str, bytes]  # name of a file to its content


@dataclass(frozen=True)
class Beside:
    """An array of bools: one for all patterns, or one each."""

    flag: str
    path: Path
    key: str
    layout: Layout | None  # None: one for all
    stamp: str

    @property
    def name(self) -> str:
        """The array and its file."""
        return f"{self.key} of {self.path}"

    def read(self, block: Index) -> Tensor:
        """Return (*event,), or (B, *event) of a block."""
        file = opened(self.path, self.stamp)
        if self.layout is None:
            values = file.read_whole(self.key)
        else:
            event = self.layout.event
            values = self.layout.forward(file.read(self.key, self.layout.index(block))).reshape(-1, *event)
        if len(other := values[~np.isin(values, (False, True))]):
            raise ValueError(
                f"{self.flag} {self.name} holds {other[0]}, but needs bools, or 0 and 1. Save it as bools, True where "
                "counted."
            )
        return torch.from_numpy(np.ascontiguousarray(values.astype(bool)))


def find_beside(flag: str, name: str, file: Format, intensities: Layout, event: Sequence[int]) -> Beside:
    """Find an array of bools by its key in ``file``, or in a file of its own: FILE, or FILE:KEY.

    ``flag`` is the option, for errors. The wanted shape is ``event``, or that with the batch of the intensities.
    """
    key: str | None = file.resolve(name)
    if key not in file.arrays:
        before, colon, after = name.rpartition(":")
        path, key = (Path(before), after) if colon and not Path(name).exists() else (Path(name), None)
        if not path.exists():
            held = f"That file holds {'; '.join(inventory(file.arrays))}."
            raise FileNotFoundError(f"{flag} {name} is neither an array of {file.path} nor a file. {held}")
        file = open_file(path.absolute())
        there = [each for each in file.arrays if not is_ours(each)]
        key = there[0] if key is None and len(there) == 1 else key
        if key not in there:
            known = ", or ".join(f"{flag} {path}:{each}" for each in there[:12])
            held = f"holds {len(there)}" if key is None else f"has no {key!r}"
            raise KeyError(f"{flag} {name} needs one array, but {path} {held}. Say which: {known}.")
    assert key is not None
    array, event = file.arrays[key], tuple(event)
    bits = array.dtype.kind in "iu" and (file.path.suffix.lower() == ".cxi" or key.rpartition("/")[2] == "pixel_mask")
    if array.dtype.kind not in "biu" or bits:
        why = "CXI and NeXus store 0 where a pixel counts, but True is needed there" if bits else "no bool"
        raise TypeError(
            f"{flag} {key} of {file.path} has dtype {array.dtype}: {why}. Save it as bools, True where counted: "
            f"numpy.save('{flag.strip('-')}.npy', values {'== 0' if bits else '> 0'})"
        )
    layout = None
    if array.shape != event:
        sizes = iter(event)
        wanted = tuple(
            size if word in "nN" else next(sizes)
            for word, size in zip(intensities.axes, intensities.shape, strict=True)
        )
        single = len(intensities.keys) == 1  # no mask has the patterns of several arrays
        if array.shape != wanted or not single:
            each = f", or {wanted} with one for each pattern" if single and wanted != event else ""
            raise ValueError(f"{flag} {key} of {file.path} has shape {array.shape}, but needs {event}{each}.")
        layout = replace(intensities, keys=(key,), shape=wanted, dtypes=(array.dtype,), grid=array.grid)
    return Beside(flag, file.path, key, layout, stamp_of(file.path))


@dataclass(frozen=True)
class SolvePlan(Run):
    """A checked call of ``symbreak solve``. :func:`plan_solve` makes it."""

    mask: Beside | None
    support: Beside | None
    options: tuple[tuple[str, Any], ...]
    pictures: bool

    @property
    def call(self) -> tuple[object, ...]:
        return "solve", self.layout.keys, self.layout.axes, self.mask, self.support, self.options, self.pictures

    @property
    def folder(self) -> Path:
        """The folder of the pictures."""
        return self.dst.with_name(f"{self.dst.stem}-pictures")

    def check_output(self) -> None:
        # A run that was killed at its very end has put the pictures there already.
        placed = self.work.exists() and not (self.work / "pictures").exists()
        for path in (self.dst,) if placed else (self.dst, self.folder):
            check_new(path, overwrite=self.overwrite)
        if self.folder.is_dir() and not self.folder.is_symlink():
            if strange := [each.name for each in self.folder.iterdir() if not _PICTURE.fullmatch(each.name)]:
                raise FileExistsError(
                    f"{self.folder} holds {strange[0]}, which no run made, so it is not replaced. Name another output."
                )
        elif self.folder.exists() or self.folder.is_symlink():
            raise FileExistsError(f"{self.folder} is no folder, and is not replaced. Name another output.")

    def check_unchanged(self) -> None:
        super().check_unchanged()
        for beside in (self.mask, self.support):
            if beside is not None:
                check_same(beside.path, beside.stamp)

    def read(self, block: Index) -> Patterns:
        """Read a block of patterns."""
        y = self.layout.read(opened(self.src, self.stamp), block)
        mask, support = (None if each is None else each.read(block) for each in (self.mask, self.support))
        return Patterns(self.layout.first(block), y, mask, support)

    def look(self) -> list[str]:
        """Read all patterns once, and return what a user should know about them.

        Raises:
            ValueError: If a measured pixel is not finite, a pattern is not positive on any, its support is empty, or a
                mask of integers is 0 at most pixels.
        """
        negative = hidden = pixels = 0
        dark: list[int] = []
        name = f"{', '.join(self.layout.keys)} of {self.src}"
        for block in blocks(_uncut(self.layout), BLOCK):
            first, y, mask, support = self.read(block)
            if self.support is not None and support is not None:
                inside = (support if self.support.layout else support[None]).flatten(1).any(1)
                if not inside.all():
                    item = first + int((~inside).nonzero()[0])
                    raise ValueError(f"--support {self.support.name} is False everywhere in item {item}. Leave it out.")
            measured = torch.ones_like(y, dtype=torch.bool) if mask is None else mask.expand_as(y)
            if (bad := measured & ~torch.isfinite(y)).any():
                item, *place = bad.nonzero()[0].tolist()
                raise ValueError(
                    f"{name} has NaN or infinite pixels, the first in item {first + item} at {tuple(place)}. Name a "
                    "mask that leaves them out, True where measured: --mask KEY or --mask FILE."
                )
            seen = torch.where(measured, y, 0)
            dark += [first + i for i in (~(seen > 0).flatten(1).any(1)).nonzero().flatten().tolist()]
            negative += int((seen < 0).sum())
            hidden += int((~measured).sum())
            pixels += y.numel()
        if dark:
            listed = ", ".join(map(str, dark[:10])) + ", ..." * (len(dark) > 10)
            raise ValueError(
                f"{name} has no positive value on any measured pixel of {len(dark)} items: {listed}. Drop them"
                f"{'.' if self.mask is None else ', or check the mask, which is True where measured.'}"
            )
        said = []
        if negative:
            said.append(f"{name} has {negative} negative pixels. They count as zero. To leave them out: --mask.")
        if self.mask is not None:
            said.append(f"{1 - hidden / pixels:.1%} of the pixels are measured, by {self.mask.name}.")
            if 2 * hidden > pixels:
                turned = "If the mask is True where pixels are bad, type in Python numpy.save('good.npy', mask == 0)"
                if opened(self.mask.path, self.mask.stamp).arrays[self.mask.key].dtype.kind != "b":
                    raise ValueError(
                        f"--mask {self.mask.name} holds integers and is 0 at {hidden / pixels:.1%} of the pixels. "
                        f"{turned}, else numpy.save('good.npy', mask == 1), and here --mask good.npy."
                    )
                said.append(f"Few pixels are measured. {turned}, and here --mask good.npy.")
        return said

    def run(
        self,
        solve: Callable[[Patterns], Solved],
        *,
        entries: int,
        progress: Progress = lambda done, of: None,
        say: Callable[[str], None] = lambda message: None,
    ) -> dict[str, np.ndarray]:
        """Carry out the call. Go on where a killed run of the same call stopped.

        Args:
            solve: Solves a block. It is called in the order of the patterns.
            entries: Pixels of one block, about. The same number on every call.
            progress: Called with the number of patterns done, and of all.
            say: Called with what a user should know about the patterns.

        Returns:
            The arrays that hold one number or word per pattern, (n,) each.

        Raises:
            FileExistsError: If another run is writing the output: which process, on which machine, since when.
            ValueError: As from :meth:`look`. If an input changed meanwhile.
            OSError: If the output cannot be written. Finished blocks are kept, and the same call goes on.
        """
        todo = blocks(_uncut(self.layout), entries * self.layout.dtype.itemsize)
        with self.carried_out(todo) as (before, _, digest):
            if not before:
                (self.work / "pictures").mkdir()
                for message in self.look():
                    say(message)
            for done, block in enumerate(todo[before:], before + 1):
                patterns = self.read(block)
                self._write(patterns, solve(patterns))
                self.write_progress(done)
                progress(self.count if done == len(todo) else self.layout.first(todo[done]), self.count)
            self.check_unchanged()
            return self._finish(digest.result())

    def _write(self, patterns: Patterns, solved: Solved) -> None:
        for name, content in solved.pictures.items():
            write_file(self.work / "pictures" / name, content)
        for name, values in solved.arrays.items():
            stage = self.work / f"{name}.npy"
            if not stage.exists():
                shape = (*self.layout.batch, *values.shape[1:])
                new_npy(stage, Array(shape, values.dtype, (1,) * len(shape)))
            rows = npy_region(stage)._replace(shape=(self.count, *values.shape[1:]))
            place = (slice(patterns.first, patterns.first + len(values)), *(slice(0, n) for n in values.shape[1:]))
            rows.write(place, values)

    def _finish(self, digest: str) -> dict[str, np.ndarray]:
        """Give the output its name. Can be done again after a kill."""
        note = {
            "torch_symbreak": __version__,
            "command": "solve",
            "keys": self.layout.keys,
            "axes": ",".join(self.layout.axes).lower(),
            "mask": self.mask and [self.mask.path.name, self.mask.key],
            "support": self.support and [self.support.path.name, self.support.key],
            **dict(self.options),
            "input": self.src.name,
            "input_sha256": digest,
        }
        regions = {name: npy_region(self.work / f"{name}.npy") for name in ARRAYS}
        write = write_npz if self.dst.suffix.lower() == ".npz" else write_hdf5
        write(self.work / "part", {**regions, "note": staged_note(self.work, json.dumps(note))})
        self.check_output()  # a run of another format may have put its pictures there
        flat = [name for name in ARRAYS if len(regions[name].shape) == len(self.layout.batch)]
        numbers = {name: np.load(regions[name].path).reshape(-1) for name in flat}
        if (self.work / "pictures").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.pictures:
                os.replace(self.work / "pictures", self.folder)
        os.replace(self.work / "part", self.dst)
        shutil.rmtree(self.work, ignore_errors=True)
        return numbers


def _uncut(layout: Layout) -> Layout:
    """Return a layout whose blocks ignore the chunks of the file. They are only read."""
    return replace(layout, grid=(1,) * len(layout.grid))


def plan_solve(
    src: str | Path,
    dst: str | Path,
    *,
    key: str | None = None,
    event_dims: int | None = None,
    axes: str | None = None,
    mask: str | None = None,
    support: str | None = None,
    frame: Callable[[tuple[int, ...]], tuple[int, ...]],
    options: Mapping[str, Any],
    pictures: bool = True,
    overwrite: bool = False,
) -> SolvePlan:
    """Check a call and return the plan of it, without writing anything.

    Args:
        src: The input. It is only read.
        dst: The output, an .npz or HDF5 file.
        key: Name of the array, as for :func:`torch_symbreak.io.layouts.find_intensities`. Default: the only one.
        event_dims: Dimensions of one pattern, as there. Default: 2, if the shape leaves no doubt.
        axes: One word per axis, as there, instead of ``event_dims``.
        mask: Bools, True where measured: a key of ``src``, FILE or FILE:KEY. Default: everything is measured.
        support: Bools, True where objects may be nonzero, named like ``mask``. Default: none.
        frame: Returns the frame of the objects for a detector's shape, or raises.
        options: All other options on which the objects depend. They go into the note of the output.
        pictures: Keep pictures. Default True.
        overwrite: Replace ``dst`` and its pictures if they exist. Default False.

    Raises:
        FileExistsError: If the output exists.
        FileNotFoundError: If the input or a mask does not.
        ModuleNotFoundError: If the package for a format is missing.
        ValueError, KeyError, TypeError: As from ``find_intensities``, for a mask that does not fit, or an output of
            another format or that would replace an input.
    """
    src, dst = Path(src).absolute(), Path(dst).absolute()
    if dst.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"The output of solve is an .npz or HDF5 file, but got {dst}. Name it {dst.with_suffix('.npz')} or "
            f"{dst.with_suffix('.h5')}."
        )
    if dst.suffix.lower() != ".npz":
        importlib.import_module("h5py")
    check_paths(src, dst, folder=False)
    stamp = stamp_of(src)
    file = open_file(src)
    layout, reason = find_intensities(file, key=key, event_dims=event_dims, axes=axes)
    if 0 in layout.batch:
        raise ValueError(f"{', '.join(layout.keys)} of {src} holds no patterns: its shape is {layout.shape}.")
    size = frame(layout.event)
    measured = None if mask is None else find_beside("--mask", mask, file, layout, layout.event)
    known = None if support is None else find_beside("--support", support, file, layout, size)
    for beside in (measured, known):
        if beside is not None and dst.exists() and dst.samefile(beside.path):
            raise ValueError(f"The output {dst} is the file of {beside.flag}. Name another file.")
    choice = f"{layout.describe().replace('target', 'pattern', 1)} ({reason})"
    settings = tuple(options.items())
    return SolvePlan(src, dst, stamp, overwrite, layout, choice, measured, known, settings, pictures).checked()
