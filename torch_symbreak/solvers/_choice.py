"""Choose among the starts of an item without knowing the truth, and say how far to trust the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import flat_items, power, root
from torch_symbreak.alignment import align
from torch_symbreak.symmetries import Product

#: Verdicts of an item, best first.
SOLVED, DOUBTFUL, NOT_SOLVED = "solved", "doubtful", "not solved"
#: Two lines of starts agree below this relative error, up to the symmetries, and may mean one object below the second.
AGREE, _CLOSE = 0.1, 0.3
#: An R-factor above this fits nothing; one below the second, on fitted and on held-out pixels, is worth a look.
_WORST, _GOOD = 0.25, 0.05


class Choice(NamedTuple):
    """The best start of every item, and how far it agrees with another one."""

    best: Tensor  # (B,), its index among the starts
    agreement: Tensor  # (B,): relative error of the best start of another line; NaN without one


def choose(answers: Tensor, residual: Tensor, line: Tensor, group: Product) -> Choice:
    """Choose the start of smallest R-factor, and compare it with the best one of another line, up to the symmetries.

    Shape: answers (B, K, *M) on the torus, residual and line (B, K).
    """
    best = residual.argmin(1)
    others = torch.where(line == line.gather(1, best[:, None]), math.inf, residual)
    lowest, second = others.min(1)
    rows = torch.arange(len(best), device=best.device)
    reference, other = answers[rows, best], answers[rows, second]
    agreement = torch.where(lowest.isfinite(), distance(other, reference, group), math.nan)
    return Choice(best, agreement)


def distance(x: Tensor, reference: Tensor, group: Product) -> Tensor:
    """Return ``min_g ||g x - r|| / ||r||`` of every item (B, *M), (B,) in double precision."""
    squares = align(x, reference, group).error * math.prod(x.shape[1:])
    energy = flat_items(power(reference), group.item_dims).sum(-1, dtype=squares.dtype)
    return root(squares / torch.where(energy == 0, 1, energy))


def verdicts(agreement: Tensor, residual: Tensor, held_out: Tensor, misplaced: Tensor) -> list[str]:
    """Return a verdict for every item, from its agreement, its R-factors, and whether its pixels look misplaced.

    Lines agree on a modulated object as well as on the object, so misplaced items are never called solved.

    Shape: (B,) each.
    """
    words = []
    columns = (each.tolist() for each in (agreement, residual, held_out, misplaced))
    for agreed, seen, unseen, doubted in zip(*columns, strict=True):
        if agreed <= AGREE and seen <= _WORST:
            words.append(DOUBTFUL if doubted else SOLVED)
        elif agreed <= _CLOSE or (seen <= _GOOD and not unseen > 2 * _GOOD):
            words.append(DOUBTFUL)
        else:
            words.append(NOT_SOLVED)
    return words


def cut(x: Tensor, support: Tensor, frame: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Move every item on the torus so that its power falls into the frame, in the middle, and cut it out.

    Shape: x and support (B, *M), to (B, *frame) each.
    """
    d, energy = len(frame), power(x)
    for axis, size in enumerate(frame):
        whole = x.shape[1 + axis]
        if size == whole:
            continue
        profile = energy.movedim(axis + 1, 1).flatten(2).sum(2, dtype=torch.float64) if d > 1 else energy.double()
        window = (torch.arange(whole, device=x.device) < size).to(profile)
        within = torch.fft.irfft(torch.fft.rfft(profile) * torch.fft.rfft(window).conj(), n=whole)
        top = within.amax(1, keepdim=True)
        good = within >= top - 1e-9 * top.abs()
        # The middle of the good corners: their circular mean.
        angle = 2 * math.pi * torch.arange(whole, device=x.device) / whole
        mean = (torch.polar(torch.ones_like(angle), angle) * good).sum(1).angle()
        aim = (mean * whole / (2 * math.pi)).round().long() % whole
        away = (torch.arange(whole, device=x.device) - aim[:, None] + whole // 2) % whole - whole // 2
        corner = torch.where(good, away.abs(), whole).argmin(1)
        index = (torch.arange(size, device=x.device) + corner[:, None]) % whole
        index = index.reshape(len(x), *[size if a == axis else 1 for a in range(d)])
        shape = [size if a == axis else n for a, n in enumerate(x.shape[1:])]
        x, support, energy = (z.gather(axis + 1, index.expand(len(x), *shape)) for z in (x, support, energy))
    return x, support
