"""The contract: what a symmetry is, what a canonicalizer is, and how symmetries compose.

A :class:`Symmetry` is a group with an action; a :class:`Canonicalizer` chooses one element per item, the one that
takes the item to the canonical point of its orbit. Content is looked at once, in ``Canonicalizer.element``;
``Symmetry.act`` never looks at content, so that an element found on one tensor can move another.

Two kinds of symmetry share their algebra: a :class:`Rearrangement` moves entries (shifts and conjugate flips), a
:class:`Scalar` multiplies an item by a unit number. Any other symmetry implements :class:`Symmetry` itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from torch_symbreak._checks import (
    TIE,
    batch_shape,
    check_dims,
    check_target,
    describe,
    divided,
    flat_items,
    peak,
    per_item,
    power,
    resolved,
    typed_like,
    wide,
)
from torch_symbreak._content import Wrap, check_content_options, content_box, wrapped_axes
from torch_symbreak._fourier import fourier_move
from torch_symbreak._random import Counters, item_seed, uniform

S = TypeVar("S", bound="Symmetry")


@dataclass(frozen=True)
class Symmetry(ABC):
    """A group that acts on targets of shape (*batch, *channels, *event), one element per item.

    An element is a tensor or a named tuple of tensors with the batch shape in front. To add a symmetry, implement the
    four methods; the laws of :mod:`torch_symbreak.testing` then tell whether it is one.
    """

    event_dims: int
    _: KW_ONLY
    channel_dims: int = 0

    #: Whether ``sample`` draws all its numbers by torch_symbreak's ``uniform``, which also takes counters. A subclass
    #: with a ``sample`` of its own starts with False.
    counted: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "sample" in vars(cls) and "counted" not in vars(cls):
            cls.counted = False

    def __post_init__(self) -> None:
        check_dims(type(self).__name__, self.event_dims, self.channel_dims, least=0)

    @property
    def item_dims(self) -> int:
        """How many trailing dimensions make one item: ``channel_dims + event_dims``."""
        return self.channel_dims + self.event_dims

    def check(self, x: Any) -> None:
        """Raise unless the group can act on ``x`` (metadata only)."""
        check_target(type(self).__name__, x, self.event_dims, self.channel_dims)

    @abstractmethod
    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Any:
        """Draw one admissible element per item (a shift may not push content out of its frame)."""

    def sample_each(self, x: Tensor, seed: int, index: Tensor) -> Any:
        """Draw one element per item of a batch (B, *item), a function of (seed, index) alone.

        An item gets the same element in any batch and order, so that workers and epochs agree.

        Args:
            x: The targets, (B, ...).
            seed: Any int.
            index: The targets' numbers, (B,) int64.

        Raises:
            ValueError: If ``index`` has not one number per entry.

        Example:
            >>> from torch_symbreak import GlobalPhase
            >>> group, x = GlobalPhase(1), torch.randn(5, 8, dtype=torch.complex64)
            >>> many = group.sample_each(x, 0, torch.arange(5))
            >>> torch.equal(many[3:4], group.sample_each(x[3:4], 0, torch.tensor([3])))
            True
        """
        if x.dim() <= self.item_dims or index.shape != x.shape[:1]:
            raise ValueError(
                f"{type(self).__name__}.sample_each needs a batch of targets and one index per target, but got "
                f"{describe(x)} and indices of shape {tuple(index.shape)}. For one target, pass x[None]."
            )
        if self.counted:
            return self.sample(x, generator=cast(torch.Generator, Counters(seed, index)))
        if len(x) == 0:
            return self.sample(x)
        return _stacked(
            [
                self.sample(item, generator=torch.Generator().manual_seed(item_seed(seed, i)))
                for i, item in zip(index.tolist(), x, strict=True)
            ]
        )

    @abstractmethod
    def act(self, g: Any, x: Tensor) -> Tensor:
        """Return ``g . x``; never looks at content."""

    @abstractmethod
    def inverse(self, g: Any) -> Any:
        """Return the element with ``act(inverse(g), act(g, x)) == x``."""

    @abstractmethod
    def compose(self, g2: Any, g1: Any) -> Any:
        """Return the element with ``act(compose(g2, g1), x) == act(g2, act(g1, x))``."""

    #: Whether every element commutes with shifts and flips; if only up to a phase, :meth:`exchange` says which.
    commutes: ClassVar[bool] = True

    def exchange(self, g: Any, shift: Tensor) -> Tensor:
        """The unit number c, (*batch,), with ``g . m = c m . g`` for a motion m of that shift, if not 1."""
        raise NotImplementedError(f"{type(self).__name__} has commutes=False and needs exchange(g, shift).")

    def candidates(self, x: Tensor, reference: Tensor) -> Iterable[Any]:
        """The elements among which alignment chooses: all of a finite group, or those that x and reference suggest."""
        return self.elements(x)

    def elements(self, x: Tensor) -> Iterable[Any]:
        """Enumerate a finite group, each element for every item of ``x``: what alignment needs of it."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot be aligned over: it is neither a Rearrangement nor a Scalar, and does not "
            "enumerate its elements. If the group is finite, implement elements(x)."
        )


def _stacked(elements: Sequence[Any]) -> Any:
    """Stack elements, which are tensors or (named) tuples of elements."""
    first = elements[0]
    if isinstance(first, Tensor):
        return torch.stack(list(elements))
    parts = [_stacked(part) for part in zip(*elements, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)


class Canonicalizer(nn.Module, Generic[S]):
    """Chooses, per item, the element that takes it to the canonical point of its orbit.

    Stateless: no parameters, no buffers, so that it works on any device without being moved there.
    """

    symmetry: S

    def __init__(self, symmetry: S) -> None:
        super().__init__()
        self.symmetry = symmetry

    def check(self, x: Any) -> None:
        """Raise unless ``x`` can be canonicalized (metadata only)."""
        check_target(type(self).__name__, x, self.symmetry.event_dims, self.symmetry.channel_dims)

    @abstractmethod
    def element(self, x: Tensor) -> Any:
        """Return the element that :meth:`forward` applies to ``x``."""

    @abstractmethod
    def margin(self, x: Tensor) -> Tensor:
        """Return how far each item is from a tie, (*batch,) in [0, 1]; 0 at a tie."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the canonical point of every item's orbit: ``symmetry.act(element(x), x)``."""
        return typed_like(self.symmetry.act(self.element(x), x), x)

    def extra_repr(self) -> str:
        return ", ".join(f"{f.name}={getattr(self.symmetry, f.name)!r}" for f in fields(self.symmetry))


# ---------------------------------------------------------------------------------------------- rearrangements


class Motion(NamedTuple):
    """``(g . x)(n) = k(x(s (n - t)))``, indices modulo the frame: s = -1 and k = conjugation where flipped.

    A floating-point shift is applied by the Fourier shift theorem: exact for band-limited, periodic content.
    """

    flipped: Tensor  # (*batch,) bool
    shift: Tensor  # (*batch, d) int64, or floating-point for fractions of an entry


def check_batch(owner: str, batch: torch.Size, of_element: torch.Size) -> None:
    """Raise ``ValueError`` unless the element has the batch shape of the target."""
    if batch != of_element:
        raise ValueError(
            f"{owner} has an element for a batch of shape {tuple(of_element)}, but the target's batch is "
            f"{tuple(batch)}. One element is needed per item."
        )


def source_indices(motion: Motion, event: Sequence[int]) -> list[Tensor]:
    """Per axis ``s (n - t)``, the index that lands on n, before any modulus: (*batch, N_a) each."""
    indices = []
    for axis, size in enumerate(event):
        n = torch.arange(size, device=motion.shift.device) - motion.shift[..., axis, None]
        indices.append(torch.where(motion.flipped[..., None], -n, n))
    return indices


def move(motion: Motion, x: Tensor, event_dims: int, channel_dims: int) -> Tensor:
    """Apply a motion, indices modulo the frame; by Fourier transform if the shift has fractions."""
    event = x.shape[x.dim() - event_dims :]
    batch = batch_shape(x, event_dims + channel_dims)
    check_batch("act", batch, motion.flipped.shape)
    if motion.shift.shape != (*batch, event_dims):
        raise ValueError(
            f"act needs shifts along {event_dims} axes, (*batch, {event_dims}), but got {tuple(motion.shift.shape)}."
        )
    if motion.shift.is_floating_point():
        spread = (*batch, *[1] * channel_dims)
        return fourier_move(x, motion.flipped.reshape(spread), motion.shift.reshape((*spread, event_dims)), event)
    *lead, last = (source % size for size, source in zip(event, source_indices(motion, event), strict=True))
    items, lines = math.prod(batch), math.prod(event[:-1])
    channels = math.prod(x.shape[len(batch) : x.dim() - event_dims])
    moved = x.reshape(items * channels * lines, event[-1])
    # Whole lines first, then the entries of each: on a CPU twice as fast as one gather by an index of every entry.
    if lead:
        line = motion.shift.new_zeros(*batch, 1)
        for size, source in zip(event, lead, strict=False):
            line = (line[..., :, None] * size + source[..., None, :]).flatten(-2)
        first = lines * torch.arange(items * channels, device=x.device)
        line = line.reshape(items, 1, lines) + first.reshape(items, channels, 1)
        moved = moved.index_select(0, line.flatten())
    entry = last.reshape(items, 1, event[-1]).expand(items, channels * lines, event[-1])
    moved = moved.reshape(entry.shape).gather(-1, entry).reshape(x.shape)
    if moved.is_complex():
        sign = torch.where(motion.flipped, -1, 1).to(moved.real.dtype)
        moved.imag.mul_(per_item(sign, event_dims + channel_dims))
    return resolved(moved)


def compose_motions(g2: Motion, g1: Motion) -> Motion:
    """``(s2 s1, t2 + s2 t1)``."""
    turned = torch.where(g2.flipped[..., None], -g1.shift, g1.shift)
    return Motion(g2.flipped ^ g1.flipped, g2.shift + turned)


def invert_motion(g: Motion) -> Motion:
    """``(s, -s t)``."""
    return Motion(g.flipped, torch.where(g.flipped[..., None], g.shift, -g.shift))


@dataclass(frozen=True)
class Rearrangement(Symmetry):
    """Integer shifts and conjugate flips of the frame; a subclass says which of the two it has."""

    event_dims: int = 2
    _: KW_ONLY
    channel_dims: int = 0
    threshold: float = 1e-4
    wrap: Wrap = False

    shifts: ClassVar[bool]
    flips: ClassVar[bool]
    counted = True

    def __post_init__(self) -> None:
        check_dims(type(self).__name__, self.event_dims, self.channel_dims, least=1)
        check_content_options(type(self).__name__, self.event_dims, self.threshold, self.wrap)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Motion:
        self.check(x)
        return draw_motion(self, x, shifts=self.shifts, flips=self.flips, generator=generator)

    def act(self, g: Motion, x: Tensor) -> Tensor:
        self.check(x)
        return move(g, x, self.event_dims, self.channel_dims)

    def inverse(self, g: Motion) -> Motion:
        return invert_motion(g)

    def compose(self, g2: Motion, g1: Motion) -> Motion:
        return compose_motions(g2, g1)


def draw_motion(
    like: Rearrangement, x: Tensor, *, shifts: bool, flips: bool, generator: torch.Generator | None
) -> Motion:
    """Draw where the content box goes, uniformly among the places inside the frame, and whether it is flipped."""
    event = x.shape[x.dim() - like.event_dims :]
    batch = batch_shape(x, like.item_dims)
    box = content_box(x, like.event_dims, like.channel_dims, like.threshold, like.wrap)
    target = box.lo
    if shifts:
        periodic = wrapped_axes(like.wrap, event)
        frame = box.lo.new_tensor(list(event))
        places = torch.where(box.lo.new_tensor(periodic, dtype=torch.bool), frame, frame - box.length + 1)
        drawn = uniform((*batch, like.event_dims), x.device, generator)
        target = torch.minimum((drawn * places).long(), places - 1)
    flipped = torch.zeros(batch, dtype=torch.bool, device=x.device)
    if flips:
        flipped = uniform(tuple(batch), x.device, generator) < 0.5
    # The box [lo, hi] lands on [target, target + L): t = target - lo, or target + hi when flipped.
    shift = torch.where(flipped[..., None], target + box.lo + box.length - 1, target - box.lo)
    return Motion(flipped, shift)


# ------------------------------------------------------------------------------------------------------ scalars


@dataclass(frozen=True)
class Scalar(Symmetry):
    """Multiplication of every item by a number, the element: (*batch,); a unit number unless ``unit`` is False."""

    unit: ClassVar[bool] = True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check(x)
        check_batch(type(self).__name__, batch_shape(x, self.item_dims), g.shape)
        if g.is_complex() and not x.is_complex():
            raise TypeError(f"{type(self).__name__} cannot multiply a real target by a complex element, {g.dtype}.")
        return resolved(x * per_item(g.to(x.dtype), self.item_dims))

    def inverse(self, g: Tensor) -> Tensor:
        return resolved(g.conj())

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g2 * g1

    @abstractmethod
    def gain(self, correlation: Tensor) -> Tensor:
        """The largest ``Re(u c)`` over the group, or a positive power of it, for correlations c of any shape."""

    @abstractmethod
    def best(self, correlation: Tensor) -> Tensor:
        """The element u nearest to the reference, for ``c = <x, r> / <x, x>``; 1 where all are equally near (c = 0)."""


Anchor = str | int | tuple[int, ...]


class FixScalar(Canonicalizer[S]):
    """Makes the anchor of every item real and positive: the common part of ``FixSign`` and ``FixGlobalPhase``."""

    def __init__(self, symmetry: S, anchor: Anchor) -> None:
        super().__init__(symmetry)
        name, dims = type(self).__name__, symmetry.item_dims
        if isinstance(anchor, tuple):
            if len(anchor) != dims or not all(type(i) is int for i in anchor):
                raise ValueError(
                    f"{name} needs an anchor of {dims} ints, one per dimension of an item, but got {anchor!r}."
                )
        elif anchor != "sum" and (isinstance(anchor, bool) or not isinstance(anchor, int)):
            raise ValueError(
                f'{name} needs anchor="sum", an int (an index into the flattened item) or a tuple, but got {anchor!r}.'
            )
        if dims == 0 and anchor != "sum":
            raise ValueError(
                f"{name}(0) treats every entry by itself and takes no index as anchor, but got {anchor!r}."
            )
        self.anchor = anchor

    def _anchor(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Per item the anchor and the largest magnitude that it could have, to one common scale, (*batch,) each."""
        # By the largest part first: squares of 1e-30 underflow, and sgn of a subnormal number overflows.
        items = flat_items(x, self.symmetry.item_dims)
        items = divided(items, peak(items.detach(), item_dims=1)[..., None])
        magnitude = power(items.detach()).sqrt()
        if self.anchor == "sum":
            return items.sum(-1, dtype=wide(x)), magnitude.sum(-1, dtype=wide(magnitude))
        item_shape = x.shape[x.dim() - self.symmetry.item_dims :]
        index = self.anchor if isinstance(self.anchor, tuple) else (self.anchor,)
        sizes = item_shape if isinstance(self.anchor, tuple) else (items.shape[-1],)
        if not all(-size <= i < size for i, size in zip(index, sizes, strict=True)):  # type: ignore[operator]
            raise IndexError(
                f"{type(self).__name__} has anchor={self.anchor!r}, outside items of shape {tuple(item_shape)}."
            )
        flat = 0
        for i, size in zip(index, sizes, strict=True):
            flat = flat * size + i % size  # type: ignore[operator]
        return items[..., flat].to(wide(x)), magnitude.amax(-1).to(wide(magnitude))

    def element(self, x: Tensor) -> Tensor:
        self.check(x)
        anchor, most = self._anchor(x)
        # sgn(0) = 0 would erase the item, and the phase of rounding noise is noise: at a tie leave it unchanged.
        # A chosen entry, unlike a sum, carries no noise of other entries: only 0 is a tie.
        size = anchor.detach().abs()
        tie = ~(size > (TIE * most if self.anchor == "sum" else 0))
        unit = torch.sgn(torch.where(tie, 1, anchor)).conj()
        return resolved(torch.where(tie, 1, unit).to(x.dtype))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        anchor, most = self._anchor(x.detach())
        ratio = anchor.abs() / torch.where(most > 0, most, 1)
        return ratio.clamp(max=1).to(x.real.dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, anchor={self.anchor!r}"


# ----------------------------------------------------------------------------------------------------- products


class Element(NamedTuple):
    """An element of a :class:`Product`: others first, then the motion (flipped, shift), then the scalar.

    For the far field this is ``g = (s, t, u)``: ``(g . x)(n) = u k(x(s (n - t)))``.
    """

    flipped: Tensor  # (*batch,) bool
    shift: Tensor  # (*batch, d) int64
    scalar: Tensor  # (*batch,)
    others: tuple[Any, ...] = ()

    @property
    def motion(self) -> Motion:
        """The rearranging part, which also moves masks and real images."""
        return Motion(self.flipped, self.shift)


class Product(Symmetry):
    """The group generated by several symmetries of the same items, as one symmetry.

    Rearrangements merge into one motion, and a motion and a scalar are applied together:
    ``(s2, t2, u2) (s1, t1, u1) = (s2 s1, t2 + s2 t1, u2 k_{s2}(u1))`` and ``(s, t, u)^-1 = (s, -s t, k_s(1 / u))``.
    Symmetries of any other kind come first and must commute with the rest (a permutation of channels does), or say by
    what phase they do not (``PhaseRamp``).

    Args:
        symmetries: One or more symmetries, or a ``Product``, with equal ``event_dims`` and ``channel_dims``; at most
            one sign or phase (``GlobalPhase`` contains ``Sign``) and one scale.

    Raises:
        ValueError: If the symmetries do not act on the same items, or contradict one another.

    Example:
        >>> import torch
        >>> from torch_symbreak import ConjugateFlip, GlobalPhase, Product, Translation
        >>> group = Product([Translation(1), ConjugateFlip(1), GlobalPhase(1)])
        >>> x = torch.zeros(4, 9, dtype=torch.complex64)
        >>> x[:, 2:5] = torch.randn(4, 3, dtype=torch.complex64)
        >>> g = group.sample(x)
        >>> torch.allclose(group.act(group.inverse(g), group.act(g, x)), x, atol=1e-6)
        True
    """

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry]) -> None:
        if not isinstance(symmetries, (Symmetry, list, tuple)):
            hint = " Pass its .symmetries." if hasattr(symmetries, "symmetries") else ""
            raise TypeError(f"Product needs a symmetry or a sequence of them, but got {symmetries!r}.{hint}")
        given = [symmetries] if isinstance(symmetries, Symmetry) else list(symmetries)
        parts: list[Symmetry] = []
        for one in given:
            if not isinstance(one, Symmetry):
                raise TypeError(f"Product needs symmetries (Sign(1), Translation(2), ...), but got {one!r}.")
            parts += one.symmetries if isinstance(one, Product) else [one]
        if not parts:
            raise ValueError("Product needs at least one symmetry, but got none.")
        dims = {(part.event_dims, part.channel_dims) for part in parts}
        if len(dims) > 1:
            raise ValueError(f"Product needs symmetries of the same items, but got {parts}. Give all the same dims.")
        motions = [part for part in parts if isinstance(part, Rearrangement)]
        if len({(part.threshold, part.wrap) for part in motions}) > 1:
            raise ValueError(f"Product needs one threshold and one wrap, but got {motions}.")
        scalars = [part for part in parts if isinstance(part, Scalar) and part.unit]
        scales = [part for part in parts if isinstance(part, Scalar) and not part.unit]
        if max(len(scalars), len(scales)) > 1:
            raise ValueError(
                f"Product takes one scalar (GlobalPhase contains Sign) and one scale, but got {scalars + scales}."
            )
        others = tuple(part for part in parts if not isinstance(part, (Rearrangement, Scalar)))
        if motions and not scalars and not all(part.commutes for part in others):
            raise ValueError(f"Product needs GlobalPhase too, by which {others} and {motions} commute.")
        super().__init__(parts[0].event_dims, channel_dims=parts[0].channel_dims)
        vars(self).update(  # past the frozen dataclass's own setter
            symmetries=tuple(parts),
            rearrangement=motions[0] if motions else None,
            shifts=any(part.shifts for part in motions),
            flips=any(part.flips for part in motions),
            scalar=scalars[0] if scalars else None,
            scale=scales[0] if scales else None,
            others=others,
            counted=all(part.counted for part in parts),
        )

    symmetries: tuple[Symmetry, ...]
    rearrangement: Rearrangement | None  # whose threshold and wrap hold for all
    shifts: bool
    flips: bool
    scalar: Scalar | None
    scale: Scalar | None
    others: tuple[Symmetry, ...]

    def __repr__(self) -> str:
        return f"Product({list(self.symmetries)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Product) and self.symmetries == other.symmetries

    def __hash__(self) -> int:
        return hash(self.symmetries)

    def check(self, x: Any) -> None:
        for part in self.symmetries:
            part.check(x)

    def identity(self, x: Tensor) -> Element:
        """The element that leaves the built-in parts of every item of ``x`` as they are."""
        batch = batch_shape(x, self.item_dims)
        return Element(
            torch.zeros(batch, dtype=torch.bool, device=x.device),
            torch.zeros((*batch, self.event_dims), dtype=torch.int64, device=x.device),
            torch.ones(batch, dtype=x.dtype, device=x.device),
        )

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Element:
        self.check(x)
        flipped, shift, scalar, _ = self.identity(x)
        others = tuple(part.sample(x, generator=generator) for part in self.others)
        if self.rearrangement is not None:
            flipped, shift = draw_motion(
                self.rearrangement, x, shifts=self.shifts, flips=self.flips, generator=generator
            )
        for part in (self.scalar, self.scale):
            if part is not None:
                scalar = scalar * part.sample(x, generator=generator)
        return Element(flipped, shift, scalar, others)

    def act(self, g: Element, x: Tensor) -> Tensor:
        self.check(x)
        for part, h in zip(self.others, g.others, strict=True):
            x = part.act(h, x)
        if self.rearrangement is not None:
            x = move(Motion(g.flipped, g.shift), x, self.event_dims, self.channel_dims)
        either = self.scalar or self.scale
        return x if either is None else either.act(g.scalar, x)

    def inverse(self, g: Element) -> Element:
        motion = invert_motion(Motion(g.flipped, g.shift))
        inverse = g.scalar.conj() if self.scale is None else g.scalar.reciprocal()
        scalar = resolved(torch.where(g.flipped, inverse.conj(), inverse))
        others = tuple(part.inverse(h) for part, h in zip(self.others, g.others, strict=True))
        return Element(motion.flipped, motion.shift, scalar * self._exchange(others, motion, scalar), others)

    def _exchange(self, others: tuple[Any, ...], motion: Motion, like: Tensor) -> Tensor:
        """The phase by which the other symmetries' elements pass a motion."""
        phase = torch.ones_like(like)
        for part, h in zip(self.others, others, strict=True):
            if self.rearrangement is not None and not part.commutes:
                phase = phase * part.exchange(h, motion.shift).to(like.dtype)
        return phase

    def compose(self, g2: Element, g1: Element) -> Element:
        first = Motion(g1.flipped, g1.shift)
        motion = compose_motions(Motion(g2.flipped, g2.shift), first)
        passed = g1.scalar * self._exchange(g2.others, first, g1.scalar)
        scalar = g2.scalar * torch.where(g2.flipped, passed.conj(), passed)
        others = tuple(part.compose(h2, h1) for part, h2, h1 in zip(self.others, g2.others, g1.others, strict=True))
        return Element(motion.flipped, motion.shift, scalar, others)
