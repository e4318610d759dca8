"""Structural similarity up to a symmetry."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from torch_symbreak._checks import Array, as_pair
from torch_symbreak._items import nan_unless_finite, per_item, wide
from torch_symbreak.alignment import align
from torch_symbreak.metrics.errors import Reduction, Symmetries, group_of, magnitudes, reduce
from torch_symbreak.symmetries import PhaseRamp

On = Literal["magnitude", "real_imag"]


def sa_ssim(
    x: Array,
    reference: Array,
    symmetries: Symmetries,
    *,
    on: On = "magnitude",
    window_size: int = 7,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the structural similarity of images after alignment, 1 for equal ones.

    Frames count as periodic: what a shift pushes out comes in on the other side, and windows reach around the edges.
    So all points of the reference's orbit give the same value, even if noise leaves the frame. If content
    keeps half a window, rounded up, away from the edges, the value for magnitudes is kornia's.

    Shape: as for :func:`sa_mse`, with two event dimensions.

    Further arguments are those of :func:`sa_mse`.

    Args:
        on: Compare "magnitude" (default, data range 1), or "real_imag": real and imaginary parts as one vector (data
            range 2), whose local covariance is the real part of the complex one. A global phase does not change it.
            Both are divided by each item's largest ``|r|``.
        window_size: Side of the Gaussian window in pixels, odd; its standard deviation is 1.5. Default 7.

    Raises:
        ValueError: If the symmetries do not act on images, or ``on`` or ``window_size`` is not as above. If "real_imag"
            meets ``PhaseRamp``, which changes local means.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> r = torch.zeros(1, 16, 16, dtype=torch.complex64)
        >>> r[:, 3:9, 4:11] = torch.randn(1, 6, 7, dtype=torch.complex64)
        >>> shifted = 1j * r.roll((2, -1), (1, 2))
        >>> round(float(sa_ssim(shifted, r, FarField().symmetries)), 5)
        1.0

    References: Wang et al., IEEE Trans. Image Process. 13, 600 (2004).
    """
    x, reference = as_pair("sa_ssim", x, reference)
    group = group_of(symmetries)
    if group is None and x.dim() < 3:
        raise ValueError(f"sa_ssim without symmetries compares images (B, ..., H, W), but got {tuple(x.shape)}.")
    if group is not None and group.event_dims != 2:
        raise ValueError(f"sa_ssim compares images, but the symmetries have event_dims={group.event_dims}.")
    if group is not None:
        group.check(x)
    if on not in ("magnitude", "real_imag"):
        raise ValueError(f'sa_ssim needs on="magnitude" or on="real_imag", but got {on!r}.')
    if on == "real_imag" and group is not None and any(isinstance(part, PhaseRamp) for part in group.others):
        raise ValueError('sa_ssim cannot compare on="real_imag" up to PhaseRamp. Use on="magnitude".')
    side = min(x.shape[-2:])
    if type(window_size) is not int or window_size % 2 == 0 or not 0 < window_size < 2 * side:
        raise ValueError(
            f"sa_ssim needs an odd int window_size below twice the smaller side of {tuple(x.shape[-2:])}, "
            f"but got {window_size!r}."
        )
    moved = x.to(wide(x))
    if group is not None:
        with torch.no_grad():
            element = align(moved, reference.to(wide(reference)), group).element
        moved = group.act(element, moved)
    item_dims = x.dim() - 1 if group is None else group.item_dims
    similarity = ssim_as_is(moved, reference, item_dims, on, window_size)
    return reduce(nan_unless_finite(similarity, x, reference, item_dims=item_dims), reduction)


def ssim_as_is(x: Tensor, reference: Tensor, item_dims: int, on: On, window_size: int = 7) -> Tensor:
    """Return the structural similarity of every item on periodic frames, (*batch,), in double precision."""
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d  # slow to import, and only SSIM needs it

    x, reference = x.to(wide(x)), reference.to(wide(reference))
    peak = magnitudes(reference, item_dims).amax(-1)
    if x.numel() == 0:
        return peak
    scale = per_item(torch.where(peak == 0, 1, peak), item_dims)
    kernel = get_gaussian_kernel1d(window_size, 1.5, dtype=peak.dtype, device=peak.device)

    def planes(z: Tensor) -> Tensor:
        z = (z / scale).reshape(-1, 1, *z.shape[-2:])
        if on == "magnitude":
            return z.abs()
        return torch.cat([z.real, z.imag], 1) if z.is_complex() else z

    def local_mean(z: Tensor) -> Tensor:
        return filter2d_separable(z, kernel, kernel, border_type="circular")

    a, b = planes(x), planes(reference)
    mean_a, mean_b = local_mean(a), local_mean(b)
    means = (mean_a * mean_b).sum(1)
    squared_means = (mean_a.square() + mean_b.square()).sum(1)
    covariance = local_mean((a * b).sum(1, keepdim=True)).squeeze(1) - means
    variances = local_mean((a.square() + b.square()).sum(1, keepdim=True)).squeeze(1) - squared_means
    span = 1 if on == "magnitude" else 2
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    similarity = (2 * means + c1) * (2 * covariance + c2) / ((squared_means + c1) * (variances + c2))
    return similarity.reshape(*peak.shape, -1).mean(-1)
