"""Figures from numbers, with Matplotlib (imported only here) and without its global state: no window, no backend.

``show_...`` and ``plot_learning_curve`` draw into the Axes that they are given, or into those of a new figure, and
return them. The other functions make whole figures.
"""

from torch_symbreak.plots.axes import (
    plot_learning_curve,
    show_before_after,
    show_margins,
    show_object,
    show_orbit,
)
from torch_symbreak.plots.figures import (
    Line,
    plot_answers,
    plot_comparison,
    plot_lines,
    plot_objects,
    plot_solution,
    png,
)
from torch_symbreak.plots.style import COLORS, NEUTRAL

__all__ = [
    "COLORS",
    "NEUTRAL",
    "Line",
    "plot_answers",
    "plot_comparison",
    "plot_learning_curve",
    "plot_lines",
    "plot_objects",
    "plot_solution",
    "png",
    "show_before_after",
    "show_margins",
    "show_object",
    "show_orbit",
]
