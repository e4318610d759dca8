"""The figures of a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from torch_symbreak.plots import COLORS, NEUTRAL, show_margins
from torch_symbreak.plots.axes import montage, show_object

_BINS = 24
#: Inches. Letters stay readable on a phone.
_WIDTH = 5.4
#: Targets beside one another.
_COLUMNS = 6


def figures_of(report: Any) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a report with their captions."""
    yield (
        "Elements that would canonicalize the targets. Broad: the targets lie anywhere in their orbits, shifts as "
        "far as the frame has room. One bar: they are broken, or alike by nature.",
        elements(report["elements"]),
    )
    yield (
        "Distance of the targets of nearest measurements, with 95 % bootstrap intervals, and the error that nearest "
        "neighbors make.",
        gains(report),
    )
    figure = Figure(figsize=(_WIDTH, 3 * len(report["margins"])), layout="constrained")
    for axes, (rule, margins) in zip(
        figure.subplots(len(report["margins"]), 1, squeeze=False)[:, 0], report["margins"].items(), strict=True
    ):
        show_margins({name: each["values"] for name, each in margins.items()}, axes).set(title=rule)
    yield "Margins: how far the targets are from ties. Left of the dashed line are near-ties.", figure
    if _images(report, "before"):
        yield "Some targets as they are (above), and moved by the rule (below).", before_after(report)
        yield "The targets with the smallest margins under the exact rule, with their numbers.", worst(report)


def elements(histograms: dict[str, dict[str, Any]]) -> Figure:
    """Draw a histogram per symmetry and axis, of the exact rule's elements and the template's."""
    panels = [(name, axis, each) for name, each in histograms.items() for axis in range(each["exact"].shape[1])]
    lines = max(1, -(-len(panels) // 2))
    figure = Figure(figsize=(_WIDTH, 2.4 * lines), layout="constrained")
    grid = figure.subplots(lines, 2, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, axis, each) in zip(grid.flat, panels, strict=False):
        values = {rule: each[rule][:, axis] for rule in ("exact", "template") if each[rule] is not None}
        _histograms(axes, {rule: of[~of.isnan()] for rule, of in values.items()}, each["unit"])
        words = name.replace("_", " ")
        axes.set_title(words if each["exact"].shape[1] == 1 else f"{words}, axis {axis}", fontsize=10)
        axes.set_ylabel("share", fontsize=8)
        axes.tick_params(labelsize=8)
    if panels:
        figure.axes[0].legend(fontsize=7)
    return figure


def _histograms(axes: Any, values: dict[str, Tensor], unit: str) -> None:
    """Draw the values of several rules in the same bins."""
    if unit == "rad":
        edges = torch.linspace(-math.pi, math.pi, _BINS + 1).tolist()
        axes.set_xticks([-math.pi, 0, math.pi], ["-π", "0", "π"])
    elif unit == "entries":
        whole = torch.cat(list(values.values()))
        low, high = (int(whole.min()), int(whole.max())) if len(whole) else (0, 0)
        step = max(1, -(-(high - low + 1) // _BINS))
        edges = [low - 0.5 + step * number for number in range((high - low) // step + 2)]
        axes.set_xlabel("moved by entries", fontsize=8)
    else:
        edges = [-0.5, 0.5, 1.5]
        axes.set_xticks([0, 1], ["as it is", unit])
    for rule, of in values.items():
        shares = [1 / max(1, len(of))] * len(of)
        axes.hist(of.tolist(), bins=edges, weights=shares, color=COLORS[rule], alpha=0.5, label=rule)


def gains(report: Any) -> Figure:
    """Draw neighbors' distances and errors by choice of targets."""
    figure = Figure(figsize=(_WIDTH, 5), layout="constrained")
    left, right = figure.subplots(2, 1)
    for number, (name, (mean, low, high)) in enumerate(report["neighbors"].items()):
        left.errorbar([mean], [number], xerr=[[mean - low], [high - mean]], fmt="o", capsize=3, color=_color(name))
    left.set_yticks(range(len(report["neighbors"])), list(report["neighbors"]))
    left.invert_yaxis()
    left.set(xlabel="distance over norm", xlim=(0, None), title="targets of nearest measurements")
    names = list(report["proxy"])
    styles = (("constant", "raw", "x"), ("5-NN", "raw", "o"), ("5-NN", "aligned", "s"))
    for offset, (predictor, part, marker) in zip((-0.2, 0, 0.2), styles, strict=True):
        label = f"{predictor}{', up to symmetry' if part == 'aligned' else ''}"
        right.plot([], [], marker, color="black", label=label)
        for number, name in enumerate(names):
            mean, low, high = report["proxy"][name][predictor][part]
            error = [[mean - low], [high - mean]]
            color = _color(name)
            right.errorbar([mean], [number + offset], xerr=error, fmt=marker, capsize=3, color=color)
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.set(xlabel="squared error per entry", xlim=(0, None), title="without training")
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    return figure


def _color(choice: str) -> str:
    """Return the color of a choice of targets."""
    return COLORS["none"] if choice == "raw" else COLORS.get(choice, NEUTRAL)


def _images(report: Any, name: str) -> bool:
    return name in report.pictures and report.pictures[name][1].dim() in (3, 4) and min(
        report.pictures[name][1].shape[-2:]
    ) > 1  # fmt: skip


def _flat(x: Tensor) -> Tensor:
    """Return images; of volumes the middle slices."""
    return x[:, x.shape[1] // 2] if x.dim() == 4 else x


def before_after(report: Any) -> Figure:
    """Draw some targets before and after the rule."""
    rows = [_flat(report.pictures[name][1])[:_COLUMNS] for name in ("before", "after")]
    figure = Figure(figsize=(_WIDTH, 2 * _WIDTH / len(rows[0]) + 0.2), layout="constrained")
    axes = figure.subplots()
    montage(rows, axes, own_peak=True)
    return figure


def worst(report: Any) -> Figure:
    """Draw the targets with the smallest margins."""
    index, x = report.pictures["worst"]
    lines = -(-len(x) // 4)
    figure = Figure(figsize=(_WIDTH, 1.6 * lines), layout="constrained")
    grid = figure.subplots(lines, 4, squeeze=False)
    for axes in grid.flat[len(x) :]:
        axes.set_axis_off()
    for axes, number, item in zip(grid.flat, index.tolist(), _flat(x), strict=False):
        show_object(item, axes, wheel=axes is grid[0, min(3, len(x) - 1)], title=str(number))
    return figure
