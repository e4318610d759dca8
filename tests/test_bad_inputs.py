"""Hostile input to metrics and losses: a clear error, or the right value. One table."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_symbreak import ElementwiseSquare, FarField, GaussianIntensity, align, relative_error, sa_mse
from torch_symbreak.losses import MagnitudeLoss, OrbitMinLoss
from torch_symbreak.metrics import (
    average_modes,
    compare,
    frc,
    measurement_residual,
    orbit_distance,
    prtf,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import GlobalPhase, PhaseRamp, Sign, Translation

MODEL, SQUARE = FarField(), ElementwiseSquare()
FAR = MODEL.symmetries
X, R = torch.randn(2, 3, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
Y = MODEL(R)
META = torch.zeros(3, 8, 8, dtype=torch.complex64, device="meta")
ROW, ZERO = torch.tensor([[3.0, -4.0]]), torch.zeros(1, 2)
HALF = torch.full((2, 3), 1e3).half()
EIGHTH = ROW.to(torch.float8_e5m2)
NAN, INF = math.nan, math.inf


def refused(error: type[Exception], message: str, call: Callable[[], Any]) -> Any:
    return pytest.param(error, message, call, id=f"{error.__name__}: {message}")


REFUSED = [
    # lists, and what else is no tensor
    refused(
        TypeError,
        r"sa_mse needs one torch.Tensor as x, but got a list.*as_tensor\(x\)",
        lambda: sa_mse([1.0], ROW, Sign(1)),
    ),
    refused(TypeError, r"sa_nrmse .*as reference, but got a list.*stack\(reference\)", lambda: sa_nrmse(X, [*R], FAR)),
    refused(TypeError, r"sa_ssim needs .*a list.*as_tensor\(x\)", lambda: sa_ssim([[1.0]], R, FAR)),
    refused(TypeError, r"relative_error needs .*a tuple.*stack\(x\)", lambda: relative_error((X,), R, FAR)),
    refused(TypeError, r"sa_psnr needs .*a dict.*one of its values", lambda: sa_psnr({"x": X}, R, FAR)),
    refused(TypeError, "orbit_distance needs .*NoneType", lambda: orbit_distance(X, None, FAR)),
    refused(TypeError, r"align needs .*a list.*stack\(x\)", lambda: align([*X], R, FAR)),
    refused(TypeError, r"compare needs .*a list.*as_tensor\(x\)", lambda: compare([1.0], ROW, Sign(1))),
    refused(TypeError, r"frc needs .*a list.*stack\(x\)", lambda: frc([*X], R, FAR)),
    refused(TypeError, r"average_modes needs .*as reconstructions.*a list.*stack", lambda: average_modes([*X], FAR)),
    refused(TypeError, r"residual needs .*as y.*a list.*as_tensor\(y\)", lambda: measurement_residual(X, [1.0], MODEL)),
    refused(TypeError, r"prtf needs .*as y.*a float", lambda: prtf(X, 3.0, MODEL)),
    refused(TypeError, r"MagnitudeLoss needs .*as x.*a list", lambda: MagnitudeLoss(MODEL)([1.0], Y)),
    refused(
        TypeError, r"MagnitudeLoss needs .*as y.*numpy.*from_numpy\(y\)", lambda: MagnitudeLoss(MODEL)(X, Y.numpy())
    ),
    refused(TypeError, r"OrbitMinLoss needs .*numpy.*from_numpy", lambda: OrbitMinLoss(FAR)(X, R.numpy())),
    # dtypes
    refused(TypeError, r"align needs .*torch.float8_e5m2.*x.float\(\)", lambda: align(EIGHTH, EIGHTH, Sign(1))),
    refused(TypeError, r"sa_mse needs .*torch.int32.*x.float\(\)", lambda: sa_mse(ROW.int(), ROW.int(), Sign(1))),
    refused(TypeError, r"sa_psnr .*torch.bool of shape.*reference.float\(\)", lambda: sa_psnr(ROW, ROW > 0, Sign(1))),
    refused(TypeError, r"an array of int64.*x.astype\(\"float64\"\)", lambda: sa_mse(np.zeros(3, int), ROW, Sign(1))),
    refused(TypeError, r"an array of object.*x.astype", lambda: sa_mse(np.array([{}]), ROW, Sign(1))),
    refused(TypeError, r"an array of float128.*float64", lambda: sa_mse(np.zeros(3, np.longdouble), ROW, Sign(1))),
    refused(TypeError, r"MaskedArray.*x.filled\(0\)", lambda: sa_mse(np.ma.ones(3), np.ones(3), Sign(1))),
    refused(
        TypeError,
        r"MaskedArray.*filled\(numpy.nan\)",
        lambda: prtf(X.numpy(), np.ma.masked_less(Y.numpy(), 1.0), MODEL),
    ),
    refused(TypeError, r"both real or both complex", lambda: sa_ssim(X, R.abs(), FAR)),
    refused(TypeError, r"GlobalPhase needs a complex target", lambda: sa_nrmse(X.real, R.real, FAR)),
    refused(
        TypeError, r"floating-point or complex y.*int64.*y.float\(\)", lambda: measurement_residual(X, Y.long(), MODEL)
    ),
    refused(TypeError, r"f\(x\) and y both real", lambda: MagnitudeLoss(MODEL)(X, Y + 0j)),
    refused(TypeError, r"needs a dense x.*x.to_dense\(\)", lambda: sa_mse(X.to_sparse(), R, FAR)),
    # shapes and devices
    refused(
        ValueError, r"sa_mse needs x and reference of one shape.*reference.expand_as\(x\)", lambda: sa_mse(X, R[0], FAR)
    ),
    refused(ValueError, r"f\(x\) and y of one shape", lambda: measurement_residual(X, Y[..., 1:], MODEL)),
    refused(
        ValueError, r"needs a target of at least 2 dimensions", lambda: sa_ssim(torch.ones(()), torch.ones(()), Sign(2))
    ),
    refused(ValueError, r"compares images, but.*event_dims=1", lambda: sa_ssim(X, R, GlobalPhase(1))),
    refused(ValueError, r"compares images \(B, ..., H, W\)", lambda: sa_ssim(ROW, ROW, ())),
    refused(ValueError, r"Sign needs a non-empty event", lambda: sa_mse(torch.ones(2, 0), torch.ones(2, 0), Sign(1))),
    refused(ValueError, r"on one device, but got cpu and meta.*reference.to", lambda: sa_mse(X, META, FAR)),
    refused(ValueError, r"on one device, but got cpu and meta", lambda: OrbitMinLoss(FAR)(X, META)),
    refused(ValueError, r"f\(x\) and y on one device", lambda: MagnitudeLoss(MODEL)(X, Y.to("meta"))),
    # options
    refused(ValueError, r"odd int window_size .*\(8, 8\), but got 3.0", lambda: sa_ssim(X, R, FAR, window_size=3.0)),
    refused(ValueError, r"window_size .*'7'", lambda: sa_ssim(X, R, FAR, window_size="7")),
    refused(ValueError, r"window_size .*True", lambda: sa_ssim(X, R, FAR, window_size=True)),
    refused(ValueError, r"window_size .*17", lambda: sa_ssim(X, R, FAR, window_size=17)),
    refused(ValueError, r"real_imag\" up to PhaseRamp", lambda: sa_ssim(X, R, [*FAR, PhaseRamp()], on="real_imag")),
    refused(ValueError, r"positive number as data_range, but got inf", lambda: sa_psnr(X, R, FAR, data_range=INF)),
    refused(ValueError, r"data_range, but got nan", lambda: sa_psnr(X, R, FAR, data_range=NAN)),
    refused(ValueError, r"reduction needs .*'median'", lambda: frc(X, R, FAR, reduction="median")),
    refused(TypeError, r"Pass its .symmetries", lambda: sa_mse(X, R, MODEL)),
    refused(TypeError, r"symmetry or a sequence of them, but got None", lambda: relative_error(X, R, None)),
    refused(ValueError, r"at least one symmetry", lambda: OrbitMinLoss(())),
    refused(TypeError, r"residual needs a ForwardModel.*a tuple", lambda: measurement_residual(X, Y, FAR)),
    refused(TypeError, r"MagnitudeLoss needs a ForwardModel.*a tuple", lambda: MagnitudeLoss(FAR)),
    refused(TypeError, r"prtf needs a FarField model.*ElementwiseSquare", lambda: prtf(ROW, ROW, SQUARE)),
    refused(
        ValueError, r"errors as a tensor of shape \(3,\), but got a list", lambda: average_modes(X, FAR, errors=[1])
    ),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED)
def test_refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


def gives(name: str, value: Any, call: Callable[[], Any]) -> Any:
    return pytest.param(value, call, id=name)


def dead(y: Tensor, value: float) -> Tensor:
    """Replace the first pixel of every item."""
    return torch.cat([torch.full_like(y[..., :1], value), y[..., 1:]], -1)


IDENTITY = GaussianIntensity(torch.eye(3))
SIGNAL = torch.tensor([[1.0, 2.0, 3.0]])

VALUES = [
    gives("numbers of no dimension", 1.0, lambda: sa_mse(torch.tensor(2.0), torch.tensor(-3.0), Sign(0))),
    gives(
        "numbers of no dimension and no symmetry",
        1.5,
        lambda: relative_error(torch.tensor(2.0), torch.tensor(-4.0), ()),
    ),
    gives("half precision", 4e6, lambda: sa_mse(HALF, -3 * HALF, Sign(1))),
    gives("two precisions", 0.0, lambda: sa_mse(ROW.double(), -ROW.half(), Sign(1))),
    gives("two precisions of arrays", 0.0, lambda: sa_mse(ROW.numpy().astype(">f8"), -ROW.numpy()[::-1], Sign(1))),
    gives("an array and a tensor", 0.0, lambda: orbit_distance(ROW.numpy(), -ROW, Sign(1))),
    gives("an empty batch, mean", NAN, lambda: sa_mse(X[:0], R[:0], FAR)),
    gives("an empty batch, sum", 0.0, lambda: relative_error(X[:0], R[:0], FAR, reduction="sum")),
    gives("an empty batch of images", NAN, lambda: sa_ssim(X[:0], R[:0], FAR)),
    gives("an empty batch of curves", NAN, lambda: frc(X[:0], R[:0], FAR).value[0]),
    gives("an empty batch of measurements", NAN, lambda: measurement_residual(X[:0], Y[:0], MODEL)),
    gives("an empty batch compared", NAN, lambda: compare(X[:0], R[:0], FAR).aligned["PSNR (dB)"]),
    gives("an empty batch without symmetries", NAN, lambda: sa_nrmse(X[:0], R[:0], ())),
    gives("an estimate against zero", INF, lambda: relative_error(ROW, ZERO, Sign(1))),
    gives("NaN against zero", NAN, lambda: relative_error(ROW * NAN, ZERO, Sign(1))),
    gives("NaN against zero, peak signal-to-noise", NAN, lambda: sa_psnr(ROW * NAN, ZERO, Sign(1))),
    gives(
        "a NaN that a shift could cut",
        NAN,
        lambda: sa_mse(torch.tensor([[NAN, 0, 0, 0]]), torch.ones(1, 4), Translation(1)),
    ),
    gives("a NaN reference", NAN, lambda: sa_nrmse(ROW, ROW * NAN, Sign(1))),
    gives("infinity", NAN, lambda: compare(ROW * INF, ROW, Sign(1)).raw["PSNR (dB)"]),
    gives("a NumPy number as range", 20 * math.log10(2), lambda: sa_psnr(ROW + 1, ROW, (), data_range=np.float32(2))),
    gives("no pixel measured", NAN, lambda: measurement_residual(SIGNAL, SIGNAL * NAN, IDENTITY)),
    gives("a dead pixel", 0.0, lambda: measurement_residual(SIGNAL, dead(IDENTITY(SIGNAL), NAN), IDENTITY)),
    gives("a negative pixel", 1 / 5, lambda: measurement_residual(SIGNAL, dead(IDENTITY(SIGNAL), -7.0), IDENTITY)),
    gives("a dead pixel in a loss", 0.0, lambda: MagnitudeLoss(IDENTITY)(SIGNAL, dead(IDENTITY(SIGNAL), NAN))),
    gives("a negative pixel in a loss", 1 / 3, lambda: MagnitudeLoss(IDENTITY)(SIGNAL, dead(IDENTITY(SIGNAL), -7.0))),
    gives("no pixel measured in a loss", NAN, lambda: MagnitudeLoss(IDENTITY)(SIGNAL, SIGNAL * NAN)),
    gives("NaN in a loss", NAN, lambda: OrbitMinLoss(FAR)(X * NAN, R)),
    gives("NaN in an l1 loss", NAN, lambda: OrbitMinLoss(FAR, "l1")(X, R * NAN)),
    gives("NaN in a magnitude loss", NAN, lambda: MagnitudeLoss(MODEL)(X * NAN, Y)),
    gives("1e3 in half precision", 4e6, lambda: OrbitMinLoss(Sign(1))(HALF, -3 * HALF)),
    gives("1e25 in single precision", INF, lambda: OrbitMinLoss(Sign(1))(HALF.float() * 1e22, HALF.float() * -3e22)),
    gives(
        "1e25 in single precision, l1",
        2e25,
        lambda: OrbitMinLoss(Sign(1), "l1")(HALF.float() * 1e22, HALF.float() * -3e22),
    ),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("value", "call"), VALUES)
def test_right_values(value: float, call: Callable[[], Any]) -> None:
    assert float(call()) == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True)


def test_meta_tensors_pass_through() -> None:
    for metric in (sa_mse, orbit_distance, relative_error, sa_nrmse, sa_psnr, sa_ssim):
        assert metric(META, META, FAR, reduction="none").shape == (3,)


def test_a_data_set_of_h5py_is_read_at_once(tmp_path: Path) -> None:
    """``torch.as_tensor`` would read it number by number."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = X.numpy()
        for call in (lambda x: MODEL.canonicalizer()(x), MODEL, lambda x: sa_mse(x, X, FAR)):
            with pytest.raises(TypeError, match=r"h5py.*Dataset. Read it first: torch.from_numpy\(x\[:\]\)"):
                call(file["x"])
