"""Hostile input to the solvers: what came, what was wanted, what to type."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torch_symbreak import ElementwiseSquare, FarField
from torch_symbreak.datasets import Atoms, BraggCrystals
from torch_symbreak.solvers import refine, solve

MODEL = FarField()
X = torch.randn(2, 6, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
Y = MODEL(X)
NAN = torch.where(torch.arange(Y.numel()).reshape(Y.shape) == 7, math.nan, Y)
ZERO = torch.stack([Y[0], torch.zeros(12, 10)])
SHORT: dict[str, Any] = {"iterations": 2, "starts": 2, "progress": False}


def refused(error: type[Exception], message: str, call: Callable[[], Any]) -> Any:
    return pytest.param(error, message, call, id=f"{error.__name__}: {message}")


REFUSED = [
    refused(TypeError, r"real intensities y, but got torch.complex64.*y.abs\(\).square\(\)", lambda: solve(X)),
    refused(TypeError, r"solve needs .*as y.*a list.*as_tensor\(y\)", lambda: solve([1.0])),
    refused(TypeError, r"an array of int64.*astype", lambda: solve(np.ones((4, 4), dtype=int))),
    refused(TypeError, "needs a FarField model, but got a torch_symbreak", lambda: solve(Y, model=ElementwiseSquare())),
    refused(ValueError, r"y is zero on every measured pixel of items \[1\]", lambda: solve(ZERO)),
    refused(ValueError, r"y is negative or zero on every measured pixel of items \[0, 1\]", lambda: solve(-Y)),
    refused(ValueError, "1 measured pixels that are NaN or infinite.*mask=torch.isfinite", lambda: solve(NAN)),
    refused(ValueError, "1 measured pixels that are NaN", lambda: solve(NAN.where(NAN.isfinite(), math.inf))),
    refused(ValueError, "zero on every measured pixel", lambda: solve(Y, mask=torch.zeros(12, 10, dtype=torch.bool))),
    refused(ValueError, r"y of shape \(\*batch, \*M\) with 2 .*FarField\(1\)", lambda: solve(Y[0, 0])),
    refused(ValueError, r"model's detector \(9, 9\)", lambda: solve(Y, model=FarField(shape=(9, 9)))),
    refused(ValueError, r"mask of shape \(2, 12, 10\) or \(12, 10\)", lambda: solve(Y, mask=Y[:, 1:] > 0)),
    refused(TypeError, "bool mask, but got torch.float32.*mask > 0", lambda: solve(Y, mask=Y)),
    refused(ValueError, r"support of shape \(2, 6, 5\) or \(6, 5\)", lambda: solve(Y, support=Y > 0)),
    refused(TypeError, "bool support", lambda: solve(Y, support=X.abs())),
    refused(ValueError, "at least one True", lambda: solve(Y, support=torch.zeros(6, 5, dtype=torch.bool))),
    refused(ValueError, r"start of shape \(2, 6, 5\).*frame=\(12, 10\)", lambda: refine(Y, Y)),
    refused(ValueError, r"start of shape \(2, 6, 5\)", lambda: solve(Y, start=X[0])),
    refused(ValueError, "finite start that is not zero", lambda: refine(0 * X, Y)),
    refused(ValueError, "finite start", lambda: refine(X * math.nan, Y)),
    refused(
        ValueError, r"2 N - 1 pixels.*frame is \(7, 5\).*more than one object.*support=", lambda: solve(Y, frame=(7, 5))
    ),
    refused(ValueError, "2 N - 1", lambda: solve(Y, model=FarField(oversampling=1))),
    refused(ValueError, "2 N - 1", lambda: solve(Y, model=FarField(oversampling=1.5))),
    refused(ValueError, r"at least the frame's shape \(13, 5\)", lambda: solve(Y, frame=(13, 5))),
    refused(ValueError, "frame of 2 ints", lambda: solve(Y, model=MODEL, frame=(6,))),
    refused(ValueError, "frame of 2 ints", lambda: solve(Y, frame=(True, 5))),
    refused(TypeError, r"tuple of ints as frame, .* but got 6.5", lambda: solve(Y, frame=6.5)),  # type: ignore[arg-type]
    refused(TypeError, "tensor or an array as mask, but got a str", lambda: solve(Y, mask="m.npy")),  # type: ignore[arg-type]
    refused(TypeError, "Generator or None as generator, but got a int", lambda: solve(Y, generator=0)),  # type: ignore[arg-type]
    refused(ValueError, "'hoi'. Did you mean 'hio'", lambda: solve(Y, method="hoi")),
    refused(ValueError, "iterations >= 1, but got 0", lambda: solve(Y, iterations=0)),
    refused(ValueError, "starts >= 1, but got 2.5", lambda: solve(Y, starts=2.5)),  # type: ignore[arg-type]
    refused(ValueError, "support_size >= 1, but got True", lambda: solve(Y, support_size=True)),
    refused(ValueError, "atoms <= 4 in a frame", lambda: Atoms(1, atoms=9, frame=(8, 8))),
    refused(ValueError, "int atoms >= 1", lambda: Atoms(1, atoms=0)),
    refused(ValueError, "1 to 3 axes", lambda: Atoms(1, frame=(2, 8))),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED)
def test_refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_negative_pixels_count_as_zero_with_one_warning() -> None:
    y, nothing = Y.clone(), Y.clone()
    y[:, 3, 4], nothing[:, 3, 4] = -1.0, 0.0
    with pytest.warns(UserWarning, match=r"y has 2 negative pixels.*mask=y >= 0") as caught:
        found = solve(y, generator=torch.Generator().manual_seed(0), **SHORT)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the warning points at the caller's line
    same = solve(nothing, generator=torch.Generator().manual_seed(0), **SHORT)
    assert torch.equal(found.object, same.object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = solve(y, mask=y >= 0, **SHORT)
    assert masked.object.isfinite().all()


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_every_scale(scale: float) -> None:
    one, other = (
        solve(Y * s, generator=torch.Generator().manual_seed(0), iterations=20, starts=2, progress=False)
        for s in (1.0, scale)
    )
    assert torch.allclose(other.object / math.sqrt(scale), one.object, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_numbers(dtype: torch.dtype) -> None:
    """Their sum overflows, their root does not."""
    power = 128 if dtype == torch.float32 else 1024
    scale = 2.0 ** (power - 2 - 2 * math.ceil(math.log2(float(Y.max())) / 2))
    one, other = (
        solve(Y.to(dtype) * s, generator=torch.Generator().manual_seed(0), iterations=20, starts=2, progress=False)
        for s in (1.0, scale)
    )
    assert torch.allclose(other.residual, one.residual)
    assert torch.allclose(other.object / math.sqrt(scale), one.object, atol=1e-3)


def test_one_photon_of_the_smallest_number() -> None:
    y = torch.zeros(1, 8, 8, dtype=torch.float64)
    y[0, 0, 0] = 5e-324
    assert torch.isfinite(solve(y, **SHORT).residual).all()


def test_gradients_are_left_out() -> None:
    found = solve(Y.clone().requires_grad_(), start=X.clone().requires_grad_(), **SHORT)  # a warning would be an error
    assert not found.object.requires_grad


def test_numpy_and_half_precision() -> None:
    for y in (Y.numpy(), Y.double(), Y.half()):
        found = solve(y, generator=torch.Generator().manual_seed(0), **SHORT)
        assert found.object.is_complex()
        assert found.object.isfinite().all()


def test_empty_batch() -> None:
    found = solve(Y[:0], **SHORT)
    assert found.object.shape == (0, 6, 5)
    assert found.history.shape == (2, 0, 2)
    assert found.verdict == []


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("frame", [(16, 16), (15, 12), (8, 8, 8)])
def test_patterns_in_the_other_order_are_told(centered: bool, frame: tuple[int, ...]) -> None:
    """They fit another object: times a checkerboard of signs where all sizes are even."""
    d = len(frame)
    x = BraggCrystals(4, frame=frame, strain=0.5).objects(torch.arange(4))
    y, other = FarField(d, centered=centered)(x), FarField(d, centered=not centered)
    few: dict[str, Any] = {"iterations": 1, "starts": 1, "progress": False}
    with pytest.warns(UserWarning, match=rf"pass model=FarField\({d}, centered={centered}\)"):
        solve(y, model=other, **few)
    solve(y, model=FarField(d, centered=centered), **few)  # a warning would be an error
    with pytest.warns(UserWarning, match="order|highest frequencies"):  # along one axis alone
        solve(torch.fft.fftshift(y, dim=-1), model=FarField(d, centered=centered), **few)


@pytest.mark.parametrize("centered", [False, True])
def test_patterns_in_the_other_order_are_never_solved(centered: bool) -> None:
    """All else says that they are: their lines agree, on a modulated object. Items beside them keep their verdict."""
    y, _ = BraggCrystals(2, frame=(16, 16), strain=0.5, seed=3).batch([0, 1])
    other = torch.fft.fftshift(y[1])
    rows = torch.stack([other, y[0]] if centered else [y[0], other])  # the misplaced one is last, or first
    options: dict[str, Any] = {"starts": 4, "progress": False, "generator": torch.Generator().manual_seed(0)}
    with pytest.warns(UserWarning, match='Such items are "doubtful" at best'):
        found = solve(rows, model=FarField(centered=centered), **options)
    assert bool((found.agreement < 0.1).all())
    assert bool((found.residual < 0.05).all())
    assert found.verdict == ["solved", "doubtful"]
