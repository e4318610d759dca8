"""The difference map."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak.solvers.projections import Projection


def difference_map(x: Tensor, magnitudes: Projection, constraint: Projection, *, beta: float = 1.0) -> Tensor:
    """Return ``x + beta (C f(x) - M g(x))``, ``f = M + (M - 1) / beta``, ``g = C - (C - 1) / beta``.

    At a fixed point ``C f(x)`` has the magnitudes and meets the constraint. At beta = 1 it is hybrid input-output with
    beta = 1, and one projection onto the magnitudes suffices.

    Shape: x (B, *M), to the same.

    Args:
        x: The iterates.
        magnitudes: M, the projection onto the measured magnitudes.
        constraint: C, the projection onto what is known of the object.
        beta: Step, not 0. Default 1.

    Example:
        >>> from torch_symbreak.solvers import Support
        >>> support = Support(torch.tensor([[True, False]]))
        >>> x, twice = torch.tensor([[1.0, 1.0]]), lambda x: 2 * x
        >>> difference_map(x, twice, support), difference_map(x, twice, support, beta=0.5)
        (tensor([[ 2., -1.]]), tensor([[ 2., -1.]]))

    References: Elser, J. Opt. Soc. Am. A 20, 40 (2003).
    """
    measured = magnitudes(x)
    first = constraint(torch.lerp(x, measured, 1 + 1 / beta))
    second = measured if beta == 1 else magnitudes(torch.lerp(x, constraint(x), 1 - 1 / beta))
    return torch.add(x, first - second, alpha=beta)
