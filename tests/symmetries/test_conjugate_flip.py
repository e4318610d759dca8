"""The laws of the conjugate flip, on drawn items with padding and on the torus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import AlignToTemplate, FixConjugateFlip, align
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, PhaseRamp, Product, Translation
from torch_symbreak.testing import check_canonicalizer, check_symmetry


@given(cases(channel_dims=1, few_ties=True))
def test_laws(case: Drawn) -> None:
    fix = FixConjugateFlip(case.event_dims, channel_dims=1, wrap=case.wrap)
    check_canonicalizer(fix, case.make(), case.pattern, generator=case.generator)


def about(case: Drawn, ends: list[int]) -> tuple[float, ...]:
    """Return a center of the frame, from any whole numbers."""
    return tuple(end % (2 * size) / 2 for end, size in zip(ends, case.frame, strict=False))


@given(cases(channel_dims=1, few_ties=True), st.lists(st.integers(0, 99), min_size=3, max_size=3))
def test_laws_about_a_center(case: Drawn, ends: list[int]) -> None:
    """On the torus any flip keeps ``|F x|`` at M = N; x fills the frame, so that its box is no help."""
    center = about(case, ends)
    x = torch.randn(60, 2, *case.frame, dtype=case.dtype, generator=case.generator) + 1

    def pattern(z: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftn(z, dim=tuple(range(-case.event_dims, 0))).abs()

    fix = FixConjugateFlip(case.event_dims, channel_dims=1, center=center)
    assert "elements" in check_canonicalizer(fix, x, pattern, generator=case.generator)


@given(cases(), st.lists(st.integers(0, 99), min_size=3, max_size=3))
def test_a_flip_about_a_center_entry_by_entry(case: Drawn, ends: list[int]) -> None:
    x, center = case.make(), about(case, ends)
    group = ConjugateFlip(case.event_dims, center=center)
    index = torch.meshgrid(
        *((round(2 * c) - torch.arange(n)) % n for c, n in zip(center, case.frame, strict=True)), indexing="ij"
    )
    twin = group.act(group.twin(x), x)
    assert torch.equal(twin, x[(..., *index)].conj())
    # An alignment finds it, nothing is cut, and never does worse than the better of the two elements.
    found = align(twin, x, group)
    torch.testing.assert_close(found.aligned, x)
    assert float(found.error.max()) < 1e-12
    other = torch.randn(x.shape, dtype=x.dtype, generator=case.generator)
    item = tuple(range(-case.event_dims, 0))
    best = torch.stack([(z - other).abs().double().square().mean(item) for z in (x, twin)]).amin(0)
    assert torch.allclose(align(x, other, group).error, best, rtol=1e-5)


def test_a_template_under_a_flip_about_a_center() -> None:
    """Two elements: the nearer one to the template, and the set of targets is a half-space."""
    x = torch.randn(60, 6, 7, dtype=torch.complex64)
    fix = AlignToTemplate(torch.randn(6, 7, dtype=x.dtype), [ConjugateFlip(center=(2.5, 1.0)), GlobalPhase()])
    laws = check_canonicalizer(fix, x)
    assert laws["convex"] < 2e-5
    assert laws["dropped"] <= 0.05  # ties alone


def test_a_fixed_center_does_not_ask_for_the_content() -> None:
    """A line at the threshold is a tie of the content's box, and of nothing about a fixed center."""
    x = torch.zeros(1, 8, dtype=torch.complex128)
    x[0, 1:5] = torch.tensor([1.0, 0.5j, 0.3, 0.7])
    x[0, 6] = 1e-4
    assert float(FixConjugateFlip(1).margin(x)) < 1e-9
    assert float(FixConjugateFlip(1, center=(3.5,)).margin(x)) > 1e-3


@pytest.mark.parametrize("center", [(1.0,), (1.0, 2.25), 3.0, (1.0, "2"), (1.0, math.nan), (math.inf, 1.0), (1e300, 0)])
def test_centers_that_are_none(center: Any) -> None:
    with pytest.raises(ValueError, match=r"needs a center of 2 multiples of 1/2.*\(N - 1\) / 2"):
        ConjugateFlip(center=center)
    assert ConjugateFlip(center=(np.int64(1), np.float32(2.5))) == ConjugateFlip(center=(1, 2.5))  # type: ignore[arg-type]


def test_products_of_flips_about_centers() -> None:
    flip = ConjugateFlip(center=(2.5, 1.0))
    for more in (Translation(), ConjugateFlip(), ConjugateFlip(center=(2.5, 1.5))):
        with pytest.raises(ValueError, match="together they make translations"):
            Product([flip, more])
    x = torch.randn(60, 6, 7, dtype=torch.complex64)
    check_symmetry(Product([flip, GlobalPhase()]), x)
    with pytest.raises(ValueError, match="on periodic axes"):  # content wraps around the frame
        Product([flip, GlobalPhase(), PhaseRamp()]).sample(x)


def test_which_items_fill_the_frame() -> None:
    """A flip about a fixed center has no shifts for which room would be needed, and zeros fill nothing."""
    x = torch.stack((torch.ones(4, 5), torch.zeros(4, 5), torch.nn.functional.pad(torch.ones(4, 4), (0, 1))))
    assert ConjugateFlip(2).fills(x).tolist() == [True, False, False]
    assert not ConjugateFlip(2, center=(1.5, 2)).fills(x).any()
