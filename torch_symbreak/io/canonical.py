"""Files of targets of any size: broken, scrambled, and back, block by block.

A run keeps what it makes in a hidden folder beside the output and notes there how far it is, after what it made was
handed to the operating system: killed at any time, the same command goes on from there, to the same bytes. The output
gets its name when it is whole. Nothing is synchronized to the disk: that protects from a killed process, not from a
power cut.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import multiprocessing
import os
import shlex
import shutil
import signal
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._version import __version__
from torch_symbreak.canonical.ties import LOOK, count_ties, of_ties
from torch_symbreak.forward import canonicalizer_of, event_dims_of
from torch_symbreak.io.arrays import locked, write_file
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
from torch_symbreak.io.layouts import BLOCK, Layout, blocks, find
from torch_symbreak.io.template import canonicalizer_from, digest, read_template
from torch_symbreak.symmetries import Canonicalizer, Element, Product

Command = Literal["break", "scramble", "unbreak"]
Progress = Callable[[int, int], None]
#: What tells a file from another: see :func:`_stamp`.
Stamp = tuple[Any, ...]

_PROGRESS = "progress.json"


@dataclass(frozen=True)
class Targets:
    """Which targets of a file, and of which model they are.

    Args:
        forward: "farfield" (default), "gaussian" or "square".
        event_dims: Dimensions of one far-field object. Default 2. (gaussian has 1, square 0.)
        oversampling: Of the far field; 1.0 is the periodic model. Default 2.
        threshold: Of the far field: content exceeds this, relative to the target's largest magnitude. Default 1e-4.
        key: As for :func:`torch_symbreak.io.find`. Default: what is found.
        layout: Likewise.
        batch_axis: Which axis counts the targets. Default 0.
        template: File of a template, to which targets are moved nearest. Default: the exact rule.

    Raises:
        ValueError: If ``forward`` is another one.
    """

    forward: str = "farfield"
    event_dims: int = 2
    oversampling: float = 2.0
    threshold: float = 1e-4
    key: str | None = None
    layout: str | None = None
    batch_axis: int = 0
    template: str | None = None
    template_sha256: str | None = None  # of the file when it was named, so that another one has another run

    def __post_init__(self) -> None:
        self._rule(torch.float32)
        if self.template is not None and self.template_sha256 is None:
            read_template(self.template)
            object.__setattr__(self, "template", str(Path(self.template).absolute()))
            object.__setattr__(self, "template_sha256", digest(self.template))

    def find(self, file: Format) -> tuple[Layout, str]:
        """Find the targets in an open file, and say why these."""
        dims = event_dims_of(self.forward, self.event_dims)
        options: dict[str, Any] = {"key": self.key, "layout": self.layout, "batch_axis": self.batch_axis}
        return find(file, event_dims=dims, real=self.forward == "square", **options)

    def fix(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        """Return the canonicalizer for targets of a dtype."""
        rule = self._rule(dtype)
        if self.template is None or self.template_sha256 is None:
            return rule
        return canonicalizer_from(self.template, self.template_sha256, Product(rule.symmetry))

    def _rule(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        options: dict[str, Any] = {"oversampling": self.oversampling, "threshold": self.threshold}
        return canonicalizer_of(self.forward, dtype, event_dims=self.event_dims, **options)


class Bad(NamedTuple):
    """Entries that are not finite."""

    nans: int
    infinite: int
    target: int
    place: tuple[int, ...]


class Ties(NamedTuple):
    """Ties among the targets of a block that were looked at."""

    ties: int
    looked: int


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
    elements: dict[str, Region]
    look: int  # at so many targets of a block, for ties

    def __call__(self, block: Index) -> Bad | Ties:
        """Do one block: read, check, change, write."""
        file = _opened(self.src, self.stamp)
        with _reading:
            x = self.layout.read(file, block)
        first = _item(self.layout, block)
        parts = torch.view_as_real(x) if x.is_complex() else x
        # The extremes tell, NaN being one if there is any, in a twentieth of the time that isfinite takes.
        if x.numel() and not all(extreme.isfinite() for extreme in parts.aminmax()):
            finite = torch.isfinite(x)
            target, *place = (~finite).nonzero()[0].tolist()
            nans = int(x.isnan().sum())
            return Bad(nans, int((~finite).sum()) - nans, first + target, tuple(place))
        fix = self.targets.fix(x.dtype)
        group = Product(fix.symmetry)
        if self.command == "break" and not self.elements:
            moved = fix(x)  # which need not make the elements' moves one after the other
        else:
            g = self._element(fix, group, x, first)
            moved = group.act(g, x)
        for sink, array in zip(self.sinks, self.layout.arrays(moved, block), strict=True):
            sink.write(self.layout.index(block), array)
        rows = (slice(first, first + len(x)),)
        for name, region in self.elements.items():
            part = getattr(g, name.removeprefix(f"{OURS}_"))
            region.write((*rows, *(slice(0, size) for size in region.shape[1:])), part.numpy())
        return Ties(*count_ties(fix, x[:: -(-len(x) // self.look)]) if self.look and len(x) else (0, 0))

    def _element(self, fix: Canonicalizer[Any], group: Product, x: Tensor, first: int) -> Element:
        """What is done to each target."""
        if self.command == "break":
            return group.lift(fix.symmetry, fix.element(x), x)
        if self.command == "scramble":
            return group.sample_each(x, self.seed, first + torch.arange(len(x)))  # as ScrambledDataset draws it
        return group.inverse(self._stored(group.identity(x), first))

    def _stored(self, like: Element, first: int) -> Element:
        """The elements in the file, of as many targets as ``like`` has."""
        file = _opened(self.beside or self.src, self.stamp)
        found: dict[str, Any] = {}
        for name in element_arrays(self.layout, self.targets):
            shape = file.arrays[name].shape
            with _reading:
                part = file.read(name, (slice(first, first + len(like.flipped)), *(slice(0, n) for n in shape[1:])))
            field = name.removeprefix(f"{OURS}_")
            plain = getattr(like, field)
            if part.dtype.names:  # MATLAB's complex numbers
                part = part["real"] + 1j * part["imag"]
            found[field] = torch.from_numpy(np.array(part)).to(plain.dtype).reshape(plain.shape)
        return like._replace(**found)


_reading = threading.Lock()  # not every library that reads a file lets two threads do it


@functools.lru_cache(maxsize=2)
def _opened(path: Path, stamp: Stamp) -> Format:
    """A file, opened once per process."""
    return open_file(path)


def _item(layout: Layout, block: Index) -> int:
    """The number of a block's first target, counted over the flattened batch."""
    batch = layout.batch
    return sum(part.start * math.prod(batch[axis + 1 :]) for axis, part in enumerate(block))


def element_arrays(layout: Layout, targets: Targets) -> dict[str, Array]:
    """The arrays that hold the elements of all targets, by name."""
    group = Product(targets.fix(layout.dtype).symmetry)
    n = math.prod(layout.batch)
    arrays = {f"{OURS}_scalar": Array((n,), np.dtype(str(layout.dtype)[6:]), (1,))}
    if group.rearrangement is not None:
        arrays[f"{OURS}_flipped"] = Array((n,), np.dtype(bool), (1,))
        arrays[f"{OURS}_shift"] = Array((n, group.event_dims), np.dtype(np.int64), (1, 1))
    return arrays


def companion(path: Path) -> Path:
    """Where the provenance and the elements are if a file of one array has no place for them."""
    return path.with_name(f"{path.name}.{OURS}.npz")


#: What a note says of the targets, and :class:`Targets` is made of.
_OPTIONS = ("forward", "event_dims", "oversampling", "threshold", "layout", "batch_axis")


def note_of(file: Format) -> dict[str, Any] | None:
    """The provenance that an earlier run left in a file or beside it."""
    if file.bare and companion(file.path).exists():
        file = open_file(companion(file.path))
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
class Plan:
    """A call that can be carried out: see :func:`plan`."""

    command: Command
    src: Path
    dst: Path
    targets: Targets
    elements: bool
    seed: int
    overwrite: bool
    layout: Layout
    bare: bool
    stamp: Stamp

    @property
    def work(self) -> Path:
        """The hidden folder: another call has another one."""
        what = (self.targets, self.elements, self.seed)
        return self._hidden(__version__, self.command, self.src, self.dst.name, *what)

    @property
    def lock(self) -> Path:
        """The file that whoever writes this output holds a lock on."""
        hidden = self._hidden(self.dst.name)
        return hidden.with_name(f"{hidden.name}.lock")

    def _hidden(self, *parts: object) -> Path:
        name = os.fsdecode(os.fsencode(self.dst.name)[:200])  # of at most 255 bytes, with the rest
        digest = hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:12]
        return self.dst.with_name(f".{name}.{OURS}-{digest}")

    def resumable(self) -> int | None:
        """How many blocks an interrupted run of the same call left; None if there is nothing to go on from.

        Raises:
            ValueError: If that run read another input, as far as can be told without reading it whole.
        """
        try:
            before = json.loads((self.work / _PROGRESS).read_text())
        except FileNotFoundError:
            return None
        if before["stamp"] != list(self.stamp):
            raise ValueError(
                f"{self.src} was replaced or changed after a run that was interrupted, whose blocks are in "
                f"{self.work}. To start afresh: rm -r {shlex.quote(str(self.work))}"
            )
        return int(before["done"])

    def check_output(self) -> None:
        """Raise ``FileExistsError`` if there is an output that is not to be replaced."""
        # A run that was killed at its very end has put the companion there already.
        for path in (self.dst, companion(self.dst)) if self.bare and not self.work.exists() else (self.dst,):
            if _is_there(path) and not self.overwrite:
                raise FileExistsError(f"{path} exists. To replace it: --overwrite.")

    def run(
        self,
        *,
        processes: int = 1,
        scheduler: str | None = None,
        progress: Progress = lambda done, of: None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        """Carry it out, from where a killed run of the same call was.

        Args:
            processes: How many compute. Default 1, with two threads that read and compute in turn.
            scheduler: Address of a dask scheduler, whose workers see the same files, to compute instead.
            progress: Called with the number of targets done, and of all.
            warn: Called once with a message if there are ties among some 1000 targets, taken evenly from the file.
                Default ``warnings.warn``.

        Raises:
            FileExistsError: If another run is writing the output: which process, on which machine, since when.
            ValueError: If a target is not finite: how many entries, where the first is. If the input changed meanwhile.
            OSError: If the output cannot be written. What is done is kept, and the same call goes on.
        """
        with locked(self.lock, f"is writing {self.dst}"):
            # Another run may have ended between the plan and the lock.
            self.check_output()
            self._unchanged()
            self._run(self.resumable(), processes, scheduler, progress, warn)

    def _run(
        self,
        before: int | None,
        processes: int,
        scheduler: str | None,
        progress: Progress,
        warn: Callable[[str], None],
    ) -> None:
        work, file = self.work, open_file(self.src)
        keys = self.layout.keys
        stages = {name: work / f"{name}.npy" for name in element_arrays(self.layout, self.targets) if self.elements}
        todo = blocks(self.layout, BLOCK)
        count = math.prod(self.layout.batch)
        done = 0
        try:
            if before is None:
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
                file.prepare(work, keys)
                for name, path in stages.items():
                    new_npy(path, element_arrays(self.layout, self.targets)[name])
                self._write_progress(0)
            done = before or 0
            extra = {name: npy_region(path) for name, path in stages.items()}
            beside = companion(self.src) if self.command == "unbreak" and file.bare else None
            job = _Work(
                self.command, self.src, self.stamp, beside, self.targets, self.layout, self.seed,
                tuple(file.sinks(work, keys)), extra, -(-LOOK // len(todo)) if self.command == "break" and todo else 0,
            )  # fmt: skip
            hashing = _Hash(self.src)
            bad: list[Bad] = []
            ties = looked = 0
            try:
                with _executor(processes, scheduler) as (executor, workers):
                    for result in _in_order(executor, job, todo[done:], 2 * workers):
                        done += 1
                        bad += [result] if isinstance(result, Bad) else []
                        if isinstance(result, Ties):
                            ties, looked = ties + result.ties, looked + result.looked
                        if not bad:
                            self._write_progress(done)
                        progress(count if done == len(todo) else _item(self.layout, todo[done]), count)
                digest = hashing.result()
            finally:
                hashing.stop()
                _opened.cache_clear()
            self._unchanged()
            if bad:
                raise ValueError(_describe(bad, self.src, keys))
            self._finish(file, work, self._note(file, digest), extra)
            if ties:
                remedy = (
                    f"Fit a template: symbreak fit {self.src.name} template.npz, then break --template template.npz."
                )
                warn(f"{of_ties(ties, looked)} {remedy if self.targets.template is None else 'Fit another template.'}")
        except OSError as error:
            message = f"{error}. {self.dst} is not written."
            done = self.resumable() or 0  # the end of a run that cannot be done again begins by forgetting its blocks
            if done:
                message += f" {done} of {len(todo)} blocks are done and kept: the same command goes on from there."
            raise OSError(message) from error
        except (ValueError, TypeError, LookupError, EOFError):  # which the same call would meet again
            done = 0
            self._unchanged()
            raise
        finally:
            if not done:
                shutil.rmtree(work, ignore_errors=True)

    def _write_progress(self, done: int) -> None:
        write_file(self.work / _PROGRESS, json.dumps({"done": done, "stamp": self.stamp}).encode())

    def _unchanged(self) -> None:
        """Raise ``ValueError`` if the input is another one than at the beginning, whatever came of it."""
        if _stamp(self.src) != self.stamp:
            raise ValueError(f"{self.src} changed while it was read. Nothing is written: do it again.")

    def _note(self, file: Format, digest: str) -> str:
        before = note_of(file)
        return json.dumps(
            {
                "torch_symbreak": __version__,
                "command": self.command,
                "forward": self.targets.forward,
                "event_dims": self.targets.event_dims,
                "oversampling": self.targets.oversampling,
                "threshold": self.targets.threshold,
                "keys": self.layout.keys,
                "layout": self.layout.kind,
                "batch_axis": self.layout.batch_axis,
                "seed": self.seed if self.command == "scramble" else None,
                "elements": self.elements,
                "template": self.targets.template and Path(self.targets.template).name,
                "template_sha256": self.targets.template_sha256,
                "input": self.src.name,
                "input_sha256": digest,
                "before": before,
            }
        )

    def _finish(self, file: Format, work: Path, note: str, extra: dict[str, Region]) -> None:
        """Give the output its name."""
        if not file.repeatable(self.layout.keys):
            (work / _PROGRESS).unlink()
        drop = frozenset(element_arrays(self.layout, self.targets))
        file.finish(work, self.layout.keys, note, {} if file.bare else extra, drop)
        if file.bare:
            write_npz(work / "beside", note, extra)
            os.replace(work / "beside", companion(self.dst))
        (work / _PROGRESS).unlink(missing_ok=True)
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
) -> Plan:
    """Look at a call without doing anything: what would be done, or why it cannot be.

    Args:
        command: "break": every target becomes the canonical point of its orbit. "scramble": a random point of it.
            "unbreak": what it was, by the elements that were stored; options are those of that run.
        src: The input; it is only read.
        dst: The output: the input with other targets, in the same format.
        targets: Which, and of which model. Default: those of a two-dimensional far field.
        elements: Store what was done to each target. Default False.
        seed: Of scramble. Default 0.
        overwrite: Replace ``dst`` if there is one. Default False.

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
        ...     plan("break", f"{folder}/x.npy", f"{folder}/fixed.npy", Targets("gaussian"), elements=True).run()
        ...     plan("unbreak", f"{folder}/fixed.npy", f"{folder}/again.npy").run()
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
    stamp = _stamp(src)
    file = open_file(src)
    suffixes = {src.suffix.lower(), dst.suffix.lower()}
    if len(suffixes) > 1 and not suffixes <= set(file.suffixes):
        raise ValueError(f"The output is the input with other targets, of the same format {src.suffix}, but got {dst}.")
    if dst.is_dir() != src.is_dir() and dst.exists():
        raise ValueError(f"{dst} is {'a folder' if dst.is_dir() else 'no folder'}, and is not replaced.")
    if dst.is_dir():
        open_file(dst)  # nothing but a zarr store is replaced
    note = note_of(file)
    if command == "unbreak":
        targets = _as_noted(file, note)
    layout, _ = targets.find(file)
    file.check(layout.keys, dst.parent)
    check_memory(f"One target of {src}", Array(layout.event, np.dtype(str(layout.dtype)[6:]), layout.event))
    if targets.template is not None:
        targets.fix(layout.dtype).check(torch.empty(0, *layout.event, dtype=layout.dtype))
    planned = Plan(command, src, dst, targets, elements, seed, overwrite, layout, file.bare, stamp)
    planned.check_output()
    planned.resumable()
    return planned


def _as_noted(file: Format, note: dict[str, Any] | None) -> Targets:
    """The options of the run that made a file, if it stored its elements."""
    if note is None or not note["elements"]:
        raise ValueError(f"{file.path} has no group elements to undo. Make it with: symbreak break IN OUT --elements.")
    targets = Targets(**{name: note[name] for name in _OPTIONS}, key=",".join(note["keys"]))
    layout, _ = targets.find(file)
    source = open_file(companion(file.path)) if file.bare else file
    for name, array in element_arrays(layout, targets).items():
        there = source.arrays.get(name)
        if there is None or math.prod(there.shape) != math.prod(array.shape):
            raise ValueError(f"{source.path} has {there and there.shape} as {name}, but {array.shape} is needed.")
    return targets


def _is_there(path: Path) -> bool:
    """Whether there is anything; an error if there cannot be, as with a name that is too long."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


#: Bytes at each end of a file that tell it from another of the same size and times.
_ENDS = 1 << 20


def _stamp(path: Path) -> Stamp:
    """Tell a file from any other: size, times of change, inode, and a hash of its ends; a folder, by all that is in it.

    A copy that keeps size and time (``cp -p``) has another inode or time of change of the inode. The ends are for
    file systems that keep neither.
    """
    companions = [each for each in (companion(path),) if each.is_file()]
    digest, files = hashlib.sha256(), sorted(path.rglob("*")) if path.is_dir() else [*companions]
    size = time = 0
    for each in (path, *files):
        found = each.stat()
        size, time = size + found.st_size, max(time, found.st_mtime_ns)
        kept = (str(each.relative_to(path.parent)), found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
        digest.update(repr(kept).encode(errors="surrogateescape"))
        if stat.S_ISREG(found.st_mode) and not path.is_dir():
            with each.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, found.st_size - _ENDS))
                digest.update(file.read(_ENDS))
    return size, time, digest.hexdigest()


class Found(NamedTuple):
    """What :func:`inspect` found."""

    arrays: dict[str, Array]
    choice: str
    note: dict[str, Any] | None


def inspect(path: str | Path, targets: Targets | None = None) -> Found:
    """Look into a file: its arrays, which of them would be taken as the targets, how and why, and its provenance.

    Args:
        path: The file.
        targets: What is asked for. Default: targets of a two-dimensional far field.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", objects=np.zeros((5, 8, 8), np.complex64), labels=np.arange(5))
        ...     inspect(f"{folder}/x.npz").choice
        '5 targets of 8 x 8, complex64, from one array: objects (the only complex target of at least 2 dimensions)'
    """
    file = open_file(Path(path))
    try:
        layout, reason = (targets or Targets()).find(file)
        file.check(layout.keys)
        choice = f"{layout.describe()} ({reason})"
    except (KeyError, TypeError, ValueError) as error:
        choice = f"none: {error.args[0]}"
    return Found(file.arrays, choice, note_of(file))


# ------------------------------------------------------------------------------------------------ the machinery


def _in_order(executor: Executor, job: _Work, todo: Sequence[Index], ahead: int) -> Any:
    """The results in the order of the blocks, a few blocks ahead of the one that is waited for."""
    waiting: deque[Future[Bad | Ties]] = deque()
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


class _Hash:
    """SHA-256 of a file, in a thread; of a folder, that of the lines that ``sha256sum`` prints for its sorted files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._result: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if not self._path.is_dir():
            self._result = self._file(self._path)
            return
        lines = hashlib.sha256()
        for path in sorted(path for path in self._path.rglob("*") if path.is_file()):
            lines.update(f"{self._file(path)}  ./{path.relative_to(self._path).as_posix()}\n".encode())
        self._result = lines.hexdigest()

    def _file(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while not self._stop.is_set() and (part := file.read(1 << 20)):
                digest.update(part)
        return digest.hexdigest()

    def result(self) -> str:
        self._thread.join()
        if self._result is None:
            raise OSError(f"{self._path} could not be read to its end.")
        return self._result

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _describe(bad: list[Bad], src: Path, keys: tuple[str, ...]) -> str:
    nans, infinite = sum(one.nans for one in bad), sum(one.infinite for one in bad)
    where = f"target {bad[0].target}" + (f" at {bad[0].place}" if bad[0].place else "")
    return (
        f"{', '.join(keys)} of {src} has {nans} NaN and {infinite} infinite entries, the first in {where}. "
        "Mend or drop them."
    )
