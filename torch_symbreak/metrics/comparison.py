"""The distance between two reconstructions, raw and up to the symmetries of their measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from torch_symbreak._checks import Array, as_pair
from torch_symbreak._items import nan_unless_finite, wide
from torch_symbreak.alignment import Alignment, align
from torch_symbreak.metrics.errors import mse_as_is, psnr_as_is, relative_as_is
from torch_symbreak.metrics.similarity import ssim_as_is
from torch_symbreak.symmetries import Product, Symmetry


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> comparison = compare(torch.tensor([[-3.0, 4.0]]), torch.tensor([[3.0, -4.0]]), Sign(1))
        >>> comparison.raw["MSE"], comparison.aligned["MSE"]
        (50.0, 0.0)
    """

    raw: dict[str, float]  #: metric to its mean over the items
    aligned: dict[str, float]
    alignment: Alignment
    raw_items: dict[str, Tensor]  #: metric to its values, (*batch,) each
    aligned_items: dict[str, Tensor]


def compare(x: Array, reference: Array, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1) -> Comparison:
    """Compare x with a reference, raw and aligned.

    The metrics are MSE, relative error, PSNR in dB, and SSIM of magnitudes for images of 7 x 7 or more. An item that is
    not finite makes them NaN.

    Shape: x and reference (*batch, *channels, *event). Every number is a mean over the batch.

    Args:
        x: The reconstruction, a tensor or a NumPy array.
        reference: The truth, of the same shape and field.
        symmetries: Symmetries that count as no error, e.g. ``FarField().symmetries``.
        subpixel: Find shifts to 1 / ``subpixel`` of an entry. Default 1: whole entries.

    Raises:
        ValueError, TypeError: As from :func:`torch_symbreak.align`.

    Example: two vectors that differ by a sign.
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> comparison = compare(torch.tensor([-3.0, 4.0]), torch.tensor([3.0, -4.0]), Sign(1))
        >>> comparison.raw["relative error"], comparison.aligned["relative error"]
        (2.0, 0.0)
        >>> comparison.raw_items["MSE"]
        tensor(50., dtype=torch.float64)
    """
    x, reference = as_pair("compare", x, reference)
    group = Product(symmetries)
    alignment = align(x, reference, group, subpixel=subpixel)
    raw = mse_as_is(x, reference, group.item_dims)
    # SSIM sees periodic frames: act wraps what align cuts.
    moved = group.act(alignment.element, x.to(wide(x)))
    before = _values(x, x, reference, raw, group)
    after = _values(x, moved, reference, alignment.error, group)
    return Comparison(_means(before), _means(after), alignment, before, after)


def _means(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(each.mean()) for name, each in values.items()}


def _values(x: Tensor, moved: Tensor, reference: Tensor, error: Tensor, group: Product) -> dict[str, Tensor]:
    """Return every metric of the items, (*batch,), from x, x moved or not, and each item's mean squared error."""
    item_dims = group.item_dims
    error = nan_unless_finite(error, x, reference, item_dims=item_dims)
    summary = {
        "MSE": error,
        "relative error": relative_as_is(error, reference, item_dims),
        "PSNR (dB)": psnr_as_is(error, reference, item_dims),
    }
    if group.event_dims == 2 and min(x.shape[-2:]) >= 7:  # the window
        similarity = ssim_as_is(moved, reference, item_dims, "magnitude")
        summary["SSIM of magnitudes"] = nan_unless_finite(similarity, x, reference, item_dims=item_dims)
    return summary
