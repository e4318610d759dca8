"""Templates in files: fit one to the targets of a file, and read it back."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._version import __version__
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.io.arrays import check_new, read_array, write_file
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.layouts import BLOCK, blocks
from torch_symbreak.io.runs import check_paths
from torch_symbreak.symmetries import Product, Sign

if TYPE_CHECKING:
    from torch_symbreak.io.targets import Targets

#: Name of the array in a template's file.
_ARRAY = "template"


def fit_template(
    src: str | Path,
    dst: str | Path,
    targets: Targets,
    *,
    max_objects: int | None = 5000,
    seed: int = 0,
    overwrite: bool = False,
    **options: Any,
) -> AlignToTemplate:
    """Fit a template to the targets of a file and write it to an .npz file, with a note on how it was made.

    Args:
        src: Input file.
        dst: Output, an .npz file.
        targets: Targets of the file, and their model.
        max_objects: Fit to at most so many targets, drawn at random, which are kept in memory. Default 5000. None: all.
        seed: Seed of that draw and of restarts. Default 0.
        overwrite: Replace ``dst`` if it exists. Default False.
        **options: Of :meth:`torch_symbreak.AlignToTemplate.fit`.

    Returns:
        The canonicalizer.

    Raises:
        ValueError: If ``dst`` is no .npz file or is the input, or the targets do not fit a template.
        FileExistsError: If ``dst`` exists and ``overwrite`` is False.
        FileNotFoundError: If ``src`` or the folder of ``dst`` does not exist.

    Example:
        >>> import tempfile
        >>> from torch_symbreak.io import Targets
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.array([[-1.0, -2.0], [1.0, 3.0], [2.0, 4.0]]))
        ...     fix = fit_template(f"{folder}/x.npy", f"{folder}/t.npz", Targets("gaussian"), progress=False)
        ...     fix.seen, tuple(read_template(f"{folder}/t.npz").shape)
        (3, (2,))
    """
    src, dst = Path(src).absolute(), Path(dst).absolute()
    if dst.suffix != ".npz":
        raise ValueError(f"A template is written to an .npz file, but got {dst}. Name it {dst.with_suffix('.npz')}.")
    check_paths(src, dst, folder=False)
    check_new(dst, overwrite=overwrite)
    if max_objects is not None and max_objects < 2:
        raise ValueError(f"A template is fitted to at least 2 targets, but got max_objects={max_objects}.")
    generator = torch.Generator().manual_seed(seed)
    file = open_file(src)
    layout, _ = targets.find(file)
    count = math.prod(layout.batch)
    if count < 2:
        raise ValueError(f"A template is fitted to at least 2 targets, but {src} has {count}.")
    wanted = torch.ones(count, dtype=torch.bool)
    if max_objects is not None and max_objects < count:
        wanted[torch.randperm(count, generator=generator)[max_objects:]] = False
    todo = blocks(layout, BLOCK)
    chosen = wanted.split([end - start for start, end in itertools.pairwise((*map(layout.first, todo), count))])
    x = torch.cat([layout.read(file, block)[some] for block, some in zip(todo, chosen, strict=True) if some.any()])
    if not bool(x.ne(0).any()):
        raise ValueError(
            f"A template is fitted to targets that are not zero, but all {len(x)} of {src} are. Name another array: "
            "key=."
        )
    fix = AlignToTemplate.fit(x, targets.fix(x.dtype).symmetry, generator=generator, **options)
    note = {
        "torch_symbreak": __version__,
        "command": "fit",
        **targets.model,
        "keys": layout.keys,
        "input": src.name,
        "seed": seed,
        "seen": fix.seen,
        "explained": fix.explained,
        "history": fix.history,
    }
    check_new(dst, overwrite=overwrite)  # a file may have appeared meanwhile
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_ARRAY: fix.template.numpy(), "note": np.array(json.dumps(note))})
    write_file(dst, buffer.getvalue())
    return fix


def read_template(path: str | Path) -> Tensor:
    """Read a template: the array "template" of an .npz file, or an .npy file.

    Raises:
        FileNotFoundError, KeyError, ValueError, TypeError: As :func:`torch_symbreak.io.read_array`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/template.npy", np.array([1.0, 2.0]))
        ...     read_template(f"{folder}/template.npy")
        tensor([1., 2.], dtype=torch.float64)
    """
    path = Path(path)
    return read_array(path, _ARRAY if path.suffix == ".npz" else None)


def note_of_template(path: str | Path) -> dict[str, Any]:
    """Return how a template was fitted; nothing if the file is none of :func:`fit_template`."""
    if Path(path).suffix != ".npz":
        return {}
    with np.load(path, allow_pickle=False) as loaded:
        if not {"note", _ARRAY} <= {*loaded}:
            return {}
        try:
            note = json.loads(str(loaded["note"]))
        except ValueError:  # another program's note: plain words, or Python objects
            return {}
    return note if isinstance(note, dict) and "torch_symbreak" in note else {}


def check_note(path: str | Path, options: dict[str, Any]) -> None:
    """Raise ``ValueError`` if the note in a template's file says that it was fitted with other options."""
    note = note_of_template(path)
    others = {name: note[name] for name, value in options.items() if note.get(name, value) != value}
    if others:
        added = " ".join(f"{name}={value!r}" for name, value in others.items())
        raise ValueError(
            f"The template {path} was fitted with other options than these. Add {added}, or fit another one with: "
            "symbreak fit IN template.npz"
        )


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@functools.lru_cache(maxsize=4)
def canonicalizer_from(path: str, sha256: str, group: Product) -> AlignToTemplate:
    """Return the canonicalizer of a template's file, read once per process.

    Raises:
        ValueError: If the file's digest is another one than ``sha256``, when the run was planned.
        TypeError: If it is real and the targets are complex, or the other way round.
    """
    if digest(path) != sha256:
        raise ValueError(f"The template {path} changed while it was in use. Run the command again.")
    template = read_template(path)
    real = isinstance(group.scalar, Sign)
    if group.scalar is not None and template.is_complex() == real:
        is_, are = ("complex", "real") if real else ("real", "complex")
        raise TypeError(f"The template {path} is {is_}, but the targets are {are}. Fit one to them: symbreak fit.")
    return AlignToTemplate(template, group)
