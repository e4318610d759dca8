"""The contract: what a symmetry is, and what a canonicalizer is.

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

from torch_symbreak._checks import check_dims, check_target, describe
from torch_symbreak._items import join_elements, typed_like
from torch_symbreak._random import Counters, item_seed

S = TypeVar("S", bound="Symmetry")


@dataclass(frozen=True)
class Symmetry(ABC):
    """A group that acts on targets of shape (*batch, *channels, *event), one element per item.

    An element is a tensor or a named tuple of tensors with the batch shape in front. To add a symmetry, implement the
    four abstract methods and declare :attr:`commutes`; :mod:`torch_symbreak.testing` then checks the laws.
    """

    event_dims: int
    _: KW_ONLY
    channel_dims: int = 0

    #: Whether every element commutes with the elements of all other symmetries in a ``Product``. False: only up to a
    #: phase, which :meth:`exchange` returns. None: not declared, and ``Product`` refuses to guess.
    commutes: ClassVar[bool | None] = None

    #: Whether :meth:`candidates` holds a nearest element, jointly with the other symmetries of a ``Product``. False for
    #: a heuristic, which serves alignment but could give one orbit two canonical points.
    exact: ClassVar[bool] = True

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
        """Trailing dimensions of one item: ``channel_dims + event_dims``."""
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
            return self.sample(x, generator=cast(torch.Generator, Counters(seed, index)))
        if len(x) == 0:
            return self.sample(x)
        drawn = [
            self.sample(item[None], generator=torch.Generator().manual_seed(item_seed(seed, i)))
            for i, item in zip(index.tolist(), x, strict=True)
        ]
        return join_elements(drawn, index.shape)

    @abstractmethod
    def act(self, g: Any, x: Tensor) -> Tensor:
        """Return ``g . x``; never looks at content."""

    @abstractmethod
    def inverse(self, g: Any) -> Any:
        """Return the element with ``act(inverse(g), act(g, x)) == x``."""

    @abstractmethod
    def compose(self, g2: Any, g1: Any) -> Any:
        """Return the element with ``act(compose(g2, g1), x) == act(g2, act(g1, x))``."""

    def identity(self, x: Tensor) -> Any:
        """Return the element that leaves every item of ``x`` as it is."""
        g = self.sample(x, generator=torch.Generator().manual_seed(0))
        return self.compose(self.inverse(g), g)

    def exchange(self, g: Any, shift: Tensor) -> Tensor:
        """Return the unit number c, (*batch,), with ``g . m = c m . g`` for every motion m of that shift."""
        raise NotImplementedError(f"{type(self).__name__} has commutes=False and needs exchange(g, shift).")

    def candidates(self, x: Tensor, reference: Tensor) -> Iterable[Any]:
        """Yield the elements among which an alignment chooses. Default: all, by :meth:`elements`."""
        return self.elements(x)

    def elements(self, x: Tensor) -> Iterable[Any]:
        """Enumerate a finite group, each element for every item of ``x``: all that an alignment needs."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot be aligned over: it is neither a Rearrangement nor a Scalar, and does not "
            "enumerate its elements. If the group is finite, implement elements(x)."
        )


class Canonicalizer(nn.Module, Generic[S]):
    """Chooses, per item, the element that takes it to the canonical point of its orbit.

    A rule has no parameters and no buffers, so that it works on any device without being moved there.
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


def check_batch(owner: str, batch: torch.Size, of_element: torch.Size) -> None:
    """Raise ``ValueError`` unless the element has the batch shape of the target."""
    if batch != of_element:
        raise ValueError(
            f"{owner} has an element for a batch of shape {tuple(of_element)}, but the target's batch is "
            f"{tuple(batch)}. One element is needed per item."
        )
