"""``suggest_threshold``: the threshold with which noisy targets are broken as the clean ones are."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import CenterContent, FarField, RandomSymmetry, suggest_threshold
from torch_symbreak.datasets import BraggCrystals

pytest.importorskip("skimage")

DTYPES = [torch.complex64, torch.complex128, torch.float32, torch.float64]


def scrambled(dtype: torch.dtype, seed: int, size: int = 24) -> Tensor:
    """Return crystals anywhere in their frame; real ones have the magnitude and a sign."""
    x = BraggCrystals(60, frame=(size, size), seed=seed).objects(torch.arange(60))
    x = x.to(dtype) if dtype.is_complex else x.abs().to(dtype)
    model = FarField(2, field="complex" if dtype.is_complex else "real")
    return RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(seed))(x)


def distance(x: Tensor, reference: Tensor) -> float:
    norm = torch.linalg.vector_norm
    return float((norm((x - reference).flatten(1), dim=1) / norm(reference.flatten(1), dim=1)).mean())


@settings(deadline=None, max_examples=6)
@given(
    dtype=st.sampled_from(DTYPES),
    noise=st.sampled_from([0.01, 0.05]),
    hot=st.sampled_from([0.0, 3.0]),
    seed=st.integers(0, 99),
)
def test_noisy_targets_are_moved_as_clean_ones(dtype: torch.dtype, noise: float, hot: float, seed: int) -> None:
    """A share of flips changes by the noise itself, so the bound is no smaller."""
    clean = scrambled(dtype, seed)
    noisy = clean + noise * torch.randn(clean.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    noisy[7, 2, 3] += hot  # of one item the place is then lost
    threshold = suggest_threshold(noisy)
    fix = FarField(2, field="complex" if dtype.is_complex else "real").canonicalizer(threshold=threshold)
    moved = fix.symmetry.act(fix.element(noisy), clean)
    assert distance(moved, fix(clean)) < 0.1
    lost = FarField(2, field=fix.field).canonicalizer()
    assert distance(lost.symmetry.act(lost.element(noisy), clean), lost(clean)) > 0.5  # what the default does


@pytest.mark.parametrize("dtype", DTYPES)
def test_clean_targets_keep_the_default(dtype: torch.dtype) -> None:
    assert suggest_threshold(scrambled(dtype, 0)) == 1e-4


def test_targets_without_a_background_keep_the_default() -> None:
    """They fill their frames: noise, and smooth objects that are dark at the edges."""
    generator = torch.Generator().manual_seed(0)
    assert suggest_threshold(torch.randn(50, 16, 16, generator=generator)) == 1e-4
    assert suggest_threshold(torch.rand(50, 16, 16, generator=generator)) == 1e-4
    n = torch.arange(32.0) - 15.5
    assert suggest_threshold(torch.exp(-(n[:, None] ** 2 + n**2) / 72)[None]) == 1e-4
    assert suggest_threshold(torch.ones(3, 4, 4)) == suggest_threshold(torch.zeros(3, 4, 4)) == 1e-4
    assert suggest_threshold(torch.ones(0, 4, 4)) == 1e-4
    assert suggest_threshold(torch.arange(1, 33.0).reshape(1, 4, 8)) == 1e-4  # two classes by chance


def test_signals_volumes_and_channels() -> None:
    clean = torch.zeros(40, 2, 12, 12, 12)
    clean[:, 0, 3:7, 5:9, 2:8] = 1
    noisy = clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    box = CenterContent(3, channel_dims=1, threshold=suggest_threshold(noisy, 3, channel_dims=1)).symmetry.box(noisy)
    assert box.lo.unique(dim=0).tolist() == [[3, 5, 2]]
    assert box.length.unique(dim=0).tolist() == [[4, 4, 6]]
    line = noisy[:, 0, 4, 6]
    assert CenterContent(1, threshold=suggest_threshold(line, 1)).symmetry.box(line).length.unique().tolist() == [6]


def test_bad_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="at least 3 dimensions"):
        suggest_threshold(torch.ones(4, 4), 3)
    with pytest.raises(TypeError, match="an int as event_dims"):
        suggest_threshold(torch.ones(4, 4), 2.0)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert suggest_threshold(scrambled(torch.float32, 0)) == 1e-4  # which asks for no package
    with pytest.raises(ModuleNotFoundError, match=r'pip install "torch_symbreak\[io\]"'):
        suggest_threshold(torch.rand(5, 8, 8))
