"""Resolution curves: Fourier ring correlation and phase retrieval transfer function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import Array, as_pair, as_tensors, check_same_shape, check_target, describe, masked
from torch_symbreak._items import nan_unless_finite, power, wide
from torch_symbreak.alignment import align
from torch_symbreak.forward import FarField
from torch_symbreak.metrics.errors import Reduction, Symmetries, reduce
from torch_symbreak.symmetries import Product


class Curve(NamedTuple):
    """A curve over spatial frequency.

    Example:
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(8, 8, dtype=torch.complex64)
        >>> frequency, value = frc(x, x, FarField().symmetries)
        >>> frequency
        tensor([0.0000, 0.1250, 0.2500, 0.3750, 0.5000], dtype=torch.float64)
    """

    frequency: Tensor  #: (K,), center of each ring, in cycles per entry of the object, up to 1/2
    value: Tensor  #: (K,), or (*batch, K) for reduction="none"


def _rings(shape: Sequence[int], oversampling: Sequence[float], device: torch.device) -> tuple[Tensor, int]:
    """The ring of every frequency, flat, K where it is beyond 1/2 cycle per entry; and the number K of rings.

    Rings are as wide as one frequency step of the coarsest axis of the object.
    """
    count = max(1, int(min(n / s for n, s in zip(shape, oversampling, strict=True))) // 2)
    axes = [torch.fft.fftfreq(n, dtype=torch.float64, device=device) for n in shape]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    ring = (radius * 2 * count + 0.5).long()
    return ring.clamp(max=count + 1).flatten(), count + 1


def _sums(values: Tensor, ring: Tensor, count: int, d: int) -> Tensor:
    """Sum over every ring, (*batch, K)."""
    flat = values.flatten(-d)
    sums = flat.new_zeros(*flat.shape[:-1], count + 1)
    return sums.index_add(-1, ring, flat)[..., :count]


def frc(x: Array, reference: Array, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Curve:
    """Return the Fourier ring correlation of two reconstructions after alignment (in 3-D: shell correlation).

    ``FRC(q) = Re sum X conj(R) / sqrt(sum |X|² sum |R|²)``, summed over each ring of spatial frequency. It is 1 for
    equal ones. The resolution is the frequency at which it falls below a threshold (1/2 bit, 1/7). Frames count as
    periodic: what a shift pushes out comes in on the other side, so all points of the reference's orbit give one curve.
    The curve of an item that is not finite is NaN.

    Shape: x and reference (*batch, *event) to K = N/2 + 1 rings, N the shortest axis.

    Args: as for :func:`torch_symbreak.sa_mse`; the symmetries must have ``channel_dims=0``.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(3, 16, 16, dtype=torch.complex64)
        >>> frequency, value = frc(1j * x, x, FarField().symmetries)
        >>> frequency[-1], torch.allclose(value, torch.ones(9, dtype=torch.float64))
        (tensor(0.5000, dtype=torch.float64), True)

    References: van Heel, Schatz, J. Struct. Biol. 151, 250 (2005).
    """
    x, reference = as_pair("frc", x, reference)
    group = Product(symmetries)
    if group.channel_dims:
        raise ValueError(f"frc compares single images, but the symmetries have channel_dims={group.channel_dims}.")
    d, dims = group.event_dims, tuple(range(-group.event_dims, 0))
    x, reference = x.to(wide(x)), reference.to(wide(reference))
    moved = group.act(align(x, reference, group).element, x)
    ring, count = _rings(x.shape[x.dim() - d :], [1] * d, x.device)
    if x.numel() == 0:  # not every transform takes an empty batch
        none = x.real.new_zeros(*x.shape[: x.dim() - d], count)
        return Curve(_frequency(count, x.device), _reduced(none, reduction))
    fx, fr = (torch.fft.fftn(z, dim=dims) for z in (moved, reference))
    cross = _sums((fx * fr.conj()).real, ring, count, d)
    energies = (_sums(power(z), ring, count, d) for z in (fx, fr))
    own, there = (torch.where(energy == 0, 1, energy).sqrt() for energy in energies)
    value = cross / own / there  # 0 where either has no energy
    value = nan_unless_finite(value.movedim(-1, 0), x, reference, item_dims=d).movedim(0, -1)
    return Curve(_frequency(count, x.device), _reduced(value, reduction))


def prtf(x: Array, y: Array, forward: FarField, *, mask: Array | None = None, reduction: Reduction = "mean") -> Curve:
    """Return the phase retrieval transfer function, ``PRTF(q) = mean |F x| / sqrt(y)`` over rings of frequency.

    Pass as x the average of many aligned reconstructions (:func:`torch_symbreak.metrics.average_modes`). The PRTF is 1
    where they agree and falls to 0 where their phases are random. Below 1/e counts as unresolved. Entries with y <= 0
    or NaN are left out, and a ring that has no others is NaN. So is the curve of an item x that is not finite.

    Shape: x (*batch, *event), y as ``forward(x)``, to K = N/2 + 1 rings, N the shortest axis of the object.

    Args:
        x: The averaged reconstruction.
        y: The measured intensities.
        forward: The far-field model of y.
        mask: True where y is measured, of the shape of y or of its last dimensions. Other pixels are left out.
            Default: all but NaN.
        reduction: Over the batch: "mean" (default), "sum" or "none".

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x, model = torch.randn(16, 16, dtype=torch.complex64), FarField()
        >>> torch.allclose(prtf(x, model(x), model).value, torch.ones(9, dtype=torch.float64), atol=1e-3)
        True

    References: Chapman et al., J. Opt. Soc. Am. A 23, 1179 (2006).
    """
    x, measured = as_tensors("prtf", x, y, names=("x", "y"), last="forward")
    if not (callable(forward) and hasattr(forward, "centered")):  # compiled models are no instances
        raise TypeError(f"prtf needs a FarField model, but got {describe(forward)}.")
    check_target("prtf", x, forward.event_dims, least=1)
    d, frame = forward.event_dims, x.shape[x.dim() - forward.event_dims :]
    modeled = forward(x)
    check_same_shape("prtf", modeled, measured, names=("f(x)", "y"))
    measured = masked("prtf", measured, mask)
    shape = modeled.shape[modeled.dim() - d :]
    ratio = modeled.double().sqrt() / torch.where(measured > 0, measured, 1).double().sqrt()
    ring, count = _rings(shape, [m / n for m, n in zip(shape, frame, strict=True)], x.device)
    if forward.centered:
        ratio, measured = (torch.fft.ifftshift(z, dim=tuple(range(-d, 0))) for z in (ratio, measured))
    seen = _sums((measured > 0).double(), ring, count, d)
    value = _sums(torch.where(measured > 0, ratio, 0), ring, count, d) / seen
    value = nan_unless_finite(value.movedim(-1, 0), x, item_dims=d).movedim(0, -1)
    return Curve(_frequency(count, x.device), _reduced(value, reduction))


def _frequency(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.float64, device=device) / (2 * max(count - 1, 1))


def _reduced(value: Tensor, reduction: Reduction) -> Tensor:
    """Reduce over the batch, ring by ring."""
    if reduction == "none":
        return value
    columns = value.reshape(-1, value.shape[-1]).unbind(-1)
    return torch.stack([reduce(column, reduction) for column in columns])
