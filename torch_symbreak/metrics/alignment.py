"""Alignment to a reference over a group, and the error that is left: the metrics that respect symmetries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import (
    batch_shape,
    check_same_shape,
    flat_items,
    peak,
    per_item,
    power,
    resolved,
    wide,
)
from torch_symbreak._content import box_ends, content_box, wrapped_axes
from torch_symbreak._fourier import correlate, fourier_move, spectrum, transform_at
from torch_symbreak.symmetries import Element, Motion, Product, Symmetry
from torch_symbreak.symmetries.base import invert_motion, move, source_indices


class Alignment(NamedTuple):
    """What :func:`align` found."""

    aligned: Tensor  # (*batch, *channels, *event), like x: g . x, cut to the frame
    element: Element  # g, of Product(symmetries)
    error: Tensor  # (*batch,), real, double precision: the squared distance per entry, cut energy included


def _torus(group: Product, event: Sequence[int]) -> list[int]:
    """A torus on which no shift of the frame wraps onto itself: 2 N along padded axes, N along periodic ones."""
    assert group.rearrangement is not None
    periodic = wrapped_axes(group.rearrangement.wrap, tuple(event))
    return [n if turns else 2 * n for n, turns in zip(event, periodic, strict=True)]


def _over_channels(correlation: Tensor, group: Product) -> Tensor:
    if group.channel_dims:
        return correlation.sum(tuple(range(-group.item_dims, -group.event_dims)))
    return correlation


class _Spectra(NamedTuple):
    """Transforms of x and the reference on a torus on which no shift wraps onto itself."""

    x: Tensor
    reference: Tensor
    torus: list[int]


def _spectra(x: Tensor, reference: Tensor, group: Product) -> _Spectra:
    torus = _torus(group, x.shape[x.dim() - group.event_dims :])
    return _Spectra(spectrum(x, torus), spectrum(reference, torus), torus)


def _best_shift(
    x: Tensor, spectra: _Spectra, group: Product, turned: bool, gain: Callable[[Tensor], Tensor], halves: bool
) -> tuple[Tensor, Tensor]:
    """The best of all shifts in one orientation, (*batch, d), and its correlation <g . x, r>, (*batch,)."""
    found = _over_channels(
        correlate(spectra.x, spectra.reference, group.event_dims, flipped=turned, halves=halves), group
    )
    found = found if x.is_complex() else found.real
    gains = gain(found).clone() if gain is torch.real else gain(found)
    for axis, (size, n) in enumerate(zip(spectra.torus, x.shape[x.dim() - group.event_dims :], strict=True)):
        if size > n:  # the one of 2 N shifts that leaves nothing in the frame
            last = (2 if halves else 1) * (size - 1 if turned else n)
            gains.select(axis - group.event_dims, last).fill_(-torch.inf)
    flat = flat_items(found, group.event_dims)
    best = flat_items(gains, group.event_dims).argmax(-1, keepdim=True)
    shift, place = [], best.squeeze(-1)
    for size, n in zip(reversed(spectra.torus), reversed(x.shape[x.dim() - group.event_dims :]), strict=True):
        steps = 2 * size if halves else size
        t = place % steps / 2 if halves else place % steps
        # Unflipped shifts lie in (-N, N): the upper half of 2 N stands for negative ones.
        shift.append(t if turned or size == n else torch.where(t >= n, t - size, t))
        place = place // steps
    return torch.stack(shift[::-1], -1), resolved(flat.gather(-1, best).squeeze(-1))


def _in_place(x: Tensor, reference: Tensor, group: Product, turned: bool) -> tuple[Tensor, Tensor]:
    """The same for a group without shifts: x as it is, or flipped about its own content."""
    batch, d = batch_shape(x, group.item_dims), group.event_dims
    shift = torch.zeros(*batch, d, dtype=torch.int64, device=x.device)
    if turned:
        assert group.rearrangement is not None
        rule = group.rearrangement
        shift = box_ends(content_box(x, d, rule.channel_dims, rule.threshold, rule.wrap))
        x = move(Motion(torch.ones(batch, dtype=torch.bool, device=x.device), shift), x, d, group.channel_dims)
    return shift, flat_items(x * reference.conj(), group.item_dims).sum(-1)


def _refined(
    spectra: _Spectra, group: Product, motion: Motion, gain: Callable[[Tensor], Tensor], subpixel: int, real: bool
) -> tuple[Motion, Tensor]:
    """Refine shifts to 1 / ``subpixel`` of an entry, by a matrix Fourier transform around the peak."""
    own = torch.where(per_item(motion.flipped, group.item_dims), spectra.x, spectra.x.conj())
    product = _over_channels(own * spectra.reference, group)
    reach = math.ceil(0.75 * subpixel)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=own.device)
    shifts = ((motion.shift[..., None] * subpixel).round() + offsets) / subpixel  # (*batch, d, U)
    torus = torch.tensor(spectra.torus, device=own.device)[:, None]
    found = resolved(transform_at(product, shifts / torus).conj()) / math.prod(spectra.torus)
    found = found.real if real else found
    best = gain(found).argmax(-1, keepdim=True)
    places = [len(offsets) ** axis for axis in reversed(range(group.event_dims))]
    shift = [shifts[..., axis, :].gather(-1, best // place % len(offsets)) for axis, place in enumerate(places)]
    return Motion(motion.flipped, torch.cat(shift, -1)), found.gather(-1, best).squeeze(-1)


def _nearest(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> tuple[Element, Tensor]:
    """The element without the group's other parts that takes x nearest to the reference, and what it gains."""
    gain: Callable[[Tensor], Tensor] = torch.real if group.scalar is None else group.scalar.gain
    fractions = group.shifts and subpixel > 1  # the peak of a fractional shift can hide between entries
    spectra = _spectra(x, reference, group) if group.shifts else None
    found = [
        _in_place(x, reference, group, turned)
        if spectra is None
        else _best_shift(x, spectra, group, turned, gain, fractions)
        for turned in ((False, True) if group.flips else (False,))
    ]
    shift, top = found[0]
    flipped = torch.zeros(top.shape, dtype=torch.bool, device=x.device)
    if group.flips:
        flipped = gain(found[1][1]) > gain(top)
        shift, top = torch.where(flipped[..., None], found[1][0], shift), torch.where(flipped, found[1][1], top)
    motion = Motion(flipped, shift)
    if spectra is not None and fractions:
        fine, found_there = _refined(spectra, group, motion, gain, subpixel, real=not x.is_complex())
        nearer = gain(found_there) > gain(top)  # steps of 1/3, say, leave out the half or whole entry they start from
        motion = Motion(flipped, torch.where(nearer[..., None], fine.shift, motion.shift))
        top = torch.where(nearer, found_there, top)
    scalar = torch.ones_like(top)
    if group.scalar is not None:
        scalar = group.scalar.best(top)
    if group.scale is not None:
        energy = flat_items(power(x), group.item_dims).sum(-1)
        scalar = scalar * group.scale.best(scalar * top / torch.where(energy > 0, energy, 1))
    return Element(motion.flipped, motion.shift, resolved(scalar)), gain(top)


def _chosen(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> Element:
    """The element that takes x nearest to the reference, among all that the group's other symmetries propose."""
    chosen: Element | None = None
    for others in itertools.product(*(part.candidates(x, reference) for part in group.others)):
        moved = x
        for part, h in zip(group.others, others, strict=True):
            moved = part.act(h, moved)
        element, gain = _nearest(moved, reference, group, subpixel)
        element = element._replace(others=others)
        if chosen is None:
            chosen, most = element, gain
        else:
            better = gain > most
            chosen, most = _where(better, element, chosen), torch.where(better, gain, most)
    if chosen is None:
        raise ValueError(f"align got no elements to choose from: one of {group.others} enumerates none.")
    return chosen


def _chunk(x: Tensor, group: Product) -> int:
    """How many items to correlate at once: on a CPU what fits its cache, elsewhere what fits its memory."""
    event = x.shape[x.dim() - group.event_dims :]
    channels = math.prod(x.shape[x.dim() - group.item_dims : x.dim() - group.event_dims])
    entries = channels * math.prod(_torus(group, event) if group.shifts else event)
    return max(1, (2**17 if x.device.type == "cpu" else 2**27) // entries)


def _joined(parts: Sequence[Any], batch: torch.Size) -> Any:
    """Elements of consecutive chunks as the element of a batch."""
    if isinstance(parts[0], Tensor):
        whole = torch.cat(list(parts))
        return whole.reshape((*batch, *whole.shape[1:]))
    columns = [_joined(column, batch) for column in zip(*parts, strict=True)]
    return type(parts[0])(*columns) if hasattr(parts[0], "_fields") else tuple(columns)


def _where(mask: Tensor, new: Any, old: Any) -> Any:
    """Per item the new or the old element: tensors with the batch in front, or (named) tuples of them."""
    if isinstance(new, Tensor):
        return torch.where(mask.reshape((*mask.shape, *[1] * (new.dim() - mask.dim()))), new, old)
    parts = [_where(mask, one, other) for one, other in zip(new, old, strict=True)]
    return type(new)(*parts) if hasattr(new, "_fields") else tuple(parts)


def _inside(motion: Motion, group: Product, event: Sequence[int]) -> list[Tensor]:
    """Per axis which entries n of the frame have a source inside it; all do on a periodic axis. (*batch, N_a) each."""
    assert group.rearrangement is not None
    periodic = wrapped_axes(group.rearrangement.wrap, tuple(event))
    return [
        torch.ones_like(source, dtype=torch.bool) if turns else (source >= 0) & (source < size)
        for source, size, turns in zip(source_indices(motion, event), event, periodic, strict=True)
    ]


def _mask(inside: list[Tensor], channel_dims: int) -> Tensor:
    """The outer product of per-axis masks, (*batch, 1s for channels, *event)."""
    batch, d = inside[0].shape[:-1], len(inside)
    mask = torch.ones((), dtype=torch.bool, device=inside[0].device)
    for axis, one in enumerate(inside):
        shape = [1] * (channel_dims + d)
        shape[channel_dims + axis] = one.shape[-1]
        mask = mask & one.reshape(*batch, *shape)
    return mask


def _applied(element: Element, x: Tensor, group: Product) -> tuple[Tensor, Tensor]:
    """g . x with zeros around x, cut to the frame, and the energy that was cut, (*batch,)."""
    event = x.shape[x.dim() - group.event_dims :]
    scalar = per_item(element.scalar, group.item_dims)
    for part, h in zip(group.others, element.others, strict=True):
        x = part.act(h, x)
    if group.rearrangement is None:
        return x * scalar, x.real.new_zeros(batch_shape(x, group.item_dims))
    motion, spread = element.motion, (*element.flipped.shape, *[1] * group.channel_dims)
    if motion.shift.is_floating_point():
        torus = _torus(group, event)
        moved = scalar * fourier_move(
            x, motion.flipped.reshape(spread), motion.shift.reshape((*spread, len(event))), torus
        )
        inner: tuple[Any, ...] = (..., *(slice(0, n) for n in event))
        outside = torch.ones(torus, dtype=torch.bool, device=x.device)
        outside[inner] = False
        return moved[inner], flat_items(power(moved) * outside, group.item_dims).sum(-1)
    moved = move(motion, x, group.event_dims, group.channel_dims)
    if all(wrapped_axes(group.rearrangement.wrap, event)):
        return scalar * moved, x.real.new_zeros(element.flipped.shape)
    aligned = scalar * torch.where(_mask(_inside(motion, group, event), group.channel_dims), moved, 0)
    # An entry of x is cut if the inverse motion finds nothing there.
    kept = _mask(_inside(invert_motion(motion), group, event), group.channel_dims)
    lost = flat_items(torch.where(kept, 0, power(x)), group.item_dims).sum(-1)
    return aligned, lost * power(element.scalar)


def _aligned(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> Alignment:
    """:func:`align` for one chunk, (B, *item)."""
    # In units of the larger of the two: gains are of fourth order, and would leave even double precision's range.
    with torch.no_grad():
        both = torch.cat([flat_items(z.to(wide(z)), group.item_dims) for z in (x, reference)], -1)
        unit = peak(both, 1)
    here, there = (z.to(wide(z)) / per_item(unit, group.item_dims) for z in (x, reference))
    with torch.no_grad():
        element = _chosen(here, there, group, subpixel)
    aligned, cut = _applied(element, here, group)
    left = flat_items(power(aligned - there), group.item_dims).sum(-1)
    return Alignment(
        (aligned * per_item(unit, group.item_dims)).to(x.dtype),
        element._replace(scalar=element.scalar.to(x.dtype)),
        (left + cut) / math.prod(x.shape[1:]) * unit.square(),
    )


def align(x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1) -> Alignment:
    """Move every item of ``x`` to the point of its orbit that is nearest to ``reference``.

    ``g = argmin_g sum |g . x - r|²``, over all integer shifts, both orientations and the best phase or sign: whichever
    of them ``symmetries`` names. Shifts are found by cross-correlation, phase, sign and scale in closed form, finite
    groups by enumeration; in double precision.

    Convention: with zero padding, x and r are extended by zeros: a shift moves content out of the frame, where it is
    cut from ``aligned`` but counts in ``error``; nothing wraps around. On a periodic axis shifts are modulo N. A
    ``ConjugateFlip`` without ``Translation`` flips x about its own content box.

    Shape: x and reference (*batch, *channels, *event); ``aligned`` the same, ``element`` and ``error`` (*batch,).

    Args:
        x: What is moved.
        reference: Where to; same shape and field.
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.
        subpixel: Find shifts to 1 / ``subpixel`` of an entry, by Fourier interpolation. The element's shifts are then
            float64. Default 1: integer shifts.

    Returns:
        ``aligned``, the ``element`` of ``Product(symmetries)``, and the ``error``: the mean over the item's entries of
        ``|g . x - r|²``, what was cut included. Differentiable in x, with the element held fixed.

    Raises:
        ValueError: If the shapes differ, or ``subpixel < 1``.
        TypeError: If a symmetry does not fit the dtype.
        NotImplementedError: If a symmetry of another kind does not enumerate its elements.

    Example: a twin is recognized.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> r = torch.tensor([[1.0, 2.0 + 1.0j, 3.0, 0.0]])
        >>> twin = 1j * torch.tensor([[0.0, 3.0, 2.0 - 1.0j, 1.0]])
        >>> found = align(twin, r, FarField(1).symmetries)
        >>> found.element.flipped, found.element.shift
        (tensor([True]), tensor([[3]]))
        >>> torch.allclose(found.aligned, r, atol=1e-6)
        True

    References: Fienup, Applied Optics 36, 8352 (1997), invariant error metrics; Guizar-Sicairos, Thurman, Fienup,
        Optics Letters 33, 156 (2008), sub-pixel registration by matrix Fourier transform.
    """
    check_same_shape("align", x, reference)
    group = Product(symmetries)
    group.check(x)
    if isinstance(subpixel, bool) or not isinstance(subpixel, int) or subpixel < 1:
        raise ValueError(f"align needs an int subpixel >= 1, but got {subpixel!r}.")
    batch, item = batch_shape(x, group.item_dims), x.shape[x.dim() - group.item_dims :]
    if x.numel() == 0:  # not every transform takes an empty batch
        none = group.identity(x)._replace(others=tuple(part.sample(x) for part in group.others))
        if group.shifts and subpixel > 1:
            none = none._replace(shift=none.shift.double())
        return Alignment(x.clone(), none, x.real.new_zeros(batch, dtype=wide(x.real)))
    flat, other = (z.reshape(batch.numel(), *item).split(_chunk(x, group)) for z in (x, reference))
    parts = [_aligned(one, target, group, subpixel) for one, target in zip(flat, other, strict=True)]
    found: Alignment = _joined(parts, batch)
    return found
