"""Whole figures of experiments and comparisons."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from torch import Tensor

from torch_symbreak.plots.axes import color_wheel, show_object

#: Phases stay blank where the magnitude is below this share of the object's largest. There they are noise.
_NO_PHASE = 0.1
_TITLES = ("truth, magnitude", "found, magnitude", "truth, phase", "found, phase")


def png(figure: Figure, *, dpi: int = 120) -> bytes:
    """Render a figure as a PNG file.

    Example:
        >>> png(Figure())[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names of files in any script: boxes will do
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _show_magnitude(axes: Axes, x: Tensor, peak: float) -> None:
    axes.imshow(x.abs().numpy(), cmap="gray", norm=Normalize(0, peak), interpolation="nearest")


def _show_phase(axes: Axes, x: Tensor, peak: float) -> None:
    opaque = (x.abs() > _NO_PHASE * peak).float()
    norm = Normalize(-math.pi, math.pi)
    axes.imshow(x.angle().numpy(), cmap="twilight", norm=norm, alpha=opaque.numpy(), interpolation="nearest")


def plot_objects(groups: Mapping[str, tuple[Tensor, Tensor]], *, title: str = "") -> Figure:
    """Show complex objects, one per line, beside the answers of a network.

    Every group has four columns: magnitude of truth and prediction, and phase of both. Magnitudes are in units of the
    truth's largest. A phase is blank where the magnitude of its own image is below a tenth of that unit.

    Shape: truth and prediction (n, N1, N2) complex.

    Args:
        groups: Heading to (truth, prediction), the same n everywhere.
        title: Title above everything. Default: none.

    Example: two groups, three objects.
        >>> import torch
        >>> x = torch.randn(3, 8, 8, dtype=torch.complex64)
        >>> len(plot_objects({"before": (x, 0 * x), "after": (x, x)}).axes)
        26
    """
    count = len(next(iter(groups.values()))[0])
    figure = Figure(figsize=(5 * len(groups) + 1.6, 1.25 * count + 1.2), layout="constrained")
    figure.suptitle(title, fontsize=12, parse_math=False)
    widths = [5] * len(groups) + [1.2]
    *panels, scales = figure.subfigures(1, len(widths), width_ratios=widths, wspace=0.03, squeeze=False)[0]
    grids = []
    for panel, (heading, (truth, prediction)) in zip(panels, groups.items(), strict=True):
        panel.suptitle(heading, fontsize=10)
        grid = panel.subplots(count, 4, squeeze=False)
        grids.append(grid)
        for line, x, r in zip(grid, truth.cpu(), prediction.cpu(), strict=True):
            peak = float(x.abs().max())
            _show_magnitude(line[0], x, peak)
            _show_magnitude(line[1], r, peak)
            _show_phase(line[2], x, peak)
            _show_phase(line[3], r, peak)
        for axes, column in zip(grid[0], _TITLES, strict=True):
            axes.set_title(column, fontsize=8)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
    for number, line in enumerate(grids[0]):
        line[0].set_ylabel(f"object {number}", fontsize=8)
    bars = (
        ("magnitude / largest of truth", "gray", Normalize(0, 1), [0, 1], ["0", "1"]),
        ("phase", "twilight", Normalize(-math.pi, math.pi), [-math.pi, 0, math.pi], ["-π", "0", "π"]),
    )
    for axes, (label, colors, norm, ticks, names) in zip(scales.subplots(1, 2), bars, strict=True):
        bar = scales.colorbar(ScalarMappable(norm, colors), cax=axes, label=label, ticks=ticks)
        bar.ax.set_yticklabels(names)
    return figure


def plot_answers(measured: Tensor, columns: Mapping[str, Tensor], *, title: str = "") -> Figure:
    """Show each measurement with the answers to it and the truth, one object per line.

    In answers, brightness is the magnitude, relative to the largest of the truth, and hue is the phase. In
    measurements, brightness is the logarithm of the intensity, over the six decades below its largest value.

    Shape: measured (n, M1, M2) real; columns (n, N1, N2), real or complex.

    Args:
        measured: The intensities, with zero frequency in the middle.
        columns: Answers by heading. The last column is the truth.
        title: Title above everything. Default: none.

    Example: two columns, three objects.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(3, 8, 8, dtype=torch.complex64)
        >>> len(plot_answers(FarField(2, centered=True)(x), {"found": 0 * x, "truth": x}).axes)
        9
    """
    count, truth = len(measured), list(columns.values())[-1]
    figure = Figure(figsize=(1.5 * (len(columns) + 1) + 0.9, 1.5 * count + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(count, len(columns) + 1, squeeze=False)
    for number, line in enumerate(grid):
        decades = (measured[number] / measured[number].max()).clamp(min=1e-6).log10()
        line[0].imshow(decades.cpu().numpy(), cmap="gray", interpolation="nearest")
        line[0].set_ylabel(f"object {number}", fontsize=8)
        peak = float(truth[number].abs().max())
        for axes, answers in zip(line[1:], columns.values(), strict=True):
            if answers[number].isfinite().all():
                show_object(answers[number].cpu(), axes, peak=peak, wheel=False)
            else:
                axes.text(0.5, 0.5, "not finite", ha="center", va="center", transform=axes.transAxes)
    for axes, heading in zip(grid[0], ("measured", *columns), strict=True):
        axes.set_title(heading, fontsize=9)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    color_wheel(grid[0][-1])
    return figure


@dataclass(frozen=True)
class Line:
    """One line of :func:`plot_lines`: x and y of its points, and how far they spread.

    Example: two points with error bars.
        >>> Line("exact", [500, 1000], [0.2, 0.1], spread=[0.02, 0.01]).marker
        'o'
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    color: str | None = None
    style: str = "-"
    marker: str = "o"  #: of at most twenty points; more are a curve


def plot_lines(
    panels: Mapping[str, Sequence[Line]], *, x: str, y: str, log_x: bool = False, log_y: bool = False
) -> Figure:
    """Draw lines in one panel each heading, side by side, with error bars where points spread.

    All panels have one vertical axis and one legend. Whole numbers have whole ticks.

    Args:
        panels: Heading to lines.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        log_x: Make the horizontal axis logarithmic. Default False.
        log_y: Make the vertical axis logarithmic. Default False.

    Example:
        >>> figure = plot_lines({"crystals": [Line("exact", [500, 1000], [0.2, 0.1])]}, x="n", y="MSE", log_x=True)
        >>> len(figure.axes[0].lines)
        1
    """
    columns = 2 if len(panels) % 2 == 0 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4 * columns + 2.2, 3.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    legend: dict[str, Any] = {}
    for axes, (heading, lines) in zip(grid.flat, panels.items(), strict=False):
        for line in lines:
            legend[line.label] = axes.errorbar(
                line.x,
                line.y,
                yerr=line.spread if any(line.spread) else None,
                color=line.color,
                linestyle=line.style,
                marker=line.marker if len(line.x) <= 20 else None,
                markersize=14 if line.marker == "_" else 4,
                linewidth=1,
                capsize=2,
                label=line.label,
            )
        axes.set(xlabel=x)
        axes.set_title(heading, fontsize=10)
        axes.tick_params(labelsize=8)
        if log_x:
            ticks = sorted({value for line in lines for value in line.x})
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        elif all(isinstance(value, int) for line in lines for value in line.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log_y:
            axes.set_yscale("log")
        axes.grid(which="both", alpha=0.2)
    for line in grid:
        line[0].set_ylabel(y)
    figure.legend(list(legend.values()), list(legend), fontsize=8, loc="outside right upper")
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


def plot_comparison(
    reference: Tensor,
    raw: Tensor,
    aligned: Tensor,
    *,
    title: str = "",
    errors: tuple[float, float] | None = None,
) -> Figure:
    """Show one reference, a reconstruction of it, and the reconstruction aligned, with maps of the errors.

    Magnitudes have the scale of the reference's, and phases are blank where the magnitude is below a tenth of its
    largest. Signals are drawn as lines, images as they are, volumes by their middle slice along the first axis.

    Shape: (N_1, ..., N_d) each, d = 1, 2 or 3, real or complex.

    Args:
        reference: The truth.
        raw: The reconstruction.
        aligned: The reconstruction, moved onto the reference.
        title: Title above everything. Default: none.
        errors: Relative errors of ``raw`` and ``aligned``, for the headings. Default: none.

    Example:
        >>> import torch
        >>> x = torch.randn(6, 8, 9, dtype=torch.complex64)
        >>> len(plot_comparison(x, x, x).axes)  # eight panels, four color bars
        12
    """
    figure = Figure(figsize=(13, 6), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    grid = figure.subplots(2, 4, sharex=True, sharey=reference.dim() > 1)
    names = ["reference", "reconstruction", "aligned"]
    headings = [*names]
    if errors is not None:
        headings[1:] = [f"{name}\nrelative error {error:.3g}" for name, error in zip(names[1:], errors, strict=True)]
    values = [z.detach().cpu() for z in (reference, raw, aligned)]
    values = [z[len(z) // 2] if z.dim() == 3 else z for z in values]
    peak = float(reference.abs().max()) or 1.0
    for heading, z, (above, below) in zip(headings, values, grid.T[:3], strict=True):
        above.set_title(heading, fontsize=10)
        if z.dim() == 1:
            above.plot(z.abs().numpy())
            below.plot(z.angle().where(z.abs() > _NO_PHASE * peak, math.nan).numpy(), ".")
            below.set_ylim(-math.pi, math.pi)
            above.set_ylim(0, 1.05 * max(float(other.abs().max()) for other in values) or 1.0)
        else:
            _show_magnitude(above, z, peak)
            _show_phase(below, z, peak)
    for z, name, axes in zip(values[1:], names[1:], grid[:, 3], strict=True):
        error = (z - values[0]).abs()
        axes.set_title(f"|{name} - reference|", fontsize=10)
        if z.dim() == 1:
            axes.plot(error.numpy())
        else:
            norm = Normalize(0, float(error.max()) or 1.0)
            image = axes.imshow(error.numpy(), cmap="magma", norm=norm, interpolation="nearest")
            figure.colorbar(image, ax=axes)
    if reference.dim() > 1:
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
        figure.colorbar(ScalarMappable(Normalize(0, peak), "gray"), ax=grid[0, :3].tolist(), extend="max", pad=0.01)
        turn = figure.colorbar(
            ScalarMappable(Normalize(-math.pi, math.pi), "twilight"),
            ax=grid[1, :3].tolist(),
            ticks=[-math.pi, 0, math.pi],
            pad=0.01,
        )
        turn.ax.set_yticklabels(["-π", "0", "π"])
    grid[0, 0].set_ylabel("magnitude")
    grid[1, 0].set_ylabel("phase")
    return figure


#: Decades shown below the brightest pixel of a pattern.
_DECADES = 6


def plot_solution(measured: Tensor, x: Tensor, support: Tensor, *, title: str = "") -> Figure:
    """Show a pattern beside the object that was found from it: intensity, magnitude, phase and support.

    Intensities are logarithms, relative to the brightest pixel, from six decades below it at most. Pixels that are not
    measured stay blank, and so do phases where the magnitude is below a tenth of its largest. Signals are drawn as
    lines, images as they are, volumes by their middle slice along the first axis.

    Shape: measured (M_1, ..., M_d), real; x and support (N_1, ..., N_d), d = 1, 2 or 3.

    Args:
        measured: The intensities, with zero frequency in the middle. NaN where not measured.
        x: The object, real or complex.
        support: True where the object may be nonzero.
        title: Title above everything. Default: none.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 9, dtype=torch.complex64)
        >>> len(plot_solution(torch.rand(16, 18), x, x.abs() > 1).axes)  # four panels, three color bars
        7
    """
    y, x, support = (z.detach().cpu() for z in (measured, x, support))
    peak = float(y.nan_to_num(0).max()) or 1.0
    y = (y / peak).clamp(min=0)
    faintest = float(y[y > 0].min().log10()) if bool((y > 0).any()) else -1.0
    low = max(-_DECADES, min(-1, math.floor(faintest)))
    y = y.log10().clamp(min=low)  # NaN stays
    y, x, support = (z[len(z) // 2] if z.dim() == 3 else z for z in (y, x, support))
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    panels = figure.subplots(1, 4)
    for axes, heading in zip(panels, ("measured", "magnitude", "phase", "support"), strict=True):
        axes.set_title(heading, fontsize=10)
    first, second, third, last = panels
    top = float(x.abs().max()) or 1.0
    if x.dim() == 1:
        first.plot(y.numpy())
        first.set_ylabel("log10(intensity / largest)", fontsize=8)
        second.plot(x.abs().numpy())
        third.plot(x.angle().where(x.abs() > _NO_PHASE * top, math.nan).numpy(), ".")
        third.set(xlim=second.get_xlim(), ylim=(-math.pi, math.pi))
        last.plot(support.float().numpy(), drawstyle="steps-mid")
        return figure
    intensity = first.imshow(y.numpy(), cmap="magma", norm=Normalize(low, 0), interpolation="nearest")
    figure.colorbar(intensity, ax=first, label="log10(intensity / largest)")
    _show_magnitude(second, x, top)
    figure.colorbar(ScalarMappable(Normalize(0, top), "gray"), ax=second)
    _show_phase(third, x, top)
    turn = figure.colorbar(
        ScalarMappable(Normalize(-math.pi, math.pi), "twilight"), ax=third, ticks=[-math.pi, 0, math.pi]
    )
    turn.ax.set_yticklabels(["-π", "0", "π"])
    last.imshow(support.numpy(), cmap="gray", norm=Normalize(0, 1), interpolation="nearest")
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    return figure
