"""The nearest point of an orbit to a reference, and the error that is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import Array, as_pair
from torch_symbreak._content import wrapped_axes
from torch_symbreak._fourier import fourier_move
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
    wide,
)
from torch_symbreak.alignment.search import nearest_choice, torus_of
from torch_symbreak.symmetries import Element, Motion, Product, Symmetry
from torch_symbreak.symmetries.motion import invert_motion, move, source_indices


class Alignment(NamedTuple):
    """Result of :func:`align`.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[3.0, -4.0]])
        >>> found = align(-x, x, Sign(1))
        >>> found.aligned, found.element.scalar, found.error
        (tensor([[ 3., -4.]]), tensor([-1.]), tensor([0.], dtype=torch.float64))
    """

    aligned: Tensor  #: (*batch, *channels, *event), like x: g . x, cut to the frame
    element: Element  #: g, of Product(symmetries)
    error: Tensor  #: (*batch,), real, double precision: the squared distance per entry, cut energy included


def _chunk(x: Tensor, group: Product) -> int:
    """Return how many items to correlate at once: as many as fit a CPU's cache, or a device's memory."""
    event = x.shape[x.dim() - group.event_dims :]
    channels = math.prod(x.shape[x.dim() - group.item_dims : x.dim() - group.event_dims])
    entries = channels * math.prod(torus_of(group, event) if group.shifts else event)
    return max(1, (2**18 if x.device.type == "cpu" else 2**27) // entries)


def _inside(motion: Motion, group: Product, event: Sequence[int]) -> list[Tensor]:
    """Return per axis whether entry n of the frame has a source inside it, (*batch, N_a); on a periodic axis all do."""
    assert group.rearrangement is not None
    periodic = wrapped_axes(group.rearrangement.wrap, tuple(event))
    return [
        torch.ones_like(source, dtype=torch.bool) if turns else (source >= 0) & (source < size)
        for source, size, turns in zip(source_indices(motion, event), event, periodic, strict=True)
    ]


def _mask(axes: Sequence[Tensor], channel_dims: int) -> Tensor:
    """Return the outer product of masks per axis, (*batch, N_a) each: (*batch, 1s for channels, *event)."""
    batch, d = axes[0].shape[:-1], len(axes)
    mask = torch.ones((), dtype=torch.bool, device=axes[0].device)
    for axis, along in enumerate(axes):
        shape = [1] * (channel_dims + d)
        shape[channel_dims + axis] = along.shape[-1]
        mask = mask & along.reshape(*batch, *shape)
    return mask


def _energy(x: Tensor, group: Product) -> Tensor:
    """Return ``sum |x|²``, (*batch,), in double precision."""
    return flat_parts(x.to(wide(x)), group.item_dims).square().sum(-1)


def _moved(motion: Motion, x: Tensor, group: Product) -> tuple[Tensor, Tensor]:
    """Return x moved with zeros around it and cut to the frame, and the energy cut, (*batch,), in double precision."""
    event = x.shape[x.dim() - group.event_dims :]
    none = x.real.new_zeros(motion.flipped.shape, dtype=wide(x.real))
    if group.rearrangement is None:
        return x.to(wide(x)), none
    if motion.shift.is_floating_point():
        torus, spread = torus_of(group, event), (*motion.flipped.shape, *[1] * group.channel_dims)
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
    """Return the group's scalar, with its scale, that takes the moved items nearest to the reference, (*batch,)."""
    top = flat_items(moved * reference.conj(), group.item_dims).sum(-1)
    scalar = torch.ones_like(top) if group.scalar is None else group.scalar.best(top)
    if group.scale is not None:
        energy = _energy(moved, group) + cut
        scalar = scalar * group.scale.best(scalar * top / torch.where(energy == 0, 1, energy))
    return resolved(scalar)


def _aligned(x: Tensor, reference: Tensor, group: Product, subpixel: int) -> Alignment:
    """Align one chunk, (B, *item)."""
    here, there, unit = x, reference, None
    # Gains are of fourth order: where double precision has no room for them, work in units of the larger of the two.
    if min(torch.finfo(z.dtype).tiny for z in (x, reference)) ** 4 < torch.finfo(wide(x)).tiny:
        unit = peak(x.detach().to(wide(x)), reference.detach().to(wide(x)), item_dims=group.item_dims)
        here, there = (divided(z.to(wide(z)), per_item(unit, group.item_dims)) for z in (x, reference))
    with torch.no_grad():
        motion, others = nearest_choice(here, there, group, subpixel=subpixel)
    for part, h in zip(group.others, others, strict=True):
        here = part.act(h, here.to(wide(here)))
    there = there.to(wide(there))
    moved, cut = _moved(motion, here, group)
    with torch.no_grad():
        scalar = _scalar(moved, cut, there, group)
    aligned = per_item(scalar, group.item_dims) * moved
    lost = torch.where(cut == 0, 0, cut * power(scalar))  # a scale of 1e160 has no square
    error = (_energy(aligned - there, group) + lost) / math.prod(x.shape[1:])
    if unit is not None:
        aligned, error = aligned * per_item(unit, group.item_dims), error * unit * unit  # 0 stays 0
        others = tuple(part.rescaled(h, unit) for part, h in zip(group.others, others, strict=True))
    element = Element(motion.flipped, motion.shift, scalar.to(x.dtype), others)
    return Alignment(aligned.to(x.dtype), element, error)


def align(x: Array, reference: Array, symmetries: Symmetry | Sequence[Symmetry], *, subpixel: int = 1) -> Alignment:
    """Move every item of ``x`` to the point of its orbit that is nearest to ``reference``.

    ``g = argmin_g sum |g . x - r|²`` over the group of ``symmetries``, such as all integer shifts, both orientations
    and all phases. Shifts are found by cross-correlation, phase, sign and scale in closed form, finite groups by
    enumeration, orthogonal matrices and rigid motions by singular values, signed permutations as an assignment problem.
    Every choice is the one that double precision makes. On a CPU, whole shifts are first searched in single precision,
    and an item again in double precision if rounding errors could change its choice.

    Convention: with zero padding, x and r are extended by zeros, and nothing wraps around. Content that a shift moves
    out of the frame is cut from ``aligned``, but counts in ``error``. On a periodic axis shifts are modulo N. A
    ``ConjugateFlip`` without ``Translation`` flips x about its own content box, or about its center modulo the frame.

    Shape: x and reference (*batch, *channels, *event); ``aligned`` the same, ``element`` and ``error`` (*batch,).

    Args:
        x: The items to move: a tensor, or a NumPy array, which is converted.
        reference: The targets to move them to; same shape and field.
        symmetries: Symmetries to align over, e.g. ``FarField().symmetries``.
        subpixel: Find shifts to 1 / ``subpixel`` of an entry, by Fourier interpolation. The element's shifts are then
            float64. Default 1: integer shifts.

    Returns:
        ``aligned``, the ``element`` of ``Product(symmetries)``, and the ``error``: the mean over the item's entries of
        ``|g . x - r|²``, including the content that was cut. Differentiable in x and reference, with the element held
        fixed.

    Raises:
        ValueError: If the shapes or the devices differ, or ``subpixel`` is no int >= 1.
        TypeError: If one of x and reference is real and the other complex, or a symmetry does not fit the dtype.
        NotImplementedError: If a symmetry of your own has neither ``elements`` nor ``candidates``.

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
    x, reference = as_pair("align", x, reference)
    group = Product(symmetries)
    group.check(x)
    if isinstance(subpixel, bool) or not isinstance(subpixel, int) or subpixel < 1:
        raise ValueError(f"align needs an int subpixel >= 1, but got {subpixel!r}.")
    batch, item = batch_shape(x, group.item_dims), x.shape[x.dim() - group.item_dims :]
    if x.numel() == 0:  # not every transform takes an empty batch
        none = group.identity(x)
        if group.shifts and subpixel > 1:
            none = none._replace(shift=none.shift.double())
        return Alignment(x.clone(), none, _energy(x - reference, group))
    items, targets = (z.reshape(batch.numel(), *item).split(_chunk(x, group)) for z in (x, reference))
    parts = [_aligned(*pair, group, subpixel) for pair in zip(items, targets, strict=True)]
    alignment: Alignment = join_elements(parts, batch)
    return alignment
