"""The exact rule of the far field, once: every backend decides as :func:`reference_element` does.

The content box goes to the middle of the frame, and the first flip score that is no tie becomes positive. The sum of
the entries becomes real and positive, or where it is a tie, a low frequency. A compiled backend repeats the placement
of the box and the scores in its own language. It leaves an item to the reference if rounding could change the outcome.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from torch_symbreak._frequencies import fallbacks, low_frequencies
from torch_symbreak._items import TIE
from torch_symbreak.symmetries import Element, FixGlobalPhase, FixSign, Rearrangement
from torch_symbreak.symmetries.conjugate_flip import flip_decision, flip_scores
from torch_symbreak.symmetries.motion import centered, placement

#: Scores above this are no ties to the reference. It rounds items to single precision, which moves scores by at most
#: 1.2e-7.
CLEAR = 1.25 * TIE
#: More than all rounding errors of the reference's magnitudes, relative.
SLACK = 1e-5
#: Products of sums below this underflow, and over its reciprocal overflow, in double precision.
SMALLEST = 1e-100
#: With ``threshold=0``, values below this share of the largest are left to the reference, whose squares can underflow
#: (below 1e-19 in single precision). Larger than needed, to be safe.
UNDERFLOW = 1e-12


class Decision(NamedTuple):
    """The element of each of B items, as a backend returns it."""

    flipped: Tensor  # (B,) bool
    shift: Tensor  # (B, d) int64
    scalar: Tensor  # (B,), in the dtype of the items
    certain: Tensor | None  # (B,) bool: whether the others are the reference's; None if all are


def reference_element(x: Tensor, group: Rearrangement, fix_scalar: FixGlobalPhase | FixSign) -> Element:
    """Return the canonicalizing element of every item, on any device, by tensor operations alone.

    Args:
        x: The targets, (*batch, *channels, *event).
        group: Its dimensions, threshold and periodic axes are those of the box.
        fix_scalar: The rule of the phase or the sign.
    """
    box = group.box(x)
    low = low_frequencies(x, box, group.event_dims, group.channel_dims)
    flipped = flip_decision(flip_scores(low, group.event_dims))
    event = box.length.new_tensor(list(x.shape[x.dim() - group.event_dims :]))
    shift = placement(*box, centered(box.length, event), flipped)
    scalar, _ = fix_scalar.decision(x, lambda *_: fallbacks(low, group.event_dims), flipped)
    return Element(flipped, shift, scalar)
