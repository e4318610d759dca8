"""The far-field experiment: its data, the targets of each breaking, and its augmentation."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

pytest.importorskip("lightning")
from experiments import CPU

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, RandomSymmetry, sa_mse
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.datasets import BraggCrystals, ComplexImages
from torch_symbreak.experiments import FarFieldPhaseRetrieval, Grid
from torch_symbreak.experiments.farfield import BREAK, DATA, digit_images, photograph_patches, rotated, turned
from torch_symbreak.experiments.grid import BREAKINGS
from torch_symbreak.training import Training

MODEL = FarField(2, centered=True)


def _data_set(name, frame, count, seed, train):
    size = 2 * min(frame) // 3
    if name == "crystals":
        return BraggCrystals(count, frame=frame, forward=MODEL, seed=seed)
    if name == "photographs":
        images = photograph_patches("flower.jpg" if train else "china.jpg", count, seed, size)
    else:
        images = digit_images(count, seed, train=train, size=size)
    return ComplexImages(images, frame=frame, forward=MODEL, seed=seed)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("count", [1, 20, 130])
@pytest.mark.parametrize("name", DATA)
def test_objects_are_those_of_the_data_sets_and_are_not_measured(name, count, train, monkeypatch):
    frame = (32, 24)
    _, x = _data_set(name, frame, count, 3, train).batch(range(count))

    def measured(self, x):
        raise AssertionError("the measurement would be thrown away")

    monkeypatch.setattr(FarField, "forward", measured)
    assert torch.equal(DATA[name](frame, count, 3, train), x)


def test_breakings_share_their_measurements_and_orbits():
    experiment = FarFieldPhaseRetrieval(frame=(16, 16))
    _, scrambled = experiment.pairs("crystals", 20, 0, train=True)
    splits = {breaking: experiment.split("crystals", breaking, 20, 0) for breaking in (*BREAKINGS, *BREAK)}
    found = {breaking: split.train for breaking, split in splits.items()}
    y = found["none"][0]
    exact = found["exact"][1]
    for breaking, (same, x) in found.items():
        assert torch.equal(y, same)
        assert (breaking in ("none", "orbit-loss")) == torch.equal(x, scrambled)
        assert sa_mse(x, scrambled, MODEL.symmetries) < (1e-6 if breaking == "literal" else 1e-10)
    assert torch.allclose(exact, MODEL.canonicalizer()(scrambled))
    # The other two symmetries of an "...-only" breaking are broken, so they must agree with the exact targets.
    translated, turned_phase, flipped = (found[f"{one}-only"][1] for one in ("translation", "phase", "flip"))
    assert torch.allclose(CenterContent()(translated), exact)
    assert not torch.allclose(translated, exact, atol=1e-2)
    assert torch.allclose(turned_phase.abs(), exact.abs(), atol=1e-6)
    assert not torch.allclose(turned_phase, exact, atol=1e-2)
    kept = (flipped - exact).abs().flatten(1).amax(1) < 1e-6
    assert kept.any()
    assert not kept.all()


@pytest.mark.slow
def test_orbit_loss_is_a_loss_of_its_own(tmp_path):
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), width=4, test_samples=16)
    grid = Grid(data=("crystals",), networks=("unet",), breaking=("none", "orbit-loss"), samples=(100,))
    training = Training(max_epochs=15, batch_size=16)
    rows = {
        row["breaking"]: row for row in experiment.run(grid, tmp_path, training=training, hardware=CPU) if row["epochs"]
    }
    assert rows["orbit-loss"]["train_sa_mse"] < 0.9 * rows["none"]["train_sa_mse"]


@given(
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    square=st.booleans(),
    oversampling=st.sampled_from([1.0, 1.5, 2.0, 2.3]),
    seed=st.integers(0, 2**31),
)
@pytest.mark.filterwarnings("ignore:FarField measures")
def test_turned_pairs_are_pairs(size, square, oversampling, seed):
    torch.manual_seed(seed)
    frame = (size[0], size[0]) if square else size
    model = FarField(2, oversampling=oversampling, centered=True)
    x = torch.randn(8, *frame, dtype=torch.complex128)
    y, moved = turned(model(x), x)
    assert torch.allclose(model(moved), y)
    kinds = {bytes(one.numpy()) for one in turned(model(x[:1]).expand(64, -1, -1), x[:1].expand(64, -1, -1))[1]}
    assert len(kinds) == (8 if frame[0] == frame[1] else 4)


@given(size=st.integers(2, 4), oversampling=st.sampled_from([1.5, 2.0]), seed=st.integers(0, 2**31))
@pytest.mark.filterwarnings("ignore:FarField measures")
def test_turned_volumes_are_pairs(size, oversampling, seed):
    torch.manual_seed(seed)
    for frame, count in (((size, size, size), 48), ((size, size, size + 1), 16), ((size, size + 1, size + 2), 8)):
        model = FarField(3, oversampling=oversampling, centered=True)
        x = torch.randn(frame, dtype=torch.complex128).expand(800, *frame)
        y, moved = turned(model(x[:1]).expand(800, *[-1] * 3), x)
        kinds = {bytes(one.numpy()): n for n, one in enumerate(moved)}
        assert len(kinds) == count
        for n in kinds.values():
            assert torch.allclose(model(moved[n]), y[n])


@pytest.mark.parametrize("breaking", ["none", "exact", "template", "flip-only"])
def test_volumes(breaking, tmp_path):
    experiment = FarFieldPhaseRetrieval(frame=(8, 8, 8), width=2, test_samples=8)
    grid = Grid(data=("crystals",), networks=("unet", "knn"), breaking=(breaking,), samples=(20,))
    rows = experiment.run(grid, tmp_path, training=Training(max_epochs=1), hardware=CPU)
    assert [row["network"] for row in rows] == ["constant", "unet", "knn"]
    assert all(path.exists() for path in experiment.write(tmp_path))
    symmetries = FarField(3).symmetries
    (y, x), *_ = experiment.split("crystals", breaking, 20, 0)
    objects = BraggCrystals(20, frame=(8, 8, 8)).objects(torch.arange(20))
    assert torch.allclose(FarField(3, centered=True)(x), y, rtol=1e-4, atol=1e-3)
    assert sa_mse(x, objects, symmetries) < 1e-10


@given(size=st.integers(3, 9), quarters=st.lists(st.integers(0, 3), min_size=1, max_size=5), seed=st.integers(0, 2**31))
def test_a_quarter_of_a_rotation_interpolates_nothing(size, quarters, seed):
    x = torch.randn(len(quarters), size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", lambda *size: torch.tensor(quarters).view(size) / 4)
        moved = rotated(x)
    for one, new, k in zip(x, moved, quarters, strict=True):
        assert torch.allclose(new, one.rot90(k), atol=1e-5)


@given(size=st.tuples(st.integers(32, 40), st.integers(32, 40)), seed=st.integers(0, 2**31))
def test_rotation_keeps_lengths_and_shows_every_angle(size, seed):
    torch.manual_seed(seed)
    rows, columns = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size)
    x = torch.exp(-((rows[:, None] / 6) ** 2) - (columns / 4) ** 2 + 1j)  # longer along the first axis
    moved = rotated(x.expand(64, *size))
    along = (moved.abs() * rows[:, None] ** 2).sum((1, 2)) / moved.abs().sum((1, 2))
    across = (moved.abs() * columns**2).sum((1, 2)) / moved.abs().sum((1, 2))
    assert torch.allclose(along + across, torch.tensor(18.0 + 8.0, dtype=torch.float64), rtol=0.02)
    assert along.min() < 9
    assert along.max() > 17
    assert torch.allclose(moved.abs().sum((1, 2)), x.abs().sum(), rtol=1e-3)


def test_autocast_does_not_round_rotations():
    x = torch.randn(4, 32, 32, dtype=torch.complex64)
    torch.manual_seed(0)
    want = rotated(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotated(x), want)


def test_a_share_of_the_pairs_is_rotated_and_measured_again():
    y, x = FarFieldPhaseRetrieval(frame=(16, 16)).pairs("crystals", 400, 0, train=True)
    noisy = y + 1
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), augmented=False, rotated=0.75)
    torch.manual_seed(0)
    new_y, new_x = experiment.augment("crystals", "none", nn.Identity())(noisy, x)
    kept = (new_x == x).all((1, 2))
    assert torch.equal(new_y[kept], noisy[kept])  # these keep their own measurements, noise included
    assert torch.allclose(new_y[~kept], MODEL(new_x[~kept]), rtol=1e-4, atol=1e-3)
    assert 0.68 < (~kept).float().mean() < 0.82


@pytest.mark.parametrize("breaking", ["none", "orbit-loss", "literal", "translation-only"])
def test_rotated_objects_are_scrambled_again(breaking):
    experiment = FarFieldPhaseRetrieval(frame=(24, 24), rotated=1.0)
    y, x = experiment.split("crystals", "exact", 100, 0).train
    rows = torch.arange(24.0)[:, None] - 11.5
    torch.manual_seed(0)
    _, new = experiment.augment("crystals", breaking, experiment.breaker("crystals", breaking, x))(y, x)
    place = ((new.abs() * rows).sum((1, 2)) / new.abs().sum((1, 2))).std()
    exact = ((x.abs() * rows).sum((1, 2)) / x.abs().sum((1, 2))).std()
    assert (place > 3 * exact) == (breaking != "literal")  # the literal reading centers its targets


def test_objects_are_centered_before_they_are_rotated():
    x = torch.zeros(40, 16, 16, dtype=torch.complex64)
    x[:, :4, -4:] = 1  # a rotation about the middle of the frame would cut this corner off
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), rotated=1.0)
    _, new = experiment.augment("crystals", "none", nn.Identity())(MODEL(x), x)
    assert (new.abs().sum((1, 2)) > 14).all()


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match=r"rotated needs to be a share in \[0, 1\]"):
        FarFieldPhaseRetrieval(rotated=share)


@pytest.mark.parametrize("rotating", [0.0, 0.75])
@pytest.mark.parametrize("breaking", [*BREAKINGS, *BREAK])
def test_augmented_targets_are_broken_again(breaking, rotating):
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), rotated=rotating)
    split = experiment.split("crystals", breaking, 20, 0)
    y, x = split.train
    torch.manual_seed(0)
    _, new = experiment.augment("crystals", breaking, split.fix)(y, x)
    if breaking in ("exact", "template", "template-orbit"):
        moved = RandomSymmetry(MODEL.symmetries)(new)
        agree = (split.fix(moved) - new).abs().flatten(1).amax(1) < 1e-4
        assert agree.float().mean() > 0.9  # the rest are ties
    if breaking == "literal" and not rotating:  # not idempotent, so compare with one application
        torch.manual_seed(0)
        assert torch.equal(new, LiteralAlgorithm2()(turned(y, x)[1]))
    if breaking.endswith("-only"):  # one symmetry stays unbroken, the others must not come back
        left = {"translation-only": 0, "flip-only": 1, "phase-only": 2}[breaking]
        fixes = [CenterContent(), FixConjugateFlip(), FixGlobalPhase()]
        for number, fix in enumerate(fixes):
            same = (fix(new) - new).abs().flatten(1).amax(1) < 1e-4
            assert same.float().mean() < 0.9 if number == left else same.float().mean() > 0.9
    assert not torch.allclose(new, x, atol=1e-2)


def test_train_and_test_come_from_different_photographs():
    every = {name: {bytes(p.numpy()) for p in _all_patches(name)} for name in ("flower.jpg", "china.jpg")}
    for own, other in (("flower.jpg", "china.jpg"), ("china.jpg", "flower.jpg")):
        drawn = {bytes(image.contiguous().numpy()) for image in photograph_patches(own, 40, seed=0)}
        assert drawn <= every[own]
        assert not drawn & every[other]


def _all_patches(name):
    from sklearn.datasets import load_sample_image

    gray = torch.from_numpy(load_sample_image(name).copy()).float().div(255).mean(-1)
    gray = torch.nn.functional.avg_pool2d(gray[None], 2)[0]
    return [
        gray[i : i + 16, j : j + 16].contiguous() for i in range(gray.shape[0] - 15) for j in range(gray.shape[1] - 15)
    ]


def test_train_and_test_digits_are_disjoint():
    train, test = ({bytes(d.numpy()) for d in digit_images(2000, 5, train=part)} for part in (True, False))
    assert not train & test
