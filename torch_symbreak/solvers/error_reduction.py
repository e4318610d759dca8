"""Error reduction: one projection after the other."""

from __future__ import annotations

from torch import Tensor

from torch_symbreak.solvers.projections import Projection


def error_reduction(x: Tensor, magnitudes: Projection, constraint: Projection) -> Tensor:
    """Return ``C M x``: project onto the magnitudes, then onto the constraint.

    The distance ``||M x - x||`` never grows, so that error reduction stops at the next local minimum. It polishes what
    other methods find.

    Shape: x (B, *M), to the same.

    Example: the sign of a sum is kept, its size becomes the measured one.
        >>> import torch
        >>> from torch_symbreak.solvers import Magnitudes, Support
        >>> support = Support(torch.tensor([[True, False]]))
        >>> error_reduction(torch.tensor([[-0.1, 0.0]]), Magnitudes(torch.ones(1, 2), real=True), support)
        tensor([[-1.4142,  0.0000]])

    References: Gerchberg, Saxton, Optik 35, 237 (1972); Fienup, Applied Optics 21, 2758 (1982).
    """
    return constraint(magnitudes(x))
