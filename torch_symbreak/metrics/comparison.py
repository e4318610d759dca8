"""The distance between two reconstructions, raw and up to the symmetries of their measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from torch_symbreak._checks import check_same_shape
from torch_symbreak._items import flat_items, power, wide
from torch_symbreak.alignment import Alignment, align
from torch_symbreak.metrics.errors import psnr_as_is, relative_as_is, ssim_as_is
from torch_symbreak.symmetries import Product, Symmetry


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`."""

    raw: dict[str, float]  # metric to its mean over the items
    aligned: dict[str, float]
    alignment: Alignment


def compare(
    x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1
) -> Comparison:
    """Compare x with a reference, raw and aligned.

    The metrics are MSE, relative error, PSNR in dB, and SSIM of magnitudes for images of 7 x 7 or more.

    Shape: x and reference (*batch, *channels, *event). Every number is a mean over the batch.

    Args:
        x: The reconstruction.
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
    """
    check_same_shape("compare", x, reference)
    group = Product(symmetries)
    alignment = align(x, reference, group, subpixel=subpixel)
    raw = flat_items(power(x.to(wide(x)) - reference.to(wide(reference))), group.item_dims).mean(-1)
    return Comparison(
        _summary(x, reference, raw, group), _summary(alignment.aligned, reference, alignment.error, group), alignment
    )


def _summary(x: Tensor, reference: Tensor, error: Tensor, group: Product) -> dict[str, float]:
    """Return every metric's mean over the items, from x and each item's mean squared error."""
    summary = {
        "MSE": float(error.mean()),
        "relative error": float(relative_as_is(error, reference, group.item_dims).mean()),
        "PSNR (dB)": float(psnr_as_is(error, reference, group.item_dims).mean()),
    }
    if group.event_dims == 2 and min(x.shape[-2:]) >= 7:  # kornia's window
        summary["SSIM of magnitudes"] = float(ssim_as_is(x, reference, group.item_dims, "magnitude").mean())
    return summary
