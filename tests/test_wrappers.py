"""What users hand to wrappers, transforms and loaders: it works, or an error says what to type."""

from __future__ import annotations

import re
import types
from collections import ChainMap, OrderedDict, UserDict, namedtuple
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import Compose

from torch_symbreak import (
    CollateTransform,
    DeviceLoader,
    FarField,
    FixGlobalPhase,
    FixSign,
    FromChannels,
    OnKeys,
    OnRealImag,
    RandomSymmetry,
    ScrambledDataset,
    SymmetryBrokenDataset,
    ToChannels,
)
from torch_symbreak.symmetries import Sign

MODEL = FarField(2)
FIX, SIGN = MODEL.canonicalizer(), FixSign(1)
X = torch.tensor([[-1.0, -2.0], [3.0, 1.0], [-4.0, 2.0]])


# ------------------------------------------------------------------------------------------------- mappings


class Boxed(MutableMapping[str, Any]):
    """Like TensorDict: a mapping with an attribute, which only its own ``copy`` keeps."""

    def __init__(self, parts: Mapping[str, Any], batch_size: int = 0) -> None:
        self.parts, self.batch_size = dict(parts), batch_size

    def __getitem__(self, key: str) -> Any:
        return self.parts[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.parts[key] = value

    def __delitem__(self, key: str) -> None:
        del self.parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def copy(self) -> Boxed:
        return Boxed(self.parts, self.batch_size)


class Frozen(Mapping[str, Any]):
    """A mapping that cannot be changed, but built of a dict."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


class Uncopied(Frozen, MutableMapping[str, Any]):
    """A mapping that can be changed, without a method to copy it: ``copy.copy`` would share its values."""

    def __setitem__(self, key: str, value: Any) -> None:
        self._parts[key] = value

    def __delitem__(self, key: str) -> None:
        del self._parts[key]


class Unbuilt(Frozen):
    """A mapping that can be neither copied nor built of a dict."""

    def __init__(self, *, x: Any, name: str = "") -> None:
        super().__init__({"x": x, "name": name})


class Refusing(OrderedDict[str, Any]):
    """A dict that refuses changes."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise RuntimeError("read-only")


MAPPINGS: list[Callable[[dict[str, Any]], Any]] = [
    dict, OrderedDict, UserDict, ChainMap, Boxed, Frozen, Uncopied, types.MappingProxyType,
]  # fmt: skip


class Samples(Dataset[Any]):
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


@pytest.mark.parametrize("kind", MAPPINGS, ids=lambda kind: kind.__name__)
def test_mappings_of_any_kind(kind: Any) -> None:
    samples = [kind({"x": x, "name": str(i)}) for i, x in enumerate(X)]
    broken = SymmetryBrokenDataset(Samples(samples), SIGN, keys="x")
    scrambled = ScrambledDataset(Samples(samples), Sign(1), keys="x", seed=3)
    (loaded,) = DeviceLoader([kind({"x": X, "name": "batch"})], SIGN, "cpu", keys="x")
    assert type(loaded) is type(samples[0])
    assert torch.equal(loaded["x"], SIGN(X))
    assert loaded["name"] == "batch"
    (moved,) = DeviceLoader([kind({"x": X, "more": kind({"x": X})})], lambda x: x, "meta", keys="x")
    assert moved["x"].is_meta
    assert moved["more"]["x"].is_meta
    wanted = ScrambledDataset(X, Sign(1), seed=3)
    for i in range(3):
        for made, value in (
            (OnKeys(SIGN, "x")(samples[i]), SIGN(X[i])),
            (broken[i], SIGN(X[i])),
            (scrambled[i], wanted[i]),
        ):
            assert type(made) is type(samples[i])
            assert list(made) == list(samples[i])
            assert torch.equal(made["x"], value)
            assert made["name"] == str(i)
            assert samples[i]["x"] is not made["x"]
            assert torch.equal(samples[i]["x"], X[i])  # the input stays


def test_what_else_a_mapping_holds_is_kept() -> None:
    made = OnKeys(SIGN, "x")(Boxed({"x": X}, batch_size=3))
    assert made.batch_size == 3


def test_tuples_with_a_constructor_of_their_own() -> None:
    class Pair(namedtuple("Pair", "y x")):
        def __new__(cls, x: Any) -> Any:
            return super().__new__(cls, x.abs(), x)

    made = OnKeys(SIGN, 1)(Pair(X))
    assert type(made) is Pair
    assert torch.equal(made.x, SIGN(X))


# ------------------------------------------------------------------------------------------ two real channels


@pytest.mark.parametrize(
    "call",
    [
        lambda x: MODEL.canonicalizer()(x),
        lambda x: MODEL(x),
        lambda x: FixGlobalPhase()(x),
        lambda x: RandomSymmetry(MODEL.symmetries)(x),
        lambda x: SymmetryBrokenDataset(x, FIX)[0],
        lambda x: OnRealImag(SIGN)(x),
    ],
)
def test_two_channels_are_told_of_from_channels_first(call: Any) -> None:
    with pytest.raises(
        TypeError, match=r"FromChannels\(\) first.*Compose\(\[FromChannels\(\), .*ToChannels\(\)\]\)"
    ) as e:
        call(torch.randn(3, 2, 8, 8))
    advice = str(e.value)
    assert "field='real'" not in advice or advice.index("FromChannels") < advice.index("field='real'")


def test_channels_of_other_dimensions_are_advised() -> None:
    with pytest.raises(TypeError, match=r"FromChannels\(1\) first"):
        FarField(1).canonicalizer()(torch.randn(3, 2, 8))
    with pytest.raises(TypeError, match=r"FromChannels\(3\) first"):
        FarField(3)(torch.randn(3, 2, 8, 8, 8))


def test_two_channels_by_the_advice_and_against_it() -> None:
    x = nn.functional.pad(torch.randn(6, 5, 5, dtype=torch.complex64), (1, 2, 3, 0))
    channels, fix = ToChannels()(x), Compose([FromChannels(), FIX, ToChannels()])
    moved = ToChannels()(RandomSymmetry(MODEL.symmetries)(x))
    y = MODEL(x)
    for given in (channels, moved):
        target = fix(given)
        assert target.shape == channels.shape
        assert torch.allclose(target, fix(channels), atol=1e-5)
        assert torch.allclose(MODEL(FromChannels()(target)), y, rtol=1e-3, atol=1e-3)
    for i, (kept, target) in enumerate(SymmetryBrokenDataset(TensorDataset(y, moved), fix)):
        assert torch.equal(kept, y[i])
        assert torch.allclose(target, fix(channels)[i], atol=1e-5)
    wrong = MODEL(FromChannels()(FarField(field="real").canonicalizer()(channels)))
    assert (wrong - y).norm() > 0.1 * y.norm()  # why field="real" must not be the first advice


# ------------------------------------------------------------------------------------------------ tv_tensors


@pytest.mark.parametrize("kind", [tv_tensors.Image, tv_tensors.Video, tv_tensors.Mask])
def test_tv_tensors_keep_their_type_everywhere(kind: Any) -> None:
    fix, x = FixSign(2), torch.randn(4, 2, 1, 5, 6)
    whole = kind(x)
    for data in (whole, Samples([kind(one) for one in x])):
        for wrapped in (SymmetryBrokenDataset(data, fix), ScrambledDataset(data, Sign(2))):
            for item in wrapped.__getitems__([2, 0]):
                assert type(item) is kind
        y, item = SymmetryBrokenDataset(data, fix, forward=torch.square)[1]
        assert (type(y), type(item)) == (Tensor, kind)
    (batch,) = DeviceLoader([{"x": kind(x)}], fix, "cpu", keys="x")
    assert type(batch["x"]) is kind
    assert torch.equal(batch["x"].as_subclass(Tensor), fix(x))


# ------------------------------------------------------------------------------------------------ bad inputs


class Fetching(Samples):
    """A data set whose batched fetch returns what it is told."""

    def __init__(self, returned: Callable[[list[int]], Any]) -> None:
        super().__init__(list(X))
        self.returned = returned

    def __getitems__(self, indices: list[int]) -> Any:
        return self.returned(indices)


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(X)


class Rows(list[Any]):
    """A list with a constructor of its own."""

    def __init__(self, *, rows: Any) -> None:
        super().__init__(rows)


def broken(data: Any, fix: Any = SIGN, **options: Any) -> Any:
    return SymmetryBrokenDataset(data, fix, **options).__getitems__([0, 1])


BAD: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "too few samples": (
        ValueError, r"Fetching\.__getitems__ returned 1 samples for 2 indices\. .*one per index",
        lambda: broken(Fetching(lambda i: [X[0]])),
    ),
    "too many samples": (
        ValueError, r"Fetching\.__getitems__ returned 3 samples for 2", lambda: broken(Fetching(lambda i: list(X)))
    ),
    "too few samples to scramble": (
        ValueError, r"Fetching\.__getitems__ returned 0 samples for 1",
        lambda: ScrambledDataset(Fetching(lambda i: []), Sign(1))[0],
    ),
    "samples: None": (
        TypeError, r"Fetching\.__getitems__ returned a NoneType.*list of samples",
        lambda: broken(Fetching(lambda i: None)),
    ),
    "samples: a batch as a dict": (
        TypeError, r"Fetching\.__getitems__ returned a dict.*no collated batch",
        lambda: broken(Fetching(lambda i: {"x": X[i], "y": X[i]})),
    ),
    "a mapping that cannot be copied": (
        TypeError, r"OnKeys needs samples that it can copy.*Unbuilt.*dict\(sample\)",
        lambda: OnKeys(SIGN, "x")(Unbuilt(x=X)),
    ),
    "samples that cannot be copied": (
        TypeError, r"SymmetryBrokenDataset needs samples that it can copy.*Unbuilt",
        lambda: broken(Samples([Unbuilt(x=x) for x in X]), keys="x"),
    ),
    "a batch that cannot be copied": (
        TypeError, r"DeviceLoader needs samples that it can copy.*Unbuilt",
        lambda: list(DeviceLoader([Unbuilt(x=X)], SIGN, "cpu", keys="x")),
    ),
    "a dict that refuses changes": (
        TypeError, r"OnKeys needs samples that it can copy.*Refusing",
        lambda: OnKeys(SIGN, "x")(refusing()),
    ),
    "a list with a constructor of its own": (
        TypeError, r"OnKeys needs samples that it can copy.*Rows.*tuple\(sample\)",
        lambda: OnKeys(SIGN, 1)(Rows(rows=[X, X])),
    ),
    "OnKeys: swapped arguments": (TypeError, "OnKeys needs a function.*got a int", lambda: OnKeys(1, SIGN)),  # type: ignore[arg-type]
    "OnKeys: a class": (TypeError, "OnKeys needs an instance.*class FixSign", lambda: OnKeys(FixSign, 1)),
    "OnKeys: a set of keys": (TypeError, r"OnKeys needs keys like .*\{'x'\}", lambda: OnKeys(SIGN, {"x"})),  # type: ignore[arg-type]
    "OnKeys: a mask as keys": (TypeError, "needs keys like.*True is no key", lambda: OnKeys(SIGN, (True, False))),
    "CollateTransform: nested keys": (
        TypeError, r"CollateTransform needs keys like .*\[1\] is no key", lambda: CollateTransform(SIGN, keys=[[1]])  # type: ignore[list-item]
    ),
    "CollateTransform: a symmetry": (
        TypeError, r"CollateTransform needs a function.*Sign.*model\.canonicalizer\(\)",
        lambda: CollateTransform(Sign(1)),  # type: ignore[arg-type]
    ),
    "CollateTransform: no collate": (
        TypeError, "CollateTransform needs a function of a tensor as collate", lambda: CollateTransform(SIGN, collate=1)  # type: ignore[arg-type]
    ),
    "DeviceLoader: no loader": (
        TypeError, "DeviceLoader needs a loader.*got a int", lambda: DeviceLoader(4, SIGN, "cpu")  # type: ignore[arg-type]
    ),
    "DeviceLoader: no transform": (
        TypeError, "DeviceLoader needs a function.*got a str", lambda: DeviceLoader([], "cpu")  # type: ignore[arg-type]
    ),
    "data set: symmetries as canonicalizer": (
        TypeError, r"SymmetryBrokenDataset needs a function.*tuple.*canonicalizer=model\.canonicalizer\(\)",
        lambda: broken(X, MODEL.symmetries),
    ),
    "data set: a class as canonicalizer": (
        TypeError, "SymmetryBrokenDataset needs an instance as canonicalizer.*FixSign", lambda: broken(X, FixSign)
    ),
    "data set: a flag as forward": (
        TypeError, "needs a function of a tensor as forward, but got a bool", lambda: broken(X, forward=True)
    ),
    "data set: forward without a batch": (
        ValueError, r"forward= needs to return one measurement per target, \(2, \.\.\.\).*returned .*\(\)",
        lambda: broken(X, forward=torch.sum),
    ),
    "data set: forward of another type": (
        ValueError, "forward= needs to return one measurement.*returned a list",
        lambda: broken(X, forward=Tensor.tolist),
    ),
    "data set: a loader": (
        TypeError, r"map-style data set.*DataLoader\. .*DeviceLoader\(loader",
        lambda: broken(DataLoader(TensorDataset(X)))
    ),
    "data set: a dict of columns": (
        TypeError, r"map-style.*got a dict.*TensorDataset\(y, x\)", lambda: broken({"y": X, "x": X}, keys="x")
    ),
    "data set: a file's name": (TypeError, "map-style.*got a str.*symbreak break", lambda: broken("train.h5")),
    "data set: a number": (TypeError, r"map-style.*shape \(\).*\(n, \.\.\.\)", lambda: broken(torch.tensor(3.0))),
    "data set: a stream": (TypeError, "map-style.*Stream.*OnKeys", lambda: broken(Stream())),
    "scrambling: no seed": (
        TypeError, "ScrambledDataset needs an int as seed, but got 0.5", lambda: ScrambledDataset(X, Sign(1), seed=0.5)  # type: ignore[arg-type]
    ),
    "channels: negative dimensions": (ValueError, "ToChannels needs event_dims >= 0", lambda: ToChannels(-1)),
    "channels: half a dimension": (TypeError, "FromChannels needs an int", lambda: FromChannels(1.5)),  # type: ignore[arg-type]
    "channels: no transform": (TypeError, "OnRealImag needs a function", lambda: OnRealImag(2)),  # type: ignore[arg-type]
    "channels: NumPy": (
        TypeError, r"FromChannels needs one torch.Tensor.*torch.from_numpy", lambda: FromChannels()(np.zeros((2, 4, 4)))  # type: ignore[arg-type]
    ),
    "channels: a transform that drops one": (
        ValueError, r"FromChannels needs a tensor of shape \(\*batch, 2, \*event\)",
        lambda: OnRealImag(lambda x: x[:, :1])(torch.zeros(3, 4, 4, dtype=torch.complex64)),
    ),
}  # fmt: skip


def refusing() -> Refusing:
    """Return a dict with parts, which were there before it refused changes."""
    made = Refusing()
    dict.__setitem__(made, "x", X)
    return made


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs(name: str) -> None:
    error, message, call = BAD[name]
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        call()
