"""Translations of the content inside its frame, and how to break them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_symbreak._content import Wrap, box_margin
from torch_symbreak._items import batch_shape, margins_of
from torch_symbreak.symmetries.base import Canonicalizer
from torch_symbreak.symmetries.motion import Motion, Rearrangement, centered, placement


@dataclass(frozen=True)
class Translation(Rearrangement):
    """Integer shifts, one per item and axis: ``(g . x)(n) = x(n - t)``, indices modulo the frame.

    A shift is admissible if it keeps the content box inside the frame. On a periodic axis (``wrap``) every shift is.
    Only admissible shifts are sampled. Faint values outside the box may wrap around. On a padded frame this changes the
    measured magnitude by at most ``2 threshold sqrt(n)`` of its norm, for n entries outside the box.

    Shape: targets (*batch, *channels, *event); elements :class:`Motion` with ``flipped`` False (*batch,) and
    ``shift`` int64 (*batch, d), in entries.

    Args:
        event_dims: Trailing dimensions that are shifted: 1 signals, 2 images, 3 volumes. Default 2.
        channel_dims: Dimensions before the event that share its shift. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic if its sizes on detector and frame agree. Default False.

    Example:
        >>> import torch
        >>> g = Motion(torch.tensor([False]), torch.tensor([[2]]))
        >>> Translation(1).act(g, torch.tensor([[1.0, 2.0, 0.0, 0.0]]))
        tensor([[0., 0., 1., 2.]])
    """

    shifts = True
    flips = False


class CenterContent(Canonicalizer[Translation]):
    """Center the content of every item: its bounding box goes to ``(N - L) // 2`` along each axis.

    The box is centered, not the center of mass, because this leaves the flip decision of real objects well defined.

    Ties: items without content, and on a periodic axis items whose longest gap is not unique. They stay in place.
    :meth:`margin` is the relative distance from the threshold of the lines that fix the box.

    Shape: (*batch, *channels, *event), real or complex, to the same; :meth:`margin` (*batch,); :meth:`element`
    a :class:`Motion` with ``flipped`` (*batch,) and ``shift`` (*batch, d).

    Args:
        event_dims: Trailing dimensions that are centered. Default 2.
        channel_dims: Dimensions before the event that share one box. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4, which is above
            round-off. With 0, all entries above 1e-22 of the peak are content (single precision).
        wrap: True if the detector has as many pixels as the frame (periodic model), False with zero padding. Or the
            detector's shape: an axis is periodic if its sizes on detector and frame agree. Default False. On a periodic
            axis the box is the shortest arc that covers the content.

    Example: the content goes to the same place, wherever it lies.
        >>> import torch
        >>> center = CenterContent(1)
        >>> center(torch.tensor([[1.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 2.0]]))
        tensor([[0., 1., 2., 0., 0.],
                [0., 1., 2., 0., 0.]])

    References: Zhang et al., arXiv 2403.15448, Algorithm 2, line 1.
    """

    def __init__(
        self, event_dims: int = 2, *, channel_dims: int = 0, threshold: float = 1e-4, wrap: Wrap = False
    ) -> None:
        super().__init__(Translation(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap))

    def element(self, x: Tensor) -> Motion:
        self.check(x)
        box = self.symmetry.box(x)
        flipped = torch.zeros(batch_shape(x, self.symmetry.item_dims), dtype=torch.bool, device=x.device)
        event = box.length.new_tensor(list(x.shape[x.dim() - self.symmetry.event_dims :]))
        return Motion(flipped, placement(*box, centered(box.length, event), flipped))

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        group = self.symmetry
        box = box_margin(x, group.event_dims, group.channel_dims, group.threshold, group.wrap)
        return margins_of(x, box, group.item_dims)
