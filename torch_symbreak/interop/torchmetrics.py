"""The metrics as ``torchmetrics.Metric`` classes: stateful, reset per epoch, summed over processes.

Extra ``[metrics]``: ``pip install "torch_symbreak[metrics]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.torchmetrics needs torchmetrics: pip install "torch_symbreak[metrics]"'
    ) from error

from torch_symbreak.forward import ForwardModel
from torch_symbreak.metrics import (
    measurement_residual,
    relative_error,
    sa_mse,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import Product, Symmetry

__all__ = [
    "MeasurementResidual",
    "RelativeError",
    "SymmetryAdjustedMSE",
    "SymmetryAdjustedNRMSE",
    "SymmetryAdjustedPSNR",
    "SymmetryAdjustedSSIM",
]


class _MeanOverItems(Metric):
    """The mean of per-item values over all items seen since the last reset, by all processes."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        self.total = self.total + values.detach().sum()
        self.count = self.count + values.numel()

    def compute(self) -> Tensor:
        return self.total / self.count


class _SymmetryAdjusted(_MeanOverItems):
    """The mean of a function of predictions, targets and symmetries."""

    function: Callable[..., Tensor]
    is_differentiable = True
    higher_is_better = False

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], **options: Any) -> None:
        super().__init__(**options)
        self.symmetry = Product(symmetries)

    def update(self, preds: Tensor, target: Tensor) -> None:
        self._add(type(self).function(preds, target, self.symmetry, reduction="none"))


class SymmetryAdjustedMSE(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.sa_mse` over items: ``update(preds, target)``, ``compute()``.

    Args:
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.
        **options: Passed to ``torchmetrics.Metric``.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> metric = SymmetryAdjustedMSE(Sign(1))
        >>> x = torch.tensor([[1.0, -2.0]])
        >>> metric.update(-x, x)
        >>> metric.update(x + 1, x)
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    function = staticmethod(sa_mse)


class SymmetryAdjustedNRMSE(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.metrics.sa_nrmse` over items; arguments as for :class:`SymmetryAdjustedMSE`."""

    function = staticmethod(sa_nrmse)


class SymmetryAdjustedPSNR(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.metrics.sa_psnr` over items; arguments as for :class:`SymmetryAdjustedMSE`."""

    function = staticmethod(sa_psnr)
    higher_is_better = True


class SymmetryAdjustedSSIM(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.metrics.sa_ssim` over items; arguments as for :class:`SymmetryAdjustedMSE`."""

    function = staticmethod(sa_ssim)
    higher_is_better = True


class RelativeError(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.relative_error` over items; arguments as for :class:`SymmetryAdjustedMSE`."""

    function = staticmethod(relative_error)


class MeasurementResidual(_MeanOverItems):
    """Mean of :func:`torch_symbreak.metrics.measurement_residual`: ``update(preds, y)``, y the measured intensities.

    Args:
        forward: The model of y.
        **options: Passed to ``torchmetrics.Metric``.
    """

    is_differentiable = True
    higher_is_better = False

    def __init__(self, forward: ForwardModel, **options: Any) -> None:
        super().__init__(**options)
        self.model = forward

    def update(self, preds: Tensor, y: Tensor) -> None:
        self._add(measurement_residual(preds, y, self.model, reduction="none"))
