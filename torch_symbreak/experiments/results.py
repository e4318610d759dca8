"""Rows of numbers on disk: write them, read them, and keep them from being lost or mixed."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import sklearn
import torch
from torch import Tensor

from torch_symbreak import __version__
from torch_symbreak.experiments.grid import Case
from torch_symbreak.io import locked, write_file
from torch_symbreak.training import Hardware, main_process

Row = dict[str, Any]

RESULTS, ARRAYS, CHECKPOINTS = "results.jsonl", "arrays", "checkpoints"
#: Files written from the rows of any experiment. The names of objects_*.png depend on the rows.
WRITTEN = ("table.md", "errors.png", "curves.png", "functions.png", "solver.jsonl", "solver.md", "solver.png")


def case_of(row: Row) -> Case:
    """Return the case of a row."""
    return Case(*(row[field.name] for field in fields(Case)))


def read_rows(out: Path) -> list[Row]:
    """Read the rows in a directory. Return an empty list if it has none.

    Raises:
        ValueError: If a line is no row.

    Example:
        >>> read_rows(Path("no-such-directory"))
        []
    """
    path = out / RESULTS
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            row = json.loads(line)
            case = case_of(row)
            numbers = [value for name, value in row.items() if name.startswith(("test_", "train_"))]
            if not isinstance(row["parameters"], dict) or not numbers:
                raise KeyError("parameters, or errors")
            for value, kind in ((row["experiment"], str), (case.slug, str), (case.n, int), (case.seed, int)):
                if not isinstance(value, kind):
                    raise TypeError(f"{value!r} is no {kind.__name__}")
            if not all(isinstance(value, (int, float)) for value in numbers):
                raise TypeError("an error is no number")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"Line {number} of {path} is no row of an experiment: {error!r}. Mend or delete it."
            ) from None
        rows.append(row)
    return rows


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """Replace the rows in a directory."""
    write_file(out / RESULTS, "".join(f"{json.dumps(row)}\n" for row in rows).encode())


def read_arrays(out: Path, row: Row) -> dict[str, Tensor]:
    """Read the arrays that belong to a row. Return an empty dictionary if it has none."""
    path = _arrays_path(out, case_of(row))
    if not path.exists():
        return {}
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def write_arrays(out: Path, case: Case, arrays: Mapping[str, Tensor]) -> None:
    """Write the arrays that belong to the row of a case."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items()})
    (out / ARRAYS).mkdir(parents=True, exist_ok=True)
    write_file(_arrays_path(out, case), buffer.getvalue())


#: Name of a case's checkpoints: its slug, which ends with n and the seed, and a digest of the parameters.
_CHECKPOINT = re.compile(r".+_\d+_\d+-[0-9a-f]{8}")


def _arrays_path(out: Path, case: Case) -> Path:
    return out / ARRAYS / f"{case.slug}.npz"


def remove_results(out: Path) -> None:
    """Remove the rows of a directory, the files written from them, and our checkpoints, and nothing else.

    A checkpoint that stayed would let the next run continue an interrupted training, perhaps of older code.

    Raises:
        ValueError: If results.jsonl holds something else than rows.

    Example: files of another program are no rows, and stay.
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "notes.txt").write_text("mine")
        ...     remove_results(Path(folder))
        ...     [path.name for path in Path(folder).iterdir()]
        ['notes.txt']
    """
    rows = read_rows(out)
    for folder in (out / CHECKPOINTS).glob("*"):
        if folder.is_dir() and _CHECKPOINT.fullmatch(folder.name):
            shutil.rmtree(folder)
    if not rows:
        return
    mine = [out / name for name in (RESULTS, *WRITTEN)]
    for row in rows:
        mine += [_arrays_path(out, case_of(row)), out / f"objects_{row['data']}_{row['network']}.png"]
    for path in mine:
        path.unlink(missing_ok=True)


def resumable_rows(out: Path, name: str, parameters: Row, *, resume: bool) -> list[Row]:
    """Read the rows that a run in ``out`` continues.

    Args:
        out: Directory of the run.
        name: Name of the experiment.
        parameters: Parameters that all rows in ``out`` must have.
        resume: Continue rows that are there. If False, ``out`` must hold none.

    Raises:
        NotADirectoryError: If ``out`` is a file.
        FileExistsError: If there are rows and ``resume`` is False, or the run would replace files that were not
            written from rows.
        ValueError: If a row has another experiment or other parameters.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, but the results need a directory. Choose another out.")
    rows = read_rows(out)
    for path in (out / file for file in WRITTEN):
        if not rows and path.exists():
            raise FileExistsError(
                f"{path} would be replaced, but {RESULTS} has no rows that it was made from. Move it, or choose "
                "another out."
            )
    # The processes that Lightning starts beside the first one find the rows that the first one has just written.
    if rows and not resume and main_process():
        raise FileExistsError(
            f"{out / RESULTS} has {len(rows)} rows. Pass resume=True to continue, call remove_results(out), or choose "
            "another out."
        )
    for number, row in enumerate(rows, 1):
        if row["experiment"] != name or row["parameters"] != parameters:
            raise ValueError(
                f"Row {number} of {out / RESULTS} was made with other parameters: {row['experiment']}, "
                f"{row['parameters']} instead of {name}, {parameters}. Choose another out."
            )
    return rows


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Keep other runs out of a directory, because each would replace the rows of the others.

    Raises:
        FileExistsError: If another run is at work in ``out``.
    """
    if not main_process():  # the first process holds the lock for all processes of a run
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock", f"is at work in {out}"):
        yield


def versions() -> dict[str, str]:
    """Return the versions of the packages that the numbers of a row depend on."""
    modules = {"torch": torch, "lightning": lightning, "scikit-learn": sklearn}
    packages = {name: str(module.__version__) for name, module in modules.items()}
    return {"torch_symbreak": __version__, "python": platform.python_version(), **packages}


def machine(hardware: Hardware) -> str:
    """Describe the machine that a row was measured on."""
    device = hardware.torch_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    count = f"{hardware.num_nodes} x {hardware.devices} " if hardware.num_nodes * hardware.devices > 1 else ""
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{count}{name}, {threads}, {platform.system()} {platform.machine()}, {hardware.precision}"
