"""The common part of all data sets: items made in batches, and samples as lists."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torch_symbreak._checks import check_implemented
from torch_symbreak.forward import FarField, ForwardModel

Transform = Callable[[Any], Any]


def check_model(owner: str, forward: Any, event_dims: int) -> None:
    """Raise ``ValueError`` unless ``forward`` is a far-field model of complex objects of so many dimensions."""
    if not isinstance(forward, FarField) or forward.event_dims != event_dims or forward.field != "complex":
        raise ValueError(
            f"{owner} makes complex objects with a frame of {event_dims} axes and needs FarField({event_dims}) as "
            f"forward, but got {forward!r}."
        )


def check_index(index: Any, size: int) -> int:
    """Return the index counted from 0, or raise ``IndexError`` (which ends a ``for`` loop over a data set)."""
    try:
        index = operator.index(index)
    except TypeError:
        raise TypeError(
            f"a data set takes one int as index, but got {index!r}. For several, use torch.utils.data.Subset."
        ) from None
    if not -size <= index < size:
        raise IndexError(f"index {index} is outside a data set of {size} items")
    return index % size


class Pairs(Dataset[tuple[Any, Any]]):
    """A synthetic data set of pairs (y, x), made on the fly. Item i is a function of (seed, i) alone, y up to rounding.

    A subclass makes the objects of a batch of indices, and the forward model measures them.
    """

    def __init__(
        self,
        size: int,
        forward: ForwardModel,
        seed: int,
        transform: Transform | None,
        target_transform: Transform | None,
        device: torch.device | str,
    ) -> None:
        check_implemented(self)
        try:
            size, seed = operator.index(size), operator.index(seed)
        except TypeError:
            raise TypeError(f"{type(self).__name__} needs ints as size and seed, but got {size!r}, {seed!r}.") from None
        if size < 0:
            raise ValueError(f"{type(self).__name__} needs a size >= 0, but got {size}.")
        self.size = size
        self.forward_model = forward
        self.seed = seed
        self.transform = transform
        self.target_transform = target_transform
        self.device = torch.device(device)

    def __len__(self) -> int:
        return self.size

    @abstractmethod
    def objects(self, index: Tensor) -> Tensor:
        """Make the objects of the items ``index``, (B,) int64 on :attr:`device`: (B, *event)."""

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Make measurements and objects of many items at once, before any transform: (B, ...) each."""
        index = torch.tensor([check_index(i, self.size) for i in indices], dtype=torch.int64, device=self.device)
        x = self.objects(index)
        with torch.no_grad():
            return self.forward_model(x), x

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        if len(indices) == 0:
            return []
        y, x = self.batch(indices)
        return [self._transformed(*pair) for pair in zip(y.unbind(0), x.unbind(0), strict=True)]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def _transformed(self, y: Tensor, x: Tensor) -> tuple[Any, Any]:
        return (
            y if self.transform is None else self.transform(y),
            x if self.target_transform is None else self.target_transform(x),
        )
