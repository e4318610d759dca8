"""Look into a file and at some of its targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import NEAR_TIE, TIE, flat_items
from torch_symbreak.canonical.thresholds import DEFAULT, divide_lines, lines_of
from torch_symbreak.canonical.ties import LOOK, of_ties
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.formats.base import Array, Format
from torch_symbreak.io.layouts import Layout, blocks
from torch_symbreak.io.provenance import note_of
from torch_symbreak.io.runs import reading
from torch_symbreak.io.targets import Targets, choose
from torch_symbreak.symmetries import Canonicalizer, Product


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
        layout, _, reason = choose(file, targets, also)
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


@dataclass(frozen=True)
class Summary:
    """Counts of what break does to the targets that were looked at.

    Attributes:
        looked: Targets that were looked at.
        flipped: Flipped.
        moved: Moved to another place.
        canonical: Left as they were, to within a phase of .005.
        ties: Ties, whose equal measurements can get several targets.
        small: Number of targets with a margin below 1e-3, by symmetry. A template's gap between shifts is left out.
        filled: Targets whose content box fills the frame, so that no shift is possible.
        threshold: Suggested threshold. 1e-4 if most boxes leave room. None if scikit-image is missing.
        clear: True if :func:`torch_symbreak.suggest_threshold` returns this value. False if it is a guess.
    """

    looked: int
    flipped: int
    moved: int
    canonical: int
    ties: int
    small: dict[str, int]
    filled: int
    threshold: float | None
    clear: bool

    def __str__(self) -> str:
        small = ", ".join(f"{count} by {name.replace('_', ' ')}" for name, count in self.small.items() if count)
        full = f"; content fills the frame in {self.filled}" if self.filled else ""
        return (
            f"{self.looked} target{'s' * (self.looked != 1)} looked at: {self.flipped} flipped, {self.moved} moved, "
            f"{self.canonical} already canonical; margin below {NEAR_TIE:g}: {small or 'none'}{full}"
        )

    def of_content(self, threshold: float) -> str | None:
        """Return the warning that most boxes fill the frame, with the remedy; None if they leave room."""
        if 2 * self.filled <= self.looked:
            return None
        if self.threshold is None:
            remedy = 'To get a threshold suggested: pip install "torch_symbreak[io]".'
        elif self.threshold <= threshold:
            remedy = "If that is a background, raise threshold= above it."
        elif self.clear:
            remedy = f"If that is a background, type threshold={self.threshold:g}."
        else:
            remedy = (
                "If the objects fill their frames, nothing is wrong. If that is a background, it is nearly as bright "
                f"as they are: try threshold={self.threshold:g}, and look at the result."
            )
        return (
            f"The content fills the frame in {self.filled} of {self.looked} targets looked at, so their shifts are not "
            f"broken: pixels above {threshold:g} of the peak count as content. {remedy}"
        )

    def of_ties(self) -> str | None:
        """Return the sentence that tells how many targets are ties, if any."""
        return of_ties(self.ties, self.looked) if self.ties else None


def look(fix: Canonicalizer[Any], x: Tensor) -> tuple[Counter[str], Tensor]:
    """Count what ``fix`` does to targets, (B, *event), and return their lines for a threshold.

    Margins take many times as long as targets, so ``x`` should be few.
    """
    group = Product(fix.symmetry)
    g = group.lift(fix.symmetry, fix.element(x), x)
    some = flat_items(x, group.item_dims).ne(0).any(-1)
    margins = {name: torch.where(some, margin, 1) for name, margin in fix.deciding_margins(x).items()}
    if (like := group.rearrangement) is None:
        lines, moved, filled = torch.empty(len(x), 0), torch.zeros_like(some), torch.zeros_like(some)
    else:
        lines, filled = lines_of(x, like.event_dims), like.fills(x)
        moved = g.moves(x, threshold=like.threshold, wrap=like.wrap).ne(0).any(-1)
    which = {
        "flipped": g.flipped,
        "moved": moved,
        "canonical": ~g.flipped & ~moved & ((g.scalar - 1).abs() < 0.005),
        "ties": torch.stack([torch.ones_like(some, dtype=x.real.dtype), *margins.values()]).amin(0) <= TIE,
        "filled": filled,
    } | {f"small {name}": margin < NEAR_TIE for name, margin in margins.items()}
    return Counter({"looked": len(x)} | {name: int(each.sum()) for name, each in which.items()}), lines


def summarize(looks: Iterable[tuple[Counter[str], Tensor]]) -> Summary:
    """Add up what :func:`look` counted in several batches."""
    looks = [each for each in looks if each[0]["looked"]]
    total: Counter[str] = Counter()
    for counts, _ in looks:
        total.update(counts)
    threshold: float | None = DEFAULT
    clear = True
    if 2 * total["filled"] > total["looked"]:
        try:
            threshold, clear = divide_lines(torch.cat([lines for _, lines in looks]))
        except ModuleNotFoundError:
            threshold = None
    small = {name.removeprefix("small "): count for name, count in total.items() if name.startswith("small ")}
    numbers = {name: total[name] for name in ("looked", "flipped", "moved", "canonical", "ties", "filled")}
    return Summary(**numbers, small=small, threshold=threshold, clear=clear)
