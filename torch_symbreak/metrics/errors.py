"""Errors up to a symmetry: align every item first, compare after, then reduce over the items.

Every function takes an estimate ``x``, the truth ``reference`` (both (*batch, *channels, *event), tensors or NumPy
arrays) and the ``symmetries`` that count as no error. The result is a scalar, or (*batch,) for ``reduction="none"``, in
double precision. It is differentiable in x with the group element held fixed.

- *One value per orbit.* All points of the reference's orbit give an item the same value, unless two points of the
  orbit of x are equally near. Exceptions: ``Scale``, under which only ratios (relative error, NRMSE, PSNR, SSIM) keep
  their value; ``PhaseRamp``, which is found approximately; ``ConjugateFlip`` without ``Translation``, which flips x
  about its own content box unless it has a center.
- *NaN.* An item that is not finite, in x or in the reference, gets NaN, and so do its mean and sum. The other items
  keep their values.
- *No symmetries*, ``()``, give the plain error. An item is then one index of the first dimension. A tensor of one
  dimension is one item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import Array, as_pair, as_tensors, check_same_shape, describe, masked
from torch_symbreak._items import divided, flat_items, nan_unless_finite, peak, per_item, power, root, wide
from torch_symbreak.alignment import align
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


class _Compared(NamedTuple):
    """Parts that every error up to a symmetry needs."""

    error: Tensor  # (*batch,), the mean squared error up to the symmetries
    reference: Tensor
    item_dims: int


def _compared(owner: str, x: Array, reference: Array, symmetries: Symmetries, *, ratio: bool = False) -> _Compared:
    """Check and align x and the reference. The error of an item that is not finite is NaN.

    If only a ratio of error and reference is wanted, both are in units of the item's largest entry. Squares of double
    precision would under- or overflow otherwise; those of single precision have room in double.
    """
    x, reference = as_pair(owner, x, reference)
    group = group_of(symmetries)
    item_dims = min(x.dim(), max(1, x.dim() - 1)) if group is None else group.item_dims
    if group is not None:
        group.check(x)
    if ratio and x.numel() and torch.float64 in (x.real.dtype, reference.real.dtype):
        unit = per_item(peak(x.detach(), reference.detach(), item_dims=item_dims), item_dims)
        x, reference = divided(x, unit), divided(reference, unit)
    error = mse_as_is(x, reference, item_dims) if group is None else align(x, reference, group).error
    return _Compared(nan_unless_finite(error, x, reference, item_dims=item_dims), reference, item_dims)


def group_of(symmetries: Symmetries) -> Product | None:
    """Return the group of the symmetries, or None if there are none."""
    return None if isinstance(symmetries, (tuple, list)) and not symmetries else Product(symmetries)


def mse_as_is(x: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return the mean squared error of every item without aligning it, (*batch,), in double precision."""
    return flat_items(power(x.to(wide(x)) - reference.to(wide(reference))), item_dims).mean(-1)


def _energy(z: Tensor, item_dims: int) -> Tensor:
    """Return the squared norm of every item, (*batch,), in double precision."""
    return flat_items(power(z.to(wide(z))), item_dims).sum(-1)


def magnitudes(reference: Tensor, item_dims: int) -> Tensor:
    """Return the magnitudes of every item's entries, (*batch, P), in double precision."""
    return flat_items(reference.to(wide(reference)), item_dims).abs()


def _ratio(error: Tensor, size: Tensor) -> Tensor:
    """Return error / size with 0 / 0 = 0, and with gradient 0 instead of NaN where the size is 0."""
    ratio = error / torch.where(size == 0, 1, size)
    return torch.where(size == 0, torch.where(error == 0, 0, error.detach() * torch.inf), ratio)


def sa_mse(x: Array, reference: Array, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
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
    return reduce(_compared("sa_mse", x, reference, symmetries).error, reduction)


def orbit_distance(x: Array, reference: Array, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return the distance of orbits, ``min_g ||g . x - r||``: a metric between orbits, in the units of x.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> orbit_distance(torch.tensor([[-3.0, 0.0]]), torch.tensor([[0.0, 4.0]]), Sign(1))
        tensor(5., dtype=torch.float64)
    """
    return reduce(_distance(*_compared("orbit_distance", x, reference, symmetries)), reduction)


def relative_error(x: Array, reference: Array, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return ``min_g ||g . x - r|| / ||r||``, the error that phase retrieval reports; 0/0 counts as 0.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import GlobalPhase
        >>> r = torch.tensor([[3.0j, 4.0]])
        >>> round(float(relative_error(1.1j * r, r, GlobalPhase(1))), 6)
        0.1
    """
    return reduce(relative_as_is(*_compared("relative_error", x, reference, symmetries, ratio=True)), reduction)


def relative_as_is(error: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return ``||x - r|| / ||r||`` of every item, (*batch,), from its mean squared error; 0/0 counts as 0."""
    return _ratio(_distance(error, reference, item_dims), root(_energy(reference, item_dims)))


def _distance(error: Tensor, reference: Tensor, item_dims: int) -> Tensor:
    """Return ``||x - r||`` of every item from its mean squared error."""
    return root(error * flat_items(reference, item_dims).shape[-1])


def sa_nrmse(x: Array, reference: Array, symmetries: Symmetries, *, reduction: Reduction = "mean") -> Tensor:
    """Return the root of the SA-MSE, divided by the range of the reference's magnitude, ``max |r| - min |r|``.

    A reference of one magnitude everywhere, such as a single number, has no range. The result is then infinite, unless
    the error is 0.

    Args: as for :func:`sa_mse`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> sa_nrmse(torch.tensor([[0.0, 0.0]]), torch.tensor([[-2.0, 2.0]]), Sign(1)).isinf()  # no range
        tensor(True)
        >>> sa_nrmse(torch.tensor([[-1.0, -3.0]]), torch.tensor([[0.0, 4.0]]), Sign(1))
        tensor(0.2500, dtype=torch.float64)
    """
    error, truth, item_dims = _compared("sa_nrmse", x, reference, symmetries, ratio=True)
    magnitude = magnitudes(truth, item_dims)
    return reduce(_ratio(root(error), magnitude.amax(-1) - magnitude.amin(-1)), reduction)


def sa_psnr(
    x: Array,
    reference: Array,
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
    if data_range is not None and not (isinstance(data_range, Real) and 0 < data_range < math.inf):
        raise ValueError(f"sa_psnr needs a positive number as data_range, but got {data_range!r}.")
    compared = _compared("sa_psnr", x, reference, symmetries, ratio=data_range is None)
    return reduce(psnr_as_is(*compared, data_range), reduction)


def psnr_as_is(error: Tensor, reference: Tensor, item_dims: int, data_range: float | None = None) -> Tensor:
    """Return ``10 log10(peak² / MSE)`` of every item in dB, (*batch,), from its mean squared error."""
    magnitude = magnitudes(reference, item_dims).amax(-1)
    peak = magnitude if data_range is None else torch.full_like(magnitude, float(data_range))
    ratio = peak.square() / torch.where(error == 0, 1, error)
    decibel = torch.where(ratio == 0, -torch.inf, 10 * torch.log10(torch.where(ratio == 0, 1, ratio)))
    return torch.where(error == 0, torch.inf, decibel)


def measurement_residual(
    x: Array,
    y: Array,
    forward: Callable[[Tensor], Tensor],
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the R-factor in data space, ``sum |sqrt(y) - sqrt(f(x))| / sum sqrt(y)``. It needs no truth.

    Negative intensities, as a subtracted background leaves them, count as zero. NaN pixels of y, such as dead ones, are
    left out of both sums. An item without measured pixels gets NaN.

    Shape: x as ``forward`` takes it, y as ``forward`` returns it; a scalar, or (*batch,) for ``reduction="none"``.

    Args:
        x: The estimate.
        y: The measured intensities.
        forward: The model, or any function. With a plain function, an item is one index of the first dimension, and a
            tensor of one dimension is one item.
        mask: True where y is measured, with the shape of y or of its last dimensions. Other pixels are left out.
            Default: all but NaN.
        reduction: Reduction over the items: "mean" (default), "sum" or "none".

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(2, 8, 8, dtype=torch.complex64)
        >>> model = FarField()
        >>> round(float(measurement_residual(0.9 * x, model(x), model)), 4)
        0.1
    """
    x, y = as_tensors("measurement_residual", x, y, names=("x", "y"), last="forward")
    if isinstance(forward, type) or not callable(forward):
        raise TypeError(
            "measurement_residual needs a ForwardModel, such as FarField(), or a function, but got "
            f"{describe(forward)}."
        )
    modeled = forward(x)
    check_same_shape("measurement_residual", modeled, y, names=("f(x)", "y"))
    y = masked("measurement_residual", y, mask)
    # Compiled models are no instances. A plain function does not say what an item is.
    declared = getattr(forward, "symmetries", None)
    item_dims = max(x.dim() - 1, 1) if declared is None else Product(declared).item_dims
    measured_dims = modeled.dim() - (x.dim() - item_dims)
    intensities = flat_items(y.to(wide(y)), measured_dims)
    seen = ~intensities.isnan()
    measured = root(torch.where(seen, intensities, 0))
    difference = torch.where(seen, measured - root(flat_items(modeled.to(wide(modeled)), measured_dims)), 0).abs()
    residual = torch.where(seen.any(-1), _ratio(difference.sum(-1), measured.sum(-1)), torch.nan)
    return reduce(nan_unless_finite(residual, x, item_dims=item_dims), reduction)
