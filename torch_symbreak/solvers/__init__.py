"""Classical phase retrieval: objects from far-field intensities, batched over items and starts."""

from torch_symbreak.solvers.constraints import (
    Both,
    Largest,
    NonNegative,
    Real,
    ShrinkWrap,
    Support,
    autocorrelation_support,
)
from torch_symbreak.solvers.difference_map import difference_map
from torch_symbreak.solvers.error_reduction import error_reduction
from torch_symbreak.solvers.hybrid_input_output import hybrid_input_output
from torch_symbreak.solvers.projections import Magnitudes, Projection, Residual
from torch_symbreak.solvers.raar import raar
from torch_symbreak.solvers.relaxed_reflections import relaxed_reflections
from torch_symbreak.solvers.solve import Solution, Starts, refine, solve

__all__ = [
    "Both",
    "Largest",
    "Magnitudes",
    "NonNegative",
    "Projection",
    "Real",
    "Residual",
    "ShrinkWrap",
    "Solution",
    "Starts",
    "Support",
    "autocorrelation_support",
    "difference_map",
    "error_reduction",
    "hybrid_input_output",
    "raar",
    "refine",
    "relaxed_reflections",
    "solve",
]
