"""The place of a content box inside the frame, and its orientation, that take an object nearest to a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import Box, wrapped_axes
from torch_symbreak._fourier import spectrum
from torch_symbreak._items import divided, flat_items, join_elements, per_item, resolved, tangible
from torch_symbreak.symmetries import Product
from torch_symbreak.symmetries.motion import Order, order_of, placement, take

#: Entries of items at once, on a CPU and on other devices.
_ENTRIES, _ENTRIES_ON_GPU = 2**18, 2**26

#: The largest ``Re(u c)`` over the group's scalars u, or a positive power of it, of correlations c.
Gain = Callable[[Tensor], Tensor]


class Found(NamedTuple):
    """The best of the motions of one orientation."""

    shift: Tensor  # (*batch, d)
    top: Tensor  # (*batch,), its correlation <g . x, r>
    second: Tensor  # (*batch,), gain of the second best shift


class Places(NamedTuple):
    """The places where the contents of items may go inside the frame, and their reference."""

    box: Box  # of the contents, (*batch, d)
    unit: Tensor  # (*batch,), in which every item is measured
    spectra: Tensor  # the mirrored_spectra of the reference


def over_channels(correlation: Tensor, group: Product) -> Tensor:
    """Add the correlations of an item's channels, which share one motion."""
    if group.channel_dims:
        return correlation.sum(tuple(range(-group.item_dims, -group.event_dims)))
    return correlation


def two_largest(gains: Tensor) -> tuple[Tensor, Tensor]:
    """Return the flat index, (*batch, 1), of the first maximum of gains (*batch, R, C), and the second largest gain."""
    rows = gains.amax(-1)  # in two steps, for argmax is slower than amax
    i = rows.argmax(-1, keepdim=True)
    row = gains.take_along_dim(i[..., None], -2).squeeze(-2)
    j = row.argmax(-1, keepdim=True)
    others = [line.scatter(-1, place, -torch.inf).amax(-1) for line, place in ((rows, i), (row, j))]
    return i * gains.shape[-1] + j, torch.maximum(*others)


def mirrored_spectra(reference: Tensor, group: Product, real: bool) -> Tensor:
    """Transform a reference's mirror image and, if the group flips, the reference: (1 or 2, *batch, *channels, *k).

    If the items are ``real``, and with them the reference, half of each transform says all.
    """
    event = reference.shape[reference.dim() - group.event_dims :]
    mirrored = resolved(reference.flip(tuple(range(-len(event), 0))).conj())
    images = torch.stack([mirrored, reference]) if group.flips else mirrored[None]
    return spectrum(images, event, half=real)


def pieces(x: Tensor) -> int:
    """Return how many items of x, (B, *item), a CPU's cache holds with their spectra, or a device's memory."""
    return max(1, (_ENTRIES if x.device.type == "cpu" else _ENTRIES_ON_GPU) * len(x) // max(1, x.numel()))


def best_places(x: Tensor, places: Places, group: Product, gain: Gain) -> list[Found]:
    """Try every place of the box inside the frame, in each orientation, and return the best one of each.

    First the box goes to the frame's first corner: shifted copies of an object are then decided alike, to the bit, and
    boxes of one size have the same places. Only these are looked at.

    Args:
        x: The items, (B, *item).
        places: Their boxes and units, and the reference, one for all.
        group: The symmetries, with shifts.
        gain: The gain of correlations.
    """
    like, d, box = group.rearrangement, group.event_dims, places.box
    assert like is not None
    event = tuple(x.shape[x.dim() - d :])
    periodic = wrapped_axes(like.wrap, event)
    shortest = box.length.amin(0).tolist() if tangible(x) else [1] * d
    first = [0 if turns else length - 1 for length, turns in zip(shortest, periodic, strict=True)]
    window = [size - start for size, start in zip(event, first, strict=True)]
    entries = [torch.arange(size, device=x.device) for size in event]
    corners = [(entry + box.lo[:, axis, None]) % len(entry) for axis, entry in enumerate(entries)]
    # Adding is many times faster than filling under a mask.
    penalties = [
        torch.where(entry[start:] < box.length[:, axis, None] - 1, -torch.inf, 0.0)
        .to(places.spectra.real.dtype)
        .reshape(-1, *[n if a == axis else 1 for a, n in enumerate(window)])
        for axis, (entry, start, turns) in enumerate(zip(entries, first, periodic, strict=True))
        if not turns
    ]

    def search(
        x: Tensor, unit: Tensor, line: Tensor, entry: Tensor, sign: Tensor, *penalties: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        corner = divided(take(x, Order(line, entry, sign)), per_item(unit, group.item_dims))
        product = places.spectra * spectrum(
            corner.to(places.spectra.dtype if x.is_complex() else places.spectra.real.dtype), event, half=half
        )
        correlation = inverse(over_channels(product, group), s=event, dim=tuple(range(-d, 0)))
        # In one piece, for entries that lie apart are slow to work on.
        correlation = correlation[(..., *(slice(start, None) for start in first))].contiguous()
        gains = gain(correlation).clone() if gain is torch.real else gain(correlation)
        for penalty in penalties:
            gains += penalty
        best, second = two_largest(flat_items(gains, d).unflatten(-1, (-1, window[-1])))
        top = flat_items(correlation, d).gather(-1, best)
        return best.squeeze(-1).T, resolved(top).squeeze(-1).T, second.T

    half = not x.is_complex()
    inverse = torch.fft.irfftn if half else torch.fft.ifftn
    parts = zip(
        *(z.split(pieces(x)) for z in (x, places.unit, *order_of(corners, event), *penalties)),
        strict=True,
    )
    best, top, second = (column.T for column in join_elements([search(*part) for part in parts], x.shape[:1]))
    # To convolve with the reference's mirror image is to correlate with it: entry q stands for the box at N - 1 - q. To
    # convolve with the reference itself is to correlate it with the item's twin, whose box ends at q.
    q = torch.stack(torch.unravel_index(best, window), -1) + best.new_tensor(first)
    size = best.new_tensor(event)
    flipped = torch.zeros_like(best[0], dtype=torch.bool)
    found = [Found(placement(*box, (size - 1 - q[0]) % size, flipped), top[0], second[0])]
    if group.flips:
        shift = placement(*box, (q[1] + 1 - box.length) % size, ~flipped)
        found.append(Found(shift, resolved(top[1].conj()), second[1]))
    return found
