"""Scrambling, keys and channels, with torchvision and kornia as they are installed."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from torch_symbreak import FixSign, FromChannels, OnKeys, OnRealImag, ToChannels


def test_on_keys_keeps_the_type_and_the_rest() -> None:
    fix = FixSign(1)
    y, x = torch.tensor([-1.0]), torch.tensor([-2.0])
    Pair = namedtuple("Pair", "y x")
    for sample in ((y, x), [y, x], Pair(y, x)):
        for key in (1, -1, [1]):
            out = OnKeys(fix, key)(sample)
            assert type(out) is type(sample)
            assert out[0] is y
            assert torch.equal(out[1], -x)
            assert sample[1] is x
    sample = {"x": x, "support": y, "name": "crystal"}
    out = OnKeys(fix, ("x", "support"))(sample)
    assert torch.equal(out["x"], -x)
    assert torch.equal(out["support"], -y)
    assert out["name"] == "crystal"
    assert sample["x"] is x


@pytest.mark.parametrize("shape", [(5,), (2, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_channels_are_exact(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(*shape, dtype=dtype)
    d = min(2, len(shape))
    channels = ToChannels(d)(x)
    assert channels.shape == (*shape[:-d], 2, *shape[-d:])
    assert torch.equal(FromChannels(d)(channels), x)
    assert torch.equal(FromChannels(d)(ToChannels(d)(x.conj())), x.conj())


def test_real_transforms_on_complex_images() -> None:
    """Linear transforms act on both parts alike; torchvision alone would drop the imaginary one."""
    import kornia.augmentation as K
    from torchvision.transforms import v2

    x = torch.randn(3, 16, 16, dtype=torch.complex64)
    for transform in (v2.Resize(8), v2.CenterCrop(6), v2.Pad(3), v2.GaussianBlur(3, (1.0, 1.0))):
        got = OnRealImag(transform)(x)
        parts = [transform(part[:, None])[:, 0] for part in (x.real, x.imag)]
        assert torch.allclose(got, torch.complex(*parts), atol=1e-6)
    # One random draw moves both parts: a rotation of a real multiple of (1 + 2i) keeps the ratio.
    ratio = x.real * (1 + 2j)
    for transform in (v2.RandomRotation(90), v2.RandomCrop(9), K.RandomAffine(30.0, p=1.0)):
        got = OnRealImag(transform)(ratio)
        assert got.imag.abs().max() > 0
        assert torch.allclose(got.imag, 2 * got.real, atol=1e-5)
