"""Summaries of what a run did to the targets, by some of them, evenly taken from the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import NEAR_TIE, TIE, flat_items
from torch_symbreak.canonical.thresholds import DEFAULT, divide_lines, lines_of
from torch_symbreak.canonical.ties import of_ties
from torch_symbreak.symmetries import Canonicalizer, Product


@dataclass(frozen=True)
class Summary:
    """Count how targets were broken, on those that were looked at.

    Attributes:
        looked: Targets that were looked at.
        flipped: Flipped.
        moved: Moved to another place.
        canonical: Left as they were, to within a phase of .005.
        ties: Ties, whose equal measurements can get several targets.
        small: Symmetry to targets whose margin is below 1e-3. A template's gap between shifts is left out.
        filled: Targets whose content box fills the frame, so that no shift is possible.
        threshold: What divides background from content, the default 1e-4 if most boxes leave room. None if
            scikit-image is missing.
        clear: Whether that is what :func:`torch_symbreak.suggest_threshold` returns. Else it is a guess.
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
