"""Files of targets of any size: broken, scrambled, and back, block by block.

A run keeps what it makes in a hidden folder beside the output and notes there how far it is, after what it made was
handed to the operating system: killed at any time, the same command goes on from there, to the same bytes. The output
gets its name when it is whole. Nothing is synchronized to the disk: that protects from a killed process, not from a
power cut.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from torch_symbreak._version import __version__
from torch_symbreak.io.arrays import check_new, locked
from torch_symbreak.io.formats import (
    Array,
    Format,
    Region,
    check_memory,
    new_npy,
    npy_region,
    open_file,
    write_npz,
)
from torch_symbreak.io.inspection import sample
from torch_symbreak.io.layouts import BLOCK, Layout, blocks
from torch_symbreak.io.provenance import (
    active_runs,
    arrays_of,
    as_noted,
    element_arrays,
    note_of,
    prefix_in,
    prefix_of,
    run_to_undo,
)
from torch_symbreak.io.runs import PROGRESS, Progress, Run, companion, in_threads, opened, sha256_of, stamp_of
from torch_symbreak.io.summaries import Summary
from torch_symbreak.io.targets import Targets, beside
from torch_symbreak.io.work import Bad, Work, describe
from torch_symbreak.io.workers import Workers, in_order
from torch_symbreak.symmetries import Element

Command = Literal["break", "scramble", "unbreak"]
#: Progress is noted at most this often, so that small blocks do not wait for the file system.
SECONDS = 0.05


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
    stamp: str

    @property
    def call(self) -> tuple[object, ...]:
        return self.command, self.targets, self.layout.keys, self.also, self.elements, self.seed

    def check_output(self) -> None:
        """Raise ``FileExistsError`` if there is an output that is not to be replaced."""
        # A run that was killed at its very end has put the companion there already.
        for path in (self.dst, companion(self.dst)) if self.bare and not self.work.exists() else (self.dst,):
            check_new(path, overwrite=self.overwrite)

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
            warn: Called with a message if there are ties, or content fills the frame in most items, among up to 1000
                targets, taken evenly from the file. Default ``warnings.warn``.

        Returns:
            What break did to those targets that it looked at, also before it was resumed. None from other commands.

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
            elements_in = companion(self.src) if file.bare else self.src
            job = Work(self, elements_in, tuple(file.sinks(work, keys)), extra)
            bad: list[Bad] = []
            try:
                with in_threads() as (threads, stopped), Workers(processes, scheduler) as (executor, workers):
                    digest = threads.submit(sha256_of, self.src, stopped)
                    # Of the input, so that a run that was resumed says the same.
                    look = threads.submit(sample, opened(self.src, self.stamp), self.layout, self.targets)
                    noted = 0.0
                    for result in in_order(executor, job, todo[done:], 2 * workers):
                        done += 1
                        if result is not None:
                            bad.append(result)
                        if not bad and time.monotonic() > noted + SECONDS:
                            self.write_progress(done)
                            noted = time.monotonic()
                        progress(count if done == len(todo) else self.layout.first(todo[done]), count)
                    input_sha256 = digest.result()
                    summary = look.result() if self.command == "break" and not bad else None
            finally:
                if not bad:
                    with contextlib.suppress(OSError):  # of a full disk, which ended the work
                        self.write_progress(done)
                opened.cache_clear()
            self.check_unchanged()
            if bad:
                raise ValueError(describe(bad, self.src, self.layout.keys))
            self._finish(file, work, self._note(file, input_sha256), extra)
            if summary and (ties := summary.of_ties()):
                remedy = (
                    f"Fit a template: symbreak fit {self.src.name} template.npz, then break --template template.npz."
                )
                warn(f"{ties} {remedy if self.targets.template is None else 'Fit another template.'}")
            if summary and (content := summary.of_content(self.targets.threshold)):
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
            prefixes |= {prefix_in(run) for run in active_runs(note_of(file)) if set(keys) & arrays_of(run)}
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
    note, prefix = note_of(file), None
    if command == "unbreak":
        run = run_to_undo(file, note, targets.key)
        targets, also, prefix = as_noted(file, run), run.get("also", ()), prefix_in(run)
    layout, reason = targets.find(file)
    layout, also = beside(file, layout, targets, also)
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
