"""Far-field phase retrieval in deepinv: physics, metrics, a loss, and data as its ``Trainer`` takes them.

Extra ``[deepinv]``: ``pip install "torch_symbreak[deepinv]"``.

deepinv's models are real: an object of C complex channels is (B, 2 C, *event), re and im in turn, its measurement
(B, C, *detector). Complex tensors (B, C, *event) are taken too. A model or symmetry of real objects has no imaginary
channels: (B, C, *event).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

try:
    from deepinv.datasets import ImageDataset
    from deepinv.loss import Loss
    from deepinv.loss.metric import Metric
    from deepinv.physics import Physics
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.deepinv needs deepinv: pip install "torch_symbreak[deepinv]"', name=error.name
    ) from error

from torch_symbreak import losses, metrics
from torch_symbreak.datasets.wrappers import fetch
from torch_symbreak.forward import FarField
from torch_symbreak.interop._channels import to_channels, to_complex
from torch_symbreak.symmetries import GlobalPhase, PhaseRamp, Product, Sign, Symmetry

__all__ = [
    "DeepinvDataset",
    "FarFieldPhysics",
    "OnChannels",
    "OrbitMinLoss",
    "RelativeError",
    "SymmetryAdjustedMSE",
    "SymmetryAdjustedNRMSE",
    "SymmetryAdjustedPSNR",
    "SymmetryAdjustedSSIM",
]


class FarFieldPhysics(Physics):
    """The far-field model as a deepinv physics: ``physics(x) = noise(|F x|²)``.

    ``A`` is the model, differentiable; ``A_vjp`` is deepinv's, by automatic differentiation, and ``update`` reaches the
    noise model. As in deepinv's ``PhaseRetrieval``, ``A_adjoint(y) = F^H y`` is the adjoint of the linear part, here
    cropped to the frame. ``A_dagger(y)`` is ``max_iter`` steps of error reduction from there: a start, not a solution.
    It counts negative intensities as zero, and leaves pixels free where y is NaN.

    Shape: x (B, 2 C, *frame), re and im in turn, or complex (B, C, *frame), or real (B, C, *frame) if the model is of
    real objects; y (B, C, *detector). Adjoint and dagger give real channels.

    Args:
        model: E.g. ``FarField(2)``.
        frame: The shape of an object, (N_1, ..., N_d).
        **options: deepinv's: ``noise_model``, ``sensor_model``, ``max_iter`` (default 50).

    Raises:
        ValueError: If objects have another frame, or an odd number of channels.

    Example:
        >>> import torch
        >>> from deepinv.physics import PoissonNoise
        >>> model = FarField(2)
        >>> physics = FarFieldPhysics(model, (8, 8), noise_model=PoissonNoise(gain=0.1))
        >>> x = torch.randn(3, 1, 8, 8, dtype=torch.complex64)
        >>> y = physics.A(torch.cat([x.real, x.imag], 1))
        >>> y.shape, torch.equal(y, model(x)), physics.A_adjoint(y).shape
        (torch.Size([3, 1, 16, 16]), True, torch.Size([3, 2, 8, 8]))

    References: error reduction: Fienup, Applied Optics 21, 2758 (1982).
    """

    def __init__(self, model: FarField, frame: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.model = model
        self.frame = tuple(frame)
        size = math.prod(model.detector_shape(self.frame))
        # What F makes of a point at the origin: one constant, and F^H F = size constant².
        self.constant = size ** {"backward": 0.0, "ortho": -0.5, "forward": -1.0}[model.norm]
        self.gain = size * self.constant**2

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        d = self.model.event_dims
        if x.shape[-d:] != self.frame:
            raise ValueError(f"FarFieldPhysics has the frame {self.frame}, but got objects of shape {tuple(x.shape)}.")
        real = self.model.field == "real" or x.is_complex()
        return self.model(x if real else to_complex("FarFieldPhysics", x, d))

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        d = self.model.event_dims
        point = y.new_zeros(*y.shape[:-d], *self.frame)
        point.flatten(-d)[..., 0] = 1
        if self.model.field == "complex":
            point = to_channels(torch.complex(point, torch.zeros_like(point)), d)
        # |F x|² has the slope 2 F^H diag(F x), and F x is constant at a point.
        return self.A_vjp(point, y) / (2 * self.constant)

    def A_dagger(self, y: Tensor, x_init: Tensor | None = None) -> Tensor:
        seen = ~y.isnan()
        y = torch.where(seen, y.clamp(min=0), 0)  # noise may be negative
        x = self.A_adjoint(y) if x_init is None else x_init
        tiny = torch.finfo(y.dtype).tiny
        for _ in range(self.max_iter):  # x <- F^H (sqrt(y) F x / |F x|) / gain, on the frame
            modeled = self.A(x)
            floor = (torch.finfo(y.dtype).eps ** 2 * modeled.amax()).clamp(min=tiny)
            factor = torch.where(seen, (y / modeled.clamp(min=floor)).sqrt(), 1)
            x = self.A_vjp(x, factor) / (2 * self.gain)
        return x


def _objects(owner: str, x: Tensor, symmetry: Product) -> Tensor:
    """Targets in deepinv's layout as the symmetry takes them: complex, unless it has a sign and no phase."""
    real = isinstance(symmetry.scalar, Sign)
    return x if real or x.is_complex() else to_complex(owner, x, symmetry.event_dims)


def _of_magnitudes(symmetry: Product) -> Product:
    """Return the symmetries as they act on magnitudes: a phase does nothing there, as does the sign of the nearest."""
    sign = Sign(symmetry.event_dims, channel_dims=symmetry.channel_dims)
    kept = [part for part in symmetry.symmetries if not isinstance(part, (GlobalPhase, PhaseRamp, Sign))]
    return Product([*kept, sign])


class _SymmetryAdjusted(Metric):
    """The mean over channels of a function of predictions, targets and symmetries: (B,)."""

    function: Callable[..., Tensor]
    higher_is_better = False

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], **options: Any) -> None:
        super().__init__(**options)
        self.symmetry = _of_magnitudes(Product(symmetries)) if self.complex_abs else Product(symmetries)
        self.lower_better = not self.higher_is_better

    def metric(self, x_net: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = type(self).__name__
        estimate, truth = (_objects(name, one, self.symmetry) for one in (x_net, x))
        values = type(self).function(estimate, truth, self.symmetry, reduction="none")
        return values.flatten(1).mean(1) if values.dim() > 1 else values


class SymmetryAdjustedMSE(_SymmetryAdjusted):
    """:func:`torch_symbreak.sa_mse` as a deepinv metric, per item: for ``Trainer(metrics=...)``, or in a loss.

    Of complex entries, so twice that of real channels.

    Shape: x_net and x in deepinv's layout, (B, 2 C, *event) or complex (B, C, *event); (B,), the mean over channels.

    Args:
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.
        **options: Of ``deepinv.loss.metric.Metric``: ``reduction``, ``center_crop``, ... With ``complex_abs=True``
            magnitudes are compared, up to the symmetries' action on them: shifts and flips, but no phase.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> rotated = torch.stack([-x[:, 1], x[:, 0]], 1)  # times i
        >>> bool((SymmetryAdjustedMSE(FarField().symmetries)(rotated, x) < 1e-9).all())
        True
    """

    function = staticmethod(metrics.sa_mse)


class SymmetryAdjustedNRMSE(_SymmetryAdjusted):
    """:func:`torch_symbreak.metrics.sa_nrmse` as a deepinv metric; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> bool((SymmetryAdjustedNRMSE(FarField().symmetries)(-x, x) < 1e-4).all())
        True
    """

    function = staticmethod(metrics.sa_nrmse)


class SymmetryAdjustedPSNR(_SymmetryAdjusted):
    """:func:`torch_symbreak.metrics.sa_psnr` as a deepinv metric; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> bool((SymmetryAdjustedPSNR(FarField().symmetries)(-x, x) > 80).all())
        True
    """

    function = staticmethod(metrics.sa_psnr)
    higher_is_better = True


class SymmetryAdjustedSSIM(_SymmetryAdjusted):
    """:func:`torch_symbreak.metrics.sa_ssim` as a deepinv metric; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> bool((SymmetryAdjustedSSIM(FarField().symmetries)(-x, x) > 0.999).all())
        True
    """

    function = staticmethod(metrics.sa_ssim)
    higher_is_better = True


class RelativeError(_SymmetryAdjusted):
    """:func:`torch_symbreak.relative_error` as a deepinv metric; arguments as for :class:`SymmetryAdjustedMSE`.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> bool((RelativeError(FarField().symmetries)(-x, x) < 1e-4).all())
        True
    """

    function = staticmethod(metrics.relative_error)


class OrbitMinLoss(Loss):
    """:class:`torch_symbreak.OrbitMinLoss` as a deepinv loss, for raw targets: ``Trainer(losses=...)``.

    Shape: x_net and x in deepinv's layout, (B, 2 C, *event) or complex (B, C, *event); a scalar.

    Args:
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.
        base: As for :class:`torch_symbreak.OrbitMinLoss`. Default "mse".

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(4, 2, 8, 8)
        >>> bool(OrbitMinLoss(FarField().symmetries)(x_net=-x, x=x) < 1e-9)
        True
    """

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], base: losses.Base = "mse") -> None:
        super().__init__()
        self.loss = losses.OrbitMinLoss(symmetries, base)

    def forward(self, x_net: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        estimate, truth = (_objects("OrbitMinLoss", one, self.loss.symmetry) for one in (x_net, x))
        return self.loss(estimate, truth)


class OnChannels(nn.Module):
    """Run a transform of complex tensors on deepinv's real channels; complex tensors go to it as they are.

    It breaks the symmetries of a deepinv data set: ``SymmetryBrokenDataset(dataset, OnChannels(fix), keys="x")`` or,
    batch by batch, ``collate_fn=CollateTransform(OnChannels(fix), keys="x")``; ``keys=0`` if samples are tuples (x, y).
    Not with ``HDF5Dataset(transform=...)``: deepinv 0.5 runs that on the measurements too.

    Shape: (*batch, 2 C, *event), re and im in turn, to the same; the transform gets (*batch, C, *event).

    Args:
        transform: E.g. ``FarField().canonicalizer()``; with ``channel_dims=1`` the C channels share one element.
        event_dims: Trailing dimensions behind the channels. Default 2.

    Example:
        >>> import torch
        >>> from deepinv.datasets import TensorDataset
        >>> from torch_symbreak import FarField, SymmetryBrokenDataset
        >>> fix = OnChannels(FarField().canonicalizer())
        >>> x, y = torch.randn(6, 2, 8, 8), torch.rand(6, 1, 16, 16)
        >>> data = SymmetryBrokenDataset(TensorDataset(x=x, y=y, use_dict_output=True), fix, keys="x")
        >>> torch.equal(data[3]["x"], fix(x)[3]), torch.equal(data[3]["y"], y[3])
        (True, True)
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], event_dims: int = 2) -> None:
        super().__init__()
        self.transform = transform
        self.event_dims = event_dims

    def forward(self, x: Tensor) -> Tensor:
        if x.is_complex():
            return self.transform(x)
        return to_channels(self.transform(to_complex("OnChannels", x, self.event_dims)), self.event_dims)


class DeepinvDataset(ImageDataset):
    """A data set of pairs (y, x), ours or another, as deepinv takes it: ``{"x": ..., "y": ...}`` with channels.

    Shape: y (*detector) or (C, *detector) to (C, *detector); complex x (*event) or (C, *event) to
    (2 C, *event), re and im in turn; real x to (C, *event).

    Args:
        dataset: A map-style data set of pairs (y, x), e.g. a ``SymmetryBrokenDataset``.
        event_dims: Dimensions of one object. Default 2.

    Example:
        >>> from torch_symbreak import FarField
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> fix = FarField().canonicalizer()
        >>> sample = DeepinvDataset(BraggCrystals(100, frame=(12, 12), target_transform=fix))[7]
        >>> {key: tuple(part.shape) for key, part in sample.items()}
        {'x': (2, 12, 12), 'y': (1, 24, 24)}
    """

    def __init__(self, dataset: Any, event_dims: int = 2) -> None:
        super().__init__(use_dict_output=True)
        self.dataset = dataset
        self.event_dims = event_dims

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        return [self._sample(y, x) for y, x in fetch(self.dataset, indices)]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])[0]

    def _sample(self, y: Tensor, x: Tensor) -> dict[str, Tensor]:
        y, x = (part if part.dim() > self.event_dims else part.unsqueeze(0) for part in (y, x))
        return {"x": to_channels(x, self.event_dims) if x.is_complex() else x, "y": y}
