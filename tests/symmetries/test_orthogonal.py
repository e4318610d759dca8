"""The laws of orthogonal and unitary matrices, on drawn factors, and alignment against SciPy and a grid."""

import math

import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import AlignToTemplate, OrbitMinLoss, align
from torch_symbreak.symmetries import FixOrthogonal, Orthogonal, Product, Sign, orthogonal
from torch_symbreak.testing import check_canonicalizer


def gram(x: Tensor) -> Tensor:
    return x @ x.mH


@st.composite
def factors(draw: st.DrawFn) -> tuple[Tensor, torch.Generator]:
    """Draw a batch of factors without near-ties, which enlarge rounding errors, and a generator."""
    dtype, seed = draw(st.sampled_from(REAL + COMPLEX)), draw(st.integers(0, 2**31))
    r = draw(st.integers(1, 4))
    n, batch = draw(st.integers(r, 9)), draw(st.sampled_from([(40,), (5, 8)]))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*batch, n, r, dtype=dtype, generator=generator)
    near = FixOrthogonal().margin(x) < 1e-2
    return torch.where(near[..., None, None], torch.eye(n, r, dtype=dtype), x), generator


@given(factors(), st.booleans())
def test_laws(drawn: tuple[Tensor, torch.Generator], fitted: bool) -> None:
    x, generator = drawn
    fix: FixOrthogonal | AlignToTemplate = FixOrthogonal()
    if fitted:
        # Orthonormal columns: a template near deficient rank makes every item a near-tie.
        template = torch.linalg.qr(torch.randn(x.shape[-2:], dtype=x.dtype, generator=generator))[0]
        fix = AlignToTemplate(template, Orthogonal())
        x = torch.where((fix.margin(x) < 1e-2)[..., None, None], template, x)
    check_canonicalizer(fix, x, gram, generator=generator)


def test_laws_of_channels_that_share_a_matrix() -> None:
    x = torch.randn(60, 3, 2, 5, 4, dtype=torch.float64)
    check_canonicalizer(FixOrthogonal(3, channel_dims=1), x, gram)
    fix = AlignToTemplate(torch.randn(3, 2, 5, 4, dtype=torch.float64), Orthogonal(3, channel_dims=1))
    check_canonicalizer(fix, x, gram)


def test_the_rule_is_the_cholesky_factor() -> None:
    for dtype in (torch.float64, torch.complex128):
        x = torch.randn(20, 6, 3, dtype=dtype)
        fix = FixOrthogonal()
        torch.testing.assert_close(fix(x)[:, :3], torch.linalg.cholesky(gram(x)[:, :3, :3]))
        diagonal = fix(x).diagonal(dim1=-2, dim2=-1).real
        torch.testing.assert_close(fix.margin(x), diagonal.amin(-1) / x.flatten(1).norm(dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("scale", [1, 1e-30, 1e30])
def test_alignment_is_scipys(dtype: torch.dtype, scale: float) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    x, t = torch.randn(2, 10, 5, 3, dtype=dtype)
    aligned = align(x * scale, t, Orthogonal())
    double = torch.promote_types(dtype, torch.float64)
    for item, reference, found, error in zip(x.to(double), t.to(double), *aligned[::2], strict=True):
        q = torch.from_numpy(linalg.orthogonal_procrustes(item.numpy(), reference.numpy())[0])
        torch.testing.assert_close(found / scale, (item @ q).to(dtype), rtol=1e-5, atol=1e-5)
        nearest = float((scale * item @ q - reference).abs().square().mean())
        assert math.isclose(float(error), nearest, rel_tol=1e-6)


def plane(degrees: Tensor, mirrored: bool) -> Tensor:
    """Return rotations of the plane, (K, 2, 2), after a reflection of the second axis or none."""
    c, s = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    rotations = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)
    return rotations * torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None] if mirrored else rotations


def test_alignment_and_gap_agree_with_a_grid_of_the_plane() -> None:
    x, t = torch.randn(2, 30, 4, 2, dtype=torch.float64)
    degrees = torch.arange(0, 360, 0.1, dtype=torch.float64)
    gains = [torch.einsum("bni,kij,bnj->bk", x, plane(degrees, mirrored), t).amax(-1) for mirrored in (False, True)]
    better, worse = torch.maximum(*gains), torch.minimum(*gains)
    found = (align(x, t, Orthogonal()).aligned * t).sum((-2, -1))
    size = (x.square().sum((-2, -1)) * t.square().sum((-2, -1))).sqrt()
    slack = size * (1 - math.cos(math.radians(0.05)))  # the nearest angle of the grid is at most 0.05 degrees away
    assert torch.all((better <= found + 1e-12) & (found <= better + slack))
    torch.testing.assert_close(Orthogonal().gap(x, t), better - worse, rtol=0, atol=float(2 * slack.max()))


def test_the_loss_is_least_over_the_orbit() -> None:
    x, t = torch.randn(2, 8, 5, 3, dtype=torch.float64)
    loss = float(OrbitMinLoss(Orthogonal())(x, t))
    drawn = [float((x - Orthogonal().act(Orthogonal().sample(t), t)).square().mean()) for _ in range(50)]
    assert loss < min(drawn)
    assert float(OrbitMinLoss(Orthogonal())(FixOrthogonal()(t), t)) < 1e-25


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_draws_are_uniform(dtype: torch.dtype) -> None:
    count, r = 20_000, 3
    q = Orthogonal().sample(torch.zeros(count, 5, r, dtype=dtype), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(q @ q.mH, torch.eye(r, dtype=dtype).expand(count, r, r))
    noise = 5 / math.sqrt(count)  # five standard deviations of the mean of numbers of variance 1
    trace = q.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert abs(trace.mean()) < noise
    assert abs(torch.linalg.det(q).mean()) < noise
    assert abs(trace.abs().square().mean() - 1) < 2 * noise  # diaconis and Shahshahani: E |tr Q|² = 1
    assert (q.abs().square().mean(0) - 1 / r).abs().max() < noise


def test_draws_depend_on_seed_and_index_alone() -> None:
    x = torch.zeros(5, 2, 4, 2)
    many = Orthogonal().sample_each(x, 3, torch.arange(5))
    assert many.shape == (5, 2, 2, 2)
    assert torch.equal(many[4:], Orthogonal().sample_each(x[4:], 3, torch.tensor([4])))
    assert not torch.equal(many[0], many[1])


def test_dependent_rows_are_ties() -> None:
    x = torch.randn(5, 6, 3, dtype=torch.float64)
    x[0] = 0
    x[1, 1] = 2 * x[1, 0]  # rank 3, but its first rows are dependent
    x[2, :, 2] = x[2, :, 0] - x[2, :, 1]  # rank 2
    x[3, 5, 0] = math.nan
    fix, template = FixOrthogonal(), AlignToTemplate(torch.randn(6, 3), Orthogonal())
    assert fix.margin(x)[:3].max() < 1e-15
    assert template.margin(x)[[0, 2]].max() < 1e-15
    assert template.margin(x)[1] > 1e-3
    for each in (fix, template):
        assert each.margin(x)[3].isnan()
        assert each.margin(x)[4] > 1e-3
        finite = [0, 1, 2, 4]
        torch.testing.assert_close(gram(each(x)[finite]), gram(x[finite]))
        assert each(x)[3].isnan().any()
    assert fix.tied(x).tolist() == [False, True, True, False, False]  # zeros are none
    # Items of rank 2 have one representative all the same: its last column is zero.
    moved = Orthogonal().act(Orthogonal().sample(x), x)
    torch.testing.assert_close(fix(moved)[2], fix(x)[2])


def test_gradients_are_those_of_finite_differences_and_finite_at_ties() -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FixOrthogonal(), x)
    tied = torch.zeros(2, 5, 3, requires_grad=True)
    FixOrthogonal()(tied).sum().backward()
    assert tied.grad is not None
    assert tied.grad.isfinite().all()


def test_half_precision_keeps_its_dtype_and_the_decision_of_double() -> None:
    x = torch.randn(10, 6, 3).half()
    assert FixOrthogonal()(x).dtype == torch.float16
    torch.testing.assert_close(FixOrthogonal()(x), FixOrthogonal()(x.double()).half())
    with torch.autocast("cpu"):
        torch.testing.assert_close(FixOrthogonal()(x.float()), FixOrthogonal()(x.double()).float())


def test_bad_input_is_refused() -> None:
    group, x = Orthogonal(), torch.randn(2, 4, 3)
    with pytest.raises(ValueError, match=r"n >= r, but got .*\(2, 2, 3\), items of 2 x 3.*qr\(x.mH\)"):
        FixOrthogonal()(x[:, :2])
    wide = x[:, :2]
    torch.testing.assert_close(gram(wide @ torch.linalg.qr(wide.mH)[0]), gram(wide))  # what the message says
    with pytest.raises(ValueError, match=r"elements \(\*batch, 3, 3\)"):
        group.act(torch.eye(2).expand(2, 2, 2), x)
    with pytest.raises(ValueError, match="One element is needed per item"):
        group.act(torch.eye(3), x)
    with pytest.raises(TypeError, match="real target by a complex element"):
        group.act(torch.eye(3, dtype=torch.complex64).expand(2, 3, 3), x)
    with pytest.raises(ValueError, match="event_dims >= 2"):
        Orthogonal(1)
    with pytest.raises(ValueError, match="whether Orthogonal commutes"):
        Product([group, Sign(2)])
    deficient = torch.randn(4, 2) @ torch.randn(2, 3)
    for template in (deficient, torch.randn(2, 3)):
        with pytest.raises(ValueError, match="only the identity leaves as it is, but Orthogonal"):
            AlignToTemplate(template, group)


def without_signs(patch: pytest.MonkeyPatch) -> None:
    exact = orthogonal._turn
    patch.setattr(orthogonal, "_turn", lambda matrix: (torch.linalg.qr(matrix.mH)[0], exact(matrix)[1]))


def composed_backwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Orthogonal, "compose", lambda self, g2, g1: g2 @ g1)


def not_inverted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Orthogonal, "inverse", lambda self, g: g)


def rotated_only(patch: pytest.MonkeyPatch) -> None:
    """The best rotation: reflected items get another target."""

    def candidates(self: Orthogonal, x: Tensor, reference: Tensor):
        left, _, right = torch.linalg.svd(x.mH @ reference)
        turn = torch.ones_like(left[..., 0, :])
        turn[..., -1] = torch.linalg.det(left @ right)
        yield (left * turn[..., None, :]) @ right

    patch.setattr(Orthogonal, "candidates", candidates)


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (without_signs, "invariant"),
        (composed_backwards, "group"),
        (not_inverted, "group"),
        (rotated_only, "invariant"),
    ],
)
def test_laws_bite(mutant, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(40, 5, 2, dtype=torch.float64)
    template = AlignToTemplate(torch.randn(5, 2, dtype=torch.float64), Orthogonal())
    fix = template if mutant is rotated_only else FixOrthogonal()
    check_canonicalizer(fix, x, gram)
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_canonicalizer(fix, x, gram)
