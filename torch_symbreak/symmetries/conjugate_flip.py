"""The conjugate flip (twin image), ``x(n) -> conj(x(-n))`` about the content's center, and how to break it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_symbreak._content import Box, Wrap, box_margin
from torch_symbreak._frequencies import LowFrequencies, coefficients, half_cube, low_frequencies
from torch_symbreak._items import NOISE, TIE, first_above, margins_of
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


def flip_scores(low: LowFrequencies, event_dims: int) -> Tensor:
    """Return the scores whose signs tell an item from its twin, over ``(sum |x|)²``, in order of decision.

    The first K scores are ``Im(F(k) conj F(0))`` for the axes from last to first and then the diagonals. The last K are
    ``Im(F(2 k) conj F(k))``, without F(0). Translations and global phases keep a score. A conjugate flip changes its
    sign.

    Shape: (*batch, 2 K), K = (3^d - 1) / 2.
    """
    half = half_cube(event_dims, 1)
    along = [sum([abs(step) for step in k]) for k in half]
    directions = [k for k, axes in zip(half, along, strict=True) if axes == 1]  # lexicographic: the last axis first
    directions += [k for k, axes in zip(half, along, strict=True) if axes > 1]
    low = LowFrequencies(low.values.detach(), low.total)
    once = coefficients(low, directions)
    twice = coefficients(low, [tuple([2 * step for step in k]) for k in directions])
    dc = coefficients(low, [(0,) * event_dims])
    scores = torch.cat([(once * dc.conj()).imag, (twice * once.conj()).imag], -1)
    return scores / torch.where(low.total > 0, low.total, 1).square()[..., None]


def flip_decision(scores: Tensor) -> Tensor:
    """Return whether the first score above rounding level is negative, (*batch,); a tie stays as it is."""
    return (scores.gather(-1, first_above(scores.abs(), TIE)) < -TIE).squeeze(-1)


def flip_margin(scores: Tensor) -> Tensor:
    """Return the magnitude of the score that decides, (*batch,)."""
    size = scores.abs()
    return size.gather(-1, first_above(size, NOISE)).squeeze(-1)


class FixConjugateFlip(Canonicalizer[ConjugateFlip]):
    """Give every item the orientation in which its flip score is positive.

    The score is ``s(x) = Im(F_c(k) conj F(0))``, ``F_c(k) = sum_n x(n) exp(-2 pi i k (n - c))``, at k = 1 / (2 L) on
    the last axis. c is the center of the content box and L its length. For content that fills the frame, measured with
    oversampling 2, s is the talk's coefficient. It does not depend on where the content lies. No Fourier transform is
    taken.

    Convention: the flip maps the box onto itself (t = lo + hi). The box does not move, whether L is odd or even.

    Ties: where |s| is below 1e-6 of (sum |x|)², the other axes decide, then the diagonals, then the DC-free
    ``Im(F_c(2k) conj F_c(k))``; an item that none can decide (a centrosymmetric one) stays as it is. :meth:`margin`
    is |s| / (sum |x|)² of the score that decides, or the margin of the box if that is smaller. A score between 5e-7 and
    1e-6 gives the margin though it does not decide, since it might after rounding.

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
        group = self.symmetry
        box = group.box(x)
        return box, flip_scores(low_frequencies(x, box, group.event_dims, group.channel_dims), group.event_dims)

    def element(self, x: Tensor) -> Motion:
        box, scores = self._box_and_scores(x)
        flipped = flip_decision(scores)
        return Motion(flipped, placement(*box, box.lo, flipped))

    def margin(self, x: Tensor) -> Tensor:
        _, scores = self._box_and_scores(x)
        group = self.symmetry
        box = box_margin(x, group.event_dims, group.channel_dims, group.threshold, group.wrap)
        return margins_of(x, torch.minimum(flip_margin(scores).to(box.dtype), box), group.item_dims)
