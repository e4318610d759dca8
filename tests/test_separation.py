"""Blind source separation: the model against sums written out, its targets, its data, and its experiment."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import LinearMixing, relative_error
from torch_symbreak.datasets import MixedSources
from torch_symbreak.forward import Mixture
from torch_symbreak.testing import check_canonicalizer

sizes = st.integers(1, 4)


@given(sizes, sizes, st.integers(1, 6), st.sampled_from([(), (3,), (2, 2)]), st.integers(0, 2**31))
def test_a_target_measures_what_its_parts_mix_to(sensors: int, r: int, samples: int, batch: tuple, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(*batch, sensors, r, dtype=torch.float64, generator=generator)
    S = torch.randn(*batch, r, samples, dtype=torch.float64, generator=generator)
    model = LinearMixing(sensors)
    x = model.join(A, S)
    assert x.shape == (*batch, r, sensors + samples)
    mixed = sum(A[..., :, j, None] * S[..., j, None, :] for j in range(r))
    torch.testing.assert_close(model(x), mixed)
    parts = model.split(x)
    torch.testing.assert_close(parts.S.norm(dim=-1), torch.ones(*batch, r, dtype=torch.float64))
    torch.testing.assert_close(parts.A / A, S.norm(dim=-1)[..., None, :].expand_as(A))
    torch.testing.assert_close(model.join(*parts), x)
    torch.testing.assert_close(model.join(3 * A, S / 3), x)  # scales are fixed


def test_what_moves_in_A_moves_inversely_in_S() -> None:
    model = LinearMixing(5)
    x = model.join(torch.randn(8, 5, 3), torch.randn(8, 3, 20))
    (group,) = model.symmetries
    g = group.sample(x)
    P = torch.eye(3)[g.order] * g.sign[..., None]
    before, after = model.split(x), model.split(group.act(g, x))
    torch.testing.assert_close(after, Mixture(before.A @ torch.linalg.inv(P), P @ before.S))


@pytest.mark.parametrize("template", [False, True])
def test_laws_on_the_data(template: bool) -> None:
    model = LinearMixing(3)
    _, x = MixedSources(60, model).batch(range(60))
    fix = model.fit_canonicalizer(x, progress=False) if template else model.canonicalizer()
    check_canonicalizer(fix, x.double(), model)


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e25, 1e37])
def test_scales_at_the_ends_of_single_precision(scale: float) -> None:
    A, S, model = torch.randn(4, 3), torch.randn(3, 9), LinearMixing(4)
    x = model.join(A / 1e20 if scale > 1 else A, S * scale)
    assert x.isfinite().all()
    torch.testing.assert_close(model.split(x).S, model.join(A, S)[..., 4:], rtol=1e-4, atol=1e-4)


def test_a_source_of_zeros_is_a_tie() -> None:
    A, S, model = torch.randn(4, 3), torch.randn(3, 9), LinearMixing(4)
    S[1] = 0
    x = model.join(A, S)
    assert x.isfinite().all()
    assert not x[1].any()
    torch.testing.assert_close(model(x), A @ S)
    assert model.canonicalizer().margin(x) == 0
    A[:, 0] = 0  # not even so
    assert model.join(A, S).isfinite().all()


def test_other_parts_are_refused() -> None:
    model, A, S = LinearMixing(4), torch.randn(4, 3), torch.randn(3, 9)
    wanted = r"needs A of shape \(\*batch, 4, r\) and S of shape \(\*batch, r, samples\), but got "
    for one, other in ((A[:, :2], S), (A, S[None]), (A[0], S), (A, S[:, :0])):
        with pytest.raises(ValueError, match=wanted):
            model.join(one, other)
    with pytest.raises(ValueError, match=r"LinearMixing\(4\) got A of shape \(2, 3\): give it 2"):
        model.join(A[:2], S)
    with pytest.raises(TypeError, match=r"needs a real S, but got torch\.complex64"):
        model.join(A, S.to(torch.complex64))
    with pytest.raises(TypeError, match=r"needs one torch\.Tensor as A"):
        model.join(A.numpy(), S)
    with pytest.raises(ValueError, match=r"needs targets \(\*batch, r, 4 \+ samples\), .* join\(A, S\)"):
        model(torch.randn(3, 4))
    with pytest.raises(TypeError, match="SignedPermutation needs a real target"):
        model(torch.randn(3, 9, dtype=torch.complex64))
    with pytest.raises(ValueError, match="sensors >= 1"):
        LinearMixing(0)
    with pytest.raises(ValueError, match="needs a LinearMixing model"):
        MixedSources(9, torch.nn.Identity())


def test_sources_are_pulses_in_any_order_and_sign() -> None:
    model = LinearMixing(4)
    y, x = MixedSources(2000, model, sources=2).batch(range(2000))
    A, S = model.split(x)
    torch.testing.assert_close(y, A @ S)
    torch.testing.assert_close(S.norm(dim=-1), torch.ones(2000, 2))
    assert A.std().item() == pytest.approx(1 / math.sqrt(4), rel=0.05)
    sign = S.sum(-1).sign()
    assert torch.equal(S.abs().sum(-1), S.sum(-1).abs())  # a pulse has one sign
    assert sign.mean(0).abs().max() < 0.1
    first = S[:, 0].abs().argmax(-1) < S[:, 1].abs().argmax(-1)
    assert first.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (S[:, 0].abs().argmax(-1)).unique().numel() == 32


def test_diagnosis() -> None:
    pytest.importorskip("sklearn")
    from torch_symbreak.diagnostics import diagnose

    model = LinearMixing(2)
    _, x = MixedSources(200, model, sources=2).batch(range(200))
    before, after = diagnose(x, model), diagnose(model.canonicalizer()(x), model)
    assert before["symmetries"]["signed_permutation"]["holds"]
    assert before["symmetries"]["signed_permutation"]["status"] == "unbroken"
    assert (after["rule"], after["symmetries"]["signed_permutation"]["violations"]) == ("exact", 0)
    assert before["proxy"]["exact"]["5-NN"]["aligned"][0] < before["proxy"]["raw"]["5-NN"]["aligned"][0]


def test_bad_sizes_are_refused_before_any_row(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from torch_symbreak.experiments import Grid, Separation

    grid = Grid(data=("pulses-2",), networks=("dnn",), breaking=("none",), samples=(60,))
    for sizes, name in (({"width": 0}, "width"), ({"test_samples": 0}, "test_samples")):
        with pytest.raises(ValueError, match=f"{name} needs to be at least 1, but got 0"):
            Separation(**sizes).run(grid, tmp_path)
    assert not any(tmp_path.iterdir())


def test_experiment(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from torch_symbreak.experiments import Grid, Separation
    from torch_symbreak.training import Hardware, Training

    experiment = Separation(test_samples=40, width=16)
    grid = Grid(data=("pulses-2",), networks=("dnn", "knn"), breaking=("none", "orbit-loss"), samples=(60,))
    rows = experiment.run(grid, tmp_path, training=Training(max_epochs=2), hardware=Hardware(device="cpu"))
    assert len(rows) == 6
    (y, x), (y_test, x_test), _ = experiment.split("pulses-2", "none", 60, 0)
    nearest = torch.cdist(y_test.flatten(1), y.flatten(1)).topk(5, largest=False).indices
    predicted = x[nearest].mean(1)
    row = next(row for row in rows if row["network"] == "knn")
    raw = (predicted - x_test).flatten(1).norm(dim=1) / x_test.flatten(1).norm(dim=1)
    assert row["test_error"] == pytest.approx(100 * raw.mean().item(), rel=1e-4)
    adjusted = relative_error(predicted, x_test, experiment.model("pulses-2").symmetries)
    assert row["test_sa_error"] == pytest.approx(100 * adjusted.item(), rel=1e-4)
    losses = {row["test_sa_error"] for row in rows if row["network"] == "dnn"}
    assert len(losses) == 2  # the loss is another one
