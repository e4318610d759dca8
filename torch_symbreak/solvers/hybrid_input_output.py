"""Hybrid input-output: feedback drives back the entries that violate the constraint."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak.solvers.projections import Projection


def hybrid_input_output(x: Tensor, magnitudes: Projection, constraint: Projection, *, beta: float = 0.9) -> Tensor:
    """Return ``x + C((1 + beta) M x - x) - beta M x``.

    For a support this is Fienup's rule: M x inside, ``x - beta M x`` outside. For other constraints it is the hybrid
    projection reflection of Bauschke, Combettes and Luke.

    Shape: x (B, *M), to the same.

    Args:
        x: The iterates.
        magnitudes: M, the projection onto the measured magnitudes.
        constraint: C, the projection onto what is known of the object.
        beta: Feedback. Default 0.9.

    Example:
        >>> from torch_symbreak.solvers import Support
        >>> support = Support(torch.tensor([[True, False]]))
        >>> x, twice = torch.tensor([[1.0, 1.0]]), lambda x: 2 * x
        >>> hybrid_input_output(x, twice, support, beta=0.75)
        tensor([[ 2.0000, -0.5000]])

    References: Fienup, Applied Optics 21, 2758 (1982); Bauschke, Combettes, Luke, J. Opt. Soc. Am. A 20, 1025 (2003).
    """
    measured = magnitudes(x)
    kept = constraint(measured.mul(1 + beta).sub_(x))
    return torch.sub(x, measured, alpha=beta).add_(kept)
