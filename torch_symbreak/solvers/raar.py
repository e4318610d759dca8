"""Relaxed averaged alternating reflections (RAAR)."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak.solvers.projections import Projection


def raar(x: Tensor, magnitudes: Projection, constraint: Projection, *, beta: float = 0.9) -> Tensor:
    """Return ``beta (x + C(2 M x - x)) + (1 - 2 beta) M x``.

    Shape: x (B, *M), to the same.

    Args:
        x: The iterates.
        magnitudes: M, the projection onto the measured magnitudes.
        constraint: C, the projection onto what is known of the object.
        beta: Relaxation in (0, 1]. At 1 it is hybrid input-output with beta = 1. Default 0.9.

    Example:
        >>> from torch_symbreak.solvers import Support
        >>> support = Support(torch.tensor([[True, False]]))
        >>> x, twice = torch.tensor([[1.0, 1.0]]), lambda x: 2 * x
        >>> raar(x, twice, support, beta=0.75)
        tensor([[ 2.0000, -0.2500]])

    References: Luke, Inverse Problems 21, 37 (2005).
    """
    measured = magnitudes(x)
    reflected = constraint(measured.mul(2).sub_(x)).add(x).mul_(beta)
    return torch.add(reflected, measured, alpha=1 - 2 * beta)
