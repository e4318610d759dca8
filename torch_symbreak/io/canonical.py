"""Files of targets of any size: broken, scrambled, and back, block by block.

A run keeps what it makes in a hidden folder beside the output and notes there how far it is, after what it made was
handed to the operating system: killed at any time, the same command goes on from there, to the same bytes. The output
gets its name when it is whole. Nothing is synchronized to the disk: that protects from a killed process, not from a
power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import shlex
import shutil
import signal
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._version import __version__
from torch_symbreak.canonical.ties import LOOK
from torch_symbreak.forward import canonicalizer_of, event_dims_of
from torch_symbreak.io.arrays import locked
from torch_symbreak.io.formats import (
    OURS,
    Array,
    Format,
    Index,
    Region,
    Sink,
    check_memory,
    new_npy,
    npy_region,
    open_file,
    write_npz,
)
from torch_symbreak.io.layouts import BLOCK, Layout, blocks, count_event, find, parse_axes, shortened
from torch_symbreak.io.runs import PROGRESS, Hash, Progress, Run, Stamp, companion, is_there, opened, stamp_of
from torch_symbreak.io.summaries import Summary, look, summarize
from torch_symbreak.io.template import canonicalizer_from, check_note, digest, read_template
from torch_symbreak.symmetries import Canonicalizer, Element, Product

Command = Literal["break", "scramble", "unbreak"]


@dataclass(frozen=True)
class Targets:
    """Which targets of a file, and of which model they are.

    Args:
        forward: "farfield" (default), "gaussian" or "square".
        event_dims: Dimensions of one far-field object. Default: 2, if the shape leaves no doubt. (gaussian has 1,
            square 0.)
        oversampling: Of the far field; 1.0 is the periodic model. Default 2.
        threshold: Of the far field: content exceeds this, relative to the target's largest magnitude. Default 1e-4.
        key: As for :func:`torch_symbreak.io.find`. Default: what is found.
        layout: Likewise.
        batch_axis: Which axis counts the targets. Default: 0, likewise.
        axes: Likewise, instead of event_dims, batch_axis and a layout of one array.
        template: File of a template, to which targets are moved nearest. Default: the exact rule.

    Raises:
        ValueError: If ``forward`` is another one.
    """

    forward: str = "farfield"
    event_dims: int | None = None
    oversampling: float = 2.0
    threshold: float = 1e-4
    key: str | None = None
    layout: str | None = None
    batch_axis: int | None = None
    axes: str | None = None
    template: str | None = None
    template_sha256: str | None = None  # of the file when it was named, so that another one has another run

    def __post_init__(self) -> None:
        self._rule(torch.float32)
        if self.template is not None and self.template_sha256 is None:
            read_template(self.template)
            check_note(self.template, forward=self.forward, oversampling=self.oversampling, threshold=self.threshold)
            object.__setattr__(self, "template", str(Path(self.template).absolute()))
            object.__setattr__(self, "template_sha256", digest(self.template))

    def find(self, file: Format) -> tuple[Layout, str]:
        """Find the targets in an open file, and say why these."""
        options: dict[str, Any] = {"layout": self.layout, "batch_axis": self.batch_axis, "axes": self.axes}
        dims = self.event_dims if self.forward == "farfield" else self.dims
        layout, reason = find(file, key=self.key, event_dims=dims, real=self.forward == "square", **options)
        if self.template is not None:
            self.fix(layout.dtype).check(torch.empty(0, *layout.event, dtype=layout.dtype))
        return layout, reason

    @property
    def dims(self) -> int:
        """Dimensions of one target."""
        said = count_event(parse_axes(self.axes)) if self.axes is not None else self.event_dims
        return event_dims_of(self.forward, 2 if said is None else said)

    def fix(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        """Return the canonicalizer for targets of a dtype."""
        rule = self._rule(dtype)
        if self.template is None or self.template_sha256 is None:
            return rule
        return canonicalizer_from(self.template, self.template_sha256, Product(rule.symmetry))

    def _rule(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        options: dict[str, Any] = {"oversampling": self.oversampling, "threshold": self.threshold}
        return canonicalizer_of(self.forward, dtype, event_dims=self.dims, **options)


class Bad(NamedTuple):
    """Entries that are not finite."""

    nans: int
    infinite: int
    target: int
    place: tuple[int, ...]


#: What :func:`torch_symbreak.io.summaries.look` returns.
Looked = tuple[Counter[str], Tensor]


@dataclass(frozen=True)
class _Work:
    """What a worker needs to do any block."""

    command: Command
    src: Path
    stamp: Stamp
    beside: Path | None  # the file that has the elements, if not src itself
    targets: Targets
    layout: Layout
    seed: int
    sinks: tuple[Sink, ...]
    also: tuple[str, ...]
    prefix: str  # of the names of the elements
    elements: dict[str, Region]
    look: int  # at so many targets of a block

    def __call__(self, block: Index) -> Bad | Looked:
        """Do one block: read, check, change, write."""
        with _reading:  # one opens it for all
            file = opened(self.src, self.stamp)
            x = self.layout.read(file, block)
        first = self.layout.first(block)
        parts = torch.view_as_real(x) if x.is_complex() else x
        # The extremes tell, NaN being one if there is any, in a twentieth of the time that isfinite takes.
        if x.numel() and not all(extreme.isfinite() for extreme in parts.aminmax()):
            finite = torch.isfinite(x)
            target, *place = (~finite).nonzero()[0].tolist()
            nans = int(x.isnan().sum())
            return Bad(nans, int((~finite).sum()) - nans, first + target, tuple(place))
        fix = self.targets.fix(x.dtype)
        group = Product(fix.symmetry)
        if self.command == "break" and not self.elements and not self.also:
            moved = fix(x)  # which need not make the elements' moves one after the other
        else:
            g = self._element(fix, group, x, first)
            moved = group.act(g, x)
        self.layout.write(self.sinks[: len(self.layout.keys)], moved, block)
        for key, sink in zip(self.also, self.sinks[len(self.layout.keys) :], strict=True):
            like = also_layout(file, key, self.layout)
            index = like.index(block)
            with _reading:
                beside = like.forward(file.read(key, index)).reshape(len(x), *like.event)
            sink.write(index, like.back(moved_beside(group, g, beside), index))
        rows = (slice(first, first + len(x)),)
        for name, region in self.elements.items():
            part = getattr(g, name.rpartition("_")[2])
            region.write((*rows, *(slice(0, size) for size in region.shape[1:])), part.numpy())
        return look(fix, x[:: -(-len(x) // self.look)] if self.look and len(x) else x[:0])

    def _element(self, fix: Canonicalizer[Any], group: Product, x: Tensor, first: int) -> Element:
        """What is done to each target."""
        if self.command == "break":
            return group.lift(fix.symmetry, fix.element(x), x)
        if self.command == "scramble":
            return group.sample_each(x, self.seed, first + torch.arange(len(x)))  # as ScrambledDataset draws it
        return group.inverse(self._stored(group.identity(x), first))

    def _stored(self, like: Element, first: int) -> Element:
        """The elements in the file, of as many targets as ``like`` has."""
        with _reading:
            file = opened(self.beside or self.src, self.stamp)
        found: dict[str, Any] = {}
        for name in element_arrays(self.layout, self.targets, self.prefix):
            shape = file.arrays[name].shape
            with _reading:
                part = file.read(name, (slice(first, first + len(like.flipped)), *(slice(0, n) for n in shape[1:])))
            field = name.rpartition("_")[2]
            plain = getattr(like, field)
            if part.dtype.names:  # MATLAB's complex numbers
                part = part["real"] + 1j * part["imag"]
            found[field] = torch.from_numpy(np.array(part)).to(plain.dtype).reshape(plain.shape)
        return like._replace(**found)


_reading = threading.Lock()  # not every library that reads a file lets two threads do it


def element_arrays(layout: Layout, targets: Targets, prefix: str) -> dict[str, Array]:
    """The arrays that hold the elements of all targets, by name."""
    group = Product(targets.fix(layout.dtype).symmetry)
    n = math.prod(layout.batch)
    arrays = {f"{prefix}_scalar": Array((n,), np.dtype(str(layout.dtype)[6:]), (1,))}
    if group.rearrangement is not None:
        arrays[f"{prefix}_flipped"] = Array((n,), np.dtype(bool), (1,))
        arrays[f"{prefix}_shift"] = Array((n, group.event_dims), np.dtype(np.int64), (1, 1))
    return arrays


def prefix_of(keys: Sequence[str]) -> str:
    """What the names of the elements of a run on these arrays begin with: no two sets of arrays share them."""
    return f"{OURS}_{hashlib.sha256(','.join(keys).encode()).hexdigest()[:8]}"


def active_runs(note: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The runs that made a file, the latest first, without those that were undone."""
    undone: list[list[str]] = []
    while note is not None:
        if note["command"] == "unbreak":
            undone.append(note["keys"])
        elif note["keys"] in undone:
            undone.remove(note["keys"])
        else:
            yield note
        note = note["before"]


def _arrays_of(note: dict[str, Any]) -> set[str]:
    return {*note["keys"], *note.get("also", ())}


def _keys_of(note: dict[str, Any]) -> tuple[str, str]:
    """The key as it was typed, if it was, and all names."""
    names = ",".join(note["keys"])
    return note.get("key") or names, names


def _prefix_in(note: dict[str, Any]) -> str:
    return note.get("prefix", OURS)  # without: of a version that kept the elements of one run


def _with_elements(file: Format) -> Format:
    """The file that has the elements of ``file``: itself, or the one beside it."""
    beside = companion(file.path)
    return open_file(beside) if file.bare and beside.exists() else file


#: What a note says of the targets, and :class:`Targets` is made of.
_OPTIONS = ("forward", "event_dims", "oversampling", "threshold", "layout", "batch_axis")


def note_of(file: Format) -> dict[str, Any] | None:
    """The provenance that an earlier run left in a file or beside it."""
    file = _with_elements(file)
    if file.note is None:
        return None
    try:
        found = json.loads(file.note)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict) or not found.keys() >= {"torch_symbreak", *_OPTIONS, "keys", "elements"}:
        raise ValueError(f"{file.path} has an entry {OURS!r} that is not of this package. Rename or remove it.")
    return found


@dataclass(frozen=True)
class Plan(Run):
    """A call that can be carried out: see :func:`plan`."""

    command: Command
    src: Path
    dst: Path
    targets: Targets
    elements: bool
    seed: int
    overwrite: bool
    layout: Layout
    choice: str  # what is taken, and why
    also: tuple[str, ...]
    prefix: str
    bare: bool
    stamp: Stamp

    @property
    def call(self) -> tuple[object, ...]:
        return self.command, self.targets, self.layout.keys, self.also, self.elements, self.seed

    def check_output(self) -> None:
        """Raise ``FileExistsError`` if there is an output that is not to be replaced."""
        # A run that was killed at its very end has put the companion there already.
        for path in (self.dst, companion(self.dst)) if self.bare and not self.work.exists() else (self.dst,):
            if is_there(path) and not self.overwrite:
                raise FileExistsError(f"{path} exists. To replace it: --overwrite.")

    def run(
        self,
        *,
        processes: int = 1,
        scheduler: str | None = None,
        progress: Progress = lambda done, of: None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> Summary | None:
        """Carry it out, from where a killed run of the same call was.

        Args:
            processes: How many compute. Default 1, with two threads that read and compute in turn.
            scheduler: Address of a dask scheduler, whose workers see the same files, to compute instead.
            progress: Called with the number of targets done, and of all.
            warn: Called with a message if there are ties, or a background that counts as content, among some 1000
                targets, taken evenly from the file. Default ``warnings.warn``.

        Returns:
            What break did to those targets that it looked at. None from other commands.

        Raises:
            FileExistsError: If another run is writing the output: which process, on which machine, since when.
            ValueError: If a target is not finite: how many entries, where the first is. If the input changed meanwhile.
            OSError: If the output cannot be written. What is done is kept, and the same call goes on.
        """
        with locked(self.lock, f"is writing {self.dst}"):
            # Another run may have ended between the plan and the lock.
            self.check_output()
            self.check_unchanged()
            return self._run(self.resumable(), processes, scheduler, progress, warn)

    def _run(
        self,
        before: int | None,
        processes: int,
        scheduler: str | None,
        progress: Progress,
        warn: Callable[[str], None],
    ) -> Summary | None:
        work, file = self.work, open_file(self.src)
        keys = (*self.layout.keys, *self.also)
        arrays = element_arrays(self.layout, self.targets, self.prefix)
        stages = {name: work / f"{name}.npy" for name in arrays if self.elements}
        todo = blocks(self.layout, BLOCK)
        count = math.prod(self.layout.batch)
        done = 0
        try:
            if before is None:
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
                file.prepare(work, keys)
                for name, path in stages.items():
                    new_npy(path, arrays[name])
                self.write_progress(0)
            done = before or 0
            extra = {name: npy_region(path) for name, path in stages.items()}
            beside = companion(self.src) if self.command == "unbreak" and file.bare else None
            job = _Work(
                self.command, self.src, self.stamp, beside, self.targets, self.layout, self.seed,
                tuple(file.sinks(work, keys)), self.also, self.prefix, extra,
                -(-LOOK // len(todo)) if self.command == "break" and todo else 0,
            )  # fmt: skip
            hashing = Hash(self.src)
            bad: list[Bad] = []
            looks: list[Looked] = []
            try:
                with _executor(processes, scheduler) as (executor, workers):
                    for result in _in_order(executor, job, todo[done:], 2 * workers):
                        done += 1
                        if isinstance(result, Bad):
                            bad.append(result)
                        else:
                            looks.append(result)
                        if not bad:
                            self.write_progress(done)
                        progress(count if done == len(todo) else self.layout.first(todo[done]), count)
                digest = hashing.result()
            finally:
                hashing.stop()
                opened.cache_clear()
            self.check_unchanged()
            if bad:
                raise ValueError(_describe(bad, self.src, self.layout.keys))
            self._finish(file, work, self._note(file, digest), extra)
            if self.command != "break":
                return None
            summary = summarize(looks)
            if ties := summary.of_ties():
                remedy = (
                    f"Fit a template: symbreak fit {self.src.name} template.npz, then break --template template.npz."
                )
                warn(f"{ties} {remedy if self.targets.template is None else 'Fit another template.'}")
            if content := summary.of_content(self.targets.threshold):
                warn(content)
            return summary
        except OSError as error:
            message = f"{error}. {self.dst} is not written."
            done = self.resumable() or 0  # the end of a run that cannot be done again begins by forgetting its blocks
            if done:
                message += f" {done} of {len(todo)} blocks are done and kept: the same command goes on from there."
            raise OSError(message) from error
        except (ValueError, TypeError, LookupError, EOFError):  # which the same call would meet again
            done = 0
            self.check_unchanged()
            raise
        finally:
            if not done:
                shutil.rmtree(work, ignore_errors=True)

    def _note(self, file: Format, digest: str) -> str:
        before = note_of(file)
        axes = ",".join(self.layout.axes) if "N" not in self.layout.axes else ""
        return json.dumps(
            {
                "torch_symbreak": __version__,
                "command": self.command,
                "forward": self.targets.forward,
                "event_dims": self.targets.dims,
                "oversampling": self.targets.oversampling,
                "threshold": self.targets.threshold,
                "key": self.targets.key,
                "keys": self.layout.keys,
                "layout": self.layout.kind,
                # The axes that were found, so that unbreak need not ask. Those with an N have no words.
                "batch_axis": None if axes else self.targets.batch_axis or 0,
                "axes": axes or None,
                "seed": self.seed if self.command == "scramble" else None,
                "elements": self.elements,
                "prefix": self.prefix,
                "also": self.also,
                "template": self.targets.template and Path(self.targets.template).name,
                "template_sha256": self.targets.template_sha256,
                "input": self.src.name,
                "input_sha256": digest,
                "before": before,
            }
        )

    def _finish(self, file: Format, work: Path, note: str, extra: dict[str, Region]) -> None:
        """Give the output its name."""
        keys = (*self.layout.keys, *self.also)
        if not file.repeatable(keys):
            (work / PROGRESS).unlink()
        prefixes = {self.prefix}
        if self.command != "unbreak" and not self.elements:  # earlier runs on these arrays can be undone no more
            prefixes |= {_prefix_in(run) for run in active_runs(note_of(file)) if set(keys) & _arrays_of(run)}
        drop = frozenset(f"{prefix}_{field}" for prefix in prefixes for field in Element._fields)
        file.finish(work, keys, note, {} if file.bare else extra, drop)
        if file.bare:
            write_npz(work / "beside", note, extra)
            os.replace(work / "beside", companion(self.dst))
        (work / PROGRESS).unlink(missing_ok=True)
        if self.dst.is_dir():
            os.rename(self.dst, work / "old")
        os.replace(work / "part", self.dst)
        shutil.rmtree(work, ignore_errors=True)


def plan(
    command: Command,
    src: str | Path,
    dst: str | Path,
    targets: Targets | None = None,
    *,
    elements: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    also: Sequence[str] = (),
) -> Plan:
    """Look at a call without doing anything: what would be done, or why it cannot be.

    Args:
        command: "break": every target becomes the canonical point of its orbit. "scramble": a random point of it.
            "unbreak": what it was, by the elements that were stored; options are those of that run, and only the key
            of ``targets`` is looked at, which chooses among several runs. Default: the latest.
        src: The input; it is only read.
        dst: The output: the input with other targets, in the same format.
        targets: Which, and of which model. Default: those of a two-dimensional far field.
        elements: Store what was done to each target. Default False.
        seed: Of scramble. Default 0.
        overwrite: Replace ``dst`` if there is one. Default False.
        also: Real arrays of the targets' batch and event shape, a mask per target for one, that are moved by the same
            elements, without conjugation and phase. Their dtypes stay. Default none.

    Raises:
        FileExistsError: If the output exists.
        FileNotFoundError: If the input does not.
        ModuleNotFoundError: If the package for the format is missing.
        ValueError, KeyError, TypeError: As from :func:`torch_symbreak.io.find`, or for an output that would touch the
            input.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.array([[-1.0, -2.0], [1.0, 3.0], [5.0, -4.0]]))
        ...     there = plan("break", f"{folder}/x.npy", f"{folder}/fixed.npy", Targets("gaussian"), elements=True)
        ...     summary = there.run()
        ...     undone = plan("unbreak", f"{folder}/fixed.npy", f"{folder}/again.npy").run()
        ...     np.load(f"{folder}/fixed.npy").tolist(), np.load(f"{folder}/again.npy").tolist()
        ([[1.0, 2.0], [1.0, 3.0], [-5.0, 4.0]], [[-1.0, -2.0], [1.0, 3.0], [5.0, -4.0]])
    """
    src, dst = Path(src).absolute(), Path(dst).absolute()
    targets = targets or Targets()
    if not src.exists():
        raise FileNotFoundError(f"There is no file {src}.")
    if dst.exists() and src.samefile(dst):
        raise ValueError(f"The output {dst} is the input, which is never changed. Name another file.")
    inside = {src.resolve(), *src.resolve().parents} & {dst.resolve()}
    if inside or src.resolve() in dst.resolve().parents:
        raise ValueError(f"The output {dst} and the input {src} lie in one another. Name another place.")
    if not dst.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {dst.parent}.")
    stamp = stamp_of(src)
    file = open_file(src)
    suffixes = {src.suffix.lower(), dst.suffix.lower()}
    if len(suffixes) > 1 and not suffixes <= set(file.suffixes):
        raise ValueError(f"The output is the input with other targets, of the same format {src.suffix}, but got {dst}.")
    if dst.is_dir() != src.is_dir() and dst.exists():
        raise ValueError(f"{dst} is {'a folder' if dst.is_dir() else 'no folder'}, and is not replaced.")
    if dst.is_dir():
        open_file(dst)  # nothing but a zarr store is replaced
    note = note_of(file)
    prefix = None
    if command == "unbreak":
        run = _run_to_undo(file, note, targets.key)
        targets, also, prefix = _as_noted(file, run), run.get("also", ()), _prefix_in(run)
    layout, reason = targets.find(file)
    layout, also = _beside(file, layout, targets, also)
    file.check((*layout.keys, *also), dst.parent)
    check_memory(f"One target of {src}", Array(layout.event, np.dtype(str(layout.dtype)[6:]), layout.event))
    prefix = prefix or prefix_of(layout.keys)
    choice = f"{layout.describe()} ({'its provenance names it' if command == 'unbreak' else reason})"
    planned = Plan(
        command, src, dst, targets, elements, seed, overwrite, layout, choice, also, prefix, file.bare, stamp
    )  # fmt: skip
    planned.check_output()
    planned.resumable()
    return planned


def _run_to_undo(file: Format, note: dict[str, Any] | None, key: str | None) -> dict[str, Any]:
    """The note of the latest run whose elements can be undone: whose arrays no later run has changed."""
    runs: list[dict[str, Any]] = []
    later: set[str] = set()
    there = _with_elements(file).arrays
    for run in active_runs(note):
        stored = run["elements"] and f"{_prefix_in(run)}_scalar" in there
        if stored and not later & {_prefix_in(run), *_arrays_of(run)}:
            runs.append(run)
        later |= {_prefix_in(run), *_arrays_of(run)}
    if not runs:
        raise ValueError(f"{file.path} has no group elements to undo. Make it with: symbreak break IN OUT --elements.")
    parts = [file.resolve(part.strip()) for part in (key or "").split(",")]
    for run in runs:
        named = [any(fnmatchcase(name, part) or name.startswith(f"{part}/") for part in parts) for name in run["keys"]]
        if key in (None, *_keys_of(run)) or all(named):
            return run
    known = " or ".join(f"--key {shlex.quote(_keys_of(run)[0])}" for run in runs)
    raise KeyError(f"{file.path} has no elements of {key!r} to undo. It has those of: {known}.")


def _as_noted(file: Format, run: dict[str, Any]) -> Targets:
    """The options of the run that made a file, whose elements are there."""
    targets = Targets(**{name: run[name] for name in _OPTIONS}, key=_keys_of(run)[0], axes=run.get("axes"))
    layout, _ = targets.find(file)
    source = _with_elements(file)
    for name, array in element_arrays(layout, targets, _prefix_in(run)).items():
        there = source.arrays.get(name)
        if there is None or math.prod(there.shape) != math.prod(array.shape):
            raise ValueError(f"{source.path} has {there and there.shape} as {name}, but {array.shape} is needed.")
    return targets


def _beside(file: Format, layout: Layout, targets: Targets, also: Sequence[str]) -> tuple[Layout, tuple[str, ...]]:
    """The layout that is cut as the arrays beside the targets are, too, and their names."""
    also = tuple(dict.fromkeys(file.resolve(key) for key in also))
    for key in also:
        layout = _on_one_grid(layout, also_layout(file, key, layout))
    if also and Product(targets.fix(layout.dtype).symmetry).rearrangement is None:
        raise ValueError(f"--also {also[0]} moves pixels, which --forward {targets.forward} does not. Leave it out.")
    return layout, also


def also_layout(file: Format, key: str, targets: Layout) -> Layout:
    """How an array beside the targets, of their batch and event shape, is read and written.

    Raises:
        KeyError: If there is no such array, or it is one of the targets.
        TypeError: If it is not real.
        ValueError: If its shape is another one.
    """
    if key not in file.arrays or key in targets.keys:
        why = "is one of the targets" if key in targets.keys else "is no array of numbers"
        raise KeyError(f"--also {key} {why} in {file.path}. Name an array beside the targets.")
    if len(targets.keys) > len(targets.dtypes):
        raise ValueError(f"--also {key} needs targets in one array, but got {', '.join(shortened(targets.keys))}.")
    array = file.arrays[key]
    if array.dtype.kind not in "biuf":
        raise TypeError(f"--also {key} of {file.path} has dtype {array.dtype}, but needs bool, integers or floats.")
    # Without real and imaginary parts.
    words = [(word if len(word) == 1 else "n", size // len(word)) for word, size in _axes_of(targets)]
    wanted = tuple(size for _, size in words)
    if array.shape != wanted:
        raise ValueError(
            f"--also {key} of {file.path} has shape {array.shape}, but needs {wanted}, as many entries per target as "
            "the targets have."
        )
    axes = tuple(word for word, _ in words)
    return replace(
        targets, keys=(key,), kind="plain", shape=wanted, dtypes=(array.dtype,), grid=array.grid, axes=axes
    )  # fmt: skip


def _axes_of(layout: Layout) -> list[tuple[str, int]]:
    """The words and sizes of the axes that are not real and imaginary parts alone."""
    return [(word, size) for word, size in zip(layout.axes, layout.shape, strict=True) if word != "r"]


def moved_beside(group: Product, g: Element, values: np.ndarray) -> np.ndarray:
    """Move arrays beside the targets, (B, *event) of any dtype, by the motions of the targets' elements."""
    event = values.shape[1:]
    # The places are moved, which is exact for every dtype and conjugates nothing.
    places = torch.arange(math.prod(event), dtype=torch.float64).reshape(event).expand(values.shape)
    order = group.rearrangement.act(g.motion, places).long().flatten(1)  # type: ignore[union-attr]
    return np.take_along_axis(values.reshape(len(values), -1), order.numpy(), 1).reshape(values.shape)


def _on_one_grid(layout: Layout, other: Layout) -> Layout:
    """Cut blocks along both grids: two of them must not share a piece of either array."""
    pieces = iter(other.grid)
    grid = [
        mine if word == "r" else math.lcm(mine, len(word) * next(pieces))
        for word, mine in zip(layout.axes, layout.grid, strict=True)
    ]
    return replace(layout, grid=tuple(grid))


class Found(NamedTuple):
    """What :func:`inspect` found."""

    arrays: dict[str, Array]
    choice: str
    note: dict[str, Any] | None
    error: Exception | None  # why nothing would be taken
    content: str | None = None


def inspect(path: str | Path, targets: Targets | None = None, *, also: Sequence[str] = ()) -> Found:
    """Look into a file: its arrays, which of them would be taken as the targets, how and why, and its provenance.

    ``content`` tells if a background counts as content, by a sample of the targets.

    Args:
        path: The file.
        targets: What is asked for. Default: targets of a two-dimensional far field.
        also: As for :func:`plan`. Default none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", objects=np.zeros((5, 8, 8), np.complex64), labels=np.arange(5))
        ...     inspect(f"{folder}/x.npz").choice
        '5 targets of 8 x 8, complex64, from one array: objects (the only complex target of at least 2 dimensions)'
    """
    file, error, content = open_file(Path(path)), None, None
    try:
        targets = targets or Targets()
        layout, reason = targets.find(file)
        layout, beside = _beside(file, layout, targets, also)
        file.check((*layout.keys, *beside))
        choice = f"{layout.describe()} ({reason})"
        content = _sample(file, layout, targets).of_content(targets.threshold)
    except (KeyError, TypeError, ValueError) as why:
        choice, error = f"none: {why.args[0]}", why
    return Found(file.arrays, choice, note_of(file), error, content)


#: Bytes of targets that :func:`inspect` looks at.
_SAMPLE = 8 << 20


def _sample(file: Format, layout: Layout, targets: Targets) -> Summary:
    """Look at some targets, from blocks that are taken evenly from the file."""
    every = blocks(layout, _SAMPLE // 16)
    fix = targets.fix(layout.dtype)
    few = -(-LOOK // 16)
    looks = []
    for block in every[:: -(-len(every) // 16)] if every else ():
        x = layout.read(file, block)[:few]
        looks.append(look(fix, x[torch.isfinite(x).flatten(1).all(1)]))
    return summarize(looks)


# ------------------------------------------------------------------------------------------------ the machinery


def _in_order(executor: Executor, job: _Work, todo: Sequence[Index], ahead: int) -> Any:
    """The results in the order of the blocks, a few blocks ahead of the one that is waited for."""
    waiting: deque[Future[Bad | Looked]] = deque()
    for block in todo:
        with _uninterrupted():
            waiting.append(executor.submit(job, block))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while processes may start: they inherit that for good, and end with this one instead."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _executor:
    """What computes, and how many at once: threads, processes, or the workers of a dask cluster."""

    def __init__(self, processes: int, scheduler: str | None) -> None:
        if processes < 1:
            raise ValueError(f"-j needs at least one process, but got {processes}.")
        self.client: Any = None
        self.threads = torch.get_num_threads()
        if scheduler is not None:
            try:
                from distributed import Client
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    'A dask scheduler needs dask: pip install "torch_symbreak[dask]"', name=error.name
                ) from None
            client: Any = Client
            self.client = client(scheduler, timeout=10, set_as_default=False)
            self.executor: Any = self.client.get_executor(pure=False)
            self.workers = max(1, sum(self.client.nthreads().values()))
        elif processes > 1:
            context = multiprocessing.get_context("spawn")
            self.executor = ProcessPoolExecutor(processes, context, _follow_parent)
            self.workers = processes
        else:
            self.workers = 2
            self.executor = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> tuple[Executor, int]:
        return self.executor, self.workers

    def __exit__(self, *error: object) -> None:
        if self.client is not None:
            self.client.close()
        else:
            self.executor.shutdown(cancel_futures=True)
        torch.set_num_threads(self.threads)


def _follow_parent() -> None:
    """Compute with one thread, and end when the parent was killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _describe(bad: list[Bad], src: Path, keys: tuple[str, ...]) -> str:
    nans, infinite = sum(one.nans for one in bad), sum(one.infinite for one in bad)
    where = f"target {bad[0].target}" + (f" at {bad[0].place}" if bad[0].place else "")
    return (
        f"{', '.join(shortened(keys))} of {src} has {nans} NaN and {infinite} infinite entries, the first in {where}. "
        "Mend or drop them."
    )
