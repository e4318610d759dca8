"""The transforms in torchvision pipelines, with the real package; OnRealImag on its transforms and kornia's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms, tv_tensors
from torchvision.transforms import v2

from torch_symbreak import (
    CenterContent,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    FromChannels,
    OnKeys,
    OnRealImag,
    RandomSymmetry,
    ToChannels,
)
from torch_symbreak.datasets import ComplexImages

MODEL = FarField()
FIX = MODEL.canonicalizer()
THREE = [CenterContent(), FixGlobalPhase(), FixConjugateFlip()]


def crystals(batch: int = 6, size: int = 12) -> Tensor:
    x = torch.zeros(batch, size, size, dtype=torch.complex64)
    x[:, 1 : size // 2, 4:] = torch.randn(batch, size // 2 - 1, size - 4, dtype=x.dtype)
    return x


@pytest.mark.parametrize("compose", [transforms.Compose, v2.Compose, lambda parts: nn.Sequential(*parts)])
def test_compose(compose: Any) -> None:
    x = crystals()
    whole = compose(THREE)
    assert torch.allclose(whole(x), FIX(x), atol=1e-5)
    assert torch.equal(pickle.loads(pickle.dumps(whole))(x), whole(x))
    # Between torchvision's own, on two real channels.
    mixed = compose([OnRealImag(v2.RandomHorizontalFlip(1.0)), *THREE, ToChannels(), v2.CenterCrop(8)])
    assert torch.allclose(mixed(x), ToChannels()(FIX(x.flip(-1)))[..., 2:10, 2:10], atol=1e-5)


def test_target_transform_of_data_sets(tmp_path: Path) -> None:
    objects = crystals()
    for label, x in enumerate(objects):  # a folder per object, with its measurement
        (tmp_path / f"object{label}").mkdir()
        torch.save(MODEL(x), tmp_path / f"object{label}" / "y.pt")
    pick = transforms.Lambda(lambda label: objects[label])
    pairs = datasets.DatasetFolder(str(tmp_path), torch.load, ("pt",), target_transform=v2.Compose([pick, *THREE]))
    y, x = next(iter(DataLoader(pairs, batch_size=6)))
    assert torch.equal(y, MODEL(objects))
    assert torch.allclose(x, FIX(objects), atol=1e-5)
    # Objects made of any image data set.
    images = datasets.FakeData(4, (3, 8, 8))
    _, x = ComplexImages(images, frame=(12, 12), target_transform=transforms.Compose(THREE))[2]
    assert torch.allclose(x, FIX(ComplexImages(images, frame=(12, 12))[2][1]), atol=1e-5)


def test_on_keys_of_samples() -> None:
    x = crystals()
    y = MODEL(x)
    for pipeline in (v2.Compose([OnKeys(one, 1) for one in THREE]), transforms.Compose([OnKeys(FIX, 1)])):
        measured, target = pipeline((y, x))
        assert measured is y
        assert torch.allclose(target, FIX(x), atol=1e-5)
    measured, target = v2.Compose([OnKeys(FIX, 1), OnKeys(torch.sqrt, 0)])(y, x)  # the parts as arguments
    assert torch.equal(measured, y.sqrt())
    assert torch.equal(target, FIX(x))
    sample = {"y": y, "x": x, "support": (x != 0).float(), "name": "crystal"}
    out = v2.Compose([OnKeys(FIX, "x"), v2.Identity()])(sample)
    assert torch.equal(out["x"], FIX(x))
    assert out["y"] is y
    assert out["name"] == "crystal"
    # Without OnKeys nothing is done to the wrong part.
    for container in ((y, x), sample):
        with pytest.raises(TypeError, match="OnKeys"):
            v2.Compose(THREE)(container)


class MyImage(tv_tensors.Image):
    pass


KEEP = [
    RandomSymmetry(FarField(field="real").symmetries),
    FarField(field="real").canonicalizer(),
    CenterContent(),
    FixConjugateFlip(),
    FixSign(2),
]


@pytest.mark.parametrize("transform", KEEP, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("kind", [tv_tensors.Image, tv_tensors.Mask, MyImage])
def test_types_are_kept(transform: nn.Module, kind: Any) -> None:
    x = crystals().real
    torch.manual_seed(0)
    out = transform(kind(x))
    assert type(out) is kind
    torch.manual_seed(0)
    plain = transform(x)
    assert type(plain) is Tensor
    assert torch.equal(out.as_subclass(Tensor), plain)


@pytest.mark.parametrize("kind", [tv_tensors.Image, MyImage])
def test_types_of_complex_tensors_are_kept(kind: Any) -> None:
    x = kind(crystals(batch=4))
    channels = ToChannels()(x)
    assert type(channels) is kind
    assert type(FromChannels()(channels)) is kind
    assert torch.equal(FromChannels()(channels), x)
    resized = OnRealImag(v2.Resize(6))(x)
    assert type(resized) is kind
    # torchvision transforms images and leaves plain tensors beside them alone: had the type been lost, this object
    # would have been left too.
    cropped, plain = v2.CenterCrop(4)(resized, torch.zeros(1, 6, 6))
    assert cropped.shape == (4, 4, 4)
    assert plain.shape == (1, 6, 6)


#: Linear in the values: what torchvision makes of complex images, and of real ones.
LOSE = [
    v2.Resize(9),
    v2.RandomAffine(40, (0.2, 0.2), (0.7, 1.3), 10),
    v2.GaussianBlur(5, (0.3, 2.0)),
    v2.ElasticTransform(40.0, 2.0),
    v2.RandomPerspective(p=1.0),
    v2.Pad(3, padding_mode="reflect"),
    v2.RandomRotation(90),
    v2.RandomResizedCrop(10),
]
KEEP_BOTH = [v2.RandomCrop(9), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.CenterCrop(7)]
KORNIA = [
    K.RandomAffine(30.0, p=1.0),
    K.RandomPerspective(p=1.0),
    K.RandomElasticTransform(p=1.0),
    K.RandomGaussianBlur((5, 5), (0.3, 2.0), p=1.0),
    K.RandomRotation(90.0, p=0.5),
    K.RandomThinPlateSpline(p=1.0),
    K.RandomResizedCrop((9, 9), p=1.0),
    K.RandomHorizontalFlip(p=0.5),
]


def drawn(transform: Any, x: Tensor) -> Tensor:
    torch.manual_seed(1)
    return transform(x)


@pytest.mark.parametrize("transform", LOSE + KEEP_BOTH + KORNIA, ids=lambda one: type(one).__name__)
def test_on_real_imag_is_exact(transform: Any) -> None:
    """Real and imaginary part as the transform makes each by itself, with one draw for both: to the last bit."""
    x = torch.randn(3, 48, 48, dtype=torch.complex64)
    parts = [drawn(transform, part[:, None])[:, 0] for part in (x.real, x.imag)]
    want = torch.complex(*parts)
    assert torch.equal(drawn(OnRealImag(transform), x), want)
    assert want.imag.abs().max() > 0
    # Without it.
    if transform in LOSE:
        bare = drawn(transform, x[:, None])[:, 0]
        assert bare.is_complex()
        assert not bare.imag.any()  # silently
    elif transform in KORNIA:
        with pytest.raises(TypeError):
            transform(x[:, None])
