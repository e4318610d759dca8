"""Look into a file and at some of its targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from torch_symbreak.canonical.ties import LOOK
from torch_symbreak.io.formats import Array, Format, open_file
from torch_symbreak.io.layouts import Layout, blocks
from torch_symbreak.io.provenance import note_of
from torch_symbreak.io.runs import reading
from torch_symbreak.io.summaries import Summary, look, summarize
from torch_symbreak.io.targets import Targets, beside


class Found(NamedTuple):
    """Result of :func:`inspect`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.zeros((5, 8, 8), np.complex64))
        ...     found = inspect(f"{folder}/x.npy")
        >>> list(found.arrays.values())[0].shape, found.error
        ((5, 8, 8), None)
    """

    arrays: dict[str, Array]
    choice: str
    note: dict[str, Any] | None
    error: Exception | None  #: why nothing would be taken
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
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", objects=np.zeros((5, 8, 8), np.complex64), labels=np.arange(5))
        ...     inspect(f"{folder}/x.npz").choice
        '5 targets of 8 x 8, complex64, from one array: objects (the only complex target of at least 2 dimensions)'
    """
    file, error, content = open_file(Path(path)), None, None
    try:
        targets = targets or Targets()
        layout, reason = targets.find(file)
        layout, also = beside(file, layout, targets, also)
        file.check((*layout.keys, *also))
        choice = f"{layout.describe()} ({reason})"
        content = sample(file, layout, targets).of_content(targets.threshold)
    except (KeyError, TypeError, ValueError) as why:
        choice, error = f"none: {why.args[0]}", why
    return Found(file.arrays, choice, note_of(file), error, content)


#: Bytes of targets that are looked at.
_SAMPLE = 16 << 20


def sample(file: Format, layout: Layout, targets: Targets) -> Summary:
    """Look at some targets, from blocks that are taken evenly from the file."""
    every = blocks(layout, _SAMPLE // 16)
    some = every[:: max(1, -(-len(every) // 16))]
    step = max(1, -(-math.prod(layout.batch) * len(some) // max(1, len(every) * LOOK)))
    fix = targets.fix(layout.dtype)
    looks = []
    for block in some:
        with reading:
            x = layout.read(file, block)[::step]
        looks.append(look(fix, x[torch.isfinite(x).reshape(len(x), math.prod(layout.event)).all(1)]))
    return summarize(looks)
