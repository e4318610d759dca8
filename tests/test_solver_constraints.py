"""Constraints of the solvers: each is the nearest point of its set, and supports find the object."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.forward import beam_stop
from torch_symbreak.solvers import Both, Largest, NonNegative, Real, ShrinkWrap, Support, autocorrelation_support


@given(seed=st.integers(0, 999), count=st.integers(1, 9))
def test_constraints_are_projections(seed: int, count: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 5, dtype=torch.complex64, generator=draw)
    inside = torch.rand(3, 4, 5, generator=draw) < 0.5
    for constraint in (
        Support(inside), Largest(count), Real(), NonNegative(), Both(NonNegative(), Largest(count)),
        Both(Real(), Support(inside)), Both(NonNegative(), Support(inside)),
    ):  # fmt: skip
        nearest = constraint(x)
        assert torch.equal(constraint(nearest), nearest)
        # No other point of the set is nearer.
        other = constraint(nearest + 0.3 * torch.randn(3, 4, 5, dtype=torch.complex64, generator=draw))
        distance = [(z - x).abs().square().flatten(1).sum(1) for z in (nearest, other)]
        assert (distance[0] <= distance[1] + 1e-5).all()
    kept = Largest(count)(x).flatten(1)
    assert ((kept != 0).sum(1) == count).all()


def test_shrink_wrap_follows_the_object() -> None:
    x = torch.zeros(2, 16, 16)
    x[0, 3:8, 3:8] = 1
    x[1, 14, 2] = 5
    wrap = ShrinkWrap(torch.ones(2, 16, 16, dtype=torch.bool), sigma=1.0, threshold=torch.tensor([0.2, 0.9]))
    wrap.update(x)
    assert wrap.mask[0, 3:8, 3:8].all()
    assert 25 < wrap.mask[0].sum() <= 49
    assert wrap.mask[1].nonzero().tolist() == [[14, 2]]
    assert wrap.sigma == pytest.approx(0.95)
    assert wrap(torch.ones(2, 16, 16)).sum() == wrap.mask.sum()


@pytest.mark.parametrize(("radius", "most"), [(0, 1.3), (1, 2.0)])
def test_a_beam_stop_hardly_changes_the_first_support(radius: int, most: float) -> None:
    """Zeros in its place made the first support of some of these crystals the whole detector."""
    y, _ = BraggCrystals(12, frame=(32, 32), strain=0.5, seed=3).batch(list(range(12)))
    mask = beam_stop(y.shape[1:], radius)
    whole = autocorrelation_support(y, 2)
    found = autocorrelation_support(y.where(mask, 0), 2, mask=mask)
    assert (found.sum((1, 2)) < most * whole.sum((1, 2))).all()
    assert ((found & whole).sum((1, 2)) > 0.7 * whole.sum((1, 2))).all()
    assert torch.equal(autocorrelation_support(y[0].where(mask, 0), 2, mask=mask), found[0])
    assert torch.equal(autocorrelation_support(y, 2, mask=torch.ones_like(mask)), whole)


@pytest.mark.parametrize("shape", [(31,), (16, 18), (8, 9, 10)])
def test_autocorrelation_support_contains_the_object(shape: tuple[int, ...]) -> None:
    d = len(shape)
    x = torch.zeros(shape)
    x[tuple(slice(1, n // 2) for n in shape)] = 1
    y = torch.fft.fftn(x).abs().square()
    support = autocorrelation_support(y, d, 1e-3)
    extent = [2 * (n // 2 - 1) - 1 for n in shape]
    assert [int(support.any(dim=tuple(a for a in range(d) if a != axis)).sum()) if d > 1 else int(support.sum())
            for axis in range(d)] == extent  # fmt: skip
