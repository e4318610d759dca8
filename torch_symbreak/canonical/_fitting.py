"""Fitting a template to objects: generalized Procrustes analysis, by Lloyd's iteration.

Align all objects to the template, take their mean as the next template, and repeat. The mean squared distance of the
aligned objects from the template never rises: aligning minimizes it over the elements, the mean over templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import flat_items, per_item, power, wide

#: Items that are aligned between two steps of the progress bar.
_STEP = 500

Align = Callable[[Tensor], Tensor]


class Fit(NamedTuple):
    """A fitted template."""

    template: Tensor
    history: list[float]  # mean ||C(x) - t||² of every round
    explained: float  # share of the mean ||x||² that the template takes off


def iterate(
    x: Tensor, start: Tensor, align_to: Callable[[Tensor], Align], item_dims: int, rounds: int, tolerance: float,
    progress: bool,
) -> Fit:  # fmt: skip
    """Refine a template until a round lowers the mean squared distance by less than ``tolerance``, relatively.

    Args:
        x: The objects, (n, *item).
        start: The first template.
        align_to: Return the function that aligns items to a template.
        item_dims: Dimensions of one item.
        rounds: The most rounds.
        tolerance: Relative decrease below which to stop.
        progress: Show a progress bar on stderr.
    """
    energy = float(flat_items(power(x), item_dims).sum(-1, dtype=torch.float64).mean())
    template, history = start, list[float]()
    with _bar(progress, rounds * len(x)) as advance:
        for _ in range(rounds):
            align, total = align_to(template), torch.zeros_like(template, dtype=wide(template))
            for part in x.split(_STEP):
                total += align(part).sum(0, dtype=wide(part))
                advance(len(part))
            mean, t = total / len(x), template.to(wide(template))
            # Elements keep norms, so that mean ||C(x) - t||² needs no second pass.
            cross = float((mean * t.conj()).real.sum())
            history.append(energy + float(power(t).sum()) - 2 * cross)
            template = mean.to(template.dtype)
            if len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]:
                break
    return Fit(template, history, float(power(template.to(wide(template))).sum()) / energy if energy else 0.0)


def normalized(x: Tensor, item_dims: int) -> Tensor:
    """Divide every item by its norm; a zero item stays."""
    norm = flat_items(power(x), item_dims).sum(-1, dtype=torch.float64).sqrt().to(x.real.dtype)
    return x / per_item(torch.where(norm > 0, norm, 1), item_dims)


@contextmanager
def _bar(wanted: bool, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr if rich is installed."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        wanted = False
    if not wanted:
        yield lambda count: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fitting a template", total=total)
        yield lambda count: bar.advance(task, count)
