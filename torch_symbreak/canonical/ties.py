"""Count ties among the targets that a canonicalizer is given, and say so once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import flat_items, too_small
from torch_symbreak.canonical.template import AlignToTemplate
from torch_symbreak.symmetries import Canonicalizer
from torch_symbreak.symmetries.scalar import FixScalar

#: Look at so many targets. A margin takes many times as long as a target.
LOOK = 1000


def count_ties(canonicalizer: object, x: Tensor) -> tuple[int, int]:
    """Return how many of the targets are ties, and of how many that is; (0, 0) if the canonicalizer has no margins."""
    if not isinstance(canonicalizer, Canonicalizer):
        return 0, 0
    tied = canonicalizer.tied(x)
    return int(tied.sum()), tied.numel()


def smallest_margins(canonicalizer: Canonicalizer[Any], x: Tensor) -> Tensor:
    """Return how far each target (B, *item) is from a tie, (B,): the smallest deciding margin; 1 for a zero target."""
    some = flat_items(x, canonicalizer.symmetry.item_dims).ne(0).any(-1)
    margins = list(canonicalizer.deciding_margins(x.detach()).values())
    smallest = torch.stack([torch.ones_like(some, dtype=x.real.dtype), *margins]).amin(0)
    return torch.where(some, smallest, 1)


def of_ties(count: int, looked: int) -> str:
    """Return the sentence that tells how many targets are ties."""
    share = f"{count} of {looked} targets looked at ({count / looked:.1%})"
    return f"{share} are ties: equal measurements can get several targets."


def _remedy(canonicalizer: object, x: Tensor) -> str:
    if isinstance(canonicalizer, Canonicalizer) and too_small(x, canonicalizer.symmetry.item_dims).any():
        return "Some are so small that a phase rounds them: divide all by one number, such as the largest magnitude."
    if isinstance(canonicalizer, AlignToTemplate):
        return "Fit the template to other objects."
    if isinstance(canonicalizer, FixScalar):
        return f"Choose another anchor, e.g. {type(canonicalizer).__name__}(1, anchor=-1), or fit a template."
    return "Fit a template: model.fit_canonicalizer(x)."


class TieWatch:
    """Look at the first targets for ties and warn once, in all workers of a loader together.

    Args:
        owner: Name of the class that warns.
        canonicalizer: Its ties count. Plain functions and compositions have no margins and are not looked at.
    """

    def __init__(self, owner: str, canonicalizer: Callable[[Tensor], Any]) -> None:
        self._owner = owner
        self._canonicalizer = canonicalizer
        #: Ties, targets looked at, and whether it has warned. Shared, because every worker has a copy of the data set.
        self._seen = torch.zeros(3, dtype=torch.int64).share_memory_()

    def look(self, x: Tensor) -> None:
        """Count the ties of x, (B, ...), unless enough targets were looked at. Waits for the device of x."""
        _, looked, warned = self._seen.tolist()
        if warned or looked >= LOOK:
            return
        self._seen[:2] += torch.tensor(count_ties(self._canonicalizer, x[: LOOK - looked].detach()))
        ties, looked, _ = self._seen.tolist()
        if ties:
            self._seen[2] = 1
            remedy = _remedy(self._canonicalizer, x)
            warnings.warn(f"{self._owner}: {of_ties(ties, looked)} {remedy}", stacklevel=2)
