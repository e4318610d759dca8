"""Break, scramble or restore the targets of a file of any size, block by block."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._version import __version__
from torch_symbreak.io.arrays import check_new
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.formats.base import OURS, Format, Index, Regions, Sink, new_npy, npy_region
from torch_symbreak.io.formats.npy import staged_note, write_npz
from torch_symbreak.io.inspection import Summary, sample
from torch_symbreak.io.layouts import BLOCK, blocks, shortened
from torch_symbreak.io.provenance import active_runs, as_noted, element_arrays, note_of, prefix_of, run_to_undo
from torch_symbreak.io.runs import PROGRESS, Progress, Run, check_paths, companion, opened, reading, stamp_of
from torch_symbreak.io.targets import Targets, also_layout, choose, moved_beside
from torch_symbreak.io.workers import in_order, workers_of
from torch_symbreak.symmetries import Canonicalizer, Element, Product

Command = Literal["break", "scramble", "unbreak"]
#: Progress is noted at most this often, so that small blocks do not wait for the file system.
SECONDS = 0.05


class _Bad(NamedTuple):
    """Numbers of entries that are not finite, and where the first is."""

    nans: int
    infinite: int
    target: int
    place: list[int]


@dataclass(frozen=True)
class Plan(Run):
    """A call that can be carried out: see :func:`plan`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.array([[-1.0, -2.0], [1.0, 3.0], [2.0, 4.0]]))
        ...     made = plan("break", f"{folder}/x.npy", f"{folder}/y.npy", Targets("gaussian"))
        ...     summary = made.run()
        ...     np.load(f"{folder}/y.npy").tolist()
        [[1.0, 2.0], [1.0, 3.0], [2.0, 4.0]]
    """

    command: Command
    targets: Targets
    elements: bool
    seed: int
    also: tuple[str, ...]
    prefix: str
    bare: bool

    @property
    def call(self) -> tuple[object, ...]:
        return self.command, self.targets, self.layout.keys, self.also, self.elements, self.seed

    def check_output(self) -> None:
        check_new(self.dst, overwrite=self.overwrite)
        if self.bare and not self.work.exists():  # else a run that was killed at its very end has put it there
            check_new(companion(self.dst), overwrite=self.overwrite)

    def run(
        self,
        *,
        processes: int = 1,
        scheduler: str | None = None,
        progress: Progress = lambda done, of: None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> Summary | None:
        """Run the plan. Go on where a killed run of the same call stopped.

        Args:
            processes: Number of worker processes. Default 1, with two threads that read and compute in turn.
            scheduler: Address of a dask scheduler, whose workers see the same files, to compute instead.
            progress: Called with the number of targets done, and of all.
            warn: Called with a message if there are ties, or content fills the frame in most items, among up to 1000
                targets, taken evenly from the file. Default ``warnings.warn``.

        Returns:
            Counts of what break did to the targets it looked at. None for other commands.

        Raises:
            FileExistsError: If another run is writing the output: which process, on which machine, since when.
            ValueError: If a target is not finite: how many entries, where the first is. If the input changed meanwhile.
            OSError: If the output cannot be written. What is done is kept, and the same call goes on.
        """
        todo = blocks(self.layout, BLOCK)
        work, keys = self.work, (*self.layout.keys, *self.also)
        with self.carried_out(todo) as (done, threads, digest):
            file = open_file(self.src)
            arrays = element_arrays(self.layout, self.targets, self.prefix) if self.elements else {}
            stages = {name: work / f"{name}.npy" for name in arrays}
            if not done:
                file.prepare(work, keys)
                for name, path in stages.items():
                    new_npy(path, arrays[name])
            extra = {name: npy_region(path) for name, path in stages.items()}
            job = functools.partial(self._change, tuple(file.sinks(work, keys)), extra)
            # Of the input, so that a run that was resumed says the same.
            looked = (
                threads.submit(sample, opened(self.src, self.stamp), self.layout, self.targets)
                if self.command == "break"
                else None
            )
            bad: list[_Bad] = []
            noted = 0.0
            try:
                with workers_of(processes, scheduler) as (executor, workers):
                    for result in in_order(executor, job, todo[done:], 2 * workers):
                        done += 1
                        if result is not None:
                            bad.append(result)
                        if not bad and time.monotonic() > noted + SECONDS:
                            self.write_progress(done)
                            noted = time.monotonic()
                        progress(self.count if done == len(todo) else self.layout.first(todo[done]), self.count)
            finally:
                if not bad:
                    with contextlib.suppress(OSError):  # of a full disk, which ended the work
                        self.write_progress(done)
            note = self._note(file, digest.result())
            summary = looked.result() if looked and not bad else None
            self.check_unchanged()
            if bad:
                nans, infinite = sum(each.nans for each in bad), sum(each.infinite for each in bad)
                where = f"target {bad[0].target}" + (f" at {tuple(bad[0].place)}" if bad[0].place else "")
                raise ValueError(
                    f"{', '.join(shortened(self.layout.keys))} of {self.src} has {nans} NaN and {infinite} infinite "
                    f"entries, the first in {where}. Mend or drop them."
                )
            self._finish(file, work, note, extra)
        if summary and (ties := summary.of_ties()):
            remedy = f"Fit a template: symbreak fit {self.src.name} template.npz, then break --template template.npz."
            warn(f"{ties} {remedy if self.targets.template is None else 'Fit another template.'}")
        if summary and (content := summary.of_content(self.targets.threshold)):
            warn(content)
        return summary

    def _change(self, sinks: Sequence[Sink], stages: Regions, block: Index) -> _Bad | None:
        """Do one block, in any process: read, check, change, write."""
        layout = self.layout
        with reading:  # one opens it for all
            file = opened(self.src, self.stamp)
            x = layout.read(file, block)
        first = layout.first(block)
        largest = _largest(x)
        if not math.isfinite(largest):
            finite, nans = torch.isfinite(x), int(x.isnan().sum())
            target, *place = (~finite).nonzero()[0].tolist()
            return _Bad(nans, int((~finite).sum()) - nans, first + target, place)
        fix = self.targets.fix(x.dtype)
        group = Product(fix.symmetry)
        if self.command == "break" and not stages and not self.also:
            moved = fix(x)  # which need not make the elements' moves one after the other
        else:
            g = self._element(fix, group, x, first)
            moved = group.act(g, x)
        # A phase makes a part larger by less than a factor of 1.5.
        if largest > layout.largest / 1.5 and not _largest(moved) <= layout.largest:
            raise ValueError(
                f"{', '.join(shortened(layout.keys))} of {self.src} holds numbers near {layout.largest:g}, the largest "
                f"of its dtype. With another phase, some of targets {first} to {first + len(x) - 1} exceed it. Save it "
                "in a wider dtype."
            )
        layout.write(sinks[: len(layout.keys)], moved, block)
        for key, sink in zip(self.also, sinks[len(layout.keys) :], strict=True):
            like = also_layout(file, key, layout)
            index = like.index(block)
            with reading:
                values = like.forward(file.read(key, index)).reshape(len(x), *like.event)
            sink(index, like.back(moved_beside(group, g, values), index))
        for name, region in stages.items():
            region.write(_rows(first, len(x), region.shape), getattr(g, name.rpartition("_")[2]).numpy())
        return None

    def _element(self, fix: Canonicalizer[Any], group: Product, x: Tensor, first: int) -> Element:
        if self.command == "break":
            return group.lift(fix.symmetry, fix.element(x), x)
        if self.command == "scramble":  # as ScrambledDataset draws it
            return group.sample_each(x, self.seed, first + torch.arange(len(x)))
        with reading:
            file = opened(companion(self.src) if self.bare else self.src, self.stamp)
        found: dict[str, Any] = {}
        identity = group.identity(x)
        for name in element_arrays(self.layout, self.targets, self.prefix):
            with reading:
                part = file.read(name, _rows(first, len(x), file.arrays[name].shape))
            field = name.rpartition("_")[2]
            plain = getattr(identity, field)
            if part.dtype.names:  # MATLAB's complex numbers
                part = part["real"] + 1j * part["imag"]
            found[field] = torch.from_numpy(np.array(part)).to(plain.dtype).reshape(plain.shape)
        if not ((found["scalar"].abs() - 1).abs() < 1e-2).all():
            raise ValueError(f"{file.path} has phases or signs of targets that are not of magnitude 1. It was changed.")
        return group.inverse(identity._replace(**found))

    def _note(self, file: Format, digest: str) -> str:
        axes = ",".join(self.layout.axes) if "N" not in self.layout.axes else ""
        return json.dumps(
            {
                "torch_symbreak": __version__,
                "command": self.command,
                **self.targets.model,
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
                "before": note_of(file),
            }
        )

    def _finish(self, file: Format, work: Path, note: str, extra: Regions) -> None:
        """Give the output its name, unless a file of that name appeared meanwhile."""
        self.check_output()
        keys = (*self.layout.keys, *self.also)
        if not file.repeatable(keys):
            (work / PROGRESS).unlink()
        prefixes = {self.prefix}
        if self.command != "unbreak" and not self.elements:  # earlier runs on these arrays can be undone no more
            before = active_runs(note_of(file))
            prefixes |= {run["prefix"] for run in before if {*keys} & {*run["keys"], *run["also"]}}
        drop = frozenset(f"{prefix}_{field}" for prefix in prefixes for field in Element._fields)
        file.finish(work, keys, note, {} if file.bare else extra, drop)
        if file.bare:
            write_npz(work / "beside", {**extra, OURS: staged_note(work, note)})
            os.replace(work / "beside", companion(self.dst))
        (work / PROGRESS).unlink(missing_ok=True)
        if self.dst.is_dir():
            os.rename(self.dst, work / "old")
        os.replace(work / "part", self.dst)
        shutil.rmtree(work, ignore_errors=True)


def _largest(x: Tensor) -> float:
    """Return the largest magnitude of any part; infinite or NaN if an entry is not finite."""
    if not x.numel():
        return 0.0
    # In a twentieth of the time that isfinite takes. NaN is an extreme if there is any.
    low, high = (torch.view_as_real(x) if x.is_complex() else x).aminmax()
    return float(torch.maximum(-low, high))


def _rows(first: int, count: int, shape: tuple[int, ...]) -> Index:
    return (slice(first, first + count), *(slice(0, size) for size in shape[1:]))


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
    """Check a call and return its plan, without writing anything.

    Args:
        command: "break": every target becomes the canonical point of its orbit. "scramble": a random point of it.
            "unbreak": what it was, by the elements that were stored; options are those of that run, and only the key
            of ``targets`` is looked at, which chooses among several runs. Default: the latest.
        src: The input; it is only read.
        dst: The output: the input with other targets, in the same format.
        targets: Targets and their model. Default: those of a two-dimensional far field.
        elements: Store what was done to each target. Default False.
        seed: Seed of scramble. Default 0.
        overwrite: Replace ``dst`` if there is one. Default False.
        also: Real arrays of the targets' batch and event shape, a mask per target for one, that are moved by the same
            elements, without conjugation and phase. Their dtypes stay. Default none.

    Raises:
        FileExistsError: If the output exists.
        FileNotFoundError: If the input does not.
        ModuleNotFoundError: If the package for the format is missing.
        ValueError, KeyError, TypeError: As from :func:`torch_symbreak.io.find`, or for an output that is,
            contains or lies in the input.

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
    check_paths(src, dst, folder=src.is_dir())
    if targets.template is not None and dst.exists() and dst.samefile(targets.template):
        raise ValueError(f"The output {dst} is the template. Name another file.")
    stamp = stamp_of(src)
    file = open_file(src)
    suffixes = {src.suffix.lower(), dst.suffix.lower()}
    if len(suffixes) > 1 and not suffixes <= set(file.suffixes):
        raise ValueError(f"The output is the input with other targets, of the same format {src.suffix}, but got {dst}.")
    if dst.is_dir():
        open_file(dst)  # nothing but a zarr store is replaced
    note, prefix = note_of(file), None
    if command == "unbreak":
        run = run_to_undo(file, note, targets.key)
        targets, also, prefix = as_noted(file, run), run["also"], run["prefix"]
    layout, also, reason = choose(file, targets, also, dst.parent)
    prefix = prefix or prefix_of(layout.keys)
    choice = f"{layout.describe()} ({'its provenance names it' if command == 'unbreak' else reason})"
    return Plan(
        src, dst, stamp, overwrite, layout, choice, command, targets, elements, seed, also, prefix, file.bare
    ).checked()
