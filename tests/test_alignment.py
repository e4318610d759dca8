"""Alignment and SA-MSE against an exhaustive search."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import (
    ConjugateFlip,
    FarField,
    FixSign,
    GlobalPhase,
    Product,
    RandomSymmetry,
    Sign,
    Symmetry,
    Translation,
    align,
    sa_mse,
)
from torch_symbreak.testing import relative_error

FRAMES = [(6,), (7,), (10,), (2, 4), (3, 3), (2, 5), (2, 2, 2), (1, 3, 3)]


def exhaustive(x: Tensor, r: Tensor, *, shifts: bool, flips: bool, phase: str, wrap: bool) -> float:
    """The smallest squared distance per entry, by trying everything, for one item; r in the middle of a large frame."""
    event, d = x.shape, x.dim()
    best = math.inf
    for flipped in (False, True) if flips else (False,):
        z = x.flip(tuple(range(d))).conj() if flipped else x
        ranges = [range(n) if wrap else range(-(n - 1), n) for n in event] if shifts else [range(1)] * d
        for t in itertools.product(*ranges):
            if wrap:
                moved, target = z.roll(t, tuple(range(d))), r
            else:
                large = [3 * n for n in event]
                moved, target = torch.zeros(large, dtype=x.dtype), torch.zeros(large, dtype=x.dtype)
                moved[tuple(slice(n + s, 2 * n + s) for n, s in zip(event, t, strict=True))] = z
                target[tuple(slice(n, 2 * n) for n in event)] = r
            inner = (moved.conj() * target).sum()
            if phase == "phase":
                u = inner / inner.abs() if inner.abs() > 0 else 1
            elif phase == "sign":
                u = 1 if inner.real >= 0 else -1
            else:
                u = 1
            best = min(best, float((u * moved - target).abs().square().sum()) / x.numel())
    return best


@given(
    st.sampled_from(FRAMES),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["phase", "sign", "none"]),
    st.booleans(),
    st.integers(0, 2**31 - 1),
)
def test_equals_the_exhaustive_search(
    frame: tuple[int, ...], shifts: bool, flips: bool, scalar: str, wrap: bool, seed: int
) -> None:
    d = len(frame)
    complex_ = scalar == "phase" or (scalar == "none" and seed % 2 == 0)
    dtype = torch.complex128 if complex_ else torch.float64
    generator = torch.Generator().manual_seed(seed)
    x, r = torch.randn(2, 3, *frame, dtype=dtype, generator=generator)  # content fills the frame: a flip is about it
    symmetries: list[Symmetry] = []
    symmetries += [Translation(d, wrap=wrap)] if shifts else []
    symmetries += [ConjugateFlip(d, wrap=wrap)] if flips else []
    symmetries += [] if scalar == "none" else [GlobalPhase(d) if scalar == "phase" else Sign(d)]
    if not symmetries:
        return
    found = align(x, r, symmetries)
    for i in range(3):
        expected = exhaustive(x[i], r[i], shifts=shifts, flips=flips, phase=scalar, wrap=wrap)
        assert float(found.error[i]) == pytest.approx(expected, rel=1e-9)
        alone = align(x[i], r[i], symmetries)
        assert torch.equal(alone.element.shift, found.element.shift[i])
        assert torch.allclose(alone.aligned, found.aligned[i])
    assert torch.allclose(sa_mse(x, r, symmetries), found.error.mean())
    assert torch.equal(sa_mse(x, r, symmetries, reduction="none"), found.error)
    assert torch.allclose(sa_mse(x, r, symmetries, reduction="sum"), found.error.sum())


@pytest.mark.filterwarnings("ignore:FarField measures")
@given(st.sampled_from(FRAMES), st.sampled_from(COMPLEX + REAL), st.booleans(), st.integers(0, 2**31 - 1))
def test_orbit_points_are_recognized(frame: tuple[int, ...], dtype: torch.dtype, wrap: bool, seed: int) -> None:
    d = len(frame)
    model = FarField(d, field="complex" if dtype.is_complex else "real", oversampling=1.0 if wrap else 2.0)
    generator = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.pad(torch.randn(4, *frame, dtype=dtype, generator=generator), (1, 2) * d)
    moved = RandomSymmetry(model.symmetries, generator=generator)(x)
    found = align(moved, x, model.symmetries)
    assert relative_error(found.aligned, x, d).max() < 1e-5
    assert (found.error >= 0).all()
    assert (found.error <= 1e-10 * x.abs().square().mean(tuple(range(1, d + 1)))).all()
    # The element is that of the product: it moves anything, back as well.
    group = Product(model.symmetries)
    assert relative_error(group.act(found.element, moved), x, d).max() < 1e-5
    assert relative_error(group.act(group.inverse(found.element), x), moved, d).max() < 1e-5


def test_channels_share_one_element() -> None:
    x = torch.nn.functional.pad(torch.randn(5, 3, 4, 4, dtype=torch.complex64), (1, 2, 2, 1))
    group = Product([Translation(2, channel_dims=1), ConjugateFlip(2, channel_dims=1), GlobalPhase(2, channel_dims=1)])
    moved = group.act(group.sample(x), x)
    found = align(moved, x, group)
    assert found.error.shape == (5,)
    assert torch.allclose(found.aligned, x, atol=1e-5)


def test_sign_per_entry_and_alone() -> None:
    x = torch.randn(6, 3)
    assert sa_mse(-x.abs(), x, Sign(0)) == pytest.approx(float((x.abs() - x.abs()).square().mean()))
    assert sa_mse(-x, x, Sign(1)) == 0
    assert torch.equal(align(-x, x, Sign(1)).aligned, x)
    assert sa_mse(FixSign(1)(x), x, [Sign(1)]) == 0


def test_flip_alone_is_about_the_content() -> None:
    x = torch.zeros(1, 9, dtype=torch.complex64)
    x[0, 1:4] = torch.tensor([1, 2j, 3])
    twin = ConjugateFlip(1).act(ConjugateFlip(1).sample(x, generator=torch.Generator().manual_seed(2)), x)
    assert sa_mse(twin, x, ConjugateFlip(1)) < 1e-12


def test_empty_zero_and_gradient() -> None:
    model = FarField(2)
    assert align(torch.zeros(0, 4, 4) + 0j, torch.zeros(0, 4, 4) + 0j, model.symmetries).error.shape == (0,)
    zero = torch.zeros(2, 4, 4, dtype=torch.complex64)
    found = align(zero, zero, model.symmetries)
    assert torch.equal(found.error, torch.zeros(2, dtype=torch.float64))
    assert (found.element.shift == 0).all()
    x = torch.randn(2, 3, 3, dtype=torch.complex128, requires_grad=True)
    r = torch.randn(2, 3, 3, dtype=torch.complex128)
    assert torch.autograd.gradcheck(lambda z: sa_mse(z, r, model.symmetries), x)


def test_bad_input() -> None:
    x = torch.randn(2, 4, 4, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"one shape, but got \(2, 4, 4\) and \(4, 4\).*expand_as"):
        align(x, x[0], FarField().symmetries)
    with pytest.raises(TypeError, match="both real or both complex"):
        align(x, x.real, FarField().symmetries)
    with pytest.raises(TypeError, match="GlobalPhase needs a complex target"):
        align(x.real, x.real, FarField().symmetries)
    with pytest.raises(ValueError, match="reduction"):
        sa_mse(x, x, FarField().symmetries, reduction="max")  # type: ignore[arg-type]
