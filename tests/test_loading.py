"""Batches broken in the collate step and on the device: the same as item by item, and only the targets."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from torch_symbreak import CollateTransform, DeviceLoader, FarField, RandomSymmetry, SymmetryBrokenDataset

MODEL = FarField(2)
FIX = MODEL.canonicalizer()


def objects(count: int = 7) -> Tensor:
    torch.manual_seed(3)
    x = torch.nn.functional.pad(torch.randn(count, 4, 5, dtype=torch.complex64), (0, 4, 3, 1))
    return RandomSymmetry(MODEL.symmetries)(x)


@pytest.mark.parametrize("workers", [0, 2])
def test_collated_batches_are_those_of_the_broken_data_set(workers: int) -> None:
    pairs = TensorDataset(MODEL(objects()), objects())
    wanted = [SymmetryBrokenDataset(pairs, FIX)[i][1] for i in range(len(pairs))]
    loader = DataLoader(pairs, batch_size=3, num_workers=workers, collate_fn=CollateTransform(FIX))
    batches = list(loader)
    assert torch.equal(torch.cat([y for y, _ in batches]), MODEL(objects()))
    assert torch.allclose(torch.cat([x for _, x in batches]), torch.stack(wanted), atol=1e-6)


def test_collate_takes_targets_alone_and_keys() -> None:
    x = objects()
    assert torch.equal(CollateTransform(FIX)(list(x)), FIX(x))
    samples = [{"x": one, "name": str(i)} for i, one in enumerate(x)]
    batch = CollateTransform(FIX, keys="x")(samples)
    assert torch.equal(batch["x"], FIX(x))
    assert batch["name"] == [str(i) for i in range(len(x))]
    with pytest.raises(TypeError, match=r"CollateTransform got a dict of 2.*keys='x'"):
        CollateTransform(FIX)(samples)
    x[2, 5, 5] = torch.nan
    with pytest.raises(ValueError, match=r"batch of targets .* has 1 NaN .*in items \[2\]"):
        CollateTransform(FIX)(list(x))


def test_device_loader_moves_everything_and_breaks_targets() -> None:
    x = objects()
    pairs = TensorDataset(MODEL(x), x, torch.arange(7))
    loader = DeviceLoader(DataLoader(pairs, batch_size=4), FIX, "cpu", keys=1)
    for _ in range(2):  # an epoch is not used up by the one before
        batches = list(loader)
        assert len(batches) == len(loader) == 2
        assert torch.equal(torch.cat([broken for _, broken, _ in batches]), FIX(x))
    (batch,) = DeviceLoader([UserDict(x=x, more=[(x, "name")])], lambda z: z, "meta", keys="x")
    assert isinstance(batch, UserDict)
    assert batch["x"].is_meta
    assert batch["more"][0][0].is_meta


@pytest.mark.parametrize("make", [CollateTransform, lambda fix, keys: DeviceLoader([], fix, "cpu", keys=keys)])
def test_no_keys_break_nothing_and_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        make(FIX, keys=[])


def test_whole_numbers_are_no_targets() -> None:
    with pytest.raises(TypeError, match="CollateTransform needs a floating-point or complex batch of targets"):
        CollateTransform(FIX)([(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.int64))])
