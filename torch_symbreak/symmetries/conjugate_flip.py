"""The conjugate flip (twin image), ``x(n) -> conj(x(-n))`` about the content's center, and how to break it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_symbreak._content import Box, Wrap, box_ends, box_margin
from torch_symbreak._items import TIE, flat_items, power, unit_scale, wide
from torch_symbreak.symmetries.base import Canonicalizer
from torch_symbreak.symmetries.motion import Motion, Rearrangement, placement


@dataclass(frozen=True)
class ConjugateFlip(Rearrangement):
    """Conjugate flips of the content box onto itself: ``(g . x)(n) = conj(x(t - n))`` with t = lo + hi.

    For real targets the conjugation does nothing. Composing flips about different centers gives shifts, so that
    elements are motions (flipped, shift) like those of ``Translation``.

    Shape: targets (*batch, *channels, *event); elements :class:`Motion` with ``flipped`` bool (*batch,) and ``shift``
    int64 (*batch, d), in entries.

    Args:
        event_dims: Trailing dimensions that are flipped together. Default 2.
        channel_dims: Dimensions before the event that share the orientation; they are not flipped. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic where it equals the frame's. Default False.

    Example:
        >>> import torch
        >>> g = Motion(torch.tensor([True]), torch.tensor([[2]]))  # content in [0, 2]
        >>> ConjugateFlip(1).act(g, torch.tensor([[1.0, 2.0, 3.0j, 0.0]]))
        tensor([[0.-3.j, 2.-0.j, 1.-0.j, 0.-0.j]])
    """

    shifts = False
    flips = True


def _directions(d: int) -> list[tuple[int, ...]]:
    """List the frequencies in {-1, 0, 1}^d up to sign: axes, last to first, then diagonals in lexicographic order."""
    cube: list[tuple[int, ...]] = [()]  # itertools.product, as torch.compile of 2.6 understands it
    for _ in range(d):
        cube = [(*k, step) for k in cube for step in (-1, 0, 1)]
    half = [k for k in cube if [step for step in k if step != 0][:1] == [1]]
    axes = [k for k in half if sum([abs(step) for step in k]) == 1]  # lexicographic: the last axis first
    return axes + [k for k in half if sum([abs(step) for step in k]) > 1]


def flip_scores(x: Tensor, box: Box, event_dims: int, channel_dims: int) -> Tensor:
    """Return the scores whose signs tell an item from its twin, over ``(sum |x|)²``, in order of decision.

    Let z be the sum of x over the channels, c the center of the box, and L its lengths. Frequencies k are in units of
    1 / (2 L) per axis: ``F(k) = sum_n z(n) exp(-2 pi i k . (n - c))``. The first K scores are ``Im(F(k) conj F(0))``
    for the axes from last to first and then the diagonals. The last K are ``Im(F(2 k) conj F(k))``, without F(0).
    Translations and global phases keep a score. A conjugate flip changes its sign.

    Shape: (*batch, 2 K), K = (3^d - 1) / 2.
    """
    z = unit_scale(x.detach(), event_dims + channel_dims)
    total = flat_items(power(z).sqrt(), event_dims + channel_dims).sum(-1, dtype=wide(z.real))
    if channel_dims:
        z = z.sum(tuple(range(-event_dims - channel_dims, -event_dims)))
    cube = z.to(torch.promote_types(total.dtype, torch.complex64))
    orders, ends = torch.arange(-2, 3, device=x.device), box_ends(box)
    for axis in range(event_dims):
        # Contract one axis with all five frequencies; the next axis is then the first of those not yet contracted.
        size = z.shape[z.dim() - event_dims + axis]
        twice = 2 * torch.arange(size, device=x.device) - ends[..., axis, None] + size
        twice = twice % (2 * size) - size  # 2 (n - c), modulo 2 N into [-N, N): exact
        angle = -math.pi * twice / (2 * box.length[..., axis, None]).to(total.dtype)
        angle = angle[..., None] * orders  # (*batch, N, 5)
        weight = torch.polar(torch.ones_like(angle), angle)
        # -N/2 is its own mirror image, so its weight would have to be real: leave the entry out.
        weight = torch.where(((twice == -size)[..., None]) & (orders != 0), 0, weight)
        flat = cube.reshape(*total.shape, size, math.prod(cube.shape[total.dim() :]) // size)
        cube = (flat.transpose(-1, -2) @ weight).flatten(-2)
    values = cube.reshape(*total.shape, 5**event_dims)

    def at(k: tuple[int, ...], times: int) -> Tensor:
        position = 0
        for one in k:
            position = 5 * position + times * one + 2
        return values[..., position]

    directions = _directions(event_dims)
    dc = at(directions[0], 0)
    scores = [(at(k, 1) * dc.conj()).imag for k in directions]
    scores += [(at(k, 2) * at(k, 1).conj()).imag for k in directions]
    return torch.stack(scores, -1) / torch.where(total > 0, total, 1).square()[..., None]


def flip_decision(scores: Tensor) -> Tensor:
    """Return whether the first score above rounding level is negative, (*batch,); a tie stays as it is."""
    decided = scores.abs() > TIE
    first = decided.to(torch.int8).argmax(-1, keepdim=True)
    return (scores.gather(-1, first) < -TIE).squeeze(-1)


class FixConjugateFlip(Canonicalizer[ConjugateFlip]):
    """Give every item the orientation in which its flip score is positive.

    The score is ``s(x) = Im(F_c(k) conj F(0))``, ``F_c(k) = sum_n x(n) exp(-2 pi i k (n - c))``, at k = 1 / (2 L) on
    the last axis. c is the center of the content box and L its length. For content that fills the frame, measured with
    oversampling 2, s is the talk's coefficient. It does not depend on where the content lies. No Fourier transform is
    taken.

    Convention: the flip maps the box onto itself (t = lo + hi). The box does not move, whether L is odd or even.

    Ties: where |s| is below 1e-6 of (sum |x|)², the other axes decide, then the diagonals, then the DC-free
    ``Im(F_c(2k) conj F_c(k))``; an item that none can decide (a centrosymmetric one) stays as it is. :meth:`margin`
    is |s| / (sum |x|)² of the first score, or the margin of the box if that is smaller.

    Shape: (*batch, *channels, *event), real or complex, to the same; :meth:`margin` (*batch,); :meth:`element`
    a :class:`Motion` with ``flipped`` (*batch,) and ``shift`` (*batch, d).

    Args:
        event_dims: Trailing dimensions that are flipped together. Default 2.
        channel_dims: Dimensions before the event that share the orientation. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic where it equals the frame's. Default False.

    Example: an object and its twin get one representative.
        >>> import torch
        >>> fix = FixConjugateFlip(1)
        >>> x = torch.tensor([[1.0, 2.0 + 1.0j, 3.0, 0.0, 0.0]])
        >>> twin = torch.tensor([[3.0, 2.0 - 1.0j, 1.0, 0.0, 0.0]])
        >>> torch.equal(fix(x), fix(twin))
        True

    References: Zhang et al., arXiv 2403.15448, Algorithm 2, lines 7 to 10.
    """

    def __init__(
        self, event_dims: int = 2, *, channel_dims: int = 0, threshold: float = 1e-4, wrap: Wrap = False
    ) -> None:
        super().__init__(ConjugateFlip(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap))

    def _box_and_scores(self, x: Tensor) -> tuple[Box, Tensor]:
        self.check(x)
        box = self.symmetry.box(x)
        return box, flip_scores(x, box, self.symmetry.event_dims, self.symmetry.channel_dims)

    def element(self, x: Tensor) -> Motion:
        box, scores = self._box_and_scores(x)
        flipped = flip_decision(scores)
        return Motion(flipped, placement(*box, box.lo, flipped))

    def margin(self, x: Tensor) -> Tensor:
        _, scores = self._box_and_scores(x)
        group = self.symmetry
        box = box_margin(x, group.event_dims, group.channel_dims, group.threshold, group.wrap)
        return torch.minimum(scores[..., 0].abs().to(box.dtype), box)
