"""Count samples per second of a loader.

Data sets are generated in batches or one by one. Targets are canonicalized per sample, per batch, or on the device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.canonicalize import objects
from benchmarks.measure import Operations, Timing
from benchmarks.report import rates as figure
from torch_symbreak import CollateTransform, DeviceLoader, FarField, GaussianIntensity, SymmetryBrokenDataset
from torch_symbreak.datasets import BraggCrystals, ComplexImages, GaussianPairs, SquareRoots
from torch_symbreak.datasets.base import Pairs

__all__ = ["cases", "figure", "notes"]


class _PerItem(Dataset[tuple[Tensor, Tensor]]):
    """Transform the targets of pairs one by one, as ``target_transform`` does."""

    def __init__(self, pairs: TensorDataset, transform: Callable[[Tensor], Tensor]) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        y, x = self.pairs[index]
        return y, self.transform(x)


def _sets(count: int, device: torch.device) -> dict[str, Callable[[], Pairs]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 24, 24, generator=generator)
    return {
        "SquareRoots": lambda: SquareRoots(count, dim=10, device=device),
        "GaussianPairs": lambda: GaussianPairs(
            count, GaussianIntensity.draw(40, 10, generator=generator).to(device), device=device
        ),
        "BraggCrystals": lambda: BraggCrystals(count, frame=(32, 32), device=device),
        "ComplexImages": lambda: ComplexImages(images, frame=(32, 32), device=device),
    }


def _made(make: Callable[[], Pairs]) -> Operations:
    data = make()
    indices = range(len(data))
    return {"in batches": lambda: data.__getitems__(indices), "one by one": lambda: [data[i] for i in indices]}


def _epoch(loader: Any) -> Callable[[], object]:
    def run() -> None:
        for _ in loader:
            pass

    return run


def _broken(count: int, size: int, workers: int, device: torch.device) -> Operations:
    """Return one epoch of every loader; workers stay alive between epochs.

    A sample holds its index in place of a measurement, which would cost every loader the same.
    """
    fix, pairs = FarField(2).canonicalizer(), TensorDataset(torch.arange(count), objects((count, size, size)))

    def loader(data: Any, **how: Any) -> DataLoader[Any]:
        return DataLoader(data, batch_size=64, num_workers=workers, persistent_workers=workers > 0, **how)

    return {
        "CollateTransform": _epoch(loader(pairs, collate_fn=CollateTransform(fix))),
        "DeviceLoader": _epoch(DeviceLoader(loader(pairs, pin_memory=device.type == "cuda"), fix, device)),
        "SymmetryBrokenDataset": _epoch(loader(SymmetryBrokenDataset(pairs, fix))),
        "each target by itself": _epoch(loader(_PerItem(pairs, fix))),
        "nothing broken": _epoch(loader(pairs)),
    }


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    count = 128 if quick else 1024
    for name, make in _sets(count, device).items():
        yield Timing("generation", {"data set": name, "batch": count}, count, lambda make=make: _made(make))
    for size, workers in itertools.product((32,) if quick else (32, 64), (0, 1, 2)):
        parameters = {"N": f"{size} x {size}", "objects": count, "batch": 64, "workers": workers}
        yield Timing(
            "breaking", parameters, count, lambda size=size, workers=workers: _broken(count, size, workers, device)
        )


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    return {}
