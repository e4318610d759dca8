"""The symmetries of the two factors of a blind deconvolution, ``y = k * x``, and how to break them.

In two dimensions and more, nearly every polynomial has one factorization. So y leaves only three things open: a scalar
that multiplies one factor and divides the other, a shift that moves them in opposite directions, and their exchange if
their frames agree. In one dimension every polynomial splits into linear factors, and each may belong to k or to x. On
a periodic grid any invertible filter can be moved from x to k. Both problems have far more solutions. No group here
covers them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import Box, box_margin, check_content_options, content_box
from torch_symbreak._fourier import spectrum
from torch_symbreak._items import (
    TIE,
    batch_shape,
    divided,
    flat_items,
    flat_parts,
    margins_of,
    peak,
    per_item,
    resolved,
    too_small,
    wide,
)
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Canonicalizer, Symmetry, check_element_batch, part_of
from torch_symbreak.symmetries.motion import Motion, centered, move

#: A reference that an element moves by less than this, relative to its norm, is fixed by the element.
_FIXED = 1e-4


class FactorMove(NamedTuple):
    """An element: ``(k, x) -> (c k(n - t), conj(c) x(n + t))``, indices modulo the frame, after an exchange if any.

    Example: find the element that moved the kernel down by one and changed both signs.
        >>> import torch
        >>> group, x = ConvolutionFactors(kernel=(2, 2)), torch.zeros(1, 2, 4, 4)
        >>> x[0, 0, 0, :2], x[0, 1, 2] = torch.tensor([1.0, 2.0]), torch.arange(4.0)
        >>> g = FactorMove(torch.tensor([False]), torch.tensor([[1, 0]]), torch.tensor([-1.0]))
        >>> next(iter(group.candidates(x, group.act(g, x)))).shift
        tensor([[1, 0]])
    """

    exchanged: Tensor  #: (*batch,) bool
    shift: Tensor  #: (*batch, d) int64: t, in entries
    scalar: Tensor  #: (*batch,): c, of magnitude 1


@dataclass(frozen=True)
class ConvolutionFactors(Symmetry):
    """Reciprocal scalars, opposite shifts and the exchange of the two factors of ``y = k * x``, a linear convolution.

    An item is a tensor (2, H, W): the kernel k in the first ``kernel`` entries of channel 0, zeros behind it, and the
    image x in channel 1. ``(g . (k, x)) = (c k(n - t), conj(c) x(n + t))`` with |c| = 1: a sign for real items, a phase
    for complex ones. If ``kernel`` is the frame's shape, the factors may be exchanged first. Fix the scale beforehand:
    ``BlindConvolution.join`` gives both factors the same norm.

    A shift is admissible if it keeps the content box of k inside ``kernel`` and that of x inside the frame. Only
    admissible elements are sampled, and only they compete for the nearest point to a template. If channel 0 has content
    behind ``kernel``, no shift along that axis is admissible. An alignment tries all shifts modulo the frame, because a
    prediction's content may fill it. Faint values outside a box may wrap around.

    If the contents leave little room in their frames, nearly every pair has no other solutions. With more room there
    are two more. Kernel and image may be exchanged although their frames differ, if the image fits the kernel's frame.
    And y itself may be the image, with a kernel of one pixel, if y fits the image's frame. The training data decide: if
    no target has a kernel of one pixel, a network never learns one.

    Shape: targets (*batch, 2, *event); elements :class:`FactorMove` with ``exchanged`` bool (*batch,), ``shift`` int64
    (*batch, d) and ``scalar`` (*batch,) in the target's dtype.

    Args:
        event_dims: Dimensions of one factor, 2 or more. Default 2.
        channel_dims: 1, the dimension of the two factors.
        kernel: The kernel's frame (h, w).
        threshold: Pixels below this fraction of a factor's peak count as background. Default 1e-4.

    Raises:
        ValueError: If ``kernel`` is not one positive int per axis, or fewer than two axes have more than one entry: one
            dimension has far more solutions. When acting, if an item does not hold two factors, or ``kernel`` is larger
            than the frame.

    Example: k and x move in opposite directions, and both change sign.
        >>> import torch
        >>> z = torch.zeros(1, 2, 2, 3)
        >>> z[0, :, 0] = torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]])
        >>> g = FactorMove(torch.tensor([False]), torch.tensor([[0, 1]]), torch.tensor([-1.0]))
        >>> ConvolutionFactors(kernel=(2, 3)).act(g, z)[0, :, 0]
        tensor([[-0., -1., -2.],
                [-3., -4., -0.]])

    References: Hayes, McClellan, Proceedings of the IEEE 70, 197 (1982): nearly no polynomial in two variables or more
        has factors.
    """

    event_dims: int = 2
    _: KW_ONLY
    channel_dims: int = 1
    kernel: tuple[int, ...]
    threshold: float = 1e-4

    least_dims = 2
    counted = True

    def __post_init__(self) -> None:
        name = type(self).__name__
        why = "In one dimension every root of y may belong to either factor, and no group makes the answer unique."
        if self.event_dims == 1:
            raise ValueError(f"{name} needs event_dims >= 2, but got 1. {why}")
        super().__post_init__()
        if self.channel_dims != 1:
            raise ValueError(f"{name} needs channel_dims=1, the two factors, but got {self.channel_dims}.")
        if (
            not isinstance(self.kernel, (tuple, list, torch.Size))
            or len(self.kernel) != self.event_dims
            or not all(type(n) is int and n > 0 for n in self.kernel)
        ):
            raise ValueError(
                f"{name} needs a kernel of {self.event_dims} positive ints, its frame, but got {self.kernel!r}."
            )
        if sum(n > 1 for n in self.kernel) < 2:
            raise ValueError(
                f"{name} needs a kernel of more than one entry along two axes, but got {self.kernel}. {why}"
            )
        check_content_options(name, self.event_dims, self.threshold, False)
        vars(self).update(kernel=tuple(self.kernel))  # past the frozen dataclass's own setter

    def check(self, x: Any) -> None:
        super().check(x)
        name, shape, frame = type(self).__name__, tuple(x.shape), self._frame(x)
        if shape[-self.item_dims] != 2:
            raise ValueError(
                f"{name} needs two factors per item, (*batch, 2, *frame), but got {shape}. Make it with "
                "BlindConvolution.join(kernel, image)."
            )
        if any(n > size for n, size in zip(self.kernel, frame, strict=True)):
            raise ValueError(f"{name} has a kernel of {self.kernel}, which does not fit a frame of {frame}.")

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> FactorMove:
        self.check(x)
        batch = batch_shape(x, self.item_dims)
        low, high = self._range(*self.boxes(x), self._frame(x))
        exchanged = torch.zeros(batch, dtype=torch.bool, device=x.device)
        if self._exchanges(x):
            exchanged = uniform(tuple(batch), x.device, generator) < 0.5
        first, last = (torch.where(exchanged[..., None], -b, a) for a, b in ((low, high), (high, low)))
        drawn = uniform((*batch, self.event_dims), x.device, generator)
        shift = first + torch.minimum((drawn * (last - first + 1)).long(), last - first)
        turn = uniform(tuple(batch), x.device, generator)
        if x.is_complex():
            scalar = torch.polar(torch.ones_like(turn), 2 * math.pi * turn)
        else:
            scalar = torch.where(turn < 0.5, -1, 1)
        return FactorMove(exchanged, shift, scalar.to(x.dtype))

    def act(self, g: FactorMove, x: Tensor) -> Tensor:
        self.check(x)
        batch = batch_shape(x, self.item_dims)
        check_element_batch(type(self).__name__, batch, part_of(type(self).__name__, g, "exchanged").shape)
        if g.scalar.is_complex() and not x.is_complex():
            raise TypeError(
                f"{type(self).__name__} cannot multiply a real target by a complex element, {g.scalar.dtype}."
            )
        x = torch.where(per_item(g.exchanged, self.item_dims), x.flip(-self.item_dims), x)
        shift = torch.stack([g.shift, -g.shift], -2)
        x = move(Motion(torch.zeros_like(shift[..., 0], dtype=torch.bool), shift), x, self.event_dims, 0)
        scalar = torch.stack([g.scalar, g.scalar.conj()], -1).to(x.dtype)
        return resolved(x * per_item(scalar, self.event_dims))

    def inverse(self, g: FactorMove) -> FactorMove:
        # An element that exchanges the factors is its own inverse: its shift and scalar meet the other factor next.
        shift = torch.where(g.exchanged[..., None], g.shift, -g.shift)
        return FactorMove(g.exchanged, shift, resolved(torch.where(g.exchanged, g.scalar, g.scalar.conj())))

    def compose(self, g2: FactorMove, g1: FactorMove) -> FactorMove:
        shift = torch.where(g2.exchanged[..., None], -g1.shift, g1.shift)
        scalar = torch.where(g2.exchanged, g1.scalar.conj(), g1.scalar)
        return FactorMove(g2.exchanged ^ g1.exchanged, g2.shift + shift, resolved(g2.scalar * scalar))

    def identity(self, x: Tensor) -> FactorMove:
        batch = batch_shape(x, self.item_dims)
        return FactorMove(
            torch.zeros(batch, dtype=torch.bool, device=x.device),
            torch.zeros((*batch, self.event_dims), dtype=torch.int64, device=x.device),
            torch.ones(batch, dtype=x.dtype, device=x.device),
        )

    def candidates(self, x: Tensor, reference: Tensor) -> Iterator[FactorMove]:
        """Yield the element that takes x nearest to the reference, among all shifts modulo the frame."""
        yield self._nearest(x, reference, inside=False)

    def admissible_candidates(self, x: Tensor, reference: Tensor) -> Iterator[FactorMove]:
        """Yield the admissible element that takes x nearest to the reference."""
        yield self._nearest(x, reference, inside=True)

    def gap(self, x: Tensor, reference: Tensor) -> Tensor:
        """Return the best admissible gain, or its gap to the best gain of the other order if that is less, (*batch,).

        Another shift counts only if it gains as much to within rounding. Neighboring shifts of smooth factors gain
        nearly as much, and little is lost where they are mistaken. The gap is 0 if an element other than the identity
        leaves the reference as it is, because every item is a tie then. Shapes: as for :meth:`candidates`.
        """
        self.check(x)
        gains = self._gains(x, reference).abs()
        gains = gains.masked_fill(~self._admissible(x), -torch.inf).flatten(-self.event_dims)
        tops, best = gains.max(-1)
        top, side = tops.max(-1)
        gap = torch.minimum(top, (tops[..., 0] - tops[..., -1]).abs()) if tops.shape[-1] > 1 else top
        others = gains.scatter(-1, best[..., None], -torch.inf).amax(-1)
        shifts = top - others.gather(-1, side[..., None]).squeeze(-1)
        norms = [torch.linalg.vector_norm(flat_parts(z.to(wide(z)), self.item_dims), dim=-1) for z in (x, reference)]
        gap = torch.where(shifts <= TIE * norms[0] * norms[1], torch.minimum(gap, shifts), gap)
        return torch.where(self._fixed(reference), 0, gap)

    def boxes(self, x: Tensor) -> tuple[Box, Box]:
        """Return the content boxes of kernel and image, (*batch, d) each."""
        return self._box(self._kernel(x)), self._box(self._image(x))

    # ----------------------------------------------------------------------------------------------------- parts

    def _frame(self, x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[x.dim() - self.event_dims :])

    def _kernel(self, x: Tensor) -> Tensor:
        # All of channel 0: a shift must not carry content from behind the kernel's frame into it.
        return x.select(-self.item_dims, 0)

    def _image(self, x: Tensor) -> Tensor:
        return x.select(-self.item_dims, 1)

    def _exchanges(self, x: Tensor) -> bool:
        return self._frame(x) == self.kernel

    def _box(self, part: Tensor) -> Box:
        return content_box(part, self.event_dims, 0, self.threshold, False)

    def _range(self, kernel: Box, image: Box, frame: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return the least and the largest admissible shift along each axis, (*batch, d) each. 0 lies between."""
        size, support = (kernel.lo.new_tensor(list(n)) for n in (frame, self.kernel))
        room = support - kernel.lo - kernel.length
        low, high = torch.maximum(-kernel.lo, image.lo + image.length - size), torch.minimum(room, image.lo)
        return torch.where(room < 0, 0, low), torch.where(room < 0, 0, high)

    # -------------------------------------------------------------------------------------------------- alignment

    def _gains(self, x: Tensor, reference: Tensor) -> Tensor:
        """Return v with ``Re<g . x, r> = Re(c v)`` for all elements g, (*batch, 1 or 2, *event), in double precision.

        The axis before the event holds the factors' own order and, if allowed, the exchanged one. The event axes hold
        the shift modulo the frame. For either order of the factors (a, b) and the reference (p, q),
        ``v(t) = <a(n - t), p> + conj<b(n + t), q>``, one transform.
        """
        fx, fr = (spectrum(z.to(wide(z)), self._frame(z)) for z in (x, reference))
        (a, b), (p, q) = ([z.select(-self.item_dims, i) for i in (0, 1)] for z in (fx, fr))
        orders = [(a, b), (b, a)] if self._exchanges(x) else [(a, b)]
        cross = torch.stack([first * p.conj() + second.conj() * q for first, second in orders], -self.item_dims)
        values = torch.fft.fftn(cross, dim=tuple(range(-self.event_dims, 0)), norm="forward")
        return values if x.is_complex() else values.real

    def _admissible(self, x: Tensor) -> Tensor:
        """Return which of the gains belong to admissible elements, bool, in their shape."""
        frame = self._frame(x)
        low, high = self._range(*self.boxes(x), frame)
        sides = []
        for first, last in [(low, high), (-high, -low)][: 2 if self._exchanges(x) else 1]:
            inside = torch.ones((), dtype=torch.bool, device=x.device)
            for axis, size in enumerate(frame):
                index = torch.arange(size, device=x.device)
                along = (index - first[..., axis, None]) % size <= (last - first)[..., axis, None]
                inside = inside[..., None] & along.reshape(*along.shape[:-1], *[1] * axis, size)
            sides.append(inside)
        return torch.stack(sides, -self.item_dims)

    def _nearest(self, x: Tensor, reference: Tensor, *, inside: bool) -> FactorMove:
        self.check(x)
        frame = self._frame(x)
        values = self._gains(x.detach(), reference.detach())
        gains = values.abs()
        if inside:
            gains = gains.masked_fill(~self._admissible(x.detach()), -torch.inf)
        place = flat_items(gains, self.item_dims).argmax(-1, keepdim=True)
        value = flat_items(values, self.item_dims).gather(-1, place).squeeze(-1)
        scalar = torch.where(value == 0, 1, torch.sgn(torch.where(value == 0, 1, value)).conj())
        shift, rest = [], place.squeeze(-1)
        for size in reversed(frame):
            shift.append((rest % size + size // 2) % size - size // 2)
            rest = rest // size
        return FactorMove(rest > 0, torch.stack(shift[::-1], -1), resolved(scalar))

    def _fixed(self, reference: Tensor) -> Tensor:
        """Return which references an element other than the identity leaves as they are, (*batch,) bool."""
        gains = flat_items(self._gains(reference, reference).abs(), self.item_dims)
        energy = flat_parts(reference.to(wide(reference)), self.item_dims).square().sum(-1)
        return (gains[..., 1:] >= (1 - _FIXED**2 / 2) * energy[..., None]).any(-1) & (energy > 0)


class FixConvolutionFactors(Canonicalizer[ConvolutionFactors]):
    """Center the kernel, make its sum positive, and call the factor with the larger sum the kernel.

    - If the frames agree, the factor whose sum has the larger magnitude becomes the kernel.
    - The kernel's content box goes to ``(h - L) // 2`` along each axis, or as near as the image's box allows.
    - The kernel's sum becomes real and positive.

    Ties: two sums of the same magnitude if the frames agree, and a kernel whose sum is below 1e-6 of the sum of its
    magnitudes. At a tie, the factors are not exchanged, or the scalar is 1. A factor of zeros stays in place.
    :meth:`margin` is the smallest of: the gap of the two magnitudes over the sum of all entries' magnitudes, if the
    frames agree; |sum| over the sum of magnitudes of the kernel; and the relative distance of the lines that fix the
    two boxes from the threshold.

    ``convex`` is False: the mean of canonical points is canonical only if its boxes are the same as theirs. Otherwise
    its box is centered anew. With a template, it is enough that the mean's boxes contain theirs.

    Shape: (*batch, 2, *event) to the same; :meth:`element` a :class:`FactorMove`; :meth:`margin` (*batch,).

    Args:
        kernel, event_dims, threshold: As for :class:`ConvolutionFactors`.

    Example: one target per measurement.
        >>> import torch
        >>> z = torch.zeros(1, 2, 6, 6)
        >>> z[0, 0, :2, 1:3], z[0, 1, 1:5, 1:4] = -torch.rand(2, 2), torch.randn(4, 3)
        >>> fix = FixConvolutionFactors(kernel=(4, 4))
        >>> torch.equal(fix(fix.symmetry.act(fix.symmetry.sample(z), z)), fix(z))
        True
        >>> fix.element(z).shift, fix.element(z).scalar
        (tensor([[1, 0]]), tensor([-1.]))
    """

    def __init__(self, event_dims: int = 2, *, kernel: tuple[int, ...], threshold: float = 1e-4) -> None:
        super().__init__(ConvolutionFactors(event_dims, kernel=kernel, threshold=threshold))

    def check(self, x: Any) -> None:
        super().check(x)
        self.symmetry.check(x)

    def _sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each factor's sum, and that of its magnitudes, to one scale per item, (*batch, 2) each, in double."""
        dims = self.symmetry.event_dims
        x = x.to(wide(x))  # one factor may be so much smaller that its share of the peak underflows in single
        x = divided(x, per_item(peak(x.detach(), item_dims=dims + 1), dims + 1))
        values = flat_items(x, dims)
        return values.sum(-1, dtype=wide(x)), values.detach().abs().sum(-1, dtype=wide(x.real))

    def _exchanged(self, x: Tensor, sums: Tensor, most: Tensor) -> Tensor:
        if not self.symmetry._exchanges(x):
            return torch.zeros_like(most[..., 0], dtype=torch.bool)
        size = sums.detach().abs()
        return size[..., 1] - size[..., 0] > TIE * most.sum(-1)

    def element(self, x: Tensor) -> FactorMove:
        self.check(x)
        group, (sums, most) = self.symmetry, self._sums(x)
        exchanged = self._exchanged(x, sums, most)
        boxes = group.boxes(x)
        kernel, image = (
            Box(*(torch.where(exchanged[..., None], b, a) for a, b in zip(*pair, strict=True)))
            for pair in (boxes, boxes[::-1])
        )
        low, high = group._range(kernel, image, group._frame(x))
        wanted = centered(kernel.length, kernel.lo.new_tensor(list(group.kernel))) - kernel.lo
        total, size = (torch.where(exchanged, z[..., 1], z[..., 0]) for z in (sums, most))
        tie = ~(total.detach().abs() > TIE * size)
        scalar = torch.sgn(torch.where(tie, 1, total)).conj()
        return FactorMove(exchanged, wanted.clamp(low, high), resolved(scalar.to(x.dtype)))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        x = x.detach()
        group, (sums, most) = self.symmetry, self._sums(x)
        exchanged, size = self._exchanged(x, sums, most), sums.abs()
        safe = torch.where(most > 0, most, 1)
        small = torch.stack([too_small(x.select(-group.item_dims, i), group.event_dims) for i in (0, 1)], -1)
        total = torch.where(small, 0, size / safe)
        margins = [torch.where(exchanged, total[..., 1], total[..., 0])]
        if group._exchanges(x):
            margins.append((size[..., 0] - size[..., 1]).abs() / safe.sum(-1))
        for part in (group._kernel(x), group._image(x)):
            margins.append(box_margin(part, group.event_dims, 0, group.threshold, False))
        dtype = x.real.dtype
        smallest = torch.stack([margin.to(dtype) for margin in margins]).amin(0).clamp(max=1)
        return margins_of(x, smallest, group.item_dims)
