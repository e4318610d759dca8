"""The laws of rigid motions, on drawn point clouds, and alignment against SciPy."""

import math

import pytest
import torch
from draws import REAL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import AlignToTemplate, OrbitMinLoss, align, sa_mse
from torch_symbreak.symmetries import FixOrthogonal, FixRigidMotion, Orthogonal, Rigid, RigidMotion
from torch_symbreak.testing import check_canonicalizer


def distances(x: Tensor) -> Tensor:
    return (x[..., :, None, :] - x[..., None, :, :]).square().sum(-1)


def centered(x: Tensor) -> Tensor:
    return x - x.mean(-2, keepdim=True)


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Tensor, torch.Generator]:
    """Draw a batch of point clouds without near-ties, off the origin, and a generator."""
    dtype, seed = draw(st.sampled_from(REAL)), draw(st.integers(0, 2**31))
    r = draw(st.integers(1, 4))
    n, batch = draw(st.integers(r + 1, 9)), draw(st.sampled_from([(40,), (5, 8)]))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*batch, n, r, dtype=dtype, generator=generator)
    near = FixRigidMotion().margin(x) < 2e-2
    x = torch.where(near[..., None, None], torch.eye(n, r, dtype=dtype), x)
    return x + torch.randn(r, dtype=dtype, generator=generator), generator


@given(clouds(), st.booleans())
def test_laws(drawn: tuple[Tensor, torch.Generator], fitted: bool) -> None:
    x, generator = drawn
    fix = FixRigidMotion()
    if fitted:
        # Orthonormal columns: a template near deficient rank makes every item a near-tie.
        template = torch.linalg.qr(centered(torch.randn(x.shape[-2:], dtype=x.dtype, generator=generator)))[0]
        fix = FixRigidMotion(turn=AlignToTemplate(template, Orthogonal()))
        near = fix.margin(x) < 2e-2
        x = torch.where(near[..., None, None], template, x)
    check_canonicalizer(fix, x, distances, generator=generator)


def test_laws_of_channels_that_share_a_motion() -> None:
    x = 3 + torch.randn(40, 2, 2, 3, 3, dtype=torch.float64)
    check_canonicalizer(FixRigidMotion(3, channel_dims=1), x)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("scale", [1, 1e-15, 1e15])
def test_alignment_is_scipys_procrustes_of_centered_points(dtype: torch.dtype, scale: float) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    x, t = 5 + torch.randn(2, 10, 6, 3, dtype=dtype)
    x, t = x * scale, t * scale
    found = align(x, t, RigidMotion())
    torch.testing.assert_close(RigidMotion().act(found.element.others[0], x), found.aligned)
    for item, reference, aligned, error in zip(x.double(), t.double(), found.aligned, found.error, strict=True):
        q = torch.from_numpy(linalg.orthogonal_procrustes(centered(item).numpy(), centered(reference).numpy())[0])
        wanted = centered(item) @ q + reference.mean(0)
        torch.testing.assert_close((aligned / scale), (wanted / scale).to(dtype), rtol=1e-5, atol=1e-5)
        assert math.isclose(float(error), float((wanted - reference).square().mean()), rel_tol=1e-5)


def test_the_template_gives_the_nearest_point_of_the_orbit() -> None:
    x, template = 2 + torch.randn(20, 5, 2, dtype=torch.float64), centered(torch.randn(5, 2, dtype=torch.float64))
    fix = FixRigidMotion(turn=AlignToTemplate(template, Orthogonal()))
    aligned = align(x, template.expand_as(x), RigidMotion())
    torch.testing.assert_close(fix(x), aligned.aligned)
    torch.testing.assert_close(OrbitMinLoss(RigidMotion())(template.expand_as(x), x), aligned.error.mean())
    group = RigidMotion()
    least = (fix(x) - template).square().mean((-2, -1))
    for _ in range(50):
        assert torch.all((group.act(group.sample(x), x) - template).square().mean((-2, -1)) >= least)


def test_the_rule_is_that_of_the_centered_cloud() -> None:
    x = 4 + torch.randn(20, 5, 3, dtype=torch.float64)
    fix = FixRigidMotion()
    torch.testing.assert_close(fix(x), FixOrthogonal()(centered(x)))
    torch.testing.assert_close(fix.margin(x), FixOrthogonal().margin(centered(x)))
    assert fix(x).mean(-2).abs().max() < 1e-14


@pytest.mark.parametrize("dtype", REAL)
def test_flat_clouds_and_single_points_are_ties(dtype: torch.dtype) -> None:
    x = torch.randn(4, 5, 3, dtype=dtype)
    x[0] = x[0, 0]  # all points coincide
    x[1, :, 2] = 1 + x[1, :, 0]  # in a plane
    x[2, 1, 0] = math.nan
    fix = FixRigidMotion()
    margin = fix.margin(x)
    assert margin[:2].max() < 1e-6
    assert margin[2].isnan()
    assert margin[3] > 1e-3
    assert fix(x)[[0, 1, 3]].isfinite().all()
    torch.testing.assert_close(distances(fix(x)[[0, 1, 3]]), distances(x[[0, 1, 3]]))
    assert fix.tied(x).tolist() == [True, True, False, False]


def test_errors_up_to_a_motion_know_no_place_and_no_direction() -> None:
    x, y = torch.randn(2, 10, 6, 2, dtype=torch.float64)
    group = RigidMotion()
    moved = group.act(group.sample(y), y)
    torch.testing.assert_close(sa_mse(x, moved, group), sa_mse(x, y, group))
    assert sa_mse(moved, y, group) < 1e-25


def test_motions_do_not_commute_in_the_order_of_the_class() -> None:
    """A quarter turn and then a step is not a step and then a quarter turn."""
    x, quarter = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    turn, step = Rigid(quarter, torch.zeros(1, 2)), Rigid(torch.eye(2)[None], torch.tensor([[1.0, 0.0]]))
    group = RigidMotion()
    assert group.act(group.compose(step, turn), x).tolist() == [[[1.0, 1.0]]]
    assert group.act(group.compose(turn, step), x).tolist() == [[[0.0, 2.0]]]


def test_empty_batches_pass() -> None:
    x, group = torch.randn(2, 0, 4, 3), RigidMotion()
    for g in (group.sample(x), group.identity(x)):
        assert group.act(g, x).shape == x.shape
    assert FixRigidMotion()(x).shape == x.shape
    assert FixRigidMotion().margin(x).shape == (2, 0)
    assert align(x, x, group).aligned.shape == x.shape


def test_bad_input_is_refused() -> None:
    eye, points = torch.eye(3).expand(2, 3, 3), torch.randn(2, 4, 3)
    with pytest.raises(ValueError, match=r"shifts \(\*batch, 3\) .* got \(2, 2\)"):
        RigidMotion().act(Rigid(eye, torch.zeros(2, 2)), points)
    x = torch.randn(2, 3, 3)
    with pytest.raises(
        ValueError, match=r"n >= r \+ 1 points of r coordinates, but got .*3 points lie in a space of 2"
    ):
        FixRigidMotion()(x)
    with pytest.raises(TypeError, match=r"moves real points.*view_as_real"):
        RigidMotion().sample(torch.randn(2, 4, 3, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"linear symmetries, but RigidMotion moves the origin.*FixRigidMotion\(turn="):
        AlignToTemplate(torch.randn(4, 3), RigidMotion())
    for turn in (FixRigidMotion(), FixOrthogonal(3), torch.nn.Identity()):
        with pytest.raises(TypeError, match=r"canonicalizer of Orthogonal\(event_dims=2, channel_dims=0\) as turn"):
            FixRigidMotion(turn=turn)


def shift_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RigidMotion, "inverse", lambda self, g: Rigid(g.matrix.mT, -g.shift))


def not_centered(patch: pytest.MonkeyPatch) -> None:
    exact = FixRigidMotion._decided
    patch.setattr(FixRigidMotion, "_decided", lambda self, x: (0 * exact(self, x)[0], x.double()))


def shift_before_the_turn(patch: pytest.MonkeyPatch) -> None:
    exact = FixRigidMotion.element
    patch.setattr(
        FixRigidMotion, "element", lambda self, x: Rigid(exact(self, x).matrix, -x.to(torch.float64).mean(-2))
    )


@pytest.mark.parametrize(
    ("mutant", "law"), [(shift_kept, "group"), (not_centered, "invariant"), (shift_before_the_turn, "invariant")]
)
def test_laws_bite(mutant, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(40, 5, 2, dtype=torch.float64)
    check_canonicalizer(FixRigidMotion(), x, distances)
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_canonicalizer(FixRigidMotion(), x, distances)
