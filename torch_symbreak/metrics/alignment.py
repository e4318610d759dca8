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
    divided,
    flat_items,
    flat_parts,
    peak,
    per_item,
    power,
    resolved,
    tangible,
    unit_scale,
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


class _Found(NamedTuple):
    """The best of the motions of one orientation."""

    shift: Tensor  # (*batch, d)
    top: Tensor  # (*batch,), its correlation <g . x, r>
    second: Tensor  # (*batch,), what the runner-up gains


def _two_largest(gains: Tensor) -> tuple[Tensor, Tensor]:
    """The place of the first largest of (*batch, R, C), counted row by row, (*batch, 1), and the next, (*batch,)."""
    rows = gains.amax(-1)  # in two steps, for argmax is slower than amax
    i = rows.argmax(-1, keepdim=True)
    row = gains.take_along_dim(i[..., None], -2).squeeze(-2)
    j = row.argmax(-1, keepdim=True)
    others = [line.scatter(-1, place, -torch.inf).amax(-1) for line, place in ((rows, i), (row, j))]
    return i * gains.shape[-1] + j, torch.maximum(*others)


def _best_shift(
    x: Tensor, spectra: _Spectra, group: Product, turned: bool, gain: Callable[[Tensor], Tensor], halves: bool
) -> _Found:
    """Try all shifts in one orientation."""
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
    best, second = _two_largest(flat_items(gains, group.event_dims).unflatten(-1, (-1, gains.shape[-1])))
    shift, place = [], best.squeeze(-1)
    for size, n in zip(reversed(spectra.torus), reversed(x.shape[x.dim() - group.event_dims :]), strict=True):
        steps = 2 * size if halves else size
        t = place % steps / 2 if halves else place % steps
        # Unflipped shifts lie in (-N, N): the upper half of 2 N stands for negative ones.
        shift.append(t if turned or size == n else torch.where(t >= n, t - size, t))
        place = place // steps
    return _Found(torch.stack(shift[::-1], -1), resolved(flat.gather(-1, best).squeeze(-1).conj()), second)


def _in_place(x: Tensor, reference: Tensor, group: Product, turned: bool) -> _Found:
    """The same for a group without shifts: x as it is, or flipped about its own content."""
    batch, d = batch_shape(x, group.item_dims), group.event_dims
    shift = torch.zeros(*batch, d, dtype=torch.int64, device=x.device)
    if turned:
        assert group.rearrangement is not None
        rule = group.rearrangement
        shift = box_ends(content_box(x, d, rule.channel_dims, rule.threshold, rule.wrap))
        x = move(Motion(torch.ones(batch, dtype=torch.bool, device=x.device), shift), x, d, group.channel_dims)
    top = flat_items(x * reference.conj(), group.item_dims).sum(-1)
    return _Found(shift, top, torch.full_like(top.real, -torch.inf))


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


class _Choice(NamedTuple):
    """A motion and elements of the group's other parts; the scalar follows from them."""

    motion: Motion
    others: tuple[Any, ...] = ()


def _nearest(
    x: Tensor, reference: Tensor, group: Product, subpixel: int, rounding: Tensor | float = 0.0
) -> tuple[Motion, Tensor, Tensor]:
    """The motion that takes x nearest to the reference, what it gains, and whether it is certain, all per item.

    It is certain if no other motion can gain as much where each correlation may be wrong by ``rounding``.
    """
    gain: Callable[[Tensor], Tensor] = torch.real if group.scalar is None else group.scalar.gain
    fractions = group.shifts and subpixel > 1  # the peak of a fractional shift can hide between entries
    spectra = _spectra(x, reference, group) if group.shifts else None
    found = [
        _in_place(x, reference, group, turned)
        if spectra is None
        else _best_shift(x, spectra, group, turned, gain, fractions)
        for turned in ((False, True) if group.flips else (False,))
    ]
    shift, top, second = found[0]
    flipped = torch.zeros(top.shape, dtype=torch.bool, device=x.device)
    if group.flips:
        flipped = gain(found[1].top) > gain(top)
        loser = torch.where(flipped, gain(top), gain(found[1].top))
        shift, top, second = _where(flipped, found[1], found[0])
        second = torch.maximum(second, loser)
    # max Re(u c) over unit numbers u moves by no more than c does. A correlation c >= 0 has itself as this maximum, so
    # that gain(c) says what the least possible one gains, whatever increasing function of the maximum a gain is.
    reached = top.real if group.scalar is None else (group.scalar.best(top) * top).real
    least = reached - 2 * rounding
    certain = gain(least.to(top.dtype)) > second
    if group.scalar is not None:
        certain = certain & (least > 0)
    motion = Motion(flipped, shift)
    if spectra is not None and fractions:
        fine, found_there = _refined(spectra, group, motion, gain, subpixel, real=not x.is_complex())
        nearer = gain(found_there) > gain(top)  # steps of 1/3, say, leave out the half or whole entry they start from
        motion = Motion(flipped, torch.where(nearer[..., None], fine.shift, motion.shift))
        top = torch.where(nearer, found_there, top)
    return motion, gain(top), certain


def _chosen(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> _Choice:
    """What takes x nearest to the reference, among all that the group's other symmetries propose."""
    chosen: _Choice | None = None
    for others in itertools.product(*(part.candidates(x, reference) for part in group.others)):
        moved = x
        for part, h in zip(group.others, others, strict=True):
            moved = part.act(h, moved)
        motion, gain, _ = _nearest(moved, reference, group, subpixel)
        choice = _Choice(motion, others)
        if chosen is None:
            chosen, most = choice, gain
        else:
            better = gain > most
            chosen, most = _where(better, choice, chosen), torch.where(better, gain, most)
    if chosen is None:
        raise ValueError(f"align got no elements to choose from: one of {group.others} enumerates none.")
    return chosen


def _rounding(x: Tensor, reference: Tensor, group: Product) -> Tensor:
    """By how much any correlation of x and the reference can be wrong in their precision, (*batch,).

    A transform of M entries is log2 M steps a + w b, whose rounding errors are at most 4.3 u of |a| + |b| each, with u
    = eps / 2 and w itself rounded: an output is wrong by 4.3 u log2 M times the sum of the inputs' magnitudes, and the
    outputs together, in the root of the sum of squares, by as much of the inputs'. Two transforms, the product, and one
    transform back, with Cauchy-Schwarz: 13 u log2 M of |x| |r|. What is left of 16 u (1 + log2 M) is for rounding x and
    r before, the gains after, and lengths that are no powers of 2. Measured errors, at primes up to 1e6 too, are 1/7.
    """
    event = x.shape[x.dim() - group.event_dims :]
    entries = math.prod(_torus(group, event)) * math.prod(x.shape[x.dim() - group.item_dims : x.dim() - len(event)])
    one, other = (torch.linalg.vector_norm(flat_parts(z, group.item_dims), dim=-1) for z in (x, reference))
    return 8 * torch.finfo(x.dtype).eps * (1 + math.log2(entries)) * one * other


def _certified(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> _Choice:
    """The choice of double precision, found in single precision for the items in which rounding cannot change it."""
    double = wide(x)
    # Rarely is anything left for double precision, but one must look. Fractions and others need double anyway.
    if not (tangible(x) and tangible(reference)) or not group.shifts or subpixel > 1 or group.others:
        return _chosen(x.to(double), reference.to(double), group, subpixel)
    # Each in its own unit: the product of two small ones would leave the range of single precision.
    single = torch.complex64 if x.is_complex() else torch.float32
    pair = (z.to(torch.promote_types(z.dtype, single)) for z in (x, reference))
    here, there = (unit_scale(z, group.item_dims).to(single) for z in pair)
    motion, _, certain = _nearest(here, there, group, subpixel, _rounding(here, there, group))
    doubtful = (~certain).nonzero().squeeze(-1)
    if len(doubtful):
        exact = _chosen(x[doubtful].to(double), reference[doubtful].to(double), group, subpixel).motion
        motion = Motion(*(old.index_copy(0, doubtful, new) for old, new in zip(motion, exact, strict=True)))
    return _Choice(motion)


def _chunk(x: Tensor, group: Product) -> int:
    """How many items to correlate at once: on a CPU what fits its cache, elsewhere what fits its memory."""
    event = x.shape[x.dim() - group.event_dims :]
    channels = math.prod(x.shape[x.dim() - group.item_dims : x.dim() - group.event_dims])
    entries = channels * math.prod(_torus(group, event) if group.shifts else event)
    return max(1, (2**18 if x.device.type == "cpu" else 2**27) // entries)


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


def _energy(x: Tensor, group: Product) -> Tensor:
    """``sum |x|²``, (*batch,), in double precision."""
    return flat_parts(x.to(wide(x)), group.item_dims).square().sum(-1)


def _moved(motion: Motion, x: Tensor, group: Product) -> tuple[Tensor, Tensor]:
    """x moved with zeros around it, cut to the frame, and the energy that was cut, (*batch,); in double precision."""
    event = x.shape[x.dim() - group.event_dims :]
    none = x.real.new_zeros(motion.flipped.shape, dtype=wide(x.real))
    if group.rearrangement is None:
        return x.to(wide(x)), none
    if motion.shift.is_floating_point():
        torus, spread = _torus(group, event), (*motion.flipped.shape, *[1] * group.channel_dims)
        flipped, shift = motion.flipped.reshape(spread), motion.shift.reshape((*spread, len(event)))
        moved = fourier_move(x.to(wide(x)), flipped, shift, torus)
        inner: tuple[Any, ...] = (..., *(slice(0, n) for n in event))
        outside = torch.ones(torus, dtype=torch.bool, device=x.device)
        outside[inner] = False
        return moved[inner], _energy(moved * outside, group)
    moved = move(motion, x, group.event_dims, group.channel_dims)
    if all(wrapped_axes(group.rearrangement.wrap, event)):
        return moved.to(wide(x)), none
    moved = torch.where(_mask(_inside(motion, group, event), group.channel_dims), moved, 0)
    # An entry of x is cut if the inverse motion finds nothing there.
    kept = _mask(_inside(invert_motion(motion), group, event), group.channel_dims)
    return moved.to(wide(x)), _energy(torch.where(kept, 0, x), group)


def _scalar(moved: Tensor, cut: Tensor, reference: Tensor, group: Product) -> Tensor:
    """The group's scalar, with its scale, that takes what was moved nearest to the reference, (*batch,)."""
    top = flat_items(moved * reference.conj(), group.item_dims).sum(-1)
    scalar = torch.ones_like(top) if group.scalar is None else group.scalar.best(top)
    if group.scale is not None:
        energy = _energy(moved, group) + cut
        scalar = scalar * group.scale.best(scalar * top / torch.where(energy > 0, energy, 1))
    return resolved(scalar)


def _aligned(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> Alignment:
    """:func:`align` for one chunk, (B, *item)."""
    here, there, unit = x, reference, None
    # Gains are of fourth order: where double precision has no room for them, work in units of the larger of the two.
    if min(torch.finfo(z.dtype).tiny for z in (x, reference)) ** 4 < torch.finfo(wide(x)).tiny:
        unit = peak(x.detach().to(wide(x)), reference.detach().to(wide(x)), item_dims=group.item_dims)
        here, there = (divided(z.to(wide(z)), per_item(unit, group.item_dims)) for z in (x, reference))
    with torch.no_grad():
        motion, others = _certified(here, there, group, subpixel)
    for part, h in zip(group.others, others, strict=True):
        here = part.act(h, here.to(wide(here)))
    there = there.to(wide(there))
    moved, cut = _moved(motion, here, group)
    with torch.no_grad():
        scalar = _scalar(moved, cut, there, group)
    aligned = per_item(scalar, group.item_dims) * moved
    lost = torch.where(cut > 0, cut * power(scalar), 0)  # a scale of 1e160 has no square
    error = (_energy(aligned - there, group) + lost) / math.prod(x.shape[1:])
    if unit is not None:
        aligned, error = aligned * per_item(unit, group.item_dims), error * unit.square()
    element = Element(motion.flipped, motion.shift, scalar.to(x.dtype), others)
    return Alignment(aligned.to(x.dtype), element, error)


def align(x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1) -> Alignment:
    """Move every item of ``x`` to the point of its orbit that is nearest to ``reference``.

    ``g = argmin_g sum |g . x - r|²``, over all integer shifts, both orientations and the best phase or sign: whichever
    of them ``symmetries`` names. Shifts are found by cross-correlation, phase, sign and scale in closed form, finite
    groups by enumeration. All decisions are those of double precision: on a CPU, single precision searches for the
    items in which its rounding errors cannot change the outcome.

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
