"""Gram and distance matrices, the point clouds that they are made of, and the errors of the experiment."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from draws import COMPLEX, REAL
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import AlignToTemplate, DistanceMatrix, GramMatrix, RandomSymmetry, SymmetryBrokenDataset, sa_mse
from torch_symbreak.datasets import PointClouds
from torch_symbreak.symmetries import FixRigidMotion, Orthogonal
from torch_symbreak.testing import assert_forward_invariant, check_canonicalizer

PROTOTYPES = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(0))


@given(st.sampled_from(REAL + COMPLEX), st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_models_are_their_definitions(dtype: torch.dtype, r: int, more: int, seed: int) -> None:
    x = torch.randn(3, 2, r + 1 + more, r, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    y = GramMatrix()(x)
    assert y.dtype == dtype
    assert not y.is_conj()
    torch.testing.assert_close(y, torch.einsum("...ik,...jk->...ij", x, x.conj()))
    assert_forward_invariant(GramMatrix(), x)
    if not dtype.is_complex:
        torch.testing.assert_close(DistanceMatrix()(x).sqrt(), torch.cdist(x, x), rtol=1e-4, atol=1e-3)
        assert_forward_invariant(DistanceMatrix(), x, tolerance=1e-4 if dtype == torch.float32 else None)


def test_measurements_of_half_precision_are_single() -> None:
    x = torch.randn(4, 2).half()
    for model in (GramMatrix(), DistanceMatrix()):
        assert model(x).dtype == torch.float32
        with torch.autocast("cpu"):
            torch.testing.assert_close(model(x.float()), model(x))


@pytest.mark.parametrize("model", [GramMatrix(), DistanceMatrix()], ids=["gram", "distances"])
def test_one_measurement_has_one_orbit(model: GramMatrix | DistanceMatrix) -> None:
    """Find a factor by the eigenvalues of Y, without the library: it lies in the orbit of the object."""
    x = torch.randn(20, 6, 3, dtype=torch.float64)
    y = model(x)
    if isinstance(model, DistanceMatrix):  # classical multidimensional scaling
        center = torch.eye(6, dtype=torch.float64) - 1 / 6
        y = -center @ y @ center / 2
    values, vectors = torch.linalg.eigh(y)
    found = vectors[..., -3:] * values[..., None, -3:].sqrt()
    assert sa_mse(found, x, model.symmetries) < 1e-20
    torch.testing.assert_close(model.canonicalizer()(found), model.canonicalizer()(x))


@pytest.mark.parametrize("model", [GramMatrix(), DistanceMatrix()], ids=["gram", "distances"])
def test_a_fitted_template_obeys_the_laws(model: GramMatrix | DistanceMatrix) -> None:
    data = PointClouds(80, model, PROTOTYPES, seed=1)
    y, x = data.batch(range(80))
    fix = model.fit_canonicalizer(x, progress=False)
    check_canonicalizer(fix, x, model)
    again = model.fit_canonicalizer(data, keys=1, progress=False, max_objects=80, generator=torch.Generator())
    assert isinstance(again, type(fix))
    spread = {name: float(each(x).var(0).sum()) for name, each in (("template", fix), ("rule", model.canonicalizer()))}
    assert spread["template"] < spread["rule"]  # nearer to one another than the rule puts them
    broken = SymmetryBrokenDataset(data, fix)
    torch.testing.assert_close(broken[3][1], fix(x[3]))
    assert torch.allclose(y[3], broken[3][0])


def test_a_template_of_clouds_is_centered_and_saved() -> None:
    x = 5 + torch.randn(40, 6, 2)
    fix = DistanceMatrix().fit_canonicalizer(x, progress=False)
    assert isinstance(fix.turn, AlignToTemplate)
    assert fix.turn.template.mean(0).abs().max() < 1e-6
    assert fix.turn.history[-1] <= fix.turn.history[0]
    other = FixRigidMotion(turn=AlignToTemplate(torch.randn(6, 2), Orthogonal()))
    other.load_state_dict(fix.state_dict())
    assert torch.equal(other(x), fix(x))


def test_clouds_are_prototypes_with_noise_at_any_point_of_their_orbits() -> None:
    for model in (GramMatrix(), DistanceMatrix()):
        _, x = PointClouds(300, model, PROTOTYPES, noise=0.01).batch(range(300))
        errors = torch.stack([sa_mse(x, p.expand_as(x), model.symmetries, reduction="none") for p in PROTOTYPES])
        assert errors.amin(0).max() < 1e-3
        assert errors.argmin(0).bincount().min() > 70  # a third each
        mean = RandomSymmetry(model.symmetries)(x).mean(0)
        assert (x.mean(0) - mean).abs().max() < 0.6  # no direction is preferred
        assert x.mean(0).abs().max() < 0.4


REFUSED: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (ValueError, "at least 2 dimensions", lambda: GramMatrix()(torch.randn(3))),
    (TypeError, "real points.*view_as_real", lambda: DistanceMatrix()(torch.randn(3, 2, dtype=torch.complex64))),
    (
        TypeError,
        "real points",
        lambda: DistanceMatrix().fit_canonicalizer(torch.randn(9, 3, 2, dtype=torch.complex64), progress=False),
    ),
    (TypeError, r"GramMatrix\(\) or DistanceMatrix\(\)", lambda: PointClouds(3, torch.nn.Identity(), PROTOTYPES)),
    (TypeError, "real tensor as prototypes", lambda: PointClouds(3, GramMatrix(), PROTOTYPES.int())),
    (ValueError, r"shape \(K, n, r\)", lambda: PointClouds(3, GramMatrix(), PROTOTYPES[0])),
    (ValueError, "noise >= 0", lambda: PointClouds(3, GramMatrix(), PROTOTYPES, noise=-1)),
    (ValueError, "noise >= 0", lambda: PointClouds(3, GramMatrix(), PROTOTYPES, noise=math.nan)),
    (ValueError, "prototypes .* NaN", lambda: PointClouds(3, GramMatrix(), PROTOTYPES * math.nan)),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED, ids=[message for _, message, _ in REFUSED])
def test_bad_input_is_refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("data", ["gram-3", "distances-2"])
def test_errors_are_those_of_their_definition(data: str) -> None:
    pytest.importorskip("lightning")
    from torch_symbreak.experiments import Factorization

    experiment = Factorization(points=5)
    y, truth = experiment.pairs(data, 30, 0, train=True)
    torch.testing.assert_close(experiment.model(data)(truth), y)
    moved = RandomSymmetry(experiment.model(data).symmetries)(truth)
    errors = experiment.errors(data, moved, truth)
    assert errors["sa_error"] < 1e-4 < 50 < errors["error"]
    # Distances know no place, so that neither does the size that errors are divided by.
    size = (truth - truth.mean(1, keepdim=True) * data.startswith("distances")).square().sum((1, 2)).sqrt()
    off = truth + 0.1 * torch.randn_like(truth)
    raw = 100 * ((off - truth).square().sum((1, 2)).sqrt() / size).mean()
    assert math.isclose(experiment.errors(data, off, truth)["error"], float(raw), rel_tol=1e-5)
    assert 0 < experiment.errors(data, off, truth)["sa_error"] < float(raw)
