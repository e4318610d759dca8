"""Hostile input that went wrong in silence or got wrong advice, and that no other file names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from torch_symbreak import FarField, FixGlobalPhase, FixSign, RandomSymmetry, SymmetryBrokenDataset, align, sa_mse
from torch_symbreak.canonical import AlignToTemplate, using
from torch_symbreak.datasets import CollateTransform, DeviceLoader
from torch_symbreak.io import Targets, plan, read_array
from torch_symbreak.io.arrays import locked
from torch_symbreak.io.template import fit_template
from torch_symbreak.losses import OrbitMinLoss
from torch_symbreak.metrics import (
    average_modes,
    compare,
    frc,
    measurement_residual,
    orbit_distance,
    prtf,
    relative_error,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import CenterContent, FixConjugateFlip, Sign
from torch_symbreak.testing import deviation

MODEL = FarField(2)
FIX = MODEL.canonicalizer()
S = MODEL.symmetries


def objects(count: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(count, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(seed))


TEMPLATE = AlignToTemplate(objects(1, seed=9)[0], S)
X, R = objects(3), objects(3, seed=1)


# ------------------------------------------------------------------------------------------------------ margins


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(
    ("dtype", "scales"), [(torch.complex64, (1e-38, 1e-41, 1e-44)), (torch.complex128, (1e-308, 1e-319, 1e-322))]
)
@pytest.mark.parametrize("fix", [FIX, TEMPLATE, FixGlobalPhase(2)])
def test_subnormal_objects_have_one_target_or_are_ties(
    fix: Any, dtype: torch.dtype, scales: tuple[float, ...], backend: Any
) -> None:
    """A phase rounds them to multiples of one number: 372 of 400 orbits had several targets, 189 of them untied."""
    x = objects(200, dtype=torch.complex128)
    x = x - x.mean((1, 2), keepdim=True)
    for scale in scales:
        small = (x * scale).to(dtype)
        moved = RandomSymmetry(fix.symmetry, generator=torch.Generator().manual_seed(1))(small)
        with using(backend):
            error = deviation(*(torch.view_as_real(fix(z)).double() / scale for z in (moved, small)), 3)
        assert ((error < 1e-4) | fix.tied(small)).all()
        assert fix.tied(small).all() == (scale < scales[0])
    assert not FixSign(2).tied((x.real * 1e-41).float()).any()


def test_a_tensor_among_symmetries_is_described() -> None:
    with pytest.raises(TypeError, match=r"but got torch.complex64 of shape \(3, 8, 8\)\.$"):
        sa_mse(X, R, X)


def test_a_data_set_says_that_its_objects_are_too_small() -> None:
    data = SymmetryBrokenDataset(objects(4) * 1e-41, FIX)
    with pytest.warns(UserWarning, match=r"4 of 4 targets.*a phase rounds them: divide all by one number"):
        data.__getitems__(range(4))


@pytest.mark.parametrize(
    "fix",
    [
        *(FIX, FarField(oversampling=1).canonicalizer(), CenterContent(), FixConjugateFlip(), FixGlobalPhase()),
        *(FixGlobalPhase(anchor=3), FixSign(2), FixSign(2, anchor=(1, 1)), TEMPLATE),
    ],
)
def test_margins_of_items_that_are_not_finite(fix: Any) -> None:
    x = objects(4)
    if isinstance(fix, FixSign):
        x = x.real.clone()
    x[1, 2, 3], x[2, 5, 5] = torch.nan, -torch.inf
    x[3] = 0
    assert fix.margin(x).isnan().tolist() == [False, True, True, False]
    assert fix.margin(x)[3] == 0
    assert not fix.tied(x)[1:].any()
    if hasattr(fix, "margins"):
        assert all(margin.isnan().tolist() == [False, True, True, False] for margin in fix.margins(x).values())


@pytest.mark.parametrize("kind", ["collate", "device"])
def test_loaders_warn_of_ties_once(kind: str) -> None:
    x = torch.ones(60, 6, 7)
    x[30:] = 0
    fix = FarField(2, field="real").canonicalizer()
    loader: Any = DataLoader(TensorDataset(x), 20, collate_fn=CollateTransform(fix) if kind == "collate" else None)
    if kind == "device":
        loader = DeviceLoader(loader, fix, "cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            list(loader)
    owner = "CollateTransform" if kind == "collate" else "DeviceLoader"
    assert [str(warning.message)[: len(owner) + 22] for warning in caught] == [f"{owner}: 20 of 20 targets loo"]


# --------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "function", [sa_mse, sa_nrmse, sa_psnr, sa_ssim, relative_error, orbit_distance, frc, compare, align]
)
@pytest.mark.parametrize("symmetries", [S, list(S), S[1], MODEL])
def test_symmetries_in_the_place_of_a_tensor(function: Callable[..., Any], symmetries: Any) -> None:
    order = rf"The order is {function.__name__}\(x, reference, symmetries\)"
    with pytest.raises(TypeError, match=rf"{function.__name__} got symmetries as reference.*{order}"):
        function(X, symmetries, R)
    with pytest.raises(TypeError, match=rf"{function.__name__} got symmetries as x.*{order}"):
        function(symmetries, X, R)


def test_other_arguments_in_the_wrong_order() -> None:
    with pytest.raises(TypeError, match=r"got symmetries as reconstructions.*average_modes\(reconstructions, symm"):
        average_modes(S, X)  # type: ignore[arg-type]
    for function in (measurement_residual, prtf):
        with pytest.raises(TypeError, match=rf"got forward as y.*The order is {function.__name__}\(x, y, forward\)"):
            function(X, MODEL, MODEL(X))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_losses_name_their_own_arguments() -> None:
    loss = OrbitMinLoss(Sign(1))
    x = torch.ones(2, 3)
    with pytest.raises(TypeError, match=r"as target, but got a numpy.*from_numpy\(target\)"):
        loss(x, x.numpy())
    with pytest.raises(TypeError, match=r"as target, but got a list.*torch.stack\(target\)"):
        loss(x, [*x])
    with pytest.raises(ValueError, match=r"x and target of one shape.*target.expand_as\(x\)"):
        loss(x, x[0])
    with pytest.raises(TypeError, match=r"dense target.*target.to_dense\(\)"):
        loss(x, x.to_sparse())
    with pytest.raises(ValueError, match=r"a callable, but got <class.*Pass an instance: MSELoss\(\)"):
        OrbitMinLoss(Sign(1), torch.nn.MSELoss)
    with pytest.raises(TypeError, match=r"complex32.*first: x.to\(torch.complex64\)"):
        loss(torch.zeros(2, 3, dtype=torch.complex32), x)


def test_two_keys_of_one_part() -> None:
    with pytest.raises(ValueError, match=r"keys=\(1, -1\), two of which name one part of 2"):
        SymmetryBrokenDataset(TensorDataset(MODEL(X), X), FIX, keys=(1, -1))[0]


def test_a_real_canonicalizer_in_kornia() -> None:
    bridge = pytest.importorskip("torch_symbreak.interop.kornia", exc_type=ImportError)
    with pytest.raises(
        ValueError, match=r"complex images, but got FarFieldCanonicalizer.*for real ones. Run that itself"
    ):
        bridge.BreakSymmetry(FarField(2, field="real").canonicalizer(channel_dims=1))


# ------------------------------------------------------------------------------------------------------- files


def test_a_folder_that_takes_no_files_is_no_other_run() -> None:
    folder = Path("/proc")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    with pytest.raises(OSError, match="/proc/lock") as caught, locked(folder / "lock", "is writing"):
        pass
    assert "Another run" not in str(caught.value)


def test_templates_of_files(tmp_path: Path) -> None:
    complex_, real = tmp_path / "complex.npy", tmp_path / "real.npy"
    np.save(complex_, X.numpy())
    np.save(real, X.abs().numpy())
    for most in (1, 0, -4):
        with pytest.raises(ValueError, match=f"at least 2 targets, but got max_objects={most}"):
            fit_template(real, tmp_path / "t.npz", Targets(), max_objects=most)
    for fitted, other, message in (
        (real, complex_, "real, but the targets are complex"),
        (complex_, real, "complex, b"),
    ):
        template = tmp_path / f"{fitted.stem}.npz"
        fit_template(fitted, template, Targets(), progress=False)
        with pytest.raises(TypeError, match=f"{fitted.stem}.npz is {message}.*Fit one to them"):
            plan("break", other, tmp_path / "out.npy", Targets(template=str(template)))


def test_a_key_of_an_array_without_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(KeyError, match=r"has no array 'x'. It holds \['array'\]"):
        read_array(tmp_path / "x.npy", "x")
