"""The contracts of symmetries and of canonicalizers.

A :class:`Symmetry` is a group with an action. A :class:`Canonicalizer` chooses one element per item, the one that takes
the item to the canonical point of its orbit. Only ``Canonicalizer.element`` looks at content. ``Symmetry.act`` never
does, so that an element found on one tensor can move another.

A symmetry is a :class:`~torch_symbreak.symmetries.motion.Rearrangement` if it moves entries, a
:class:`~torch_symbreak.symmetries.scalar.Scalar` if it multiplies an item by a number. Any other symmetry derives from
:class:`Symmetry` itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from torch_symbreak._checks import check_dims, check_implemented, check_target, describe
from torch_symbreak._content import Box
from torch_symbreak._items import TIE, flat_items, join_elements, typed_like
from torch_symbreak._random import Counters, item_seed

S = TypeVar("S", bound="Symmetry")


@dataclass(frozen=True)
class Symmetry(ABC):
    """A group that acts on targets of shape (*batch, *channels, *event), one element per item.

    An element is a tensor or a named tuple of tensors with the batch shape in front. To add a symmetry, implement the
    four abstract methods and declare :attr:`commutes`; :mod:`torch_symbreak.testing` then checks the laws.

    Example: the exchange of two entries.
        >>> class Exchange(Symmetry):
        ...     commutes = True
        ...     def sample(self, x, *, generator=None):
        ...         return torch.rand(x.shape[:-1], generator=generator) < 0.5
        ...     def act(self, g, x):
        ...         return torch.where(g[..., None], x.flip(-1), x)
        ...     def inverse(self, g):
        ...         return g
        ...     def compose(self, g2, g1):
        ...         return g2 ^ g1
        >>> Exchange(1).act(torch.tensor([True, False]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[2., 1.],
                [3., 4.]])
    """

    event_dims: int
    _: KW_ONLY
    channel_dims: int = 0

    #: Smallest ``event_dims`` that the constructor accepts.
    least_dims: ClassVar[int] = 0

    #: True if every element commutes with every element of the other symmetries in a ``Product``. False if it does so
    #: only up to a phase, which :meth:`exchange` returns. None (default): not declared, and ``Product`` raises.
    commutes: ClassVar[bool | None] = None

    #: True if :meth:`candidates` always includes the element that takes x nearest to the reference. False for a
    #: heuristic: alignments may use it, but with a template it could give one orbit two canonical points.
    exact: ClassVar[bool] = True

    #: True if ``sample`` draws all its numbers with ``torch_symbreak._random.uniform``, which also takes counters.
    #: False for a subclass that overrides ``sample`` and does not declare it.
    counted: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "sample" in vars(cls) and "counted" not in vars(cls):
            cls.counted = False

    def __post_init__(self) -> None:
        check_dims(type(self).__name__, self.event_dims, self.channel_dims, least=self.least_dims)

    @property
    def item_dims(self) -> int:
        """Return the trailing dimensions of one item, ``channel_dims + event_dims``."""
        return self.channel_dims + self.event_dims

    def check(self, x: Any) -> None:
        """Raise unless the group can act on ``x``, (*batch, *channels, *event). Reads metadata only."""
        check_target(type(self).__name__, x, self.event_dims, self.channel_dims, least=self.least_dims)

    @abstractmethod
    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Any:
        """Draw one admissible element per item: one that keeps the measurement, such as a shift inside the frame.

        Args:
            x: The targets, (*batch, *channels, *event).
            generator: Source of randomness, perhaps on another device than x. Default: torch's global generator.

        Returns:
            An element with the batch shape in front, on the device of x.
        """

    def sample_each(self, x: Tensor, seed: int, index: Tensor) -> Any:
        """Draw one element per item of a batch (B, *item), which depends on (seed, index) alone.

        An item gets the same element in any batch and order, so that workers and epochs agree.

        Args:
            x: The targets, (B, *item). Entries that hold several items, (B, ..., *item), draw one element for each.
            seed: Any int.
            index: Number of each entry of the first dimension, (B,) int64 on a CPU.

        Raises:
            ValueError: If ``index`` has another length than x.

        Example:
            >>> from torch_symbreak.symmetries import GlobalPhase
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
            return self.sample(x, generator=cast(torch.Generator, Counters(seed, index.long())))
        if len(x) == 0:
            return self.sample(x)
        drawn = [
            self.sample(item[None], generator=torch.Generator().manual_seed(item_seed(seed, i)))
            for i, item in zip(index.tolist(), x, strict=True)
        ]
        return join_elements(drawn, index.shape)

    @abstractmethod
    def act(self, g: Any, x: Tensor) -> Tensor:
        """Return ``g . x``, in the shape of x, (*batch, *channels, *event). It never looks at content.

        Raises:
            TypeError: If ``g`` is an element of another kind of symmetry, or complex for a real x.
            ValueError: If ``g`` has another batch shape than x.
        """

    @abstractmethod
    def inverse(self, g: Any) -> Any:
        """Return the element, (*batch, ...), with ``act(inverse(g), act(g, x)) == x``."""

    @abstractmethod
    def compose(self, g2: Any, g1: Any) -> Any:
        """Return the element, (*batch, ...), with ``act(compose(g2, g1), x) == act(g2, act(g1, x))``."""

    def identity(self, x: Tensor) -> Any:
        """Return the element, (*batch, ...), that leaves every item of ``x``, (*batch, *item), unchanged."""
        g = self.sample(x, generator=torch.Generator().manual_seed(0))
        return self.compose(self.inverse(g), g)

    def rescaled(self, g: Any, unit: Tensor) -> Any:
        """Return the element that acts on ``unit x`` as g does on x, for positive units (*batch,). Default: g itself.

        Elements that are not linear, such as motions of point clouds, override it.
        """
        return g

    def exchange(self, g: Any, shift: Tensor) -> Tensor:
        """Return the phases c, (*batch,), with ``g . m = c m . g`` for every motion m with this shift, (*batch, d)."""
        raise NotImplementedError(f"{type(self).__name__} has commutes=False and needs exchange(g, shift).")

    def candidates(self, x: Tensor, reference: Tensor) -> Iterable[Any]:
        """Yield the elements, (*batch, ...), that an alignment of ``x`` tries. Default: all :meth:`elements`.

        They include the one that takes x nearest to the reference, unless :attr:`exact` is False. Shape of x and
        reference: (*batch, *item).
        """
        return self.elements(x)

    def admissible_candidates(self, x: Tensor, reference: Tensor) -> Iterable[Any]:
        """Yield the candidates that keep the measurement of ``x``, such as shifts inside a frame.

        ``AlignToTemplate`` tries these. Default: all :meth:`candidates`. Shapes: as for :meth:`candidates`.
        """
        return self.candidates(x, reference)

    def boxes(self, x: Tensor) -> tuple[Box, ...]:
        """Return the content boxes that decide which candidates are admissible, (*batch, d) each. Default: none.

        Where a mean has smaller boxes than the two targets, ``testing.assert_convex`` claims nothing.
        """
        return ()

    def gap(self, x: Tensor, reference: Tensor) -> Tensor:
        """Return ``Re<g x, r>`` of the best admissible g minus that of the next best one, (*batch,); 0 at a tie.

        In a continuous group, neighbors of the best element do not count: the next best one is the best of those far
        away. ``AlignToTemplate`` needs this for its margins, if the symmetry has :meth:`candidates` but does not list
        its :meth:`elements`. Shapes: as for :meth:`candidates`.
        """
        raise NotImplementedError(f"{type(self).__name__} needs gap(x, reference) for the margins of AlignToTemplate.")

    def elements(self, x: Tensor) -> Iterable[Any]:
        """Yield every element of a finite group, each as a batch, (*batch, ...), for the items of ``x``.

        A symmetry that has this method can be aligned over. It needs no :meth:`candidates` and no :meth:`gap`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot be aligned over: it is neither a Rearrangement nor a Scalar, and does not "
            "enumerate its elements. If the group is finite, implement elements(x)."
        )


class Canonicalizer(nn.Module, Generic[S]):
    """Choose, per item, the element that takes it to the canonical point of its orbit.

    A subclass implements :meth:`element` and :meth:`margin`. An exact rule has no parameters and no buffers, so it
    works on any device. A template is moved to the device of x.

    Raises:
        TypeError: If the subclass lacks a method, or ``symmetry`` is no :class:`Symmetry`.

    Example: every canonicalizer has an element and a margin.
        >>> from torch_symbreak.symmetries import FixSign
        >>> fix, x = FixSign(1), torch.tensor([[-2.0, -1.0]])
        >>> isinstance(fix, Canonicalizer), fix(x), fix.element(x), fix.margin(x)
        (True, tensor([[2., 1.]]), tensor([-1.]), tensor([1.]))
    """

    symmetry: S

    #: True if weighted means of canonical points are canonical, as far as content boxes allow.
    #: ``testing.check_canonicalizer`` checks it.
    convex: bool = False

    def __init__(self, symmetry: S) -> None:
        super().__init__()
        check_implemented(self)
        if not isinstance(symmetry, Symmetry):
            raise TypeError(
                f"{type(self).__name__} needs a symmetry, but got {symmetry!r}. For a class, pass an instance, such as "
                "Sign(1); for several symmetries, Product([...])."
            )
        self.symmetry = symmetry

    def check(self, x: Any) -> None:
        """Raise unless ``x``, (*batch, *channels, *event), can be canonicalized. Reads metadata only."""
        group = self.symmetry
        check_target(type(self).__name__, x, group.event_dims, group.channel_dims, least=group.least_dims)

    @abstractmethod
    def element(self, x: Tensor) -> Any:
        """Return the element, (*batch, ...), that moves ``x``, (*batch, *channels, *event), to its canonical points."""

    @abstractmethod
    def margin(self, x: Tensor) -> Tensor:
        """Return how far each item of ``x`` is from a tie, (*batch,) in [0, 1]; 0 at a tie, NaN if it is not finite."""

    def deciding_margins(self, x: Tensor) -> dict[str, Tensor]:
        """Return the margins that decide whether an item is a tie: name of the symmetry to (*batch,)."""
        return {snake_case(self.symmetry): self.margin(x)}

    def tied(self, x: Tensor) -> Tensor:
        """Return True for the items of ``x`` that are ties up to rounding, (*batch,) bool. Items of zeros get False."""
        some = flat_items(x, self.symmetry.item_dims).ne(0).any(-1)
        margins = [torch.ones_like(some, dtype=x.real.dtype), *self.deciding_margins(x).values()]
        return (torch.stack(margins).amin(0) <= TIE) & some

    def forward(self, x: Tensor) -> Tensor:
        """Return the canonical points, ``symmetry.act(element(x), x)``: (*batch, *channels, *event), as x."""
        return typed_like(self.symmetry.act(self.element(x), x), x)

    def extra_repr(self) -> str:
        return ", ".join(f"{f.name}={getattr(self.symmetry, f.name)!r}" for f in fields(self.symmetry))


def enumerates(symmetry: Symmetry) -> bool:
    """Return whether a symmetry lists its elements."""
    return type(symmetry).elements is not Symmetry.elements


def proposes(symmetry: Symmetry) -> bool:
    """Return whether a symmetry has candidates for an alignment: its own, or all its elements."""
    return enumerates(symmetry) or type(symmetry).candidates is not Symmetry.candidates


def linear(symmetry: Symmetry) -> bool:
    """Return whether the elements of a symmetry are linear in x, up to conjugation."""
    return type(symmetry).rescaled is Symmetry.rescaled


def snake_case(symmetry: Symmetry) -> str:
    """Return the name of a symmetry's class as margins have it: "conjugate_flip"."""
    # No regular expression: torch.compile of 2.6 does not trace one.
    return "".join([f"_{letter}" if letter.isupper() else letter for letter in type(symmetry).__name__]).lower()[1:]


def part_of(owner: str, g: Any, name: str = "", kind: type = object) -> Tensor:
    """Return the tensor ``name`` of an element of a ``kind``, or the element itself if it is one tensor.

    Raises:
        TypeError: If ``g`` is an element of another kind of symmetry.
    """
    part = getattr(g, name, None) if name else g
    if not (isinstance(g, kind) and isinstance(part, Tensor)):
        given = describe(g) if isinstance(g, Tensor) else type(g).__name__
        wanted = "one tensor" if not name else f"a named tuple with {name}" if kind is object else f"a {kind.__name__}"
        raise TypeError(
            f"{owner} needs an element of its own symmetry, {wanted}, but got {given}. Draw one with the symmetry's "
            "sample(x), or find it with its canonicalizer's element(x)."
        )
    return part


def check_element_batch(owner: str, batch: torch.Size, of_element: torch.Size) -> None:
    """Raise ``ValueError`` unless the element has the batch shape of the target."""
    if batch != of_element:
        raise ValueError(
            f"{owner} has an element for a batch of shape {tuple(of_element)}, but the target's batch is "
            f"{tuple(batch)}. One element is needed per item."
        )
