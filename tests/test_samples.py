"""Targets in samples, and elements that are functions of (seed, index) alone."""

from __future__ import annotations

from collections import UserDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import tv_tensors

from torch_symbreak import (
    CollateTransform,
    DeviceLoader,
    FarField,
    FixSign,
    OnKeys,
    ScrambledDataset,
    SymmetryBrokenDataset,
)
from torch_symbreak._checks import all_finite
from torch_symbreak._random import Counters, uniform
from torch_symbreak.datasets import SquareRoots
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, PhaseRamp, Product, Scale, Sign, Symmetry, Translation

MODEL = FarField(2)
FIX = MODEL.canonicalizer()
CPU = torch.device("cpu")


def objects(count: int = 7) -> Tensor:
    x = torch.zeros(count, 8, 10, dtype=torch.complex64)
    x[:, 2:6, 1:6] = torch.randn(count, 4, 5, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    return x


class Samples(Dataset[Any]):
    """A user's data set, without batched fetch."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


class Calls:
    """A transform that counts its calls."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return self.transform(x)


# ------------------------------------------------------------------------------------------------ elements


@dataclass(frozen=True)
class Roll(Symmetry):
    """A user's symmetry, which draws from a generator: cyclic shifts of the last axis."""

    event_dims: int = 1

    commutes = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(x.shape[-1], x.shape[: x.dim() - self.item_dims], generator=generator)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        return x.gather(-1, (torch.arange(x.shape[-1]) - g[..., None]) % x.shape[-1])

    def inverse(self, g: Tensor) -> Tensor:
        return -g

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g2 + g1


class OwnSign(Sign):
    """A built-in symmetry with a ``sample`` of the user's own, which takes no counters."""

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(2, x.shape[: x.dim() - self.item_dims], generator=generator).to(x.dtype) * 2 - 1


GROUPS: dict[str, tuple[Symmetry, torch.dtype]] = {
    "translation": (Translation(1), torch.float32),
    "flip": (ConjugateFlip(1), torch.complex64),
    "phase": (GlobalPhase(1), torch.complex64),
    "sign": (Sign(1), torch.float32),
    "sign of entries": (Sign(0), torch.float32),
    "scale": (Scale(1), torch.float32),
    "ramp": (PhaseRamp(1), torch.complex64),
    "far field": (Product([*FarField(1).symmetries, PhaseRamp(1)]), torch.complex64),
    "own": (Roll(1), torch.float32),
    "product with own": (Product([Roll(1), Sign(1)]), torch.float32),
    "own sample": (OwnSign(1), torch.float32),
}


def parts(g: Any) -> list[Tensor]:
    return [g] if isinstance(g, Tensor) else [one for part in g for one in parts(part)]


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("inner", [(), (3,)])
def test_elements_are_functions_of_seed_and_index(kind: str, inner: tuple[int, ...]) -> None:
    group, dtype = GROUPS[kind]
    x = torch.zeros(50, *inner, 12, dtype=dtype)
    x[..., 3:7] = torch.randn(50, *inner, 4, dtype=dtype)
    index = torch.arange(50) * 1000 - 7
    drawn = group.sample_each(x, 5, index)
    assert type(drawn) is type(group.sample(x))
    for some in ([3], [49, 0, 7, 7], list(range(49, -1, -1)), []):
        again = group.sample_each(x[some], 5, index[some])
        assert type(again) is type(drawn)
        for one, whole in zip(parts(again), parts(drawn), strict=True):
            assert one.dtype == whole.dtype
            assert torch.equal(one, whole[some])
    assert torch.allclose(group.act(group.inverse(drawn), group.act(drawn, x)), x, atol=1e-5)
    for other in (group.sample_each(x, 6, index), group.sample_each(x, 5, index + 1)):
        assert not all(torch.equal(one, two) for one, two in zip(parts(other), parts(drawn), strict=True))
    same = group.sample_each(x[:1].expand_as(x), 5, index)
    assert not all(bool((part == part[:1]).all()) for part in parts(same))


def test_only_built_in_draws_are_counted() -> None:
    assert all(group.counted == ("own" not in kind) for kind, (group, _) in GROUPS.items())


def test_places_flips_and_phases_are_uniform_and_independent() -> None:
    n = 20_000
    x = torch.zeros(n, 12, dtype=torch.complex64)
    x[:, 3:7] = torch.tensor([1, 2j, 3, 1j])
    flipped, shift, scalar, _ = Product(FarField(1).symmetries).sample_each(x, 1, torch.arange(n))
    place = torch.where(flipped, shift[:, 0] - 6, shift[:, 0] + 3)
    phase = ((scalar.angle() / (2 * torch.pi) + 0.5) * 8).long().clamp(0, 7)
    # The chance of a larger value is below 1e-6 for up to 143 degrees of freedom.
    for cells, count in ((flipped.long(), 2), (place, 9), (phase, 8), (flipped * 72 + place * 8 + phase, 144)):
        assert cells.min() == 0
        assert cells.max() == count - 1
        seen = torch.bincount(cells, minlength=count).double()
        assert ((seen - n / count) ** 2 / (n / count)).sum() < (230 if count > 9 else 45)
    assert not (flipped[1:] == flipped[:-1]).all()


def test_scrambling_is_independent_of_the_items_that_a_data_set_draws() -> None:
    """Both draw from (seed, index): with the same numbers, these signs would make every entry positive."""
    raw = SquareRoots(500, dim=3, seed=4)
    x = torch.stack([x for _, x in ScrambledDataset(raw, Sign(0), seed=4).__getitems__(range(500))])
    assert 600 < int((x > 0).sum()) < 900


def test_counters_draw_one_number_per_item() -> None:
    with pytest.raises(ValueError, match=r"Counters for 3 items .*\(3, \.\.\.\), but got \(2, 4\)"):
        uniform((2, 4), CPU, Counters(0, torch.arange(3)))
    counters = Counters(0, torch.arange(1000))
    first, second = uniform((1000,), CPU, counters), uniform((1000,), CPU, counters)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.2
    with pytest.raises(TypeError):
        torch.rand(3, generator=Counters(0, torch.arange(3)))  # type: ignore[call-overload]
    for x, index in ((torch.ones(5), torch.arange(5)), (torch.ones(5, 3), torch.arange(4))):
        with pytest.raises(ValueError, match=r"Sign.sample_each needs a batch .* pass x\[None\]"):
            Sign(1).sample_each(x, 0, index)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_draw_the_same(workers: int) -> None:
    for data in (TensorDataset(MODEL(objects()), objects()), Samples([(0, x) for x in objects()])):
        scrambled = ScrambledDataset(data, MODEL.symmetries, seed=2)
        loaded = torch.cat([x for _, x in DataLoader(scrambled, batch_size=3, num_workers=workers)])
        assert torch.equal(loaded, torch.stack([scrambled[i][1] for i in range(7)]))
        assert torch.equal(loaded, torch.cat([x for _, x in DataLoader(scrambled, batch_size=2)]))


# ------------------------------------------------------------------------------------------------- samples


def test_a_batch_is_changed_and_measured_once() -> None:
    x, y = objects(), MODEL(objects())
    for data in (x, TensorDataset(y, x), TensorDataset(x), Samples(list(x))):
        fix = Calls(FIX)
        SymmetryBrokenDataset(data, fix).__getitems__([5, 0, -1])
        assert fix.shapes == [(3, 8, 10)]
    model = Calls(MODEL)
    batch = SymmetryBrokenDataset(x, FIX, forward=model).__getitems__([5, 0, 6])
    assert model.shapes == [(3, 8, 10)]
    for i, (measurement, target) in zip([5, 0, 6], batch, strict=True):
        assert torch.allclose(target, FIX(x[i]), atol=1e-6)
        assert torch.allclose(measurement, y[i], atol=1e-3)


def test_a_tensor_is_not_changed_by_a_transform_in_place() -> None:
    x = torch.ones(4, 3)
    assert SymmetryBrokenDataset(x, Tensor.neg_)[1].tolist() == [-1, -1, -1]
    assert torch.equal(x, torch.ones(4, 3))


def test_lazy_bits_of_a_tensor_are_resolved() -> None:
    x = objects().conj()
    for data in (x, x.imag, list(x)):
        (item,) = SymmetryBrokenDataset(data, lambda z: z).__getitems__([2])
        assert not item.is_conj()
        assert not item.is_neg()
        assert torch.equal(item, data[2])


Pair = namedtuple("Pair", "y x")
Single = namedtuple("Single", "x")


@pytest.mark.parametrize("changed", ["broken", "scrambled"])
def test_containers_keep_their_type(changed: str) -> None:
    x, y = objects(), MODEL(objects())

    def wrap(samples: list[Any], keys: Any = None) -> Any:
        data = Samples(samples)
        if changed == "broken":
            return SymmetryBrokenDataset(data, FIX, keys=keys)
        return ScrambledDataset(data, MODEL.symmetries, seed=1, keys=keys)

    wanted = torch.stack(wrap(list(x)).__getitems__(range(7)))
    assert not torch.equal(wanted, x)
    pairs: list[Any] = [(y, x), [y, x], Pair(y, x)]
    for index, (whole, key) in enumerate([*((one, 1) for one in pairs), ((x,), 0), ([x], 0), (Single(x), 0)]):
        make = whole._make if hasattr(whole, "_make") else type(whole)
        samples = [make([part[i] for part in whole]) for i in range(7)]
        for i, sample in enumerate(wrap(samples).__getitems__(range(7))):
            assert type(sample) is type(whole)
            assert torch.equal(sample[key], wanted[i])
            assert index > 2 or sample[0] is samples[i][0]
    for kind in (dict, UserDict, lambda parts: defaultdict(list, parts)):
        for keys in ("x", ["x"], ("x", "z")):
            samples = [kind({"x": one, "z": one, "name": str(i)}) for i, one in enumerate(x)]
            for i, sample in enumerate(wrap(samples, keys).__getitems__(range(7))):
                assert type(sample) is type(samples[0])
                assert torch.equal(sample["x"], wanted[i])
                assert torch.equal(sample["z"], wanted[i] if "z" in keys else x[i])
                assert sample["name"] == str(i)
                assert torch.equal(samples[i]["x"], x[i])
    assert sample["new"] == []  # a defaultdict's factory
    assert wrap(list(x)).__getitems__([]) == wrap([]).__getitems__([]) == []


def test_targets_of_other_shapes_and_dtypes_go_one_by_one() -> None:
    x = objects()
    mixed = [x[0], x[1, :6], x[2].to(torch.complex128), x[3]]
    broken = SymmetryBrokenDataset(Samples(mixed), FIX, forward=MODEL).__getitems__([3, 2, 1, 0])
    for one, (y, target) in zip(mixed[::-1], broken, strict=True):
        assert target.dtype == one.dtype
        assert torch.allclose(target, FIX(one), atol=1e-6)
        assert torch.allclose(y, MODEL(one), atol=1e-3)
    scrambled = ScrambledDataset(Samples(mixed), MODEL.symmetries)
    for i, one in zip([3, 2, 1, 0], scrambled.__getitems__([3, 2, 1, 0]), strict=True):
        assert torch.allclose(one, scrambled[i], atol=1e-6)
    mixed[1][3, 3] = torch.nan
    with pytest.raises(ValueError, match=r"item 1 of the data set of shape \(6, 10\) has 1 NaN"):
        scrambled.__getitems__([0, 1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, complex(0, torch.nan), complex(0, -torch.inf)])
def test_a_value_that_is_not_finite_names_its_item(value: complex) -> None:
    x = objects()
    x[4, 3, 3] = value
    assert not all_finite(x)
    for data in (x, list(x), TensorDataset(x), TensorDataset(x, x)):
        for wrapped in (SymmetryBrokenDataset(data, FIX), ScrambledDataset(data, MODEL.symmetries)):
            with pytest.raises(
                ValueError, match=r"item 4 of the data set of shape \(8, 10\) has (1 NaN|0 NaN and 1 inf)"
            ):
                wrapped.__getitems__([6, 0, 4, 1])
            assert len(wrapped.__getitems__([6, 0, 1])) == 3


def test_finite_values() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128):
        x = torch.ones(4, dtype=dtype)
        assert all_finite(x)
        assert all_finite(x[:0])
        for bad in (torch.nan, torch.inf, -torch.inf):
            x[2] = bad
            assert not all_finite(x)
    assert all_finite(objects().conj().imag)


@pytest.mark.parametrize("kind", [tv_tensors.Image, tv_tensors.Mask])
def test_tv_tensors_keep_their_type(kind: Any) -> None:
    x = objects().real
    model, signs = FarField(2, field="real"), [Sign(2), Translation(2)]
    samples = [(i, kind(one[None])) for i, one in enumerate(x)]
    for make in (
        lambda data, **o: SymmetryBrokenDataset(data, model.canonicalizer(), **o),
        lambda data, **o: SymmetryBrokenDataset(data, lambda z: z.clone(), **o),
        lambda data, **o: ScrambledDataset(data, signs, **o),
    ):
        plain = make(Samples([(i, one[None]) for i, one in enumerate(x)]))
        for indices in ([2], [2, 0, 5]):
            for (_, one), (_, bare) in zip(
                make(Samples(samples)).__getitems__(indices), plain.__getitems__(indices), strict=True
            ):
                assert type(one) is kind
                assert type(bare) is Tensor
                assert torch.equal(one.as_subclass(Tensor), bare)
        mixed = make(Samples([samples[0][1], x[1][None]])).__getitems__([0, 1])
        assert [type(one) for one in mixed] == [kind, Tensor]
    pairs = SymmetryBrokenDataset(Samples([x for _, x in samples]), model.canonicalizer(), forward=model)
    assert [type(part) for part in pairs[0]] == [Tensor, kind]
    assert type(CollateTransform(torch.clone, collate=lambda batch: kind(torch.stack(batch)))(list(x))) is kind


def test_one_part_is_the_target() -> None:
    x, y = objects(), MODEL(objects())
    for keys in (None, 0, -1, [0]):
        for measurement, target in SymmetryBrokenDataset(TensorDataset(x), FIX, forward=MODEL, keys=keys):
            assert torch.allclose(target, FIX(target), atol=1e-5)
            assert torch.allclose(measurement, MODEL(target), atol=1e-3)
    measurement, target = SymmetryBrokenDataset(TensorDataset(x), FIX, forward=MODEL)[3]
    assert torch.allclose(measurement, y[3], atol=1e-3)
    assert torch.allclose(target, FIX(x[3]), atol=1e-6)
    (target,) = SymmetryBrokenDataset(TensorDataset(x), FIX)[3]
    assert torch.allclose(target, FIX(x[3]), atol=1e-6)
    loader = DataLoader(TensorDataset(x), batch_size=7, collate_fn=CollateTransform(FIX))
    assert [torch.equal(part, FIX(x)) for part in next(iter(loader))] == [True]
    (batch,) = DeviceLoader(DataLoader(TensorDataset(x), batch_size=7), FIX, "cpu")
    assert [torch.equal(part, FIX(x)) for part in batch] == [True]


@pytest.mark.parametrize("sample", [lambda x: (x, x), lambda x: {"x": x}, lambda x: [x, 3]])
def test_forward_takes_targets_alone(sample: Any) -> None:
    keys = "x" if isinstance(sample(0), dict) else None
    data = SymmetryBrokenDataset(Samples([sample(x) for x in objects()]), FIX, forward=MODEL, keys=keys)
    with pytest.raises(ValueError, match=r"forward=.* a (tuple|dict|list) of \d\. .*forward=None"):
        data[0]


def test_missing_keys_are_named() -> None:
    x = objects()
    fix = FixSign(2)
    for call, owner in (
        (lambda keys: SymmetryBrokenDataset(Samples([{"x": x[0]}]), FIX, keys=keys)[0], "SymmetryBrokenDataset"),
        (lambda keys: CollateTransform(FIX, keys=keys)([{"x": x[0]}]), "CollateTransform"),
        (lambda keys: list(DeviceLoader([{"x": x}], FIX, "cpu", keys=keys)), "DeviceLoader"),
        (lambda keys: OnKeys(fix, keys)({"x": x}), "OnKeys"),
    ):
        with pytest.raises(KeyError, match=rf"{owner} got no \['z'\] in a sample with the keys \['x'\]"):
            call(["x", "z"])
        with pytest.raises(ValueError, match=f"{owner} needs at least one key"):
            call([])
    late = SymmetryBrokenDataset(Samples([(x[0], x[0]), (x[0],)]), FIX)
    with pytest.raises(KeyError, match=r"no \[1\] .* \[0\]"):
        late.__getitems__([0, 1])
    with pytest.raises(TypeError, match=r"SymmetryBrokenDataset .*leave keys=None"):
        SymmetryBrokenDataset(x, FIX, keys=0)[0]
    with pytest.raises(TypeError, match=r"UserDict of 1.*keys='x'"):
        CollateTransform(FIX, collate=lambda _: UserDict(x=x))([])
    with pytest.raises(TypeError, match=r"got a int.*Item 1"):
        SymmetryBrokenDataset(Samples([(x[0], x[0]), (x[0], 3)]), FIX).__getitems__([0, 1])


def test_a_tuple_of_tensors_is_no_data_set() -> None:
    y, x = torch.rand(4, 3), torch.rand(4, 3)
    with pytest.raises(TypeError, match=r"tuple of 2 tensors.*TensorDataset\(y, x\)"):
        SymmetryBrokenDataset((y, x), FixSign(1))


def test_seeds_and_indices_of_numpy() -> None:
    x = torch.randn(3, 4)
    wanted = Sign(1).sample_each(x, 3, torch.arange(3))
    assert torch.equal(Sign(1).sample_each(x, np.int64(3), torch.arange(3, dtype=torch.int32)), wanted)
