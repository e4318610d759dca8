"""Detectors: counts, background, read-out noise and missing pixels against their laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import ElementwiseSquare, FarField, GaussianIntensity, RandomSymmetry
from torch_symbreak.forward import (
    Background,
    ForwardModel,
    Mask,
    Measured,
    PoissonCounts,
    ReadoutNoise,
    beam_stop,
)

SEEDS = st.integers(0, 2**31 - 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_moments(z: Tensor, kurtosis: Tensor | float = 0.0) -> None:
    """Independent numbers of mean 0, variance 1 and this excess kurtosis: pooled moments within six deviations."""
    n = z.numel()
    assert abs(z.mean().item()) < 6 / math.sqrt(n)
    weight = 1 / (2 + torch.as_tensor(kurtosis, dtype=z.dtype)).sqrt()
    assert abs(((z.square() - 1) * weight).mean().item()) < 6 / math.sqrt(n)


@given(SEEDS, st.integers(1, 3), st.floats(2.0, 9.0))
def test_counts_of_the_expected_total(seed: int, d: int, decades: float) -> None:
    """Every pattern has its own scale; all expect the same total, in whole counts, and come back in their units."""
    generator, photons = seeded(seed), 10**decades
    model = FarField(d)
    x = torch.randn(2, 3, *[4] * d, dtype=torch.complex128, generator=generator)
    x = x * 10 ** torch.randn(2, 3, *[1] * d, generator=generator)
    y = model(x).reshape(6, -1)
    unit = y.sum(1, keepdim=True) / photons
    repeats = 20_000 // y.numel() + 20
    measured = Measured(model, [PoissonCounts(generator=generator)], photons=photons)
    counts = measured(x.expand(repeats, *x.shape)).reshape(repeats, 6, -1) / unit
    assert torch.allclose(counts, counts.round(), atol=1e-4, rtol=1e-12)
    rate = (y / unit).expand_as(counts)
    seen = rate > 0.1
    assert_moments(((counts - rate) / rate.sqrt())[seen], 1 / rate[seen])
    assert_moments((counts.sum(2) - photons) / math.sqrt(photons), 1 / photons)


@pytest.mark.parametrize("rate", [0.3, 20.0, 9e7, 1.1e8, 1e13])
def test_counts_at_every_rate(rate: float) -> None:
    y = torch.full((50_000,), rate, dtype=torch.float64)
    counts = PoissonCounts(generator=seeded())(y)
    assert_moments((counts - rate) / math.sqrt(rate), 1 / rate)


@given(SEEDS, st.floats(0.1, 50), st.floats(0, 50))
def test_background_and_readout_noise(seed: int, std: float, level: float) -> None:
    y = torch.rand(3, 100, 100, generator=seeded(seed)) * 10
    noisy = ReadoutNoise(std, generator=seeded(seed + 1))(Background(level)(y))
    assert_moments((noisy - y - level).double() / std)
    model = ElementwiseSquare()
    assert torch.equal(Measured(model, [Background(level)])(y), model(y) + level)
    assert torch.allclose(ReadoutNoise(0.0)(y), y)


@given(SEEDS)
def test_background_is_in_photons(seed: int) -> None:
    """A background of b photons a pixel raises the pattern by b M / photons of its total."""
    x = torch.randn(4, 5, 6, dtype=torch.complex128, generator=seeded(seed))
    model = FarField()
    y, noisy = model(x), Measured(model, [Background(3.0)], photons=1e4)(x)
    share = (noisy - y) / y.sum((1, 2), keepdim=True)
    assert torch.allclose(share, torch.full_like(share, 3e-4), rtol=1e-9)


@given(SEEDS, st.integers(1, 3), st.booleans(), st.floats(0, 3.4))
def test_beam_stop(seed: int, d: int, centered: bool, radius: float) -> None:
    shape = tuple(torch.randint(7, 11, (d,), generator=seeded(seed)).tolist())
    mask = beam_stop(shape, radius, centered=centered)
    for place in torch.cartesian_prod(*(torch.arange(m) for m in shape)).reshape(-1, d).tolist():
        away = [abs(k - m // 2) if centered else min(k, m - k) for k, m in zip(place, shape, strict=True)]
        assert mask[tuple(place)].item() == (math.hypot(*away) > radius)


@pytest.mark.parametrize("centered", [False, True])
def test_the_stop_hides_the_brightest_pixel(centered: bool) -> None:
    model = FarField(2, centered=centered)
    y = model(torch.ones(1, 6, 5, dtype=torch.complex64))[0]
    mask = beam_stop(model.detector_shape((6, 5)), 0, centered=centered)
    assert (~mask).nonzero().tolist() == [list(divmod(int(y.argmax()), 10))]


CONTENT = torch.randn(6, 4, 5, dtype=torch.complex64, generator=seeded(1))
MODELS: dict[str, tuple[ForwardModel, Tensor]] = {
    "complex": (FarField(2), torch.nn.functional.pad(CONTENT, (1, 2, 0, 3))),
    "real": (FarField(2, field="real"), torch.nn.functional.pad(CONTENT.real, (1, 2, 0, 3))),
    "gaussian": (GaussianIntensity.draw(20, 5, generator=seeded()), CONTENT.real[:, 0]),
    "square": (ElementwiseSquare(), CONTENT.real[:, 0, 0]),
}


@pytest.mark.parametrize("name", MODELS)
def test_symmetries_stay(name: str) -> None:
    """Moved objects have the same measurement where no part is random, and the same law where parts are."""
    model, x = MODELS[name]
    y = model(x)
    mask = torch.rand(y.shape[1:], generator=seeded(2)) < 0.7 if y.dim() > 1 else torch.ones(6, dtype=torch.bool)
    still = Measured(model, [Background(2.0), Mask(mask)], photons=1e4)
    assert still.symmetries == model.symmetries
    moved = RandomSymmetry(still.symmetries, generator=seeded(3))(x)
    assert not torch.allclose(moved, x)
    assert torch.allclose(still(moved), still(x), rtol=1e-3, atol=1e-3, equal_nan=True)
    assert torch.equal(still(x).isnan(), ~mask.expand_as(y))
    fix = still.canonicalizer()
    assert repr(fix) == repr(model.canonicalizer())
    assert torch.allclose(fix(moved), fix(x), atol=1e-4)


def test_options_of_the_model_pass_through() -> None:
    measured = Measured(FarField(2), [PoissonCounts()])
    assert measured.canonicalizer(channel_dims=1).symmetry.channel_dims == 1
    x = torch.randn(8, 6, 6, dtype=torch.complex64, generator=seeded())
    template = measured.fit_canonicalizer(x, threshold=0.1).template
    assert torch.equal(template, FarField(2).fit_canonicalizer(x, threshold=0.1).template)


def test_zero_patterns_and_pixels_that_are_not_finite() -> None:
    x = torch.zeros(3, 4, 4, dtype=torch.complex64)
    x[1] = 1e-18  # a total that is subnormal, or nearly
    x[2] = torch.randn(4, 4, generator=seeded())
    parts = [PoissonCounts(generator=seeded()), ReadoutNoise(0.0)]
    y = Measured(FarField(2), parts, photons=1e6)(x)
    assert y.isfinite().all()
    assert (y[0] == 0).all()
    assert torch.equal(Measured(FarField(2), [Background(2.0)], photons=1e6)(x)[0], torch.full((8, 8), 2.0))
    counts = parts[0](torch.tensor([-1.0, math.nan, math.inf, 0.0, 5.0]))
    assert counts[0] == counts[3] == 0
    assert counts[1:3].isnan().all()
    assert counts[4].isfinite()
    for empty in (torch.zeros(0, 4, 4), torch.zeros(2, 0, 4, 4)):
        shape = (*empty.shape[:-2], 8, 8)
        assert Measured(FarField(2), parts, photons=1e6)(empty.to(torch.complex64)).shape == shape


def test_the_generator_is_the_only_state() -> None:
    x = torch.randn(2, 4, 4, dtype=torch.complex64, generator=seeded())

    def measure(seed: int) -> Tensor:
        generator = seeded(seed)
        parts = [PoissonCounts(generator=generator), ReadoutNoise(1.0, generator=generator)]
        return Measured(FarField(2), parts, photons=1e4)(x)

    before = torch.get_rng_state()
    assert torch.equal(measure(0), measure(0))
    assert not torch.equal(measure(0), measure(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)
    first = Measured(FarField(2), [PoissonCounts()], photons=1e4)(x)
    torch.manual_seed(0)
    assert torch.equal(first, Measured(FarField(2), [PoissonCounts()], photons=1e4)(x))


def test_half_precision_counts_in_single() -> None:
    y = Measured(ElementwiseSquare(), [PoissonCounts(generator=seeded())])(torch.full((4,), 40.0, dtype=torch.bfloat16))
    assert y.dtype == torch.float32
    assert torch.equal(y, y.round())


def test_gradients() -> None:
    """What is differentiable has its gradient; counts refuse."""
    x = torch.randn(2, 3, 3, dtype=torch.complex128, generator=seeded(), requires_grad=True)
    mask = beam_stop((6, 6), 1)
    measured = Measured(FarField(2), [Background(2.0), Mask(mask)], photons=1e2)
    assert torch.autograd.gradcheck(lambda x: measured(x)[:, mask], x)
    noisy = Measured(FarField(2), [PoissonCounts()])
    with pytest.raises(RuntimeError, match="no gradient"):
        noisy(x)
    with torch.no_grad():
        assert noisy(x).isfinite().all()


class _Ranks(torch.utils.data.Dataset[Tensor]):
    part = PoissonCounts(generator=seeded())

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return self.part(torch.ones(2))


def test_workers_share_no_generator() -> None:
    assert _Ranks()[0].shape == (2,)
    with pytest.raises(RuntimeError, match="Leave generator=None"):
        next(iter(torch.utils.data.DataLoader(_Ranks(), num_workers=1)))


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "photons 0": (lambda: Measured(FarField(2), [PoissonCounts()], photons=0), ValueError, "photons > 0, but got 0"),
    "photons": (lambda: Measured(FarField(2), [PoissonCounts()], photons=-1.0), ValueError, "photons.*got -1.0"),
    "nan": (lambda: Measured(FarField(2), [PoissonCounts()], photons=math.nan), ValueError, "photons.*got nan"),
    "std": (lambda: ReadoutNoise(-1.0), ValueError, "ReadoutNoise needs a finite std >= 0, but got -1.0"),
    "level": (lambda: Background(math.inf), ValueError, "level"),
    "radius": (lambda: beam_stop((4, 4), -1), ValueError, "radius"),
    "whole": (lambda: beam_stop((4, 4), 3), ValueError, "hides the whole detector"),
    "seed": (lambda: PoissonCounts(generator=3), TypeError, "manual_seed"),  # type: ignore[arg-type]
    "complex": (lambda: Background(1)(torch.ones(2, 2, dtype=torch.complex64)), TypeError, r"y.abs\(\).square"),
    "array": (lambda: PoissonCounts()([1.0]), TypeError, "torch.as_tensor"),  # type: ignore[arg-type]
    "mask": (lambda: Mask(torch.ones(4, dtype=torch.bool))(torch.ones(4, 3)), ValueError, "last dimensions of y"),
    "float mask": (lambda: Mask(torch.ones(3))(torch.ones(4, 3)), TypeError, "mask > 0"),
    "no parts": (lambda: Measured(FarField(2), [], photons=1e6), ValueError, "at least one part"),
    "one part": (lambda: Measured(FarField(2), PoissonCounts()), TypeError, "list of modules"),  # type: ignore[arg-type]
    "class": (lambda: Measured(FarField, [PoissonCounts()]), TypeError, "needs a ForwardModel"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name: str) -> None:
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()
