"""Items whose sum is zero: low frequencies decide their phase or sign, in every backend, and margins are theirs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from draws import COMPLEX, REAL, Drawn, cases
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, FixGlobalPhase, FixSign, RandomSymmetry
from torch_symbreak.canonical import using
from torch_symbreak.symmetries import Canonicalizer
from torch_symbreak.testing import (
    assert_idempotent,
    assert_invariant,
    assert_representative,
    assert_smallest,
    check_canonicalizer,
    deviation,
    off_ties,
)

pytestmark = pytest.mark.filterwarnings("ignore:FarField measures")

BACKENDS = [None, "reference", "cpu", "numba"]


def on(backend: Any) -> Any:
    if backend == "numba":
        pytest.importorskip("numba")
    return using(backend) if backend else nullcontext()


def model_of(case: Drawn) -> FarField:
    return FarField(case.event_dims, field=case.field, oversampling=case.oversampling)


def centered(values: Tensor, dims: int) -> Tensor:
    return values - values.mean(tuple(range(-dims, 0)), keepdim=True)


def without_a_sum(case: Drawn) -> Tensor:
    """Return items of the case's sizes and of sum zero, at random places of their orbits."""
    generator = torch.Generator().manual_seed(case.seed)
    values = torch.randn(*case.batch, *case.channels, *case.content, dtype=case.dtype, generator=generator)
    x = case.place(centered(values, case.event_dims + len(case.channels)))
    if case.channels:
        return x
    return RandomSymmetry(model_of(case).symmetries, generator=case.generator)(x)


def scalar_margin(fix: Canonicalizer[Any], x: Tensor) -> Tensor:
    return list(fix.margins(x).values())[-1] if hasattr(fix, "margins") else fix.margin(x)


@pytest.mark.parametrize("backend", BACKENDS)
@given(cases(few_ties=True))
def test_an_orbit_of_sum_zero_has_one_target(backend: str | None, case: Drawn) -> None:
    fix, x = model_of(case).canonicalizer(), without_a_sum(case)
    with on(backend):
        assert_representative(fix, x)
        few = math.prod(case.content) < 5  # (a, -a) is its own twin, and so on
        assert few or (scalar_margin(fix, x) > 1e-4).double().mean() > 0.95
        x = off_ties(fix, x)
        assert_invariant(fix, x, generator=case.generator)
        assert_smallest(fix, x, generator=case.generator)
        assert_idempotent(fix, x)


@given(cases(few_ties=True, channel_dims=1))
def test_channels_share_one_phase(case: Drawn) -> None:
    fix, x = model_of(case).canonicalizer(channel_dims=1), without_a_sum(case)
    assert_representative(fix, x)
    x = off_ties(fix, x)
    assert_invariant(fix, x, generator=case.generator)
    assert_idempotent(fix, x)


@given(cases(few_ties=True), st.integers(0, 1))
def test_phase_and_sign_alone(case: Drawn, channel_dims: int) -> None:
    fix = (FixGlobalPhase if case.dtype.is_complex else FixSign)(case.event_dims, channel_dims=channel_dims)
    x = without_a_sum(replace(case, channels=(2,) * channel_dims))
    check_canonicalizer(fix, x, abs, generator=case.generator)


def smooth_images(count: int, size: int = 24, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, size, size, generator=generator)
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[:, 0] + noise[:, 0] / 10


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (3, 9, 5, 2)])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_standardized_images(field: str, pad: tuple[int, ...], backend: str | None) -> None:
    """0 of 500 had one target when the sum alone decided."""
    images = smooth_images(500)
    images = (images - images.mean((1, 2), keepdim=True)) / images.std((1, 2), keepdim=True)
    model = FarField(2, field=field)
    x = torch.nn.functional.pad(images.to(torch.complex64) if field == "complex" else images, pad)
    moved = RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(1))(x)
    fix = model.canonicalizer()
    with on(backend):
        error = deviation(fix(moved), fix(x), 2)
    margins = fix.margins(x)
    assert (scalar_margin(fix, x) > 1e-4).double().mean() > 0.99
    assert (error[torch.stack(list(margins.values())).amin(0) > 1e-4] < 2e-5).all()
    assert (error < 2e-5).double().mean() > 0.99


def laplacian_eigenvectors(*shape: int) -> Tensor:
    """Return the eigenvectors of the Laplacian of a grid graph, (P, *shape)."""
    index = torch.arange(math.prod(shape)).reshape(shape)
    adjacent = torch.zeros(index.numel(), index.numel(), dtype=torch.float64)
    for axis, size in enumerate(shape):
        a, b = (index.narrow(axis, first, size - 1).flatten() for first in (0, 1))
        adjacent[a, b] = adjacent[b, a] = 1
    return torch.linalg.eigh(torch.diag(adjacent.sum(0)) - adjacent)[1].T.reshape(-1, *shape)


@pytest.mark.parametrize("shape", [(50,), (6, 6), (13, 17), (16, 16), (6, 5, 4), (6, 6, 6)])
def test_eigenvectors_of_grid_graphs(shape: tuple[int, ...]) -> None:
    """Most have no low frequency; some have none at all, and some change sign when two axes are exchanged."""
    x = laplacian_eigenvectors(*shape)
    for fix, items in ((FixSign(len(shape)), x), (FixSign(1), x.flatten(1))):
        assert torch.equal(fix(-items), fix(items))
        assert (fix.margin(items) > 1e-6).all()
        assert (fix.margin(items) > 1e-4).double().mean() > 0.97


# ----------------------------------------------------------------------------------------------- what decides


def by_hand(item: np.ndarray[Any, Any], lo: list[int], length: list[int], flipped: bool) -> tuple[complex, float]:
    """Return the unit number and the margin of an item of sum zero, in loops and from the definition."""
    d, event = item.ndim, item.shape
    places = [at for at in np.ndindex(*event) if item[at] != 0]
    centers = [first + (size - 1) / 2 for first, size in zip(lo, length, strict=True)]
    offsets = [[(at[a] - centers[a] + event[a] / 2) % event[a] - event[a] / 2 for a in range(d)] for at in places]

    def number(turn: Any) -> complex:
        angles = [sum(turn(a, t) for a in range(d)) for t in offsets]
        return sum(complex(item[at]) * np.exp(-1j * angle) for at, angle in zip(places, angles, strict=True))

    orders = [tuple(step - 2 for step in k) for k in np.ndindex(*(5,) * d)]
    orders = [k for k in orders if next((step for step in k if step), 0) > 0]
    orders.sort(key=lambda k: (sum(step * step for step in k), k))
    numbers = [number(lambda a, t, k=k: np.pi * k[a] * t[a] / length[a]) for k in orders]
    numbers.append(number(lambda a, t: 3 / (1 + (d - 1 - a) / 7) * t[a] * abs(t[a]) / length[a]))
    levels = [1e-3] * len(orders) + [1e-6]
    if flipped:
        numbers = [z.conjugate() for z in numbers]
    if not np.iscomplexobj(item):
        numbers = [part for z in numbers for part in (z.real, z.imag)]
        levels = [level for level in levels for _ in range(2)]
    total, margin = np.abs(item).sum(), np.inf
    for value, level in zip(numbers, levels, strict=True):
        size = abs(value) / total
        if level == 1e-3:
            margin = min(margin, abs(size - level) / (size + level))
        if size > level:
            return np.conj(value) / abs(value), min(size, margin)
    raise AssertionError("a tie")


@pytest.mark.parametrize("backend", BACKENDS)
@given(cases(few_ties=True))
def test_the_first_low_frequency_decides_or_the_sweep(backend: str | None, case: Drawn) -> None:
    case = replace(case, batch=(3,), frame=tuple(min(n, 6) for n in case.frame))
    case = replace(case, content=tuple(min(n, m - 1) for n, m in zip(case.content, case.frame, strict=True)))
    case = replace(case, position=(0,) * case.event_dims)
    if math.prod(case.content) < 4:
        return
    model, x = model_of(case), without_a_sum(case)
    fix = model.canonicalizer()
    with on(backend):
        found = fix.element(x)
    margins = scalar_margin(fix, x)
    box = fix._translation.box(x)
    sums = x.sum(tuple(range(1, x.dim()))).abs() / x.abs().sum(tuple(range(1, x.dim())))
    for i in range(3):
        if sums[i] > 4e-7:
            continue
        unit, margin = by_hand(x[i].numpy(), box.lo[i].tolist(), box.length[i].tolist(), bool(found.flipped[i]))
        if margin > 1e-4:
            assert abs(complex(found.scalar[i]) - unit) < 1e-5
            assert abs(float(margins[i]) - margin) < 1e-5


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 3)])
def test_items_without_the_lowest_frequencies(shape: tuple[int, ...]) -> None:
    """Every number decides some of these, at some place of the order."""
    x, d = laplacian_eigenvectors(*shape)[1:], len(shape)
    frame = [0] * d, list(shape)
    found = FarField(d, field="real").canonicalizer().element(x)
    alone, margin = FixSign(d).element(x), FixSign(d).margin(x)
    for i in range(len(x)):
        unit, wanted = by_hand(x[i].numpy(), *frame, flipped=False)
        assert abs(float(margin[i]) - wanted) < 1e-7
        assert float(alone[i]) == unit
        assert float(found.scalar[i]) == by_hand(x[i].numpy(), *frame, flipped=bool(found.flipped[i]))[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", COMPLEX + REAL)
def test_targets_off_ties_do_not_change(dtype: torch.dtype, backend: str | None) -> None:
    """They are those of the sum alone to the last bit, beside ties too."""
    x = torch.randn(200, 6, 7, dtype=dtype)
    scalar = FixGlobalPhase() if dtype.is_complex else FixSign(2)
    parts = torch.view_as_real(x) if dtype.is_complex else x
    peak = parts.flatten(1).abs().amax(1).reshape(-1, *[1] * (parts.dim() - 1))
    scaled = torch.view_as_complex(parts / peak) if dtype.is_complex else parts / peak
    wanted = torch.sgn(scaled.flatten(1).sum(-1, dtype=torch.complex128 if dtype.is_complex else torch.float64))
    wanted = wanted.conj().resolve_conj().to(dtype)
    fix = FarField(2, field="complex" if dtype.is_complex else "real").canonicalizer()
    mixed = torch.stack([x, centered(x, 2)], 1).flatten(0, 1)
    with on(backend):
        assert torch.equal(scalar.element(x), wanted)
        assert torch.equal(scalar.element(mixed)[::2], wanted)
        assert torch.equal(fix(mixed)[::2], fix(x))


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("decides", ["sum", "low frequency"])
def test_margins_flag_the_levels_at_which_another_number_decides(decides: str, dtype: torch.dtype) -> None:
    """Rounding may move a point of an orbit over a level. It then has another target, and its margin says so."""
    model = FarField(2)
    count, fix = 4000, model.canonicalizer()
    x = centered(torch.randn(count, 5, 6, dtype=torch.complex128), 2)
    n = (torch.arange(6) - 2.5).expand(5, 6)
    wave = torch.polar(torch.ones(5, 6, dtype=torch.float64), (math.pi / 6 * n).double())
    level = 1e-6
    if decides == "low frequency":
        level = 1e-3
        waves = torch.stack([torch.ones_like(wave), wave])  # make the sum and F(0, 1) zero
        basis = torch.linalg.qr(waves.flatten(1).T)[0]
        x = (x.flatten(1) - (x.flatten(1) @ basis.conj()) @ basis.T).reshape(count, 5, 6)
        other = wave - (basis[:, 0] @ wave.flatten().conj()).conj() * basis[:, 0].reshape(5, 6)
        other = other / (other * wave.conj()).sum()
    else:
        other = torch.full((5, 6), 1 / 30, dtype=torch.complex128)
    near = torch.logspace(-7, -1, count // 2, dtype=torch.float64)
    share = level * torch.cat([1 - near, 1 + near])
    x = x + (share * x.abs().sum((1, 2)))[:, None, None] * other
    x = torch.nn.functional.pad(x, (1, 3, 2, 0)).to(dtype)
    moved = RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(0))(x)
    differ = deviation(fix(moved), fix(x), 2) > 1e-3
    margin = fix.margin(x)
    assert (torch.maximum(margin, fix.margin(moved))[differ] <= 1e-4).all()
    if dtype == torch.complex64:
        assert differ.any()  # such points are among these
    if decides == "low frequency":
        assert (margin > 1e-4).any()


def test_gradients_reach_targets_of_sum_zero() -> None:
    x, v = (centered(torch.randn(4, 5, 6, dtype=torch.complex128), 2) for _ in range(2))
    fix = FixGlobalPhase(2)
    steps = torch.zeros((), dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 5, 6, dtype=torch.complex128)

    def value(step: Tensor) -> Tensor:
        return (weights * fix(x + step * v)).real.sum()

    (slope,) = torch.autograd.grad(value(steps), steps)
    h = 1e-6
    numeric = (value(torch.tensor(h).double()) - value(torch.tensor(-h).double())) / (2 * h)
    assert torch.allclose(slope, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["complex", "real"])
def test_ten_thousand_pairs(field: str) -> None:
    """None of 10,000 pairs fails, but for items whose margin says so."""
    model, dtype = FarField(2, field=field), torch.complex64 if field == "complex" else torch.float32
    x = centered(torch.randn(10_000, 9, 10, dtype=dtype, generator=torch.Generator().manual_seed(0)), 2)
    x = torch.nn.functional.pad(x, (2, 5, 4, 1))
    moved = RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(1))(x)
    fix = model.canonicalizer()
    failed = deviation(fix(moved), fix(x), 2) > 1e-4
    below = fix.margin(x) <= 1e-4
    print(f"{field}: {int(failed.sum())} failures, {int(below.sum())} margins of at most 1e-4")
    assert not (failed & ~below).any()
    assert failed.sum() <= 5
    assert below.double().mean() < 0.1
