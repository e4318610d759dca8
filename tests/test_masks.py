"""Pixels that are not measured: metrics and losses leave them out, whatever they hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_symbreak import FarField, MagnitudeLoss
from torch_symbreak.metrics import measurement_residual, prtf

MODEL = FarField(centered=True)
X, R = torch.randn(2, 3, 8, 7, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
Y = MODEL(R)
MASK = torch.rand(Y.shape[1:], generator=torch.Generator().manual_seed(1)) < 0.7

MEASURES: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "residual": lambda y, mask: measurement_residual(X, y, MODEL, mask=mask, reduction="none"),
    "prtf": lambda y, mask: prtf(X, y, MODEL, mask=mask, reduction="none").value,
    "loss": lambda y, mask: MagnitudeLoss(MODEL, mask=mask)(X, y),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("fill", [math.nan, -1.0, 1e9, math.inf])
def test_unmeasured_pixels_may_hold_anything(name: str, fill: float) -> None:
    measure = MEASURES[name]
    wanted = measure(torch.where(MASK, Y, math.nan), None)
    for mask in (MASK, MASK.expand_as(Y)):
        found = measure(torch.where(MASK, Y, fill), mask)
        assert torch.equal(found.nan_to_num(-1), wanted.nan_to_num(-1))
    assert not torch.allclose(measure(Y, None), measure(Y, MASK))


def test_a_beam_stop_leaves_a_gradient() -> None:
    x = X.clone().requires_grad_()
    MagnitudeLoss(MODEL, mask=MASK)(x, torch.where(MASK, Y, math.nan)).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_masks_by_formula() -> None:
    measured, modeled = (z.double().sqrt()[:, MASK] for z in (Y, MODEL(X)))
    residual = (measured - modeled).abs().sum(1) / measured.sum(1)
    assert torch.allclose(measurement_residual(X, Y, MODEL, mask=MASK, reduction="none"), residual)
    assert torch.allclose(MagnitudeLoss(MODEL, mask=MASK)(X, Y).double(), (measured - modeled).square().mean())


@pytest.mark.parametrize("name", MEASURES)
def test_bad_masks(name: str) -> None:
    with pytest.raises(TypeError, match=r"bool mask, True where measured, but got torch.float32.*mask > 0"):
        MEASURES[name](Y, Y)
    with pytest.raises(ValueError, match="mask of the last dimensions of y"):
        MEASURES[name](Y, MASK[1:])
