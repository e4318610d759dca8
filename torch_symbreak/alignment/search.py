"""The motion of a group that takes an object nearest to a reference, by cross-correlation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import box_ends, box_of_profiles, profiles_of, wrapped_axes
from torch_symbreak._fourier import correlate, spectrum, transform_at
from torch_symbreak._items import (
    batch_shape,
    divided,
    flat_items,
    flat_parts,
    join_elements,
    peak,
    per_item,
    power,
    resolved,
    tangible,
    unit_scale,
    where_elements,
    wide,
)
from torch_symbreak.alignment.places import (
    Found,
    Gain,
    Places,
    best_places,
    mirrored_spectra,
    over_channels,
    pieces,
    two_largest,
)
from torch_symbreak.symmetries import Motion, Product
from torch_symbreak.symmetries.motion import move


def torus_of(group: Product, event: Sequence[int]) -> list[int]:
    """Return a torus on which no shift of the frame wraps onto itself: 2 N along padded axes, N along periodic ones."""
    assert group.rearrangement is not None
    periodic = wrapped_axes(group.rearrangement.wrap, tuple(event))
    return [n if turns else 2 * n for n, turns in zip(event, periodic, strict=True)]


class _Spectra(NamedTuple):
    """Transforms of x and the reference on a torus on which no shift wraps content onto itself."""

    x: Tensor
    reference: Tensor
    torus: list[int]


def _spectra(x: Tensor, reference: Tensor, group: Product) -> _Spectra:
    torus = torus_of(group, x.shape[x.dim() - group.event_dims :])
    return _Spectra(spectrum(x, torus), spectrum(reference, torus), torus)


def _best_shift(
    x: Tensor,
    spectra: _Spectra,
    group: Product,
    turned: bool,
    gain: Gain,
    halves: bool,
) -> Found:
    """Try all shifts in one orientation."""
    event = x.shape[x.dim() - group.event_dims :]
    correlation = over_channels(
        correlate(spectra.x, spectra.reference, group.event_dims, flipped=turned, halves=halves), group
    )
    correlation = correlation if x.is_complex() else correlation.real
    gains = gain(correlation).clone() if gain is torch.real else gain(correlation)
    for axis, (size, n) in enumerate(zip(spectra.torus, event, strict=True)):
        if size > n:  # the one of 2 N shifts that leaves nothing in the frame
            last = (2 if halves else 1) * (size - 1 if turned else n)
            gains.select(axis - group.event_dims, last).fill_(-torch.inf)
    flat = flat_items(correlation, group.event_dims)
    best, second = two_largest(flat_items(gains, group.event_dims).unflatten(-1, (-1, gains.shape[-1])))
    shift, place = [], best.squeeze(-1)
    for size, n in zip(reversed(spectra.torus), reversed(event), strict=True):
        steps = 2 * size if halves else size
        t = place % steps / 2 if halves else place % steps
        # Unflipped shifts lie in (-N, N): the upper half of 2 N stands for negative ones.
        shift.append(t if turned or size == n else torch.where(t >= n, t - size, t))
        place = place // steps
    shifts, top = torch.stack(shift[::-1], -1), flat.gather(-1, best).squeeze(-1)
    return Found(shifts, resolved(top.conj() if turned else top), second)


def _in_place(x: Tensor, reference: Tensor, group: Product, turned: bool) -> Found:
    """Try the one motion of an orientation of a group without shifts: none, or the flip about the own content."""
    batch, d = batch_shape(x, group.item_dims), group.event_dims
    shift = torch.zeros(*batch, d, dtype=torch.int64, device=x.device)
    if turned:
        assert group.rearrangement is not None
        shift = box_ends(group.rearrangement.box(x))
        x = move(Motion(torch.ones(batch, dtype=torch.bool, device=x.device), shift), x, d, group.channel_dims)
    top = flat_items(x * reference.conj(), group.item_dims).sum(-1)
    return Found(shift, top, torch.full_like(top.real, -torch.inf))


def _refined(
    found: Found, spectra: _Spectra, group: Product, turned: bool, gain: Gain, subpixel: int, real: bool
) -> Found:
    """Refine shifts to 1 / ``subpixel`` of an entry, by a matrix Fourier transform around the peak."""
    product = over_channels((spectra.x if turned else spectra.x.conj()) * spectra.reference, group)
    reach = math.ceil(0.75 * subpixel)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=product.device)
    shifts = ((found.shift[..., None] * subpixel).round() + offsets) / subpixel  # (*batch, d, U)
    torus = torch.tensor(spectra.torus, device=product.device)[:, None]
    correlation = resolved(transform_at(product, shifts / torus).conj()) / math.prod(spectra.torus)
    correlation = correlation.real if real else correlation
    best = gain(correlation).argmax(-1, keepdim=True)
    places = [len(offsets) ** axis for axis in reversed(range(group.event_dims))]
    shift = [shifts[..., axis, :].gather(-1, best // place % len(offsets)) for axis, place in enumerate(places)]
    top = correlation.gather(-1, best).squeeze(-1)
    nearer = gain(top) > gain(found.top)  # steps of 1/3, say, leave out the half or whole entry they start from
    return Found(
        torch.where(nearer[..., None], torch.cat(shift, -1), found.shift),
        torch.where(nearer, top, found.top),
        found.second,
    )


def _by_orientation(
    x: Tensor, reference: Tensor, spectra: _Spectra | None, group: Product, gain: Gain, halves: bool
) -> list[Found]:
    """Return the best motion without a flip and, if the group flips, the best one with a flip."""
    return [
        _in_place(x, reference, group, turned)
        if spectra is None
        else _best_shift(x, spectra, group, turned, gain, halves)
        for turned in ((False, True) if group.flips else (False,))
    ]


def best_motions(x: Tensor, reference: Tensor, group: Product, gain: Gain) -> list[Found]:
    """Return the motion of each orientation that gains most, of those that keep the content inside the frame."""
    places = _places(x, reference, group)
    if places is None:
        return _by_orientation(x, reference, None, group, gain, False)
    return best_places(x, places, group, gain)


def self_correlations(x: Tensor, group: Product, *, of: Tensor) -> list[Tensor]:
    """Correlate all motions of ``of`` modulo the frame with x, (*batch, *event), orientation by orientation."""
    d, turns = group.event_dims, (False, True) if group.flips else (False,)
    if not group.shifts:
        return [_in_place(of, x, group, turned).top.reshape(-1, *[1] * d) for turned in turns]
    event = x.shape[x.dim() - d :]
    fx, fr = spectrum(of, event), spectrum(x, event)
    return [over_channels(correlate(fx, fr, d, flipped=turned), group) for turned in turns]


def nearest_motion(
    x: Tensor,
    reference: Tensor,
    group: Product,
    *,
    subpixel: int = 1,
    rounding: Tensor | float = 0.0,
    places: Places | None = None,
) -> tuple[Motion, Tensor, Tensor]:
    """Return the motion that takes x nearest to the reference, its gain, and whether it is certain, all per item.

    A motion is certain if no other one can gain as much when every correlation is off by up to ``rounding``. If
    ``places`` is given, only they compete.
    """
    gain: Gain = torch.real if group.scalar is None else group.scalar.gain
    fractions = group.shifts and subpixel > 1  # the peak of a fractional shift can hide between entries
    if places is not None:
        found = best_places(x, places, group, gain)
    else:
        spectra = _spectra(x, reference, group) if group.shifts else None
        found = _by_orientation(x, reference, spectra, group, gain, fractions)
        if spectra is not None and fractions:
            # Before the orientations are compared: the better one's peak may lie farther from a half entry.
            found = [
                _refined(best, spectra, group, turned, gain, subpixel, real=not x.is_complex())
                for turned, best in zip((False, True), found, strict=False)
            ]
    unflipped, *flips = found
    shift, top, second = unflipped
    flipped = torch.zeros(top.shape, dtype=torch.bool, device=x.device)
    for flip in flips:
        flipped = gain(flip.top) > gain(top)
        loser = torch.where(flipped, gain(top), gain(flip.top))
        shift, top, second = where_elements(flipped, flip, unflipped)
        second = torch.maximum(second, loser)
    # Let m(c) = max Re(u c) over unit numbers u. A change of c changes m by no more than its magnitude, so m is at
    # least ``least``, with the rounding of both the best and the second best motion. For real c >= 0, m(c) = c. Hence
    # gain(least) is the least possible gain, though gain may be a power of m.
    reached = top.real if group.scalar is None else (group.scalar.best(top) * top).real
    least = reached - 2 * rounding
    certain = gain(least.to(top.dtype)) > second
    if group.scalar is not None:
        certain = certain & (least > 0)
    return Motion(flipped, shift), gain(top), certain


def rounding_of(x: Tensor, reference: Tensor, group: Product, torus: Sequence[int]) -> Tensor:
    """Bound the rounding error of any correlation of x and the reference in their precision, (*batch,).

    A transform of M entries takes log2 M steps a + w b. With u = eps / 2, a step is wrong by at most 4.3 u (|a| + |b|),
    w rounded too. So a transform is wrong by 4.3 u log2 M of its input, in the root of the sum of squares. Two
    transforms, their product and one inverse transform give 13 u log2 M |x| |r| by Cauchy-Schwarz. The bound used is
    16 u (1 + log2 M) |x| |r|. Its slack covers rounding of x and r, the gains, and lengths that are no powers of 2.
    Measured errors, up to primes of 1e6, are 1/7 of it.
    """
    channels = x.shape[x.dim() - group.item_dims : x.dim() - group.event_dims]
    entries = math.prod(torus) * math.prod(channels)
    norms = [torch.linalg.vector_norm(flat_parts(z, group.item_dims), dim=-1) for z in (x, reference)]
    return _rounding(norms[0], norms[1], entries, x.dtype)


def _rounding(norm: Tensor, other: Tensor, entries: int, dtype: torch.dtype) -> Tensor:
    return 8 * torch.finfo(dtype).eps * (1 + math.log2(entries)) * norm * other


class Choice(NamedTuple):
    """A motion and elements of the group's other parts; the scalar follows from them."""

    motion: Motion
    others: tuple[Any, ...] = ()


def _chosen(x: Tensor, reference: Tensor, group: Product, subpixel: int, inside: bool) -> Choice:
    """Choose the elements that take x nearest to the reference, among all candidates of the other symmetries."""
    chosen: Choice | None = None
    each = reference.expand_as(x)
    proposals = [part.admissible_candidates(x, each) if inside else part.candidates(x, each) for part in group.others]
    for others in itertools.product(*proposals):
        moved = x
        for part, h in zip(group.others, others, strict=True):
            moved = part.act(h, moved)
        places = _places(moved, reference, group) if inside else None
        motion, gain, _ = nearest_motion(moved, reference, group, subpixel=subpixel, places=places)
        choice = Choice(motion, others)
        if chosen is None:
            chosen, most = choice, gain
        else:
            better = gain > most
            chosen, most = where_elements(better, choice, chosen), torch.where(better, gain, most)
    if chosen is None:
        raise ValueError(f"an alignment got no elements to choose from: one of {group.others} enumerates none.")
    return chosen


def _in_single(x: Tensor, group: Product) -> torch.dtype | None:
    """Return the dtype of the first search, if one in single precision pays: fractions and others need double anyway.

    Rarely is anything left for double precision, but one must look.
    """
    single = torch.complex64 if x.is_complex() else torch.float32
    return single if tangible(x) and group.shifts and not group.others else None


def _places(x: Tensor, reference: Tensor, group: Product) -> Places | None:
    """Return the places inside the frame for the content of x; None if the group has no shifts."""
    if not group.shifts:
        return None
    assert group.rearrangement is not None
    unit = torch.ones_like(flat_items(x.real, group.item_dims)[..., 0])
    return Places(group.rearrangement.box(x), unit, mirrored_spectra(reference, group, not x.is_complex()))


def nearest_inside(x: Tensor, reference: Tensor, group: Product) -> Choice:
    """Choose as :func:`nearest_choice`, among the shifts that keep the content inside the frame and act modulo it.

    Everything that costs a pass over the items is done piece by piece, and what costs nothing for all of them at once.

    Args:
        x: The items, (B, *item), of any scale.
        reference: The reference that all share, (1, *item).
        group: The symmetries.
    """
    dims, single = group.item_dims, _in_single(x, group)

    def exact(x: Tensor) -> Choice:
        there = reference.to(wide(x))
        parts = [_chosen(unit_scale(part.to(wide(x)), dims), there, group, 1, True) for part in x.split(pieces(x))]
        choice: Choice = join_elements(parts, x.shape[:1])
        return choice

    if single is None:
        return exact(x)
    like = group.rearrangement
    assert like is not None

    def look(x: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        unit = peak(x, item_dims=dims)
        squares = power(divided(x, per_item(unit, dims)))
        profiles = profiles_of(squares, group.event_dims, group.channel_dims)
        return unit, flat_items(squares, dims).sum(-1).sqrt(), tuple(profiles)

    unit, norm, profiles = join_elements([look(part) for part in x.split(pieces(x))], x.shape[:1])
    there = unit_scale(reference.to(torch.promote_types(reference.dtype, single)), dims).to(single)
    spectra = mirrored_spectra(there, group, not x.is_complex())
    places = Places(box_of_profiles(profiles, like.threshold, like.wrap), unit, spectra)
    entries = math.prod(x.shape[1:])
    length = torch.linalg.vector_norm(flat_parts(there, there.dim()))  # by parts, many times faster than of the whole
    rounding = _rounding(norm, length, entries, single)
    motion, _, certain = nearest_motion(x, reference, group, rounding=rounding, places=places)
    doubtful = (~certain).nonzero().squeeze(-1)
    if len(doubtful):
        motion = _amended(motion, doubtful, exact(x[doubtful]).motion)
    return Choice(motion)


def _amended(motion: Motion, index: Tensor, by: Motion) -> Motion:
    return Motion(*(old.index_copy(0, index, new) for old, new in zip(motion, by, strict=True)))


def nearest_choice(x: Tensor, reference: Tensor, group: Product, *, subpixel: int = 1) -> Choice:
    """Choose the motion and the other elements that take each item nearest to its reference, as in double precision.

    All shifts compete, and zeros surround the items. Single precision decides where its rounding errors cannot change
    the choice. Double precision decides the others.

    Args:
        x: The items, (B, *item).
        reference: Their references, (B, *item), or (1, *item) for one that all share.
        group: The symmetries.
        subpixel: Find shifts to 1 / ``subpixel`` of an entry. Default 1.
    """
    double = wide(x)
    single = _in_single(x, group)
    if single is None or not tangible(reference) or subpixel > 1:
        return _chosen(x.to(double), reference.to(double), group, subpixel, False)
    # Each in its own unit: the product of two small ones would leave the range of single precision.
    pair = (z.to(torch.promote_types(z.dtype, single)) for z in (x, reference))
    here, there = (unit_scale(z, group.item_dims).to(single) for z in pair)
    event = x.shape[x.dim() - group.event_dims :]
    rounding = rounding_of(here, there, group, torus_of(group, event))
    motion, _, certain = nearest_motion(here, there, group, rounding=rounding)
    doubtful = (~certain).nonzero().squeeze(-1)
    if len(doubtful):
        target = reference if len(reference) == 1 else reference[doubtful]
        exact = _chosen(x[doubtful].to(double), target.to(double), group, subpixel, False).motion
        motion = _amended(motion, doubtful, exact)
    return Choice(motion)
