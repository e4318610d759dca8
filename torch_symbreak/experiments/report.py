"""Tables and figures of rows."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from matplotlib.figure import Figure
from torch import Tensor

from torch_symbreak.experiments.grid import CONSTANT, ORBIT_LOSS, TEMPLATE
from torch_symbreak.experiments.results import Row, case_of
from torch_symbreak.plots import COLORS, Line, plot_lines

#: The talk's first metric, (before, after), by (data, network, n).
Talk = Mapping[tuple[str, str, int], tuple[float, float]]

#: The metrics of experiments that measure mean squared errors: column of a row to heading of the table.
MSE = {
    "test_mse": "test MSE",
    "test_sa_mse": "test SA-MSE",
    "train_mse": "train MSE",
    "train_sa_mse": "train SA-MSE",
}
#: Metrics of experiments with relative errors, as :attr:`Experiment.metrics`.
RELATIVE = {
    "test_sa_error": "test error up to a symmetry, %",
    "test_error": "test error, %",
    "train_sa_error": "train error up to a symmetry, %",
    "train_error": "train error, %",
}
#: Caption of the table of errors.
CAPTION = "Errors, mean ± standard deviation over the repeats; in parentheses the share of the constant predictor's."


def table(rows: Sequence[Row], metrics: Mapping[str, str]) -> list[list[str]]:
    """Return the header and the lines of the table that ``CAPTION`` describes.

    Args:
        rows: Rows, with those of the constant predictor.
        metrics: Column of a row to heading.
    """
    lines = [["data", "n", "network", "targets", "repeats", *metrics.values()]]
    constants = {case_of(row): row for row in rows if row["network"] == CONSTANT}
    for (data, n, network, breaking), group in _grouped(rows):
        cells = []
        for metric in metrics:
            share = statistics.mean(
                _ratio(row[metric], constants[replace(case_of(row), network=CONSTANT)][metric]) for row in group
            )
            cells.append(f"{spread([row[metric] for row in group])} ({share:.2f})")
        lines.append([data, str(n), network, breaking, str(len(group)), *cells])
    return lines


def ratios(rows: Sequence[Row], metrics: Mapping[str, str], talk: Talk) -> list[list[str]]:
    """Return a table of the errors on raw targets, divided by those on canonical targets, beside the talk's.

    Every seed gives one ratio, because its two runs share their data and the first weights.

    Args:
        rows: Rows. Those of exact and template targets count where the same case with raw targets is there too.
        metrics: Column of a row to heading.
        talk: The talk's errors.
    """
    header = ["data", "n", "network", "after", *(f"before / after, {heading}" for heading in metrics.values())]
    lines = [[*header, "the talk: before → after", "the talk's ratio"]]
    by_case = {case_of(row): row for row in rows}
    for (data, n, network, breaking), group in _grouped(rows):
        partners = [by_case.get(replace(case_of(row), breaking="none")) for row in group]
        if breaking not in ("exact", TEMPLATE) or None in partners:
            continue
        cells = [
            spread(
                [_ratio(raw[metric], row[metric]) for raw, row in zip(partners, group, strict=True) if raw is not None]
            )
            for metric in metrics
        ]
        errors = talk.get((data, network, n)) if breaking == "exact" else None  # the rule that the talk measured
        theirs = ["", ""] if errors is None else [f"{errors[0]} → {errors[1]}", f"{errors[0] / errors[1]:.2f}"]
        lines.append([data, str(n), network, breaking, *cells, *theirs])
    return lines


def limited(rows: Sequence[Row]) -> str:
    """Return a remark on the trainings that their epoch limit ended before a plateau; empty if none.

    Example:
        >>> row = {"network": "unet", "breaking": "none", "n": 500, "epochs": 20}
        >>> print(limited([row | {"parameters": {"training": {"max_epochs": 20}}}]))
        Trainings cut short by the limit of 20 epochs, not by a plateau: unet, none (n = 500). More epochs (--epochs)
        may change which targets are better.
    """
    limits = [row["parameters"]["training"]["max_epochs"] for row in rows]
    sizes: dict[str, set[int]] = {}
    for row, limit in zip(rows, limits, strict=True):
        # Rows of version 0.1.0 do not say so, but they have one stage.
        if row.get("limited", row["epochs"] == limit):
            sizes.setdefault(f"{row['network']}, {row['breaking']}", set()).add(row["n"])
    if not sizes:
        return ""
    names = "; ".join(f"{name} (n = {', '.join(map(str, sorted(n)))})" for name, n in sizes.items())
    epochs = f"{limits[0]} epoch{'s' if limits[0] != 1 else ''}"
    return (
        f"Trainings cut short by the limit of {epochs}, not by a plateau: {names}. More epochs (--epochs) may change "
        "which targets are better."
    )


def markdown(
    title: str, errors: Sequence[Sequence[str]], before_after: Sequence[Sequence[str]], remark: str = ""
) -> str:
    """Return a page of two tables, each a header and lines. Leave the second one out if it has no lines.

    Example:
        >>> print(markdown("square", [["n", "test MSE"], ["100", "0.1 (0.30)"]], [["n"]]))
        # square
        <BLANKLINE>
        Errors, mean ± standard deviation over the repeats; in parentheses the share of the constant predictor's.
        <BLANKLINE>
        | n | test MSE |
        | --- | --- |
        | 100 | 0.1 (0.30) |
        <BLANKLINE>
    """
    parts = [f"# {title}", "", CAPTION, "", *markdown_lines(errors), "", *([remark, ""] if remark else [])]
    if len(before_after) > 1:
        parts += ["## Before / after", "", *markdown_lines(before_after), ""]
    return "\n".join(parts)


def plot_errors(rows: Sequence[Row], metrics: Mapping[str, str], talk: Talk) -> Figure:
    """Plot test errors over n, one panel per data and metric.

    Raw errors of the orbit-min loss are left out, since its answers lie anywhere in their orbits.

    Args:
        rows: Rows.
        metrics: Column of the rows to heading. The first two are drawn.
        talk: The talk's errors, in the units of the first metric; empty if its units are others.
    """
    colors = colors_of(rows)
    learners = [name for name in dict.fromkeys(row["network"] for row in rows) if name != CONSTANT]
    markers = dict(zip(learners, itertools.cycle("os^Dv")))
    panels: dict[str, list[Line]] = {}
    for number, (metric, heading) in enumerate(itertools.islice(metrics.items(), 2)):
        points: dict[str, dict[tuple[str, str], dict[int, list[float]]]] = {}
        for (data, n, network, breaking), group in _grouped(rows):
            if breaking != ORBIT_LOSS or "_sa_" in metric:
                points.setdefault(data, {}).setdefault((network, breaking), {})[n] = [row[metric] for row in group]
        for data, series in points.items():
            lines = panels[f"{data}, {heading}"] = []
            for (network, breaking), by_n in series.items():
                means = [statistics.mean(values) for values in by_n.values()]
                spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in by_n.values()]
                label, style = f"{network}, {breaking}", ":" if network == CONSTANT else "-"
                # A line needs no markers, but one point needs one.
                marker = markers.get(network, "_" if len(by_n) == 1 else "")
                color = colors[breaking]
                lines.append(Line(label, list(by_n), means, spreads, color=color, style=style, marker=marker))
            networks = dict.fromkeys(network for name, network, _ in talk if name == data and number == 0)
            for network, marker in zip(networks, "x+", strict=False):
                errors = {n: pair for (*key, n), pair in talk.items() if key == [data, network]}
                for side, (breaking, name) in enumerate({"none": "before", "exact": "after"}.items()):
                    theirs = [pair[side] for pair in errors.values()]
                    look = Line(f"the talk: {network}, {name}", list(errors), theirs, style="")
                    lines.append(replace(look, color=colors.get(breaking), marker=marker))
    spread = any(any(line.spread) for lines in panels.values() for line in lines)
    label = "error ± standard deviation over seeds" if spread else "error"
    return plot_lines(dict(sorted(panels.items())), x="training pairs n", y=label, log_x=True, log_y=True)


def plot_curves(rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> Figure | None:
    """Plot the learning curves of the largest trainings. Return None if no row has a learning curve.

    Args:
        rows: Rows.
        arrays: Reads the arrays of a row.
    """
    colors = colors_of(rows)
    panels: dict[str, list[Line]] = {}
    for row in largest(rows):
        kept = arrays(row)
        if "validation_curve" in kept:
            epochs = list(range(1, row["epochs"] + 1))
            lines = panels.setdefault(f"{row['data']}, {row['network']}, n = {row['n']}", [])
            for part, style in (("validation", "-"), ("train", "--")):
                curve = kept[f"{part}_curve"].tolist()
                label = f"{row['breaking']}, {part}"
                lines.append(Line(label, epochs, curve, color=colors[row["breaking"]], style=style))
    return plot_lines(panels, x="epoch", y="loss", log_y=True) if panels else None


def largest(rows: Sequence[Row]) -> list[Row]:
    """Keep, for each data, network and breaking, the row with the most pairs and the first seed."""
    best: dict[tuple[str, str, str], Row] = {}
    for row in sorted(rows, key=lambda row: (-row["n"], row["seed"])):
        best.setdefault((row["data"], row["network"], row["breaking"]), row)
    return [row for row in rows if row is best[row["data"], row["network"], row["breaking"]]]


def colors_of(rows: Sequence[Row]) -> dict[str, str]:
    """Give every breaking its color, the same for all networks and in all figures."""
    names = dict.fromkeys(row["breaking"] for row in rows)
    others = (f"C{number}" for number in itertools.count())
    return {name: COLORS.get(name) or next(others) for name in names}


def _grouped(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, int, str, str], list[Row]]]:
    """Group rows that differ only in their seed. Sort by data and n, and else keep the order of measurement."""
    groups: dict[tuple[str, int, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["n"], row["network"], row["breaking"]), []).append(row)
    yield from sorted(groups.items(), key=lambda item: (item[0][0], item[0][1]))


def _ratio(error: float, reference: float) -> float:
    return error / reference if reference else math.inf if error else math.nan


def spread(values: Sequence[float]) -> str:
    """Return the mean in four digits, and the standard deviation if there are several values.

    Example:
        >>> spread([1.0, 3.0]), spread([1.0])
        ('2 ± 1.4', '1')
    """
    mean = f"{statistics.mean(values):.4g}"
    spreads = len(values) > 1 and all(map(math.isfinite, values))
    return f"{mean} ± {statistics.stdev(values):.2g}" if spreads else mean


def markdown_lines(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a table in Markdown, from its header and its lines.

    Example:
        >>> markdown_lines([["n", "MSE"], ["100", "0.1"]])
        ['| n | MSE |', '| --- | --- |', '| 100 | 0.1 |']
    """
    return [f"| {' | '.join(cells)} |" for cells in (lines[0], ["---"] * len(lines[0]), *lines[1:])]
