"""The metrics as ``torchmetrics.Metric`` classes: stateful, reset per epoch, summed over processes.

Extra ``[metrics]``: ``pip install "torch_symbreak[metrics]"``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.torchmetrics needs torchmetrics: pip install "torch_symbreak[metrics]"', name=error.name
    ) from error

from torch_symbreak._items import resolved
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


def _settings(value: Any) -> Iterator[bytes]:
    """Yield all that a symmetry or a model consists of, so that equal bytes mean equal settings."""
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield resolved(value.detach().cpu()).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (Symmetry, nn.Module, Mapping)):
        yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
        for name, part in (value if isinstance(value, Mapping) else vars(value)).items():
            yield repr(name).encode()
            yield from _settings(part)
    elif isinstance(value, (tuple, list)):
        yield f"{type(value).__name__} of {len(value)}".encode()
        for part in value:
            yield from _settings(part)
    else:
        yield repr(value).encode()


class _MeanOverItems(Metric):
    """The mean of per-item values over all items seen since the last reset, by all processes.

    A ``MetricCollection`` merges metrics whose states have equal names and values after the first update, for good. So
    the names contain a hash of the class and its settings.
    """

    full_state_update = False

    def __init__(self, settings: Any, **options: Any) -> None:
        super().__init__(**options)
        digest = hashlib.blake2b(type(self).__qualname__.encode(), digest_size=8)
        for part in _settings(settings):
            digest.update(part)
            digest.update(b"\0")
        self._total, self._count = (f"{name}_{digest.hexdigest()}" for name in ("total", "count"))
        self.add_state(self._total, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(self._count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        setattr(self, self._total, getattr(self, self._total) + values.detach().sum())
        setattr(self, self._count, getattr(self, self._count) + values.numel())

    def compute(self) -> Tensor:
        return getattr(self, self._total) / getattr(self, self._count)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Plot one or several values with torchmetrics' own function, which needs Matplotlib.

        Args:
            val: A value, or one per step. Default: :meth:`compute`.
            ax: Axes to draw into. Default: those of a new figure.

        Returns:
            The figure and its Axes.
        """
        return self._plot(val, ax)


class _SymmetryAdjusted(_MeanOverItems):
    """The mean of a function of predictions, targets and symmetries."""

    function: Callable[..., Tensor]
    is_differentiable = True
    higher_is_better = False

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], **options: Any) -> None:
        symmetry = Product(symmetries)
        super().__init__(symmetry, **options)
        self.symmetry = symmetry

    def update(self, preds: Tensor, target: Tensor) -> None:
        self._add(type(self).function(preds, target, self.symmetry, reduction="none"))


class SymmetryAdjustedMSE(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.sa_mse` over items: ``update(preds, target)``, ``compute()``.

    In a ``MetricCollection`` two metrics share a state only if they have one class and equal settings.

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
    """Mean of :func:`torch_symbreak.metrics.sa_nrmse` over items; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> metric, x = SymmetryAdjustedNRMSE(Sign(1)), torch.tensor([[1.0, -2.0]])
        >>> metric.update(-x, x)
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    function = staticmethod(sa_nrmse)


class SymmetryAdjustedPSNR(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.metrics.sa_psnr` over items; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> metric, x = SymmetryAdjustedPSNR(Sign(1)), torch.tensor([[1.0, -2.0]])
        >>> metric.update(-x, x)
        >>> metric.compute()
        tensor(inf, dtype=torch.float64)
    """

    function = staticmethod(sa_psnr)
    higher_is_better = True


class SymmetryAdjustedSSIM(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.metrics.sa_ssim` over items; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> metric, x = SymmetryAdjustedSSIM(Sign(2)), torch.randn(1, 8, 8)
        >>> metric.update(-x, x)
        >>> round(float(metric.compute()), 5)
        1.0
    """

    function = staticmethod(sa_ssim)
    higher_is_better = True


class RelativeError(_SymmetryAdjusted):
    """Mean of :func:`torch_symbreak.relative_error` over items; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> metric, x = RelativeError(Sign(1)), torch.tensor([[1.0, -2.0]])
        >>> metric.update(-x, x)
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    function = staticmethod(relative_error)


class MeasurementResidual(_MeanOverItems):
    """Mean of :func:`torch_symbreak.metrics.measurement_residual`: ``update(preds, y)``, y the measured intensities.

    Args:
        forward: The model of y, or any function.
        **options: Passed to ``torchmetrics.Metric``.

    Example:
        >>> import torch
        >>> from torch_symbreak import ElementwiseSquare
        >>> metric, x = MeasurementResidual(ElementwiseSquare()), torch.tensor([[1.0, -2.0]])
        >>> metric.update(-x, x.square())
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    is_differentiable = True
    higher_is_better = False

    def __init__(self, forward: Callable[[Tensor], Tensor], **options: Any) -> None:
        super().__init__(forward, **options)
        self.model = forward

    def update(self, preds: Tensor, y: Tensor) -> None:
        self._add(measurement_residual(preds, y, self.model, reduction="none"))
