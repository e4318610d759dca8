"""Write the rows of a suite as JSON, Markdown tables and a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from torch_symbreak.plots import png

_FIXED = ("family", "items", "rounds", "seconds", "ratios")


def _families(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    return families


def _parameters(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _FIXED}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row["seconds"]:
        return ""
    seconds = row["seconds"][name]
    half = 50 * (seconds["high"] - seconds["low"]) / seconds["median"]
    words = f"{_number(1e3 * seconds['median'])} ± {half:.0f} %"
    return words + (f" ({_number(row['ratios'][name]['median'])}x)" if name in row["ratios"] else "")


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def markdown(result: dict[str, Any]) -> str:
    """Return one table for each family of rows."""
    lines = [
        f"# {result['suite']}",
        "",
        f"{result['machine']}; {', '.join(map(' '.join, result['versions'].items()))}.",
    ]
    lines += [] if result["device"] == "cuda" else ["Measured on the CPU alone."]
    lines += ["Run with --quick: few rounds and small sizes."] if result["quick"] else []
    lines += [
        f"Load at the start: {result['load']:.1f}. Milliseconds per call, median ± half the interquartile range. The",
        "first operation is ours. In parentheses: how many times as long the others take, the median over the rounds.",
    ]
    for family, rows in _families(result["rows"]).items():
        names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
        parameters = list(dict.fromkeys(name for row in rows for name in _parameters(row)))
        head = [*parameters, "items/s", *names]
        lines += ["", f"## {family}", "", _line(head), _line(["---"] * len(head))]
        for row in rows:
            rate = row["items"] / row["seconds"][names[0]]["median"]
            lines.append(
                _line([*(row.get(p, "") for p in parameters), _number(rate), *(_cell(row, name) for name in names)])
            )
    if result["notes"]:
        lines += ["", "## Notes", "", *(f"- {name}: {value}" for name, value in result["notes"].items())]
    return "\n".join(lines) + "\n"


def rates(rows: Sequence[dict[str, Any]]) -> Figure:
    """Plot items per second of every operation with the interquartile range, one panel for each family."""
    families = _families(rows)
    count = {family: sum(len(row["seconds"]) + 1 for row in members) for family, members in families.items()}
    figure = Figure(figsize=(9, 0.22 * sum(count.values()) + 1.1 * len(count)), layout="constrained")
    grid = figure.subplots(len(count), 1, squeeze=False, height_ratios=list(count.values()))[:, 0]
    for axes, (family, members) in zip(grid, families.items(), strict=True):
        places, labels, place = [], [], 0
        colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(n for row in members for n in row["seconds"]))}
        for row in members:
            case = ", ".join(f"{name} {value}" for name, value in _parameters(row).items())
            for name, seconds in row["seconds"].items():
                low, rate, high = (row["items"] / seconds[key] for key in ("high", "median", "low"))
                ends = np.array([[rate - low], [high - rate]])
                axes.errorbar(rate, place, xerr=ends, marker="o", color=colors[name], capsize=2)
                places.append(place)
                labels.append(f"{case}: {name}")
                place += 1
            place += 1
        axes.set(title=family, xlabel="items per second", xscale="log")
        axes.set_yticks(places, labels, fontsize=7)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    return figure


def write(result: dict[str, Any], figure: Figure, out: Path) -> None:
    """Write SUITE.json, SUITE.md and SUITE.png."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / result["suite"]
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(result))
    path.with_suffix(".png").write_bytes(png(figure))
