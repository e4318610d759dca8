"""The conjugate flip (twin image), ``x(n) -> conj(x(-n))`` about the content's center, and how to break it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._content import Box, Wrap, box_margin
from torch_symbreak._frequencies import LowFrequencies, coefficients, half_cube, low_frequencies
from torch_symbreak._items import NOISE, TIE, batch_shape, first_above, margins_of
from torch_symbreak.symmetries.base import Canonicalizer
from torch_symbreak.symmetries.motion import Motion, Rearrangement, placement


@dataclass(frozen=True)
class ConjugateFlip(Rearrangement):
    """Conjugate flips of the content box onto itself: ``(g . x)(n) = conj(x(t - n))`` with t = lo + hi.

    lo and hi are the first and the last entry of the box. For real targets the conjugation does nothing. Two flips
    about different centers make a shift, so elements are motions (flipped, shift) like those of ``Translation``.

    With ``center=c`` all items are flipped about one point of the frame, t = 2 c, indices modulo the frame. This is the
    symmetry of a measurement through a mask that is symmetric about c. The group then has two elements, and they do not
    depend on content.

    Shape: targets (*batch, *channels, *event); elements :class:`Motion` with ``flipped`` bool (*batch,) and ``shift``
    int64 (*batch, d), in entries.

    Args:
        event_dims: Trailing dimensions that are flipped together. Default 2.
        channel_dims: Dimensions before the event that share the orientation; they are not flipped. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic if its sizes on detector and frame agree. Default False. Always True
            with a center.
        center: Point about which all items are flipped, one number per axis, in entries. 3.5 lies between two entries.
            Default: the center of each item's content box.

    Raises:
        ValueError: If ``center`` is not one multiple of 1/2 per axis, or a flip about a center is put into a
            ``Product`` with ``Translation``, which would move the center.

    Example:
        >>> import torch
        >>> g = Motion(torch.tensor([True]), torch.tensor([[2]]))  # content in [0, 2]
        >>> ConjugateFlip(1).act(g, torch.tensor([[1.0, 2.0, 3.0j, 0.0]]))
        tensor([[0.-3.j, 2.-0.j, 1.-0.j, 0.-0.j]])
        >>> about = ConjugateFlip(1, center=(1.5,))
        >>> about.act(about.twin(torch.zeros(1, 4)), torch.tensor([[1.0, 2.0, 3.0j, 0.0]]))
        tensor([[0.-0.j, 0.-3.j, 2.-0.j, 1.-0.j]])
    """

    center: tuple[float, ...] | None = None

    shifts = False
    flips = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.center is None:
            return
        if (
            not isinstance(self.center, (tuple, list))
            or len(self.center) != self.event_dims
            or not all(isinstance(c, Real) and abs(c) < 2**31 and 2 * c == round(2 * c) for c in self.center)
        ):
            raise ValueError(
                f"{type(self).__name__} needs a center of {self.event_dims} multiples of 1/2, one per axis, but got "
                f"{self.center!r}. The center of a frame of N entries is (N - 1) / 2."
            )
        # Past the frozen dataclass's own setter. Entries that leave the frame enter at its other end: no other frame
        # has room for all.
        vars(self).update(center=tuple(float(c) for c in self.center), wrap=True)

    @property
    def fixed(self) -> bool:
        return self.center is not None

    def box(self, x: Tensor) -> Box:
        """Return the box that a flip maps onto itself: of every item's content, or about the fixed center.

        The box about a fixed center has the frame's size, or one entry more where a box of that size cannot have the
        center.
        """
        if self.center is None:
            return super().box(x)
        batch, ends = batch_shape(x, self.item_dims), torch.tensor([round(2 * c) for c in self.center])
        size = torch.tensor(x.shape[x.dim() - self.event_dims :])
        length = size + (size + ends + 1) % 2
        lo = (ends + 1 - length) // 2
        return Box(*(part.to(x.device).expand(*batch, -1) for part in (lo, length)))

    def twin(self, x: Tensor) -> Motion:
        """Return the element that flips every item of ``x``, (*batch, *channels, *event)."""
        self.check(x)
        box = self.box(x)
        flipped = torch.ones(batch_shape(x, self.item_dims), dtype=torch.bool, device=x.device)
        return Motion(flipped, placement(*box, box.lo, flipped))

    def elements(self, x: Tensor) -> Iterable[Motion]:
        """Yield the identity and the flip."""
        yield self.identity(x)
        yield self.twin(x)


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
    """Return whether the first score above rounding level is negative, (*batch,). A tie gives False."""
    return (scores.gather(-1, first_above(scores.abs(), TIE)) < -TIE).squeeze(-1)


def flip_margin(scores: Tensor) -> Tensor:
    """Return the magnitude of the score that decides, (*batch,)."""
    size = scores.abs()
    return size.gather(-1, first_above(size, NOISE)).squeeze(-1)


class FixConjugateFlip(Canonicalizer[ConjugateFlip]):
    """Give every item the orientation in which its flip score is positive.

    The score is ``s(x) = Im(F_c(k) conj F(0))``, ``F_c(k) = sum_n x(n) exp(-2 pi i k (n - c))``, at k = 1 / (2 L) on
    the last axis. c is the center of the content box and L its length. For content that fills the frame, measured with
    oversampling 2, s is the coefficient in Ju Sun's talk (Jan 23, 2024). It does not depend on where the content lies.
    No Fourier transform is taken.

    Convention: the flip maps the box onto itself (t = lo + hi). The box never moves, for odd and for even L.

    Ties: where |s| is below 1e-6 of (sum |x|)², the other axes decide, then the diagonals, then the scores
    ``Im(F_c(2k) conj F_c(k))``, which do not use F(0). An item that none of them decides, such as a centrosymmetric
    one, stays as it is. :meth:`margin` is |s| / (sum |x|)² of the score that decides, or the margin of the box if that
    is smaller. A score between 5e-7 and 1e-6 does not decide, but it gives the margin, because rounding could make it
    decide.

    With ``center=``, c is that point, L is the frame's length N, and no content box counts. If N is even along an axis
    and c lies on an entry, or N is odd and c lies between two, the line opposite to c is its own mirror image. Then L
    is N + 1, and of all coefficients only F(0) sees this line.

    Shape: (*batch, *channels, *event), real or complex, to the same; :meth:`margin` (*batch,); :meth:`element`
    a :class:`Motion` with ``flipped`` (*batch,) and ``shift`` (*batch, d).

    Args:
        event_dims: Trailing dimensions that are flipped together. Default 2.
        channel_dims: Dimensions before the event that share the orientation. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic if its sizes on detector and frame agree. Default False. Always True
            with a center.
        center: Point about which all items are flipped, as for :class:`ConjugateFlip`. Default: the center of each
            item's content box.

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
        self,
        event_dims: int = 2,
        *,
        channel_dims: int = 0,
        threshold: float = 1e-4,
        wrap: Wrap = False,
        center: tuple[float, ...] | None = None,
    ) -> None:
        options: dict[str, Any] = {"threshold": threshold, "wrap": wrap, "center": center}
        super().__init__(ConjugateFlip(event_dims, channel_dims=channel_dims, **options))

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
        group, margin = self.symmetry, flip_margin(scores).to(x.real.dtype)
        if not group.fixed:
            box = box_margin(x, group.event_dims, group.channel_dims, group.threshold, group.wrap)
            margin = torch.minimum(margin, box)
        return margins_of(x, margin, group.item_dims)
