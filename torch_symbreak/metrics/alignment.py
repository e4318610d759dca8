"""Alignment to a reference over a group, and the error that is left: the metrics that respect symmetries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import batch_shape, check_same_shape, flat_items, power, wide
from torch_symbreak._content import box_ends, content_box, wrapped_axes
from torch_symbreak._fourier import correlate
from torch_symbreak.symmetries import Element, Motion, Product, Symmetry
from torch_symbreak.symmetries.base import move, source_indices

Reduction = Literal["mean", "sum", "none"]


class Alignment(NamedTuple):
    """What :func:`align` found."""

    aligned: Tensor  # (*batch, *channels, *event), like x: g . x, cut to the frame
    element: Element  # g, of Product(symmetries)
    error: Tensor  # (*batch,), real, double precision: the squared distance per entry, cut energy included


def _candidates(x: Tensor, reference: Tensor, group: Product) -> tuple[Tensor, Motion]:
    """Correlations <g . x, r> of all motions of the group, (*batch, K), and those motions, (*batch or 1s, K[, d])."""
    batch, item, d = batch_shape(x, group.item_dims), group.item_dims, group.event_dims
    event = x.shape[x.dim() - d :]
    orientations = (False, True) if group.flips else (False,)
    correlations, flipped, shifts = [], [], []
    for turned in orientations:
        if group.shifts:
            assert group.rearrangement is not None
            periodic = wrapped_axes(group.rearrangement.wrap, event)
            # 2 N samples hold all shifts that overlap, without wrapped ones; a periodic axis has N.
            shape = [n if turns else 2 * n for n, turns in zip(event, periodic, strict=True)]
            found = correlate(x, reference, shape, flipped=turned)
            if group.channel_dims:
                found = found.sum(tuple(range(-item, -d)))
            correlations.append(flat_items(found, d))
            # Unflipped shifts lie in (-N, N): the upper half stands for negative ones. Flipped ones lie in [0, 2 N).
            axes = [torch.arange(m, device=x.device) for m in shape]
            if not turned:
                axes = [t - m * ((t >= n) & (m > n)) for t, m, n in zip(axes, shape, event, strict=True)]
            grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
            shift = grid.expand(*batch, *grid.shape)
        else:
            shift = torch.zeros(*batch, 1, d, dtype=torch.int64, device=x.device)
            if turned:
                assert group.rearrangement is not None
                rule = group.rearrangement
                box = content_box(x, d, rule.channel_dims, rule.threshold, rule.wrap)
                shift = box_ends(box)[..., None, :]
            one = Motion(torch.full(batch, turned, device=x.device), shift[..., 0, :])
            moved = move(one, x, d, group.channel_dims) if group.rearrangement is not None else x
            correlations.append(flat_items(moved * reference.conj(), item).sum(-1, keepdim=True))
        shifts.append(shift)
        flipped.append(torch.full(shift.shape[:-1], turned, device=x.device))
    return torch.cat(correlations, -1), Motion(torch.cat(flipped, -1), torch.cat(shifts, -2))


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


def align(x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry]) -> Alignment:
    """Move every item of ``x`` to the point of its orbit that is nearest to ``reference``.

    ``g = argmin_g sum |g . x - r|²``, over all integer shifts, both orientations and the best phase or sign: whichever
    of them ``symmetries`` names. The shifts are found by cross-correlation, the phase in closed form, in double
    precision.

    Convention: with zero padding, x and r are extended by zeros: a shift moves content out of the frame, where it is
    cut from ``aligned`` but counts in ``error``; nothing wraps around. On a periodic axis shifts are modulo N. A
    ``ConjugateFlip`` without ``Translation`` flips x about its own content box.

    Shape: x and reference (*batch, *channels, *event); ``aligned`` the same, ``element`` and ``error`` (*batch,).

    Args:
        x: What is moved.
        reference: Where to; same shape and field.
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.

    Returns:
        ``aligned``, the ``element`` of ``Product(symmetries)``, and the ``error``: the mean over the item's entries of
        ``|g . x - r|²``, what was cut included. Differentiable in x, with the element held fixed.

    Raises:
        ValueError: If the shapes differ.
        TypeError: If a symmetry is neither a rearrangement nor a scalar, or does not fit the dtype.

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

    References: Fienup, Applied Optics 36, 8352 (1997), invariant error metrics.
    """
    check_same_shape("align", x, reference)
    group = Product(symmetries)
    group.check(x)
    if group.others:
        raise TypeError(f"align knows rearrangements and scalars, but got {list(group.others)}.")
    if x.numel() == 0:  # not every transform takes an empty batch
        return Alignment(
            x.clone(), group.identity(x), x.real.new_zeros(batch_shape(x, group.item_dims), dtype=wide(x.real))
        )
    d, channels, event = group.event_dims, group.channel_dims, x.shape[x.dim() - group.event_dims :]
    with torch.no_grad():
        fine = wide(x)
        correlation, motions = _candidates(x.to(fine), reference.to(fine), group)
        gain = correlation.real if group.scalar is None else group.scalar.gain(correlation)
        best = gain.argmax(-1, keepdim=True)
        motion = Motion(
            motions.flipped.gather(-1, best).squeeze(-1),
            motions.shift.gather(-2, best[..., None].expand(*best.shape, d)).squeeze(-2),
        )
        element = group.identity(x)._replace(flipped=motion.flipped, shift=motion.shift)
        if group.scalar is not None:
            scalar = group.scalar.best(correlation.gather(-1, best).squeeze(-1))
            element = element._replace(scalar=scalar.to(x.dtype))
    aligned, cut = group.act(element, x), x.real.new_zeros(batch_shape(x, group.item_dims), dtype=wide(x.real))
    if group.rearrangement is not None:
        aligned = torch.where(_mask(_inside(motion, group, event), channels), aligned, 0)
        back = group.inverse(element).motion  # an entry of x is cut if the inverse motion finds nothing there
        kept = _mask(_inside(back, group, event), channels)
        cut = flat_items(torch.where(kept, 0, power(x)), group.item_dims).sum(-1, dtype=cut.dtype)
    left = flat_items(power(aligned.to(fine) - reference.to(fine)), group.item_dims).sum(-1)
    return Alignment(aligned, element, (left + cut) / math.prod(x.shape[x.dim() - group.item_dims :]))


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce per-item values by "mean", "sum" or "none"."""
    if reduction == "none":
        return values
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction needs "mean", "sum" or "none", but got {reduction!r}.')
    return values.mean() if reduction == "mean" else values.sum()


def sa_mse(
    x: Tensor, reference: Tensor, symmetries: Symmetry | Sequence[Symmetry], *, reduction: Reduction = "mean"
) -> Tensor:
    """Return the symmetry-adjusted mean squared error: the MSE to the nearest point of the orbit.

    ``SA-MSE(x, r) = min_g sum |g . x - r|² / P`` over Z^d, x and r extended by zeros, P the entries of an item: what a
    shift pushes out of the frame counts as error. Never negative, never above the MSE. See :func:`align`.

    Shape: x and reference (*batch, *channels, *event); a scalar, or (*batch,) for ``reduction="none"``; double
    precision.

    Args:
        x: The estimate.
        reference: The truth; same shape and field.
        symmetries: Which symmetries count, e.g. ``FarField().symmetries``.
        reduction: Over the items: "mean" (default), "sum" or "none".

    Example: the wrong sign is no error where signs cannot be measured.
        >>> import torch
        >>> from torch_symbreak import Sign
        >>> x = torch.tensor([[1.0, -2.0]])
        >>> sa_mse(-x, x, Sign(1)), torch.nn.functional.mse_loss(-x, x)
        (tensor(0., dtype=torch.float64), tensor(10.))
    """
    return reduce(align(x, reference, symmetries).error, reduction)
