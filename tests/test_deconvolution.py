"""Blind deconvolution: the model against direct sums, targets of two parts, the data set and the experiment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve

from torch_symbreak import AlignToTemplate, BlindConvolution, ScrambledDataset, SymmetryBrokenDataset, align
from torch_symbreak._content import content_box
from torch_symbreak.datasets import BlurredShapes
from torch_symbreak.testing import check_canonicalizer, deviation


@given(
    st.sampled_from([((2, 3), (5, 4)), ((4, 4), (4, 4)), ((1, 2, 2), (3, 2, 4))]),
    st.sampled_from(COMPLEX + REAL + (torch.float16,)),
    st.sampled_from([(), (3,), (2, 2)]),
    st.integers(0, 2**31 - 1),
)
def test_the_model_against_direct_sums(
    sizes: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype, batch: tuple[int, ...], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*batch, *size, dtype=dtype, generator=generator) for size in sizes]
    model = BlindConvolution(*sizes)
    z = model.join(*parts)
    assert z.dtype == dtype
    y = model(z)
    assert y.shape == (*batch, *model.measured_shape)
    single = torch.promote_types(dtype, torch.float32)
    assert y.dtype == single
    flat = [part.to(single).reshape(-1, *size).numpy() for part, size in zip(parts, sizes, strict=True)]
    wanted = torch.from_numpy(np.stack([convolve(k, x, method="direct") for k, x in zip(*flat, strict=True)]))
    tolerance = 5e-3 if dtype == torch.float16 else 1e-5
    assert float(deviation(y.reshape(wanted.shape), wanted, len(sizes[0])).max()) < tolerance
    # Equal norms, zeros behind the kernel, and nothing else to fix.
    norms = [part.flatten(len(batch)).norm(dim=-1) for part in model.split(z.to(single))]
    torch.testing.assert_close(*norms, rtol=tolerance, atol=0)
    behind = z.select(-len(sizes[0]) - 1, 0).clone()
    behind[(..., *(slice(n) for n in sizes[0]))] = 0
    assert not behind.any()
    torch.testing.assert_close(model.join(*model.split(z)), z, rtol=tolerance, atol=tolerance)


@given(st.sampled_from([1e-30, 1e-3, 1e30]), st.sampled_from([-1.0, 1.0]), st.booleans())
def test_join_fixes_the_scale(scale: float, sign: float, double: bool) -> None:
    model, dtype = BlindConvolution((2, 3), (4, 4)), torch.float64 if double else torch.float32
    kernel, image = torch.rand(5, 2, 3, dtype=dtype) + 0.1, torch.randn(5, 4, 4, dtype=dtype)
    z = model.join(kernel, image)
    fix = model.canonicalizer()
    torch.testing.assert_close(fix(model.join(sign * scale * kernel, image / sign / scale)), fix(z))


def test_a_zero_part_stays_zero() -> None:
    model = BlindConvolution((2, 2), (3, 3))
    kernel, image = torch.rand(3, 2, 2), torch.rand(3, 3, 3)
    kernel[0], image[1], kernel[2], image[2] = 0, 0, 0, 0
    kernel.requires_grad_()
    z = model.join(kernel, image)
    assert torch.equal(model.split(z).kernel, kernel)
    assert torch.equal(model.split(z).image, image)
    assert not model(z).any()
    assert model.canonicalizer().margin(z).tolist() == [0, 0, 0]
    z.sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.isfinite().all()
    one = model.join(torch.full((2, 2), torch.nan), image[0])
    assert one.isnan().any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BlindConvolution((3,), (8,)), "every root of y may belong to either"),
        (lambda: BlindConvolution((3, 3), (8,)), "event_dims >= 2"),
        (lambda: BlindConvolution((3,), (8, 8)), "2 positive ints"),
        (lambda: BlindConvolution((9, 3), (8, 8)), r"frame of ints that the kernel \(9, 3\) fits in"),
        (lambda: BlindConvolution((3, 3), (8, 8.5)), "frame of ints"),  # type: ignore[arg-type]
        (lambda: BlindConvolution((3, 3), (4, 4))(torch.ones(2, 5, 4)), r"frame of \(4, 4\) and needs .*2, 4, 4"),
        (lambda: BlindConvolution((3, 3), (4, 4))(torch.ones(3, 4, 4)), "two factors per item"),
        (lambda: BlindConvolution((3, 3), (4, 4)).split(torch.ones(4, 4)), "at least 3 dimensions"),
        (lambda: BlindConvolution((3, 3), (4, 4)).join(torch.ones(3, 4), torch.ones(4, 4)), r"kernel of shape .*3, 3"),
        (lambda: BlindConvolution((3, 3), (4, 4)).join(torch.ones(3, 3), torch.ones(4)), r"image of shape .*4, 4"),
        (lambda: BlindConvolution((3, 3), (4, 4)).join(torch.ones(3, 3), torch.ones(1, 4, 4)), "one image per kernel"),
        (lambda: BlurredShapes(3, kernel=(10, 9)), "2 odd sizes of at least 9"),
        (lambda: BlurredShapes(3, kernel=(9,)), "2 odd sizes of at least 9"),
        (lambda: BlurredShapes(3, frame=(16, 11)), "2 sizes of at least 12"),
    ],
)
def test_sizes_that_disagree(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_data_set_is_scrambled_by_its_symmetry() -> None:
    data = BlurredShapes(300, seed=5)
    y, z = data.batch(range(300))
    model, group = data.forward_model, data.forward_model.symmetries[0]
    check_canonicalizer(model.canonicalizer(), z[:40], model)
    check_canonicalizer(AlignToTemplate(z[7], group), z[:40], model)
    kernel, image = model.split(z)
    torch.testing.assert_close(kernel.flatten(1).norm(dim=1), image.flatten(1).norm(dim=1))
    assert 100 < int((kernel.sum((-2, -1)) > 0).sum()) < 200  # as many of either sign
    # Nothing else is open: y does not fit the image's frame, nor the image the kernel's.
    lengths = content_box(y, 2, 0, 1e-4, False).length
    assert (lengths > 16).any(-1).all()
    assert (group.boxes(z)[1].length > 9).all()
    # Each item can move, and they lie at many places.
    low, high = group._range(*group.boxes(z), data.forward_model.frame)
    assert int((high - low).amin()) >= 1
    boxes = group.boxes(z)[0]
    assert len(boxes.lo.unique(dim=0)) > 20
    # Behind the motion all kernels are about a pixel of their frame, so that centered boxes have the frame's center.
    ends = 2 * group.boxes(model.canonicalizer()(z))[0].lo + boxes.length - 1
    assert (ends == 8).double().mean() > 0.95
    assert torch.equal(y, y.clamp(min=-1e-4))  # the two signs cancel


def test_wrappers_take_targets_of_two_parts() -> None:
    data = BlurredShapes(6)
    _, z = data.batch(range(6))
    model = data.forward_model
    fix = model.fit_canonicalizer(z, progress=False)
    scrambled = ScrambledDataset(z, model.symmetries, seed=3)
    broken = SymmetryBrokenDataset(scrambled, fix)
    for i in range(6):
        torch.testing.assert_close(broken[i], fix(z[i]), rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(scrambled[i], z[i]) for i in range(6))
    found = align(torch.stack(list(scrambled)), z, model.symmetries)
    torch.testing.assert_close(found.aligned, z)
