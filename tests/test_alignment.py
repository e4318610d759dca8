"""Alignment and SA-MSE against an exhaustive search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, FixSign, RandomSymmetry, align, sa_mse
from torch_symbreak.symmetries import (
    ConjugateFlip,
    Element,
    GlobalPhase,
    PhaseRamp,
    Product,
    Scale,
    Sign,
    Symmetry,
    Translation,
)
from torch_symbreak.testing import assert_group, deviation

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
    assert deviation(found.aligned, x, d).max() < 1e-5
    assert (found.error >= 0).all()
    assert (found.error <= 1e-10 * x.abs().square().mean(tuple(range(1, d + 1)))).all()
    # The element is that of the product: it moves anything, back as well.
    group = Product(model.symmetries)
    assert deviation(group.act(found.element, moved), x, d).max() < 1e-5
    assert deviation(group.act(group.inverse(found.element), x), moved, d).max() < 1e-5


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


@given(
    st.sampled_from([(9,), (10,), (6, 7), (4, 5, 4)]),
    st.booleans(),
    st.sampled_from([2, 5, 10]),
    st.integers(0, 2**31 - 1),
)
@example((10,), False, 10, 999)  # on half entries the other orientation gains more
def test_shifts_by_fractions_of_an_entry(frame: tuple[int, ...], flipped: bool, subpixel: int, seed: int) -> None:
    """On the torus, where Fourier interpolation is exact, a drawn shift is found to 1 / subpixel."""
    d = len(frame)
    generator = torch.Generator().manual_seed(seed)
    group = Product([Translation(d, wrap=True), ConjugateFlip(d, wrap=True), GlobalPhase(d)])
    # Band-limited: no entry at the Nyquist frequency, which has two shifts.
    x = torch.randn(3, *frame, dtype=torch.complex128, generator=generator)
    spectrum = torch.fft.fftn(x, dim=tuple(range(1, d + 1)))
    for axis, n in enumerate(frame):
        if n % 2 == 0:
            spectrum.select(axis + 1, n // 2).zero_()
    x = torch.fft.ifftn(spectrum, dim=tuple(range(1, d + 1)))
    steps = torch.randint(0, subpixel * min(frame), (3, d), generator=generator)
    scalar = GlobalPhase(d).sample(x, generator=generator)
    g = Element(torch.full((3,), flipped), steps.double() / subpixel, scalar)
    moved = group.act(g, x)
    assert deviation(group.act(group.inverse(g), moved), x, d).max() < 1e-9
    found = align(moved, x, group, subpixel=subpixel)
    assert deviation(found.aligned, x, d).max() < 1e-9
    assert found.error.max() < 1e-18
    coarse = align(moved, x, group)
    assert (coarse.error >= found.error - 1e-12).all()


def test_fractions_with_padding_count_what_is_cut() -> None:
    x = torch.zeros(2, 12, dtype=torch.complex128)
    x[:, 3:8] = torch.hann_window(5, periodic=False, dtype=torch.float64) * (1 + 1j)
    whole = align(x.roll(2, -1), x, FarField(1).symmetries, subpixel=4)
    assert torch.allclose(whole.element.shift, torch.tensor(-2.0, dtype=torch.float64))
    assert whole.error.max() < 1e-20
    r = torch.randn(2, 12, dtype=torch.complex128)
    noisy = torch.randn(2, 12, dtype=torch.complex128)
    fine = align(noisy, r, FarField(1).symmetries, subpixel=8)
    assert (fine.error <= align(noisy, r, FarField(1).symmetries).error + 1e-12).all()
    # The energy balance on the padded torus: |g x|² + |r|² - 2 Re <g x, r>.
    inner = (fine.aligned * r.conj()).sum(-1).real
    expected = (noisy.abs().square().sum(-1) + r.abs().square().sum(-1) - 2 * inner) / 12
    assert torch.allclose(fine.error, expected, rtol=1e-6)
    assert not align(r.real, r.real, Translation(1), subpixel=3).aligned.is_complex()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("frame", [(31,), (32,), (16, 16), (15, 17), (6, 7, 8)])
def test_exact_twins_have_their_orientation(frame: tuple[int, ...], scale: float) -> None:
    d = len(frame)
    x = torch.randn(200, *frame, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)) * scale
    group = Product(FarField(d).symmetries)
    flipped = torch.arange(200) % 2 == 0
    ends = torch.tensor([n - 1 for n in frame]).expand(200, d)
    twins = group.act(Element(flipped, torch.where(flipped[:, None], ends, 0), torch.full((200,), 1j).to(x.dtype)), x)
    found = align(twins, x, group)
    assert torch.equal(found.element.flipped, flipped)
    assert deviation(found.aligned, x, d).max() < 1e-5


def test_an_off_center_detector() -> None:
    generator = torch.Generator().manual_seed(0)
    for frame in ((9,), (5, 6)):
        d = len(frame)
        pad = [v for _ in frame for v in (3, 4)]
        x = torch.nn.functional.pad(torch.randn(40, *frame, dtype=torch.complex128, generator=generator), pad)
        ramp = PhaseRamp(d)
        assert_group(ramp, x, torch.randn(x.shape, dtype=x.dtype, generator=generator), generator=generator)
        group = Product([*FarField(d).symmetries, ramp])
        # As a group of content that stays inside its frame: a ramp does not fit together with what wraps around it.
        g = group.sample(x, generator=generator)
        moved = group.act(g, x)
        assert deviation(group.act(group.inverse(g), moved), x, d).max() < 1e-9
        h = group.sample(moved, generator=generator)
        assert deviation(group.act(group.compose(h, g), x), group.act(h, moved), d).max() < 1e-9
        # The pattern shifts by q M.
        q = torch.tensor([3, -2][:d], dtype=torch.float64) / (2 * torch.tensor(x.shape[1:]))
        y = FarField(d)(ramp.act(q.expand(40, d), x))
        assert torch.allclose(y, FarField(d)(x).roll([3, -2][:d], tuple(range(1, d + 1))))
        found = align(moved, x, group)
        assert deviation(found.aligned, x, d).max() < 0.02
        assert deviation(group.act(found.element, moved), found.aligned, d).max() < 1e-9
    with pytest.raises(ValueError, match="GlobalPhase too"):
        Product([Translation(), PhaseRamp()])


def test_an_unknown_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.pad(torch.randn(20, 5, 6, dtype=torch.complex64, generator=generator), (2, 2, 2, 2))
    group = Product([*FarField().symmetries, Scale()])
    assert_group(group, x, generator=generator)
    moved = group.act(group.sample(x, generator=generator), x)
    found = align(moved, x, group)
    assert deviation(found.aligned, x, 2).max() < 1e-5
    noisy = moved + 0.3 * (moved != 0) * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    best = align(noisy, x, group)
    for factor in (0.99, 1.01):  # no other scale is nearer
        other = (best.aligned * factor - x).abs().square().mean((1, 2))
        assert (other > (best.aligned - x).abs().square().mean((1, 2))).all()
    tiny = align(x * 1e-30, x, group)
    assert deviation(tiny.aligned, x, 2).max() < 1e-5
    assert torch.isfinite(align(torch.zeros_like(x), x, group).error).all()
    with pytest.raises(ValueError, match="one scale"):
        Product([Scale(), Scale()])


@dataclass(frozen=True)
class Swap(Symmetry):
    """A user's finite symmetry: exchange of the two channels."""

    commutes = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(x.shape[: -self.item_dims], generator=generator) < 0.5

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        return torch.where(g.reshape((*g.shape, *[1] * self.item_dims)), x.flip(-self.item_dims), x)

    def inverse(self, g: Tensor) -> Tensor:
        return g

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g2 ^ g1


class EnumeratedSwap(Swap):
    def elements(self, x: Tensor) -> Iterator[Tensor]:
        for swapped in (False, True):
            yield torch.full(x.shape[: -self.item_dims], swapped)


def test_a_symmetry_of_the_users_own() -> None:
    dims = {"channel_dims": 1}
    group = Product(
        [EnumeratedSwap(2, **dims), Translation(2, **dims), ConjugateFlip(2, **dims), GlobalPhase(2, **dims)]
    )
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.pad(torch.randn(30, 2, 4, 5, dtype=torch.complex64, generator=generator), (1, 2, 3, 0))
    assert_group(group, x, generator=generator)
    g = group.sample(x, generator=generator)
    found = align(group.act(g, x), x, group)
    assert deviation(found.aligned, x, 3).max() < 1e-5
    assert torch.equal(found.element.others[0], g.others[0])
    assert deviation(group.act(found.element, group.act(g, x)), x, 3).max() < 1e-5
    alone = align(x.flip(1), x, EnumeratedSwap(2, channel_dims=1))
    assert alone.error.max() == 0
    with pytest.raises(NotImplementedError, match=r"Swap cannot be aligned.*implement elements\(x\)"):
        align(x, x, Swap(2, channel_dims=1))


@pytest.mark.parametrize("frame", [(16, 16), (15, 18), (21,), (6, 7, 8)])
def test_agrees_with_scikit_image(frame: tuple[int, ...]) -> None:
    """On the torus, where it is defined: the same shift, and the same orientation, run on both."""
    registration = pytest.importorskip("skimage.registration")
    d, generator = len(frame), torch.Generator().manual_seed(0)
    x = torch.randn(12, *frame, dtype=torch.complex128, generator=generator)
    group = Product(FarField(d, oversampling=1.0).symmetries)
    g = group.sample(x, generator=generator)
    moved = group.act(g, x) + 0.2 * torch.randn(x.shape, dtype=x.dtype, generator=generator)
    found = align(moved, x, group)
    for i in range(12):
        results = []
        for twin in (moved[i], moved[i].flip(tuple(range(d))).conj().resolve_conj()):
            shift, error, _ = registration.phase_cross_correlation(x[i].numpy(), twin.numpy(), normalization=None)
            results.append((error, shift))
        flipped = results[1][0] < results[0][0]
        assert flipped == bool(found.element.flipped[i])
        # Ours flips about index 0, then shifts; the twin above was flipped about the frame.
        offset = torch.tensor([n - 1 for n in frame]) if flipped else 0
        expected = (torch.tensor(results[int(flipped)][1]) + offset) % torch.tensor(frame)
        assert torch.equal(found.element.shift[i] % torch.tensor(frame), expected.long())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("subpixel", [1, 4])
def test_every_scale(dtype: torch.dtype, subpixel: int) -> None:
    x = torch.tensor([[1.0, 2, 3, 0]], dtype=dtype)
    r = torch.tensor([[2.0, 3, 0, 0]], dtype=dtype)
    group = FarField(1).symmetries
    expected = math.sqrt(float(align(x, r, group, subpixel=subpixel).error) * 4 / 13)
    for scale in (1e-25, 1e-10, 1e10, 1e25) if dtype == torch.complex64 else (1e-150, 1e-30, 1e30, 1e150):
        error = align(x * scale, r * scale, group, subpixel=subpixel).error / scale**2
        assert math.sqrt(float(error) * 4 / 13) == pytest.approx(expected, rel=1e-5)
    twin = torch.tensor([[0, 3j, 2j, 1j]], dtype=dtype)
    assert align(twin * 1e-25, x * 1e-25, group).error / 1e-50 < 1e-10
    huge = torch.tensor([[3e300, -4e300]], dtype=torch.float64)
    assert align(-huge, huge, Sign(1)).error == 0
    half = sa_mse(torch.tensor([[300.0, 500, 0]]).half(), torch.tensor([[500.0, 0, 0]]).half(), Translation(1))
    assert half == pytest.approx(30000)


def test_no_symmetry_makes_it_worse() -> None:
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(300, 4, 4, dtype=torch.complex64, generator=generator)
    for noise in (1e-7, 1e-3, 0.5):
        x = r + noise * torch.randn(r.shape, dtype=r.dtype, generator=generator)
        mse = (x.to(torch.complex128) - r).abs().square().mean((1, 2)) * (1 + 1e-6)
        plain = align(x, r, FarField().symmetries).error
        assert (plain <= mse).all()
        for more in ([PhaseRamp()], [Scale()]):
            assert (align(x, r, [*FarField().symmetries, *more]).error <= plain * (1 + 1e-6)).all()
        for subpixel in (2, 3, 7):
            assert (align(x, r, FarField().symmetries, subpixel=subpixel).error <= plain * (1 + 1e-6)).all()


def test_a_scale_counts_what_is_cut() -> None:
    x = torch.tensor([[3.0, 1, 2, 3, 0, 0]], dtype=torch.float64)
    r = torch.tensor([[2.0, 4, 6, 0, 0, 0]], dtype=torch.float64)  # 2 x, shifted by -1, without its first entry
    found = align(x, r, [Translation(1), Scale(1)])
    assert found.element.shift == -1
    for factor in (0.99, 1.01):  # of the 3 that is cut, too
        moved = found.aligned * factor
        other = (moved - r).square().sum() + (3 * found.element.scalar * factor).square().sum()
        assert other > found.error.sum() * 6


def test_no_shift_removes_everything() -> None:
    x = torch.ones(1, 3)
    assert align(x, -x, Translation(1)).error * 3 == 8  # two pushed out of either, and |1 + 1|²
    assert align(x[:, :1], -x[:, :1], Translation(1)).error == 4


def test_compiles_and_maps() -> None:
    x, r = torch.randn(2, 3, 2, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    found = align(x, r, FarField().symmetries)
    compiled = torch.compile(lambda a, b: align(a, b, FarField().symmetries), fullgraph=True, backend="eager")(x, r)
    mapped = torch.func.vmap(lambda a, b: tuple(align(a, b, FarField().symmetries)[::2]))(x, r)
    torch.compiler.reset()
    for aligned, error in ((compiled.aligned, compiled.error), mapped):
        assert torch.allclose(aligned, found.aligned)
        assert torch.allclose(error, found.error)


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"Pass its \.symmetries"):
        align(torch.ones(1, 3), torch.ones(1, 3), FarField(1, field="real"))  # type: ignore[arg-type]
    for subpixel in (0, 1.5, True):
        with pytest.raises(ValueError, match="subpixel"):
            align(torch.ones(1, 3), torch.ones(1, 3), Translation(1), subpixel=subpixel)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 4, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"one shape, but got \(2, 4, 4\) and \(4, 4\).*expand_as"):
        align(x, x[0], FarField().symmetries)
    with pytest.raises(TypeError, match="both real or both complex"):
        align(x, x.real, FarField().symmetries)
    with pytest.raises(TypeError, match="GlobalPhase needs a complex target"):
        align(x.real, x.real, FarField().symmetries)
    with pytest.raises(ValueError, match="reduction"):
        sa_mse(x, x, FarField().symmetries, reduction="max")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_without_values_to_look_at():
    """Fake tensors and traces take the whole way in double precision; a trace made on clear items is right on ties."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        z = torch.randn(3, 6, 7) + 0j
        assert align(z, z, FarField().symmetries).error.shape == (3,)
    shifts = [Translation(1, wrap=True)]
    clear = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(0))
    traced = torch.jit.trace(lambda p, q: align(p, q, shifts).element.shift, tuple(clear), check_trace=False)
    for seed in range(100):
        p = torch.randn(4, 12, generator=torch.Generator().manual_seed(seed))
        q = p + p.roll(1, 1) * (1 + 1e-7 * seed / 10)
        assert torch.equal(traced(p, q), align(p, q, shifts).element.shift)


def test_scale_beyond_the_root_of_the_range():
    x, r = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = align(x * 1e-100, r * 1e57, [Sign(1), Scale(1)])
    expected = align(x, r, [Sign(1), Scale(1)]).error * 1e114
    assert torch.allclose(found.error, expected, rtol=1e-9)
