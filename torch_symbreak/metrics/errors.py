"""Errors up to a symmetry: align every item first, compare after, then reduce over the items.

Every function takes an estimate ``x``, the truth ``reference`` (both (*batch, *channels, *event)) and the
``symmetries`` that count as no error. The result is a scalar, or (*batch,) for ``reduction="none"``, in double
precision. It is differentiable in x with the group element held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from torch_symbreak._checks import check_same_shape, check_tensor
from torch_symbreak._items import flat_items, per_item, power, wide
from torch_symbreak.alignment import align
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Product, Symmetry

Reduction = Literal["mean", "sum", "none"]
Symmetries = Symmetry | Sequence[Symmetry]


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce per-item values by "mean", "sum" or "none"."""
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction needs "mean", "sum" or "none", but got {reduction!r}.')
    return values.mean() if reduction == "mean" else values.sum()


def _energy(z: Tensor, item_dims: int) -> Tensor:
    """Return the squared norm of every item, (*batch,), in double precision."""
    return flat_items(power(z.to(wide(z))), item_dims).sum(-1)


def _magnitudes(reference: Tensor, item_dims: int) -> Tensor:
    return flat_items(reference.to(wide(reference)), item_dims).abs()


def _ratio(error: Tensor, size: Tensor) -> Tensor:
    """Return error / size with 0 / 0 = 0, and with gradient 0 instead of NaN where the size is 0."""
    ratio = error / torch.where(size == 0, 1, size)
    return torch.where(size == 0, torch.where(error == 0, 0, torch.inf).to(ratio.dtype), ratio)


def _root(squares: Tensor) -> Tensor:
    """Return the square root, with gradient 0 instead of infinity at 0."""
    return torch.where(squares > 0, torch.where(squares > 0, squares, 1).sqrt(), 0)


def sa_mse(x: Tensor, reference: Tensor, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return the symmetry-adjusted mean squared error: the MSE to the nearest point of the orbit.

    ``SA-MSE(x, r) = min_g sum |g . x - r|² / P``. The sum runs over Z^d with x and r extended by zeros, so that
    content pushed out of the frame counts as error. P is the number of entries of an item. The result is never
    negative and never above the MSE. See :func:`align`.

    Shape: x and reference (*batch, *channels, *event); a scalar, or (*batch,) for ``reduction="none"``; double
    precision.

    Args:
        x: The estimate.
        reference: The truth; same shape and field.
        symmetries: Symmetries that count as no error, e.g. ``FarField().symmetries``.
        reduction: Reduction over the items: "mean" (default), "sum" or "none".

    Example: the wrong sign is no error if signs cannot be measured.
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[1.0, -2.0]])
        >>> sa_mse(-x, x, Sign(1)), torch.nn.functional.mse_loss(-x, x)
        (tensor(0., dtype=torch.float64), tensor(10.))
    """
    return reduce(align(x, reference, symmetries).error, reduction)


def orbit_distance(x: Tensor, reference: Tensor, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return the distance of orbits, ``min_g ||g . x - r||``: a metric between orbits, in the units of x.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> orbit_distance(torch.tensor([[-3.0, 0.0]]), torch.tensor([[0.0, 4.0]]), Sign(1))
        tensor(5., dtype=torch.float64)
    """
    error = align(x, reference, symmetries).error
    return reduce(_distance(error, reference, Product(symmetries).item_dims), reduction)


def relative_error(x: Tensor, reference: Tensor, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return ``min_g ||g . x - r|| / ||r||``, the error that phase retrieval reports; 0/0 counts as 0.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import GlobalPhase
        >>> r = torch.tensor([[3.0j, 4.0]])
        >>> round(float(relative_error(1.1j * r, r, GlobalPhase(1))), 6)
        0.1
    """
    error = align(x, reference, symmetries).error
    return reduce(relative_as_is(error, reference, Product(symmetries).item_dims), reduction)


def relative_as_is(error: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return ``||x - r|| / ||r||`` of every item, (*batch,), from its mean squared error; 0/0 counts as 0."""
    return _ratio(_distance(error, reference, item_dims), _root(_energy(reference, item_dims)))


def _distance(error: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return ``||x - r||`` of every item from its mean squared error."""
    return _root(error * flat_items(reference, item_dims).shape[-1])


def sa_nrmse(x: Tensor, reference: Tensor, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return the root of the SA-MSE over the range of the reference's magnitude, ``max |r| - min |r|``.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> sa_nrmse(torch.tensor([[0.0, 0.0]]), torch.tensor([[-2.0, 2.0]]), Sign(1)).isinf()  # no range
        tensor(True)
        >>> sa_nrmse(torch.tensor([[-1.0, -3.0]]), torch.tensor([[0.0, 4.0]]), Sign(1))
        tensor(0.2500, dtype=torch.float64)
    """
    magnitude = _magnitudes(reference, Product(symmetries).item_dims)
    error = _root(align(x, reference, symmetries).error)
    return reduce(_ratio(error, magnitude.amax(-1) - magnitude.amin(-1)), reduction)


def sa_psnr(
    x: Tensor,
    reference: Tensor,
    symmetries: Symmetries,
    *,
    data_range: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the peak signal-to-noise ratio up to a symmetry, ``10 log10(peak² / SA-MSE)`` in dB; infinite if equal.

    Args: as for :func:`sa_mse`, and
        data_range: The peak. Default: each item's largest ``|r|``.

    Raises:
        ValueError: If ``data_range`` is not a positive number.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> sa_psnr(torch.tensor([[-9.0, 0.0]]), torch.tensor([[10.0, 1.0]]), Sign(1))
        tensor(20., dtype=torch.float64)
    """
    if data_range is not None and not (isinstance(data_range, (int, float)) and data_range > 0):
        raise ValueError(f"sa_psnr needs a positive number as data_range, but got {data_range!r}.")
    error = align(x, reference, symmetries).error
    return reduce(psnr_as_is(error, reference, Product(symmetries).item_dims, data_range), reduction)


def psnr_as_is(error: Tensor, reference: Tensor, item_dims: int, data_range: float | None = None) -> Tensor:
    """Return ``10 log10(peak² / MSE)`` of every item in dB, (*batch,), from its mean squared error."""
    magnitude = _magnitudes(reference, item_dims).amax(-1)
    peak = magnitude if data_range is None else torch.full_like(magnitude, data_range)
    ratio = peak.square() / torch.where(error > 0, error, 1)
    decibel = torch.where(ratio == 0, -torch.inf, 10 * torch.log10(torch.where(ratio == 0, 1, ratio)))
    return torch.where(error == 0, torch.inf, decibel)


def sa_ssim(
    x: Tensor,
    reference: Tensor,
    symmetries: Symmetries,
    *,
    on: Literal["magnitude", "real_imag"] = "magnitude",
    window_size: int = 7,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the structural similarity (kornia's) of images after alignment, 1 for equal ones.

    Shape: as for :func:`sa_mse`, with two event dimensions.

    Args: as for :func:`sa_mse`, and
        on: Compare "magnitude" (default, data range 1), or "real_imag": real and imaginary parts (data range 2),
            averaged. Both are divided by each item's largest ``|r|``.
        window_size: Side of the Gaussian window in pixels, odd. Default 7.

    Raises:
        ValueError: If the symmetries do not act on images, or ``on`` or ``window_size`` is not as above.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> r = torch.zeros(1, 16, 16, dtype=torch.complex64)
        >>> r[:, 3:9, 4:11] = torch.randn(1, 6, 7, dtype=torch.complex64)
        >>> shifted = 1j * r.roll((2, -1), (1, 2))
        >>> round(float(sa_ssim(shifted, r, FarField().symmetries)), 5)
        1.0
    """
    group = Product(symmetries)
    if group.event_dims != 2:
        raise ValueError(f"sa_ssim compares images, but the symmetries have event_dims={group.event_dims}.")
    if on not in ("magnitude", "real_imag"):
        raise ValueError(f'sa_ssim needs on="magnitude" or on="real_imag", but got {on!r}.')
    if window_size % 2 == 0 or not 0 < window_size <= 2 * min(x.shape[-2:]) - 1:
        raise ValueError(
            f"sa_ssim needs an odd window_size below twice the smaller side of {tuple(x.shape[-2:])}, "
            f"but got {window_size}."
        )
    aligned = align(x, reference, symmetries).aligned
    return reduce(ssim_as_is(aligned, reference, group.item_dims, on, window_size), reduction)


def ssim_as_is(
    x: Tensor, reference: Tensor, item_dims: int, on: Literal["magnitude", "real_imag"], window_size: int = 7
) -> Tensor:
    """Return the structural similarity of every item without aligning it, (*batch,), in double precision."""
    from kornia.metrics import ssim  # slow to import, and only SSIM needs it

    x, reference = x.to(wide(x)), reference.to(wide(reference))
    peak = _magnitudes(reference, item_dims).amax(-1)
    if x.numel() == 0:
        return peak
    scale = per_item(torch.where(peak > 0, peak, 1), item_dims)

    def images(z: Tensor) -> Tensor:
        if on == "magnitude":
            planes = [(z / scale).abs()]
        else:
            planes = [(z / scale).real, (z / scale).imag] if z.is_complex() else [z / scale]
        return torch.stack(planes, -3).reshape(-1, 1, *z.shape[-2:])

    similarity = ssim(images(x), images(reference), window_size, max_val=1.0 if on == "magnitude" else 2.0)
    return similarity.reshape(*peak.shape, -1).mean(-1)


def measurement_residual(x: Tensor, y: Tensor, forward: ForwardModel, *, reduction: Reduction = "mean") -> Tensor:
    """Return the R-factor in data space, ``sum |sqrt(y) - sqrt(f(x))| / sum sqrt(y)``. It needs no truth.

    Shape: x as ``forward`` takes it, y as ``forward`` returns it; a scalar, or (*batch,) for ``reduction="none"``.

    Args:
        x: The estimate.
        y: The measured intensities, non-negative.
        forward: The model.
        reduction: Reduction over the items: "mean" (default), "sum" or "none".

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(2, 8, 8, dtype=torch.complex64)
        >>> model = FarField()
        >>> round(float(measurement_residual(0.9 * x, model(x), model)), 4)
        0.1
    """
    check_tensor("measurement_residual", x, what="x")
    modeled = forward(x)
    check_same_shape("measurement_residual", modeled, y)
    item_dims = modeled.dim() - len(x.shape[: x.dim() - Product(forward.symmetries).item_dims])
    measured = flat_items(y.to(wide(y)), item_dims).sqrt()
    difference = (measured - _root(flat_items(modeled.to(wide(modeled)), item_dims))).abs().sum(-1)
    return reduce(_ratio(difference, measured.sum(-1)), reduction)
