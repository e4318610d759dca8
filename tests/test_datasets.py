"""The data sets: items by (seed, index) alone, batches equal to items, wrappers that touch nothing but targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from torch_symbreak import (
    DistanceMatrix,
    FarField,
    FixSign,
    GaussianIntensity,
    LinearMixing,
    ScrambledDataset,
    SymmetryBrokenDataset,
    align,
)
from torch_symbreak._random import item_normal, item_seed, item_uniform
from torch_symbreak.datasets import (
    Atoms,
    BlurredShapes,
    BraggCrystals,
    ComplexImages,
    GaussianPairs,
    MixedSources,
    PointClouds,
    SquareRoots,
)
from torch_symbreak.symmetries import Product, Sign

MODEL = GaussianIntensity.draw(12, 3, generator=torch.Generator().manual_seed(0))
COMPLEX_MODEL = GaussianIntensity.draw(12, 3, field="complex", generator=torch.Generator().manual_seed(0))
IMAGES = (torch.rand(9, 6, 7, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)

MAKERS: dict[str, Any] = {
    "squares": lambda **o: SquareRoots(9, dim=3, **o),
    "gaussian": lambda **o: GaussianPairs(9, MODEL, **o),
    "complex gaussian": lambda **o: GaussianPairs(9, COMPLEX_MODEL, **o),
    "mixed sources": lambda **o: MixedSources(9, LinearMixing(4), samples=12, **o),
    "crystals": lambda **o: BraggCrystals(9, frame=(12, 15), **o),
    "polyhedra": lambda **o: BraggCrystals(9, frame=(8, 9, 10), **o),
    "images": lambda **o: ComplexImages(IMAGES, frame=(8, 9), **o),
    "blurred": lambda **o: BlurredShapes(9, kernel=(9, 11), frame=(15, 14), **o),
    "point clouds": lambda **o: PointClouds(9, DistanceMatrix(), torch.eye(4, 2)[None], **o),
    "atoms": lambda **o: Atoms(9, atoms=3, frame=(12, 14), **o),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_items_are_functions_of_seed_and_index(kind: str) -> None:
    make = MAKERS[kind]
    data = make(seed=3)
    assert len(data) == 9
    assert len(list(data)) == 9
    order = [4, 0, 8, 4, -1]
    batch = data.__getitems__(order)
    assert isinstance(batch, list)
    for i, (y, x) in zip(order, batch, strict=True):
        alone_y, alone_x = make(seed=3)[i]
        assert torch.equal(x, alone_x)
        assert torch.allclose(y, alone_y, rtol=1e-5, atol=1e-6)
    assert torch.equal(batch[0][1], batch[3][1])
    assert torch.equal(data[-1][1], data[8][1])
    assert len({tuple(x.flatten().tolist()) for _, x in data}) == 9
    assert not all(torch.equal(one[1], other[1]) for one, other in zip(make(seed=4), data, strict=True))
    for index in (9, -10):
        with pytest.raises(IndexError, match="9 items"):
            data[index]
    y, x = data[2]
    assert torch.allclose(data.forward_model(x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("workers", [0, 1])
def test_in_a_loader_with_transforms(kind: str, workers: int) -> None:
    fix = MAKERS[kind]().forward_model.canonicalizer()
    data = MAKERS[kind](transform=torch.square, target_transform=fix)
    raw = MAKERS[kind]()
    loaded = list(DataLoader(data, batch_size=4, num_workers=workers))
    y, x = (torch.cat(part) for part in zip(*loaded, strict=True))
    raw_y, raw_x = raw.batch(range(9))
    assert torch.allclose(y, raw_y.square(), rtol=1e-4, atol=1e-5)
    assert torch.allclose(x, fix(raw_x), atol=1e-6)


def test_counter_based_numbers() -> None:
    index = torch.arange(20_000)
    u = item_uniform(1, index, (3,))
    assert ((u >= 0) & (u < 1)).all()
    assert torch.equal(item_uniform(1, index[500:501], (3,))[0], u[500])
    assert len(u.unique()) == u.numel()
    for other in (item_uniform(2, index, (3,)), item_uniform(1, index, (3,), stream=1), u.roll(1, 0), u.roll(1, 1)):
        assert abs(float(torch.corrcoef(torch.stack([u.flatten(), other.flatten()]))[0, 1])) < 0.02
    counts = torch.histc(u, 50, 0, 1)
    chi2 = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert 20 < chi2 < 100
    z = item_normal(1, index, (3,))
    assert torch.isfinite(z).all()
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.std()) - 1) < 0.02
    assert abs(float((z**4).mean()) - 3) < 0.15
    assert len({item_seed(s, i) for s in range(10) for i in range(1000)}) > 9990
    assert torch.isfinite(item_normal(-(2**63), torch.tensor([2**62]), (5,))).all()


def test_gaussian_pairs_lie_on_the_sphere() -> None:
    for model in (MODEL, COMPLEX_MODEL):
        _, x = GaussianPairs(2000, model).batch(range(2000))
        assert torch.allclose(torch.linalg.vector_norm(x, dim=1), torch.ones(2000), atol=1e-5)
        assert x.mean(0).abs().max() < 0.05


def test_crystals_are_convex_and_inside() -> None:
    for frame in ((24, 30), (10, 12, 14)):
        data = BraggCrystals(30, frame=frame)
        _, x = data.batch(range(30))
        magnitude = x.abs()
        assert magnitude.max() <= 1 + 1e-6
        assert (magnitude.flatten(1).amax(1) > 0.99).all()
        inside = magnitude > 0.999  # whole entries
        # Convex: the midpoint of two entries inside is inside, where it is an entry.
        for item, whole in zip(magnitude, inside, strict=True):
            points = whole.nonzero()
            i, j = torch.randint(len(points), (2, 500), generator=torch.Generator().manual_seed(0))
            even = ((points[i] + points[j]) % 2 == 0).all(1)
            middle = (points[i] + points[j])[even] // 2
            assert (item[tuple(middle.T)] > 0.999).all()
        share = (magnitude > 0.5).double().flatten(1).mean(1)
        assert share.max() < 0.7
        assert share.min() > 0.01
    flat = BraggCrystals(5, frame=(16, 16), strain=0.0).batch(range(5))[1]
    assert flat.imag.abs().max() == 0


def test_atoms_are_apart_and_on_few_pixels() -> None:
    for frame, atoms in (((64,), 6), ((48, 40), 60), ((16, 18, 20), 12)):
        data = Atoms(4, atoms=atoms, frame=frame)
        y, x = data.batch(range(4))
        assert (x >= 0).all()
        assert torch.allclose(y, torch.fft.fftn(x, dim=tuple(range(1, x.dim()))).abs().square(), rtol=1e-3, atol=1e-2)
        power = x.flatten(1).square()
        assert data.support_size == 8 * atoms
        assert (power.topk(data.support_size).values.sum(1) > (1 - 1e-3) * power.sum(1)).all()
        # Separate atoms: as many local maxima as atoms.
        peaks = x > 1e-3
        for axis in range(1, x.dim()):
            for step in (-2, -1, 1, 2):
                peaks = peaks & (x >= x.roll(step, axis))
        assert (peaks.flatten(1).sum(1) >= atoms).all()
        assert data.mask.sum() == data.mask.numel() - 1
        assert not data.mask.flatten()[0]


def test_complex_images() -> None:
    data = ComplexImages(IMAGES, frame=(8, 9))
    for i, (_, x) in enumerate(data):
        lo = ((8 - 6) // 2, (9 - 7) // 2)
        inner = x[lo[0] : lo[0] + 6, lo[1] : lo[1] + 7]
        assert torch.allclose(inner.abs(), IMAGES[i] / 255, atol=1e-6)
        assert x.abs().sum() == pytest.approx(float(inner.abs().sum()), rel=1e-6)
        partner = torch.where(inner.abs() > 0, inner.angle() / math.pi + 0.5, 0)
        fits = [bool(((partner - image / 255).abs()[inner.abs() > 0] < 1e-3).all()) for image in IMAGES]
        assert sum(fits) == 1
        assert not fits[i]
    assert ComplexImages(IMAGES).frame == (6, 7)
    single = ComplexImages(IMAGES[:1])
    assert torch.isfinite(single[0][0]).all()


def test_complex_images_of_any_source() -> None:
    from PIL import Image
    from torchvision.datasets import FakeData
    from torchvision.transforms import v2

    expected = ComplexImages(IMAGES, seed=1).batch(range(9))[1]
    array = IMAGES.numpy()
    for images in (
        array,
        IMAGES[:, None],
        array[..., None].repeat(3, -1),
        [Image.fromarray(image) for image in array],
        [(image, 7) for image in IMAGES],
        IMAGES / 255,
        array.astype(np.float64) / 255,
    ):
        assert torch.allclose(ComplexImages(images, seed=1).batch(range(9))[1], expected, atol=1e-6)
    fake = FakeData(5, (3, 10, 12), transform=v2.PILToTensor())
    y, x = ComplexImages(fake, frame=(16, 16))[4]
    assert y.shape == (32, 32)
    assert x.shape == (16, 16)
    with pytest.raises(ValueError, match=r"image 0 of shape \(10, 12\).*frame \(8, 8\).*Resize"):
        ComplexImages(fake, frame=(8, 8))[0]
    bad = torch.rand(3, 4, 4)
    bad[1, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"image 1 .*1 NaN"):
        ComplexImages(bad).batch(range(3))
    with pytest.raises(TypeError, match="a dict"):
        ComplexImages([{"image": IMAGES[0]}])
    with pytest.raises(ValueError, match="empty data set"):
        ComplexImages([])
    palette = Image.fromarray(np.full((4, 5), 128, np.uint8)).convert("P")
    palette.putpalette([200] * 768)
    inks = Image.fromarray(np.full((4, 5), 128, np.uint8)).convert("CMYK")
    assert ComplexImages([palette])[0][1].abs().max() == pytest.approx(200 / 255)
    assert ComplexImages([inks])[0][1].abs().max() == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match=r"in \[0, 1\].*from 0 to 255"):
        ComplexImages([torch.tensor([[0.0, 255.0]])])
    for dtype in (np.int64, np.int32, np.int16, np.uint32):  # 0 to 255 there would be nearly black
        with pytest.raises(ValueError, match="largest value is not known"):
            ComplexImages(np.full((2, 4, 4), 255, dtype))
    assert ComplexImages(np.full((2, 4, 4), 65535, np.uint16))[0][1].abs().max() == pytest.approx(1)
    # Of different sizes: no phase where there is no magnitude, and none where there is no phase image.
    both = ComplexImages([torch.ones(4, 4), torch.zeros(2, 2)], frame=(6, 6))
    x = both[0][1]
    assert torch.allclose(x[2:4, 2:4].angle(), torch.tensor(-math.pi / 2))
    assert torch.allclose(x[1, 1:5].angle(), torch.tensor(0.0))


class Plain(Dataset):
    """A user's data set, without batched fetch."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def orbit_mates(count: int = 8) -> torch.Tensor:
    x = torch.zeros(count, 7, 8, dtype=torch.complex64)
    x[:, 1:5, 2:7] = torch.randn(count, 4, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    return x


def test_breaking_every_kind_of_sample() -> None:
    model, x = FarField(), orbit_mates()
    fix, y = model.canonicalizer(), model(orbit_mates())
    expected = fix(x)
    assert torch.equal(torch.stack(list(SymmetryBrokenDataset(x, fix))), expected)
    for data in (TensorDataset(y, x), Plain(list(zip(y, x, strict=True))), Subset(TensorDataset(y, x), range(8))):
        for i, (got_y, got_x) in enumerate(SymmetryBrokenDataset(data, fix)):
            assert torch.equal(got_y, y[i])
            assert torch.allclose(got_x, expected[i], atol=1e-6)
    measured = SymmetryBrokenDataset(x, fix, forward=model)
    assert torch.allclose(measured[3][0], y[3], rtol=1e-3, atol=1e-3)
    assert torch.equal(measured[3][1], expected[3])
    labeled = SymmetryBrokenDataset(Plain([(one, 5) for one in x]), fix, keys=0)
    assert labeled[2][1] == 5
    assert torch.allclose(labeled[2][0], expected[2], atol=1e-6)
    dicts = SymmetryBrokenDataset(Plain([{"x": one, "other": one, "id": i} for i, one in enumerate(x)]), fix, keys="x")
    assert dicts[4]["id"] == 4
    assert torch.equal(dicts[4]["other"], x[4])
    assert torch.allclose(dicts[4]["x"], expected[4], atol=1e-6)
    sizes = SymmetryBrokenDataset(Plain([x[0], x[1, :6]]), fix, forward=model)
    assert [tuple(one.shape) for _, one in sizes.__getitems__([0, 1])] == [(7, 8), (6, 8)]
    assert [tuple(one.shape) for one, _ in sizes.__getitems__([0, 1])] == [(14, 16), (12, 16)]
    assert len(DataLoader(measured, batch_size=3)) == 3


def test_scrambling_then_breaking_is_breaking() -> None:
    model, x = FarField(), orbit_mates()
    fix, pairs = model.canonicalizer(), TensorDataset(model(orbit_mates()), x)
    before = ScrambledDataset(pairs, model.symmetries, seed=5)
    batch = before.__getitems__(range(8))
    for i in range(8):
        assert torch.equal(before[i][1], batch[i][1])
        assert torch.equal(before[i][0], pairs[i][0])
    moved = torch.stack([one for _, one in batch])
    assert not torch.allclose(moved, x)
    assert not torch.equal(ScrambledDataset(pairs, model.symmetries, seed=6)[0][1], before[0][1])
    assert align(moved, x, model.symmetries).error.max() < 1e-9
    assert torch.allclose(model(moved), model(x), rtol=1e-3, atol=1e-3)
    after = SymmetryBrokenDataset(before, fix)
    assert torch.allclose(torch.stack([one for _, one in after]), fix(x), atol=1e-5)
    signs = torch.stack(list(ScrambledDataset(torch.ones(400, 3), Sign(1))))[:, 0]
    assert 150 < int((signs > 0).sum()) < 250
    group = Product(model.symmetries)
    assert ScrambledDataset(x, group).symmetry == group


def test_wrapped_data_errors() -> None:
    fix, x = FarField().canonicalizer(), orbit_mates()
    with pytest.raises(TypeError, match=r"a tuple of 3.*keys=0"):
        SymmetryBrokenDataset(Plain([(x[0], 1, 2)]), fix)[0]
    with pytest.raises(TypeError, match=r"a dict of 1.*keys='x'"):
        SymmetryBrokenDataset(Plain([{"x": x[0]}]), fix)[0]
    with pytest.raises(TypeError, match=r"a int.*keys=0"):
        SymmetryBrokenDataset(Plain([(x[0], 3)]), fix)[0]
    with pytest.raises(KeyError, match=r"no \['z'\].*\['x'\]"):
        SymmetryBrokenDataset(Plain([{"x": x[0]}]), fix, keys="z")[0]
    with pytest.raises(TypeError, match=r"numpy\.ndarray"):
        SymmetryBrokenDataset(Plain([x[0].numpy()]), fix)[0]
    with pytest.raises(ValueError, match=r"pass model.canonicalizer\(\)"):
        SymmetryBrokenDataset(x, FarField())[0]
    with pytest.raises(ValueError, match="forward="):
        SymmetryBrokenDataset(TensorDataset(x, x), fix, forward=FarField())[0]
    bad = x.clone()
    bad[6, 3, 3] = float("nan")
    with pytest.raises(ValueError, match=r"item 6 of the data set .*1 NaN"):
        list(SymmetryBrokenDataset(bad, fix))
    with pytest.raises(ValueError, match="item 6"):
        ScrambledDataset(bad, FarField().symmetries).__getitems__([0, 6])
    with pytest.raises(IndexError):
        SymmetryBrokenDataset(x, fix)[8]
    assert SymmetryBrokenDataset(x, fix).__getitems__([]) == []
    assert len(SymmetryBrokenDataset(x[:0], fix)) == 0


def test_data_set_arguments() -> None:
    with pytest.raises(ValueError, match="size >= 0"):
        SquareRoots(-1)
    with pytest.raises(ValueError, match="2 or 3 axes of at least 4"):
        BraggCrystals(3, frame=(3, 9))
    for model in (FarField(1), FarField(field="real"), MODEL):
        with pytest.raises(ValueError, match=r"needs FarField\(2\)"):
            ComplexImages(IMAGES, forward=model)
    with pytest.raises(TypeError, match="GaussianIntensity"):
        GaussianPairs(3, FarField(2))
    with pytest.raises(ValueError, match="dim >= 1"):
        SquareRoots(3, dim=0)
    with pytest.raises(ValueError, match="facets >= 1"):
        BraggCrystals(3, facets=0)
    with pytest.raises(TypeError, match="ints as size and seed"):
        SquareRoots(3, seed=1.5)
    for index in (2.5, slice(2), None, "a"):
        with pytest.raises(TypeError, match="one int as index"):
            SquareRoots(3)[index]
    assert torch.equal(SquareRoots(np.int64(3), seed=np.int64(7))[np.int64(1)][1], SquareRoots(3, seed=7)[1][1])
    with pytest.raises(TypeError, match="map-style"):
        SymmetryBrokenDataset(torch.utils.data.ChainDataset([]), FixSign(1))
    with pytest.raises(TypeError, match="map-style"):
        ScrambledDataset(None, Sign(1))
    with pytest.raises(ValueError, match="at least one key"):
        ScrambledDataset([torch.ones(3)], Sign(1), keys=())
    assert ScrambledDataset(torch.rand(3, 4), Sign(1))[torch.tensor(1)].shape == (4,)
    with pytest.raises(ValueError, match="frame of 3 axes"):
        BraggCrystals(3, frame=(8, 8, 8), forward=FarField(2))
    assert SquareRoots(0).__getitems__([]) == []
    y, x = SquareRoots(5, target_transform=FixSign(0))[1]
    assert torch.equal(x * x, y)
