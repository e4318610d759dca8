"""Rigid motions of point clouds, which keep all distances, and how to break them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak._items import TIE, batch_shape, flat_items, peak, per_item, wide
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Canonicalizer, Symmetry, check_element_batch, part_of
from torch_symbreak.symmetries.orthogonal import FixOrthogonal, Orthogonal


class Rigid(NamedTuple):
    """An element of :class:`RigidMotion`: a matrix, and the shift after it.

    Example: turn a point by 90 degrees, then shift it.
        >>> g = Rigid(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.tensor([10.0, 0.0]))
        >>> RigidMotion().act(g, torch.tensor([[1.0, 0.0]]))
        tensor([[10.,  1.]])
    """

    matrix: Tensor  #: (*batch, r, r)
    shift: Tensor  #: (*batch, r)


@dataclass(frozen=True)
class RigidMotion(Symmetry):
    """Rotations, reflections and translations of point clouds, ``X -> X Q + 1 t^T``: the Euclidean group E(r).

    The rows of X are the points. Their distances determine X up to this group.

    Alignment moves the center of mass onto that of the reference and solves the orthogonal Procrustes problem of the
    centered clouds. This is exact. ``sample`` draws the matrix uniformly, and the shift from a cube. Half the side
    of the cube is twice the spread of the points: the root of the mean squared coordinate about their center.

    The elements are isometries, but they move the origin and so change norms and inner products. ``AlignToTemplate``
    needs linear isometries and refuses this group. Give :class:`FixRigidMotion` a template of :class:`Orthogonal`.

    Shape: targets (*batch, *channels, *event), real, the event (n, r), or any shape with r at its end; elements
    :class:`Rigid` with ``matrix`` (*batch, r, r) and ``shift`` (*batch, r), in double precision.

    Args:
        event_dims: Trailing dimensions of one item, at least 2. Default 2.
        channel_dims: Dimensions before the event that share one motion. Default 0.

    Example: a motion keeps the distances.
        >>> import torch
        >>> group, x = RigidMotion(), torch.randn(5, 8, 3)
        >>> moved = group.act(group.sample(x), x)
        >>> torch.allclose(torch.cdist(moved, moved), torch.cdist(x, x), atol=1e-5)
        True

    References: Kabsch, Acta Cryst. A 32, 922 (1976).
    """

    event_dims: int = 2
    least_dims = 2
    counted = True

    @property
    def linear(self) -> Orthogonal:
        """Return the group of the matrices."""
        return Orthogonal(self.event_dims, channel_dims=self.channel_dims)

    def check(self, x: Any) -> None:
        super().check(x)
        if x.is_complex():
            raise TypeError(
                f"{type(self).__name__} moves real points, but got {describe(x)}. To take complex numbers as points of "
                "the plane: torch.view_as_real(x)."
            )

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Rigid:
        self.check(x)
        matrix = self.linear.sample(x, generator=generator)
        drawn = 4 * uniform((*matrix.shape[:-2], x.shape[-1]), x.device, generator) - 2
        _, centered, unit = centered_points(x, self.item_dims)
        spread = flat_items(centered, self.item_dims).square().mean(-1).sqrt() * unit
        return Rigid(matrix, drawn * spread[..., None])

    def act(self, g: Rigid, x: Tensor) -> Tensor:
        self.check(x)
        owner, batch = type(self).__name__, batch_shape(x, self.item_dims)
        check_element_batch(owner, batch, part_of(owner, g, "matrix").shape[:-2])
        if g.shift.shape != (*batch, x.shape[-1]):
            raise ValueError(
                f"{owner} needs shifts (*batch, {x.shape[-1]}) for {describe(x)}, but got {tuple(g.shift.shape)}."
            )
        turned = self.linear.act(g.matrix, x.to(wide(x)))
        return (turned + _per_point(g.shift.to(wide(x)), self.item_dims)).to(x.dtype)

    def inverse(self, g: Rigid) -> Rigid:
        return Rigid(g.matrix.mT, -_turned(g.shift, g.matrix.mT))

    def compose(self, g2: Rigid, g1: Rigid) -> Rigid:
        return Rigid(g1.matrix @ g2.matrix, _turned(g1.shift, g2.matrix) + g2.shift)

    def identity(self, x: Tensor) -> Rigid:
        matrix = self.linear.identity(x)
        return Rigid(matrix, torch.zeros_like(matrix[..., 0]))

    def rescaled(self, g: Rigid, unit: Tensor) -> Rigid:
        return g._replace(shift=g.shift * unit[..., None])

    def candidates(self, x: Tensor, reference: Tensor) -> Iterator[Rigid]:
        """Yield the motion that takes ``x`` nearest to the reference."""
        self.check(x)
        mean, here, _ = centered_points(x, self.item_dims)
        target, there, _ = centered_points(reference, self.item_dims)
        for matrix in self.linear.candidates(here, there):
            yield Rigid(matrix, target - _turned(mean, matrix))


class FixRigidMotion(Canonicalizer[RigidMotion]):
    """Move the center of mass of every point cloud to the origin, then turn the cloud by a rule or to a template.

    Centering has no tie and is linear, so nothing is lost. The centered clouds are a linear space. :class:`Orthogonal`
    is the symmetry that is left on it, and any canonicalizer of that group breaks it.

    With ``AlignToTemplate`` the canonical point is the point of the orbit that is nearest to the centered template.

    Convexity: that of ``turn``, because the mean of centered clouds is centered.

    Ties: those of ``turn`` for the centered cloud. :meth:`margin` is that of ``turn``, and 0 if no point is farther
    from the center than 1e-6 of the largest coordinate.

    Shape: (*batch, *channels, *event), real, to the same; :meth:`element` a :class:`Rigid`; :meth:`margin` (*batch,).

    Args:
        event_dims: Trailing dimensions of one item, at least 2. Default 2.
        channel_dims: Dimensions before the event that share one motion. Default 0.
        turn: A canonicalizer of ``Orthogonal(event_dims, channel_dims=channel_dims)``, such as ``AlignToTemplate``.
            Default: ``FixOrthogonal``, which needs n >= r + 1 points.

    Raises:
        TypeError: If the points are complex, or ``turn`` is no canonicalizer of that group.
        ValueError: If there are too few points for the default.

    Example: a cloud and the moved cloud get one representative, by the rule and by a template.
        >>> import torch
        >>> from torch_symbreak import AlignToTemplate, RandomSymmetry
        >>> _, x, template = torch.manual_seed(0), torch.randn(5, 8, 3), torch.randn(8, 3)
        >>> moved = RandomSymmetry(RigidMotion())(x)
        >>> for fix in (FixRigidMotion(), FixRigidMotion(turn=AlignToTemplate(template, Orthogonal()))):
        ...     print(torch.allclose(fix(moved), fix(x), atol=1e-5))
        True
        True
    """

    def __init__(self, event_dims: int = 2, *, channel_dims: int = 0, turn: Canonicalizer[Any] | None = None) -> None:
        super().__init__(RigidMotion(event_dims, channel_dims=channel_dims))
        turn = FixOrthogonal(event_dims, channel_dims=channel_dims) if turn is None else turn
        group = getattr(turn, "symmetry", None)
        if getattr(group, "symmetries", (group,)) != (self.symmetry.linear,):
            raise TypeError(
                f"FixRigidMotion needs a canonicalizer of {self.symmetry.linear} as turn, but got {turn!r}. Example: "
                "AlignToTemplate.fit(centered, Orthogonal())."
            )
        self.turn = turn
        self.convex = turn.convex

    def check(self, x: Any) -> None:
        super().check(x)
        self.symmetry.check(x)
        rows, r = math.prod(x.shape[x.dim() - self.symmetry.item_dims : -1]), x.shape[-1]
        if rows <= r:
            raise ValueError(
                f"FixRigidMotion needs n >= r + 1 points of r coordinates, but got {describe(x)}: {rows} points lie in "
                f"a space of {rows - 1} dimensions. Give fewer coordinates, or more points."
            )
        self.turn.check(x)

    def element(self, x: Tensor) -> Rigid:
        self.check(x)
        mean, points = self._decided(x)
        g = self.turn.element(points)
        matrix = g if isinstance(g, Tensor) else g.others[0]
        return Rigid(matrix, -_turned(mean, matrix))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.turn.margin(self._decided(x.detach())[1]).to(x.dtype)

    def _decided(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, (*batch, r), and the centered points; zeros where these are rounding errors of x."""
        dims = self.symmetry.item_dims
        mean, points, _ = centered_points(x, dims)
        noise = flat_items(points.detach(), dims).abs().amax(-1) <= TIE
        return mean, torch.where(per_item(noise, dims), 0, points)


def centered_points(x: Tensor, item_dims: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, (*batch, r), and the centered points in units of each item's largest coordinate, (*batch,)."""
    x, batch = x.to(wide(x)), batch_shape(x, item_dims)
    unit = peak(x.detach(), item_dims=item_dims)
    points = x / per_item(unit, item_dims)
    mean = points.reshape(*batch, math.prod(x.shape[len(batch) : -1]), x.shape[-1]).mean(-2)
    return mean * unit[..., None], points - _per_point(mean, item_dims), unit


def _per_point(vector: Tensor, item_dims: int) -> Tensor:
    """Give vectors (*batch, r) the dimensions that broadcast over the points of an item."""
    return vector.reshape(*vector.shape[:-1], *[1] * (item_dims - 1), vector.shape[-1])


def _turned(vector: Tensor, matrix: Tensor) -> Tensor:
    """Return the row vector times the matrix, (*batch, r)."""
    return (vector[..., None, :] @ matrix).squeeze(-2)
