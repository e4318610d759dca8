"""Relaxed reflect-reflect (RRR)."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak.solvers.projections import Projection


def relaxed_reflections(x: Tensor, magnitudes: Projection, constraint: Projection, *, beta: float = 0.5) -> Tensor:
    """Return ``x + beta (M(2 C x - x) - C x)``.

    At a fixed point C x has the magnitudes and meets the constraint.

    Shape: x (B, *M), to the same.

    Args:
        x: The iterates.
        magnitudes: M, the projection onto the measured magnitudes.
        constraint: C, the projection onto what is known of the object.
        beta: Step in (0, 2). Default 0.5.

    Example:
        >>> from torch_symbreak.solvers import Support
        >>> support = Support(torch.tensor([[True, False]]))
        >>> x, twice = torch.tensor([[1.0, 1.0]]), lambda x: 2 * x
        >>> relaxed_reflections(x, twice, support)
        tensor([[1.5000, 0.0000]])

    References: Elser, Lan, Bendory, SIAM J. Imaging Sciences 11, 2429 (2018).
    """
    kept = constraint(x)
    return torch.add(x, magnitudes(kept.mul(2).sub_(x)).sub_(kept), alpha=beta)
