"""Products: several symmetries of the same items as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak._content import Wrap, box_ends, content_box, wrapped_axes
from torch_symbreak._items import batch_shape, resolved
from torch_symbreak.symmetries.base import Symmetry
from torch_symbreak.symmetries.motion import (
    Motion,
    Rearrangement,
    compose_motions,
    draw_motion,
    invert_motion,
    move,
    no_motion,
)
from torch_symbreak.symmetries.scalar import Scalar


class Element(NamedTuple):
    """An element of a :class:`Product`. It acts in this order: ``others``, the motion (flipped, shift), ``scalar``.

    For the far field this is ``g = (s, t, u)``: ``(g . x)(n) = u k(x(s (n - t)))``. If flipped, s is -1 and k
    conjugates. Otherwise s is 1 and k does nothing.

    Example:
        >>> from torch_symbreak import FarField
        >>> x = torch.zeros(1, 4, 4, dtype=torch.complex64)
        >>> x[0, 0, 1] = -1
        >>> FarField(2).canonicalizer().element(x).describe(x)
        ['moved by (1, 0), phase -3.14 rad']
    """

    flipped: Tensor  #: (*batch,) bool
    shift: Tensor  #: (*batch, d) int64, or floating-point for fractions of an entry
    scalar: Tensor  #: (*batch,)
    others: tuple[Any, ...] = ()  #: one element of each symmetry of another kind

    @property
    def motion(self) -> Motion:
        """Return the motion, which also moves masks and real images."""
        return Motion(self.flipped, self.shift)

    def moves(self, x: Tensor, *, threshold: float = 1e-4, wrap: Wrap = False) -> Tensor:
        """Return how far each item's content is moved, (*batch, d). A flip about the content's own center counts as 0.

        Args:
            x: The targets that the element acts on, (*batch, *channels, *event).
            threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
            wrap: As for ``Translation``. On periodic axes the shortest move is returned. Default False.

        Raises:
            ValueError: If ``x`` has another batch shape than the element, or fewer event dimensions than its shift.

        Example: a flip about the frame's first entry moves the content, one about the content's center does not.
            >>> import torch
            >>> from torch_symbreak.symmetries import Element
            >>> g = Element(torch.tensor([True, True]), torch.tensor([[0], [4]]), torch.ones(2))
            >>> g.moves(torch.tensor([[0, 1.0, 2.0, 3.0, 0, 0, 0, 0]]).expand(2, 8)).tolist()
            [[-4], [0]]
        """
        batch, d = self.flipped.shape, self.shift.shape[-1]
        if x.shape[: len(batch)] != batch or x.dim() < len(batch) + d:
            raise ValueError(
                f"Element needs the targets that it acts on, (*{tuple(batch)}, *channels, *event) with {d} "
                f"event dimensions, but got {tuple(x.shape)}."
            )
        if not d:
            return self.shift
        event = tuple(x.shape[x.dim() - d :])
        box = content_box(x, d, x.dim() - len(batch) - d, threshold, wrap)
        moved = self.shift - torch.where(self.flipped[..., None], box_ends(box), 0)
        size, periodic = moved.new_tensor(event), torch.tensor(wrapped_axes(wrap, event), device=x.device)
        return torch.where(periodic, (moved + size // 2) % size - size // 2, moved)

    def describe(self, x: Tensor, *, threshold: float = 1e-4, wrap: Wrap = False) -> list[str]:
        """Say in words what the element does to each item of ``x``, counted over the flattened batch.

        A flip is described about the center of the item's content box. Elements of other kinds are only counted.

        Args:
            x, threshold, wrap: As for :meth:`moves`.

        Raises:
            ValueError: As :meth:`moves`.

        Example:
            >>> import torch
            >>> from torch_symbreak.symmetries import Element
            >>> u = torch.polar(torch.ones(1), torch.tensor([0.7]))
            >>> g = Element(torch.tensor([True]), torch.tensor([[7]]), u)
            >>> g.describe(torch.tensor([[0, 1.0, 2.0 + 1.0j, 3.0, 0, 0, 0, 0]]))
            ['flipped, then moved by (3), phase 0.70 rad']
        """
        moved = self.moves(x, threshold=threshold, wrap=wrap)
        parts = (
            self.flipped.flatten().tolist(),
            moved.reshape(self.flipped.numel(), moved.shape[-1]).tolist(),
            self.scalar.flatten().tolist(),
        )
        return [_sentence(*part, others=len(self.others)) for part in zip(*parts, strict=True)]


def _sentence(flipped: bool, moved: list[float], scalar: complex, others: int) -> str:
    words = ["flipped"] if flipped else []
    if any(moved):
        words.append(f"{'then ' if flipped else ''}moved by ({', '.join(f'{t:.4g}' for t in moved)})")
    size = abs(scalar)
    if isinstance(scalar, complex):
        angle = math.atan2(scalar.imag, scalar.real)
        words += [f"phase {angle:.2f} rad"] if abs(angle) >= 0.005 else []
    else:
        words += ["sign -1"] if scalar < 0 else []
    words += [f"scaled by {size:.4g}"] if not math.isclose(size, 1, rel_tol=1e-4) else []
    if others:  # they have no common words, and may be identities
        more = "1 element of another kind" if others == 1 else f"{others} elements of other kinds"
        words.append(f"and {more}" if words else more)
    return ", ".join(words) or "unchanged"


class Product(Symmetry):
    """The group generated by several symmetries of the same items, as one symmetry.

    Rearrangements merge into one motion, and a motion and a scalar are applied together:
    ``(s2, t2, u2) (s1, t1, u1) = (s2 s1, t2 + s2 t1, u2 k_{s2}(u1))`` and ``(s, t, u)^-1 = (s, -s t, k_s(1 / u))``.
    k_s conjugates if s = -1. Symmetries of any other kind act first. They must declare ``commutes = True`` (a
    permutation of channels does), or ``commutes = False`` and an ``exchange`` that returns the phase left over
    (``PhaseRamp``).

    Args:
        symmetries: One or more symmetries, or a ``Product``, with equal ``event_dims`` and ``channel_dims``; at most
            one sign or phase (``GlobalPhase`` contains ``Sign``) and one scale.

    Raises:
        TypeError: If an entry is no symmetry.
        ValueError: If the symmetries do not act on the same items, contradict one another, or do not declare that they
            commute. When acting, if a part that commutes only up to a phase meets a periodic axis.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Translation
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
            given = describe(symmetries) if isinstance(symmetries, Tensor) else repr(symmetries)
            raise TypeError(f"Product needs a symmetry or a sequence of them, but got {given}.{hint}")
        entries = [symmetries] if isinstance(symmetries, Symmetry) else list(symmetries)
        parts: list[Symmetry] = []
        for entry in entries:
            if not isinstance(entry, Symmetry):
                raise TypeError(f"Product needs symmetries (Sign(1), Translation(2), ...), but got {entry!r}.")
            parts += entry.symmetries if isinstance(entry, Product) else [entry]
        if not parts:
            raise ValueError("Product needs at least one symmetry, but got none.")
        dims = {(part.event_dims, part.channel_dims) for part in parts}
        if len(dims) > 1:
            raise ValueError(f"Product needs symmetries of the same items, but got {parts}. Give all the same dims.")
        motions = [part for part in parts if isinstance(part, Rearrangement)]
        if any(part.fixed for part in motions) and len(set(motions)) > 1:
            raise ValueError(
                f"Product cannot combine a flip about a fixed center with other motions, {motions}: together they make "
                "translations. Leave one out, or give the flip no center."
            )
        if len({(part.threshold, part.wrap) for part in motions}) > 1:
            raise ValueError(f"Product needs one threshold and one wrap, but got {motions}.")
        scalars = [part for part in parts if isinstance(part, Scalar) and part.unit]
        scales = [part for part in parts if isinstance(part, Scalar) and not part.unit]
        if max(len(scalars), len(scales)) > 1:
            raise ValueError(
                f"Product takes one scalar (GlobalPhase contains Sign) and one scale, but got {scalars + scales}."
            )
        others = tuple(part for part in parts if not isinstance(part, (Rearrangement, Scalar)))
        if len(parts) > 1:
            _check_commutes(others)
        if motions and not scalars and not all(part.commutes for part in others):
            *names, last = [type(part).__name__ for part in (*others, *motions) if part.commutes is not True]
            raise ValueError(
                f"Product needs GlobalPhase too: {', '.join(names)} and {last} commute only up to a phase. Add "
                "GlobalPhase()."
            )
        super().__init__(parts[0].event_dims, channel_dims=parts[0].channel_dims)
        vars(self).update(  # past the frozen dataclass's own setter
            symmetries=tuple(parts),
            rearrangement=motions[0] if motions else None,
            shifts=any(part.shifts for part in motions),
            flips=any(part.flips for part in motions),
            scalar=scalars[0] if scalars else None,
            scale=scales[0] if scales else None,
            others=others,
            least_dims=max(part.least_dims for part in parts),
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
        exchanged = [part for part in self.others if not part.commutes]
        if self.rearrangement is None or not exchanged:
            return
        if any(wrapped_axes(self.rearrangement.wrap, tuple(x.shape[x.dim() - self.event_dims :]))):
            raise ValueError(
                f"Product cannot combine {exchanged} with {self.rearrangement} on periodic axes: they commute up to a "
                "phase, and content that wraps around the frame has none. Leave one out, or pad and use wrap=False."
            )

    def identity(self, x: Tensor) -> Element:
        return self._built_in(x)._replace(others=tuple(part.identity(x) for part in self.others))

    def _built_in(self, x: Tensor) -> Element:
        """Return the identity of motion and scalar, without the other symmetries' elements."""
        scalar = torch.ones(batch_shape(x, self.item_dims), dtype=x.dtype, device=x.device)
        return Element(*no_motion(x, self.event_dims, self.channel_dims), scalar)

    def lift(self, part: Symmetry, g: Any, x: Tensor) -> Element:
        """Return the element that acts on ``x`` as ``g`` of one of the product's symmetries does.

        Args:
            part: A symmetry of the product, or a product of some of them.
            g: An element of ``part`` for the items of ``x``.
            x: The targets, (*batch, *channels, *event).

        Raises:
            ValueError: If the product does not contain ``part``.

        Example:
            >>> import torch
            >>> from torch_symbreak import FarField, FixGlobalPhase
            >>> from torch_symbreak.symmetries import Product
            >>> group, fix = Product(FarField().symmetries), FixGlobalPhase()
            >>> x = torch.randn(3, 8, 8, dtype=torch.complex64)
            >>> torch.equal(group.act(group.lift(fix.symmetry, fix.element(x), x), x), fix(x))
            True
        """
        if isinstance(part, Product) and set(part.symmetries) <= set(self.symmetries):
            whole = list(self.identity(x).others)
            for symmetry, h in zip(part.others, g.others, strict=True):
                whole[self.others.index(symmetry)] = h
            return Element(g.flipped, g.shift, g.scalar, tuple(whole))
        if part in self.others:
            identity, number = self.identity(x), self.others.index(part)
            return identity._replace(others=(*identity.others[:number], g, *identity.others[number + 1 :]))
        if part not in self.symmetries:
            raise ValueError(f"Product.lift needs a symmetry of {self}, but got {part}.")
        if isinstance(part, Rearrangement):
            return self.identity(x)._replace(flipped=g.flipped, shift=g.shift)
        return self.identity(x)._replace(scalar=g.to(x.dtype))

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Element:
        self.check(x)
        flipped, shift, scalar, _ = self._built_in(x)
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
        self._check_own(g)
        for part, h in zip(self.others, g.others, strict=True):
            x = part.act(h, x)
        if self.rearrangement is not None:
            x = move(g.motion, x, self.event_dims, self.channel_dims)
        either = self.scalar or self.scale
        return x if either is None else either.act(g.scalar, x)

    def _check_own(self, *elements: Element) -> None:
        """Raise ``TypeError`` unless these are elements of this product."""
        for g in elements:
            if not isinstance(g, Element) or len(g.others) != len(self.others):
                given = f"len(others) == {len(g.others)}" if isinstance(g, Element) else type(g).__name__
                raise TypeError(
                    f"Product needs an Element with len(others) == {len(self.others)}, but got {given}. "
                    "lift(part, g, x) makes one of an element of a part."
                )

    def inverse(self, g: Element) -> Element:
        self._check_own(g)
        motion = invert_motion(g.motion)
        inverse = g.scalar.conj() if self.scale is None else g.scalar.reciprocal()
        scalar = resolved(torch.where(g.flipped, inverse.conj(), inverse))
        others = tuple(part.inverse(h) for part, h in zip(self.others, g.others, strict=True))
        return Element(*motion, scalar * self._exchange(others, motion, scalar), others)

    def _exchange(self, others: tuple[Any, ...], motion: Motion, like: Tensor) -> Tensor:
        """Return the phase by which the other symmetries' elements pass a motion."""
        phase = torch.ones_like(like)
        for part, h in zip(self.others, others, strict=True):
            if self.rearrangement is not None and not part.commutes:
                phase = phase * part.exchange(h, motion.shift).to(like.dtype)
        return phase

    def compose(self, g2: Element, g1: Element) -> Element:
        self._check_own(g2, g1)
        motion = compose_motions(g2.motion, g1.motion)
        passed = g1.scalar * self._exchange(g2.others, g1.motion, g1.scalar)
        scalar = g2.scalar * torch.where(g2.flipped, passed.conj(), passed)
        others = tuple(part.compose(h2, h1) for part, h2, h1 in zip(self.others, g2.others, g1.others, strict=True))
        return Element(*motion, scalar, others)


def _check_commutes(others: Sequence[Symmetry]) -> None:
    """Raise ``ValueError`` unless each symmetry of another kind declares how it passes the rest of a product."""
    for part in others:
        name = type(part).__name__
        if part.commutes is None:
            raise ValueError(
                f"Product needs to know whether {name} commutes with the other symmetries. Declare commutes = True in "
                "its class, or commutes = False and exchange(g, shift) if it does up to a phase. If it does neither, "
                "write one Symmetry for the whole group."
            )
        if not part.commutes and type(part).exchange is Symmetry.exchange:
            raise ValueError(
                f"{name} declares commutes = False and needs exchange(g, shift): the phase c with g . m = c m . g for "
                "every motion m. If there is none, write one Symmetry for the whole group."
            )
