"""Finite groups as a user would write them: powers of one step, an int64 element per item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torch_symbreak.symmetries import Symmetry


@dataclass(frozen=True)
class Powers(Symmetry):
    """A cyclic group; a subclass says what so many steps do."""

    order: ClassVar[int]
    commutes = True

    def turned(self, x: Tensor, steps: int) -> Tensor:
        raise NotImplementedError

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(self.order, x.shape[: x.dim() - self.item_dims], generator=generator).to(x.device)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        moved = x
        for steps in range(1, self.order):
            chosen = (g == steps).reshape((*g.shape, *[1] * self.item_dims))
            moved = torch.where(chosen, self.turned(x, steps), moved)
        return moved

    def inverse(self, g: Tensor) -> Tensor:
        return -g % self.order

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return (g2 + g1) % self.order

    def elements(self, x: Tensor) -> Iterator[Tensor]:
        for steps in range(self.order):
            yield torch.full(x.shape[: x.dim() - self.item_dims], steps, device=x.device)


@dataclass(frozen=True)
class QuarterTurns(Powers):
    """Rotations of square frames by 90 degrees: they commute with a phase, not with translations."""

    event_dims: int = 2
    order = 4

    def turned(self, x: Tensor, steps: int) -> Tensor:
        return x.rot90(steps, (-2, -1))


@dataclass(frozen=True)
class ChannelTurns(Powers):
    """Cyclic permutations of three channels."""

    channel_dims: int = 1
    order = 3

    def turned(self, x: Tensor, steps: int) -> Tensor:
        return x.roll(steps, -self.item_dims)


@dataclass(frozen=True)
class Conjugation(Powers):
    """Complex conjugation, which commutes with motions, not with a phase."""

    event_dims: int = 1
    order = 2

    def turned(self, x: Tensor, steps: int) -> Tensor:
        return x.conj().resolve_conj()
