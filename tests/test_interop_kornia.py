"""Symmetry breaking as a kornia augmentation, with the real package."""

from __future__ import annotations

import pickle
from typing import Any

import kornia.augmentation as K
import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from torch import Tensor

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, FixSign, ToChannels
from torch_symbreak.interop.kornia import BreakSymmetry

KEYS = ["input", "mask", "keypoints"]


def canonicalizers(wrap: bool = False) -> list[Any]:
    model = FarField(oversampling=1.0 if wrap else 2.0)
    boxes = [build(channel_dims=1, wrap=wrap) for build in (CenterContent, FixConjugateFlip)]
    return [*boxes, FixGlobalPhase(channel_dims=1), model.canonicalizer(channel_dims=1)]


EVERY = [pytest.param(fix, id=type(fix).__name__) for fix in canonicalizers()]
JOINT = canonicalizers()[-1]


def flat(x: Tensor) -> Tensor:
    """(B, C, H, W), complex, as kornia takes it."""
    return ToChannels()(x).flatten(1, 2)


def annotated(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, C, H, W) as kornia takes them, their support as masks, and every pixel as a keypoint (x, y)."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in x.shape[-2:]), indexing="ij")
    points = torch.stack([columns, rows], -1).reshape(1, -1, 2).repeat(len(x), 1, 1)
    return flat(x), (x != 0).any(1, keepdim=True), points


def at(image: Tensor, points: Tensor) -> Tensor:
    """The entries (B, C, N) of images at keypoints that lie on pixels."""
    assert torch.equal(points, points.round())
    index = points[..., 1].long() * image.shape[-1] + points[..., 0].long()
    return image.flatten(-2).gather(-1, index[:, None].expand(-1, image.shape[1], -1))


def crystals(batch: int = 5, channels: int = 2) -> Tensor:
    x = torch.zeros(batch, channels, 9, 8, dtype=torch.complex64)
    x[:, :, 1:6, 3:7] = torch.randn(batch, channels, 5, 4, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    return x


@given(case=cases(dtypes=(torch.complex64, torch.complex128), dims=(2,), channel_dims=1))
def test_everything_follows_the_element(case: Drawn) -> None:
    x = case.make()
    x = x.reshape(-1, *x.shape[-3:])
    images, masks, points = annotated(x)
    for fix in canonicalizers(case.wrap):
        augment = K.AugmentationSequential(BreakSymmetry(fix), data_keys=KEYS)
        image, mask, moved = augment(images, masks, points)
        assert torch.equal(image, flat(fix(x)))
        assert mask.dtype == torch.bool
        assert torch.equal(mask, (fix(x) != 0).any(1, keepdim=True))
        inside = ((moved >= 0) & (moved < moved.new_tensor(case.frame[::-1]))).all(-1)
        if case.wrap:
            assert inside.all()  # of a torus; from a padded frame a point without content may move out
        assert inside[at(masks, points)[:, 0]].all()
        there = at(fix(x).abs(), torch.where(inside[..., None], moved, 0))
        assert torch.allclose(
            torch.where(inside[:, None], there, 0), torch.where(inside[:, None], at(x.abs(), points), 0)
        )
        for got, want in zip(augment.inverse(image, mask, moved), (images, masks, points), strict=True):
            assert torch.allclose(got.to(want), want, atol=1e-5)


@pytest.mark.parametrize("fix", EVERY)
def test_replay_on_other_images(fix: Any) -> None:
    x, other = crystals(), crystals().roll(1, 0)
    augment = BreakSymmetry(fix)
    augment(flat(x))
    params = pickle.loads(pickle.dumps(augment._params))
    augment(flat(other))  # a newer draw, which the parameters outlive
    assert torch.equal(augment(flat(other), params=params), flat(fix.symmetry.act(fix.element(x), other)))
    assert torch.allclose(augment.inverse(flat(fix(x)), params=params), flat(x), atol=1e-5)
    # In a container: the mask alone, after the images, follows the parameters too.
    container = K.AugmentationSequential(BreakSymmetry(fix), data_keys=KEYS)
    images, masks, points = annotated(x)
    _, mask, moved = container(images, masks, points)
    params = container._params
    container(*annotated(other))
    again = container(masks, points, params=params, data_keys=KEYS[1:])
    assert torch.equal(again[0], mask)
    assert torch.equal(again[1], moved)


@pytest.mark.parametrize("fix", EVERY)
def test_probability_per_image(fix: Any) -> None:
    x = crystals(batch=20)
    torch.manual_seed(0)
    augment = K.AugmentationSequential(BreakSymmetry(fix, p=0.5), data_keys=KEYS)
    images, masks, points = annotated(x)
    image, mask, moved = augment(images, masks, points)
    applied = augment._params[0].data["batch_prob"] > 0.5
    assert 4 < int(applied.sum()) < 16
    everything = K.AugmentationSequential(BreakSymmetry(fix), data_keys=KEYS)(images, masks, points)
    for got, changed, kept in zip((image, mask, moved), everything, (images, masks, points), strict=True):
        where = applied.reshape(-1, *[1] * (kept.dim() - 1))
        assert torch.equal(got, torch.where(where, changed, kept))
    for got, want in zip(augment.inverse(image, mask, moved), (images, masks, points), strict=True):
        assert torch.allclose(got.to(want), want, atol=1e-5)


def test_beside_other_augmentations() -> None:
    x = crystals()
    images, masks, points = annotated(x)
    augment = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=1.0), BreakSymmetry(JOINT), K.RandomVerticalFlip(p=1.0), data_keys=KEYS
    )
    image, mask, moved = augment(images, masks, points)
    assert torch.equal(image, flat(JOINT(x.flip(-1)).flip(-2)))
    for got, want in zip(augment.inverse(image, mask, moved), (images, masks, points), strict=True):
        assert torch.allclose(got.to(want), want, atol=1e-5)


def test_boxes_cover_the_content() -> None:
    x = crystals()
    box = torch.tensor([3.0, 1.0, 6.0, 5.0]).repeat(len(x), 1, 1)  # x and y of the first, then of the last entry
    augment = K.AugmentationSequential(BreakSymmetry(JOINT), data_keys=["input", "bbox_xyxy"])
    _, moved = augment(flat(x), box)
    assert torch.equal(moved, torch.tensor([2.0, 2.0, 5.0, 6.0]).expand_as(box))


def test_forms_of_input() -> None:
    x = crystals(batch=3)
    images, fixed = flat(x), flat(JOINT(x))
    augment = BreakSymmetry(JOINT)
    assert torch.equal(augment(images[1]), fixed[1:2])
    assert torch.equal(BreakSymmetry(JOINT, keepdim=True)(images[1]), fixed[1])
    assert augment(images.half()).dtype == torch.float16
    assert torch.allclose(augment(images.half()).float(), fixed, atol=1e-2)
    masks = (x != 0).any(1)
    _, mask = K.AugmentationSequential(augment, data_keys=["input", "mask"], keepdim=True)(images, masks)
    assert torch.equal(mask, (JOINT(x) != 0).any(1))
    assert augment(images[:0]).shape == images[:0].shape


def test_the_phase_is_differentiated() -> None:
    z = crystals().requires_grad_()
    slopes = [
        torch.autograd.grad(y[:, 0].square().sum(), z)[0] for y in (BreakSymmetry(JOINT)(flat(z)), flat(JOINT(z)))
    ]
    assert slopes[0].abs().max() > 0
    assert torch.allclose(*slopes, atol=1e-6)


def test_errors_say_what_to_type() -> None:
    with pytest.raises(ValueError, match="channel_dims=1 to it"):
        BreakSymmetry(FarField().canonicalizer())
    with pytest.raises(TypeError, match=r"FarField\(\)\.canonicalizer\(channel_dims=1\)"):
        BreakSymmetry(FarField())
    with pytest.raises(ValueError, match=r"ToChannels\(2\)\(x\)\.flatten\(1, 2\)"):
        BreakSymmetry(JOINT)(torch.ones(2, 3, 8, 8))
    with pytest.raises(ValueError, match="same_on_batch"):
        K.AugmentationSequential(BreakSymmetry(JOINT), same_on_batch=True)(flat(crystals()))
    with pytest.raises(ValueError, match="complex images, but got FixSign"):
        BreakSymmetry(FixSign(2, channel_dims=1))
