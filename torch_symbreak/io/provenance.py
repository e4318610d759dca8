"""Read and write the notes and elements by which a run can be undone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from torch_symbreak.io.formats import open_file
from torch_symbreak.io.formats.base import OURS, Array, Format
from torch_symbreak.io.layouts import Layout
from torch_symbreak.io.runs import companion
from torch_symbreak.io.targets import Targets
from torch_symbreak.symmetries import Product


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
    """Return the prefix of the names of the elements of a run on these arrays. No two sets of arrays share one."""
    return f"{OURS}_{hashlib.sha256(','.join(keys).encode()).hexdigest()[:8]}"


def active_runs(note: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The runs that made a file, the latest first, without those that were undone."""
    undone: list[list[str]] = []
    while note is not None:
        if note["command"] == "unbreak":
            undone.append(note["keys"])
        elif note["keys"] in undone:
            undone.remove(note["keys"])
        else:  # a version that kept the elements of one run wrote no prefix
            yield {"prefix": OURS, "also": (), **note}
        note = note["before"]


def _key_of(note: dict[str, Any]) -> str:
    """The key as it was typed, if it was, or all names."""
    return note.get("key") or ",".join(note["keys"])


def _with_elements(file: Format) -> Format:
    """Return the file that holds the elements of ``file``: itself or its companion."""
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


def run_to_undo(file: Format, note: dict[str, Any] | None, key: str | None) -> dict[str, Any]:
    """Return the note of the latest run that can be undone: no later run changed its arrays."""
    runs: list[dict[str, Any]] = []
    later: set[str] = set()
    there = _with_elements(file).arrays
    for run in active_runs(note):
        changed = {run["prefix"], *run["keys"], *run["also"]}
        if run["elements"] and f"{run['prefix']}_scalar" in there and not later & changed:
            runs.append(run)
        later |= changed
    if not runs:
        where = companion(file.path)
        lost = f" They would be in {where}: put it beside the file." if file.bare and not where.exists() else ""
        raise ValueError(
            f"{file.path} has no group elements to undo.{lost} Make it with: symbreak break IN OUT --elements."
        )
    parts = [file.resolve(part.strip()) for part in (key or "").split(",")]
    for run in runs:
        named = [any(fnmatchcase(name, part) or name.startswith(f"{part}/") for part in parts) for name in run["keys"]]
        if key in (None, _key_of(run), ",".join(run["keys"])) or all(named):
            return run
    known = " or ".join(f"key={_key_of(run)!r}" for run in runs)
    raise KeyError(f"{file.path} has no elements of {key!r} to undo. It has those of: {known}.")


def as_noted(file: Format, run: dict[str, Any]) -> Targets:
    """Return the options of the run that made a file, and check that its elements are there."""
    targets = Targets(**{name: run[name] for name in _OPTIONS}, key=_key_of(run), axes=run.get("axes"))
    layout, _ = targets.find(file)
    source = _with_elements(file)
    for name, array in element_arrays(layout, targets, run["prefix"]).items():
        there = source.arrays.get(name)
        # MATLAB adds axes and names complex parts.
        if there is None or (
            (there.shape[:1], math.prod(there.shape)) != (array.shape[:1], math.prod(array.shape))
            or (there.dtype.kind == "c" or there.dtype.names is not None) != (array.dtype.kind == "c")
        ):
            got = f"{there.dtype}, {there.shape}" if there else "nothing"
            raise ValueError(f"{source.path} has {got} as {name}, but {array.dtype}, {array.shape} is needed.")
    return targets
