"""The law of convexity: between two canonical points lie only canonical points, as far as content boxes allow."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._content import Box, wrapped_axes
from torch_symbreak._items import per_item
from torch_symbreak.symmetries import Canonicalizer, Product
from torch_symbreak.testing.measure import TIE_MARGIN, compare


class Convexity(NamedTuple):
    """Result of :func:`assert_convex`. Shares are of all pairs.

    Example:
        >>> Convexity(error=0.0, pairs=8, cut=0.1, ties=0.1).dropped
        0.2
    """

    error: float  #: largest deviation from the law among the pairs that counted
    pairs: int  #: pairs that counted
    cut: float  #: share of pairs dropped because the mean's content box does not contain both boxes
    ties: float  #: share of pairs dropped because one of the two points or their mean is a tie

    @property
    def dropped(self) -> float:
        """Share of pairs dropped for either reason."""
        return self.cut + self.ties


def assert_convex(
    canonicalizer: Canonicalizer[Any],
    x1: Tensor,
    x2: Tensor,
    weight: float | Tensor = 0.5,
    *,
    margin: float = TIE_MARGIN,
    most: float = 0.5,
    tolerance: float | None = None,
) -> Convexity:
    """Check that the weighted mean of two canonical points is a canonical point, and count the pairs without a claim.

    ``C(m) = m`` for ``m = w C(x1) + (1 - w) C(x2)``. Two kinds of pairs are dropped:

    - The content box of m does not contain both boxes, along a padded axis. Edge lines of the two canceled or faded
      below the threshold. More shifts are admissible for m than for the two, and one of them may take m nearer to the
      template.
    - C(x1), C(x2) or m is a tie.

    Args:
        canonicalizer: The canonicalizer. If its rule depends on the content box itself, as the far field's exact rule
            does, test items of one box alone.
        x1: The first items, (*batch, *item).
        x2: The second items, (*batch, *item).
        weight: Weight w of C(x1), in [0, 1]: a number, or one per pair, (*batch,). Default 0.5, the midpoint.
        margin: Largest margin of a tie. Default 1e-4.
        most: Largest share of pairs that may be dropped. Default 0.5. One pair must be left in any case.
        tolerance: Largest relative error allowed. Default: 2e-5 in single, 1e-10 in double precision.

    Raises:
        ValueError: If x1 and x2 differ in shape, or a weight is outside [0, 1] or of another shape than the batch.
        AssertionError: If a mean is not canonical ("convex: ..."), or if too many pairs are dropped ("dropped: ...").

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> _, x = torch.manual_seed(0), torch.zeros(2, 200, 12)
        >>> x[0, :, 3:8], x[1, :, :7] = torch.randn(200, 5), torch.randn(200, 7)
        >>> fix = FarField(1, field="real").canonicalizer(template=torch.randn(12))
        >>> law = assert_convex(fix, x[0], x[1])
        >>> law.error < 1e-6, law.pairs, law.cut, law.ties
        (True, 199, 0.0, 0.005)
    """
    group = canonicalizer.symmetry
    if x1.shape != x2.shape:
        raise ValueError(
            f"assert_convex needs x1 and x2 of one shape, but got {tuple(x1.shape)} and {tuple(x2.shape)}."
        )
    batch, weights = x1.shape[: x1.dim() - group.item_dims], torch.as_tensor(weight)
    if (weights.dim() and weights.shape != batch) or not bool(((weights >= 0) & (weights <= 1)).all()):
        raise ValueError(f"assert_convex needs weights in [0, 1], one or {tuple(batch)} of them, but got {weight}.")
    points = [canonicalizer(x1), canonicalizer(x2)]
    if isinstance(weight, Tensor):
        weight = per_item(weight.to(points[0].real.dtype), group.item_dims)
    mean = weight * points[0] + (1 - weight) * points[1]
    contained = _contains(mean, points, Product(group))
    clear = torch.stack([canonicalizer.margin(z) > margin for z in (mean, *points)]).all(0)
    kept, pairs = contained & clear, contained.numel()
    cut, ties = (int(dropped.sum()) for dropped in (~contained, contained & ~clear))
    if cut + ties > most * pairs or not kept.any():
        raise AssertionError(
            f"dropped: {cut + ties} of {pairs} pairs have no claim to convexity; at most {most:.0%} may, and not all. "
            f"In {cut} the mean's content box does not contain both boxes, {ties} have a margin of at most {margin:g}. "
            "Test on other items, or on more of them."
        )
    # Dropped pairs are compared with themselves, so that messages name the pairs as x1 and x2 number them.
    image = torch.where(per_item(kept, group.item_dims), canonicalizer(mean), mean)
    error = compare("convex", "C(mean) = mean", image, mean, group.item_dims, tolerance)
    return Convexity(error, int(kept.sum()), cut / pairs, ties / pairs)


def _contains(mean: Tensor, points: list[Tensor], group: Product) -> Tensor:
    """Return whether the mean's content box contains those of the points along padded axes, (*batch,).

    A symmetry of another kind may change boxes, so that every element of its group is tried.
    """
    contained = torch.ones(mean.shape[: mean.dim() - group.item_dims], dtype=torch.bool, device=mean.device)
    for part in group.others:
        for outer, *inner in zip(*(part.boxes(z) for z in (mean, *points)), strict=True):
            for box in inner:
                contained = contained & _within(box, outer).all(-1)
    like = group.rearrangement
    if like is None or not group.shifts:
        return contained
    event = tuple(mean.shape[mean.dim() - group.event_dims :])
    periodic = torch.tensor(wrapped_axes(like.wrap, event), device=mean.device)
    for others in itertools.product(*(list(part.elements(mean)) for part in group.others)):
        outer, *inner = (like.box(_acted(z, others, group)) for z in (mean, *points))
        for box in inner:
            contained = contained & (_within(box, outer) | periodic).all(-1)
    return contained


def _acted(z: Tensor, others: tuple[Any, ...], group: Product) -> Tensor:
    for part, h in zip(group.others, others, strict=True):
        z = part.act(h, z)
    return z


def _within(box: Box, outer: Box) -> Tensor:
    return (box.lo >= outer.lo) & (box.lo + box.length <= outer.lo + outer.length)
