"""How far apart two reconstructions are: as they are, and up to the symmetries of their measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_symbreak._checks import check_same_shape
from torch_symbreak._items import flat_items, power, wide
from torch_symbreak.alignment import Alignment, align
from torch_symbreak.metrics.errors import ssim_as_is
from torch_symbreak.symmetries import Element, Product, Symmetry


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found."""

    raw: dict[str, float]  # by metric, mean over the items
    aligned: dict[str, float]
    alignment: Alignment


def compare(
    x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1
) -> Comparison:
    """Compare x with a reference, raw and aligned: MSE, relative error, PSNR in dB, and SSIM for images.

    Shape: x and reference (*batch, *channels, *event); numbers are means over the batch.

    Args:
        x: What is compared.
        reference: With what; the same shape and field.
        symmetries: Which symmetries count.
        subpixel: As for :func:`torch_symbreak.align`. Default 1.

    Example: a sign apart.
        >>> import torch
        >>> from torch_symbreak import Sign
        >>> found = compare(torch.tensor([-3.0, 4.0]), torch.tensor([3.0, -4.0]), Sign(1))
        >>> found.raw["relative error"], found.aligned["relative error"]
        (2.0, 0.0)
    """
    check_same_shape("compare", x, reference)
    group = Product(symmetries)
    alignment = align(x, reference, group, subpixel=subpixel)
    truth = flat_items(power(reference.to(wide(reference))), group.item_dims)
    raw = flat_items(power(x.to(wide(x)) - reference.to(wide(reference))), group.item_dims).mean(-1)
    found = [_summary(error, truth) for error in (raw, alignment.error)]
    if group.event_dims == 2 and min(x.shape[-2:]) >= 7:  # kornia's window
        for summary, z in zip(found, (x, alignment.aligned), strict=True):
            summary["SSIM of magnitudes"] = float(ssim_as_is(z, reference, group.item_dims, "magnitude").mean())
    return Comparison(found[0], found[1], alignment)


def describe(element: Element, index: int) -> str:
    """Say what the element of one item, counted over the flattened batch, does.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField, Product
        >>> group, x = Product(FarField(1).symmetries), torch.zeros(1, 3, dtype=torch.complex64)
        >>> describe(group.identity(x), 0)
        'orientation kept, shift (0), factor 1.0000+0.0000j'
    """
    flipped = bool(element.flipped.reshape(-1)[index])
    shift = element.shift.reshape(-1, element.shift.shape[-1])[index].tolist()
    factor = element.scalar.reshape(-1)[index].item()
    orientation = "flipped" if flipped else "kept"
    return f"orientation {orientation}, shift ({', '.join(f'{t:g}' for t in shift)}), factor {factor:.4f}"


def _summary(error: Tensor, truth: Tensor) -> dict[str, float]:
    relative = torch.where(error > 0, error * truth.shape[-1] / truth.sum(-1), 0).sqrt()
    return {
        "MSE": float(error.mean()),
        "relative error": float(relative.mean()),
        "PSNR (dB)": float(torch.where(error > 0, 10 * torch.log10(truth.amax(-1) / error), torch.inf).mean()),
    }
