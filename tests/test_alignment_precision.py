"""Alignment decides as in double precision, and searches in single precision where rounding cannot matter."""

from __future__ import annotations

import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, RandomSymmetry, align
from torch_symbreak._fourier import correlate
from torch_symbreak.alignment import search
from torch_symbreak.symmetries import (
    Product,
    Translation,
)
from torch_symbreak.testing import deviation


def near_ties(kind: str, frame: tuple[int, ...], noise: float, dtype: torch.dtype, seed: torch.Generator) -> Tensor:
    """Eight objects for which several places, or both orientations, are all but equally good."""
    double = torch.complex128 if dtype.is_complex else torch.float64
    x, change = torch.randn(2, 8, *frame, dtype=double, generator=seed)
    if kind == "periodic":
        x = x + x.roll(frame[0] // 2, 1)
    elif kind == "symmetric":  # its own twin
        x = x + x.flip(tuple(range(1, x.dim()))).conj()
    else:  # wide: neighboring shifts differ by little
        index = torch.stack(torch.meshgrid([torch.arange(n) - n / 2 for n in frame], indexing="ij"))
        x = (-index.square().sum(0) / 1e4).exp()
    return (x + noise * change).to(dtype)


@pytest.mark.filterwarnings("ignore:FarField measures")
@given(
    st.sampled_from(["periodic", "symmetric", "wide"]),
    st.sampled_from([(12,), (13,), (64,), (6, 8), (5, 9), (4, 3, 4)]),
    st.sampled_from([1e-7, 1e-6, 1e-5, 1e-4, 1e-2]),
    st.sampled_from(COMPLEX + REAL),
    st.booleans(),
    st.integers(0, 2**31 - 1),
)
def test_decisions_are_those_of_double_precision(
    kind: str, frame: tuple[int, ...], noise: float, dtype: torch.dtype, wrap: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    r = near_ties(kind, frame, noise, dtype, generator)
    d, field = len(frame), "complex" if dtype.is_complex else "real"
    model = FarField(d, field=field, oversampling=1.0 if wrap else 2.0)  # type: ignore[arg-type]
    group = Product(model.symmetries)
    x = (r + noise * torch.randn(r.shape, dtype=r.dtype, generator=generator)).flip(-1)
    for symmetries in (group, Translation(d, wrap=wrap)):
        found = align(x, r, symmetries).element
        # vmap has no values to look at, and takes the whole way in double precision.
        exact = torch.func.vmap(lambda a, b, s=symmetries: tuple(align(a, b, s).element[:2]))(x, r)
        assert torch.equal(found.flipped, exact[0])
        assert torch.equal(found.shift, exact[1])


@given(st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 1.0, 30.0]), st.integers(0, 2**31 - 1))
def test_rounding_is_bounded(d: int, flipped: bool, mean: float, seed: int) -> None:
    """Correlate in single precision, on toruses of any size, primes among them."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.randint(2, {1: 600, 2: 50, 3: 14}[d], (d,), generator=generator).tolist()
    group = Product([Translation(d, wrap=True)])
    x, r = mean + torch.randn(2, 3, *frame, dtype=torch.complex128, generator=generator)
    there, here = (
        correlate(*(torch.fft.fftn(z.to(dtype), dim=tuple(range(-d, 0))) for z in (x, r)), d, flipped=flipped)
        for dtype in (torch.complex128, torch.complex64)
    )
    wrong = (here - there).abs().flatten(1).amax(-1)
    assert (wrong < search.rounding_of(x.to(torch.complex64), r.to(torch.complex64), group, frame) / 5).all()


def test_single_precision_is_enough_for_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search none of these items again in double precision, which saves the time."""
    generator = torch.Generator().manual_seed(0)
    r = torch.nn.functional.pad(torch.randn(50, 20, 20, dtype=torch.complex64, generator=generator), (3, 9, 8, 4))
    x = RandomSymmetry(FarField().symmetries, generator=generator)(r)
    expected = align(x, r, FarField().symmetries)
    monkeypatch.setattr(search, "_chosen", None)
    assert torch.equal(align(x, r, FarField().symmetries).aligned, expected.aligned)
    assert deviation(expected.aligned, r, 2).max() < 1e-6
