"""The report of a diagnosis: a dict that prints as tables, and writes JSON and one page of HTML."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak.diagnostics._verdict import percent
from torch_symbreak.io import write_file

#: Width of a printed report.
WIDTH = 80
#: Number of items that a finding names.
_NAMED = 5


def finding(text: str, scores: Tensor, flags: Tensor, *, index: Tensor | None = None) -> dict[str, Any]:
    """Return a finding: a score and a flag per item, and both for the set.

    Args:
        text: Name of the flagged items.
        scores: (n,) in [0, 1]; 0 is worst.
        flags: (n,) bool.
        index: Numbers of the items in the data set, (n,). Default: 0, 1, ...

    Example:
        >>> found = finding("odd ones", torch.tensor([1.0, 0.2]), torch.tensor([False, True]))
        >>> found["score"], found["flag"], found["worst"].tolist()
        (0.5, True, [1])
    """
    index = torch.arange(len(flags)) if index is None else index
    order = scores.argsort()
    return {
        "text": text,
        "score": 1 - float(flags.double().mean()),
        "flag": bool(flags.any()),
        "worst": index[order[flags[order]][:_NAMED]],
        "scores": scores.double(),
        "flags": flags,
        "items": index,
    }


class Table(NamedTuple):
    """One table of a report."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


class Report(dict[str, Any]):
    """Hold the result of :func:`torch_symbreak.diagnostics.diagnose` as a dict that prints as tables of 80 columns.

    Entries:

    - "verdict", a sentence; "line", what to type ("" if nothing); "advice": "template", "exact" or "none";
    - "targets": their number; "looked": the number drawn for the template and the neighbors; "threshold": of content;
    - "rule": the rule that broke all symmetries: "exact", "template", "literal" or None;
    - "symmetries": by name "holds" (whether f has it, with "error" and "reason"), "status", "rule", "violations" (the
      share of targets that do not follow the rule) and their "flag", and the "p" and "distance" of the test that asks
      whether the targets' elements are uniform;
    - "elements": by name the "unit", and the values under the "exact" rule and the "template", (n, k) each;
    - "neighbors": relative distance of the targets of nearest measurements, by choice: mean, low and high end of the
      95 % bootstrap interval;
    - "proxy": by choice and by predictor ("constant", "5-NN") the error per entry, "raw" and "aligned" (up to the
      symmetries), with intervals; "still to gain": share of the exact rule's error that vanishes up to the symmetries;
    - "margins": by rule and symmetry the share of "near_ties" and the "values"; "noise": flip rates by rule;
    - "duplicates": "pairs" (k, 2) of items and their share; "test pairs" and "test share" with test targets;
    - "findings": by name a "score" and a "flag" of the set, "scores" and "flags" per item, the numbers of these "items"
      and of the "worst";
    - "warnings": a list of "name", "text" and "line".

    Example:
        >>> from torch_symbreak import FarField
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> from torch_symbreak.diagnostics import diagnose
        >>> report = diagnose(BraggCrystals(40, frame=(12, 12)), FarField(2))
        >>> report["targets"], sorted(report["symmetries"])
        (40, ['conjugate_flip', 'global_phase', 'translation'])
    """

    def __init__(self, **entries: Any) -> None:
        super().__init__({"symmetries": {}, "elements": {}, "findings": {}, "warnings": [], **entries})
        #: By name, the numbers of some items and the items, for pictures.
        self.pictures: dict[str, tuple[Tensor, Tensor]] = {}

    # ------------------------------------------------------------------------------------------------------ print

    def tables(self) -> Iterator[Table]:
        """Yield the tables of the report, as text."""
        yield self._symmetries()
        yield Table(
            "Targets of nearest measurements, distance over norm",
            ("targets", "distance", "95 % interval"),
            [
                (name, f"{mean:.3f}", f"{low:.3f} to {high:.3f}")
                for name, (mean, low, high) in self["neighbors"].items()
            ],
            "Less is better. No rule can go below up to symmetry.",
        )
        rows = [
            (
                name,
                *(
                    _interval(each[predictor][part])
                    for predictor in ("constant", "5-NN")
                    for part in ("raw", "aligned")
                ),
            )
            for name, each in self["proxy"].items()
        ]
        yield Table(
            "Error per entry without training, cross-validated",
            ("targets", "constant", "up to sym.", "5-NN", "up to sym."),
            rows,
            f"{self['still to gain']:.0%} of the exact rule's 5-NN error vanishes up to symmetry. "
            "A better rule can gain that much.",
        )
        yield self._margins()

    def _symmetries(self) -> Table:
        rows = []
        for name, row in self["symmetries"].items():
            holds = {True: "✓", False: "✖", None: "?"}[row["holds"]]
            holds = f"to {row['error']:.1%}" if row.get("verdict") == "approximate" else holds
            if "status" not in row:
                rows.append((name.replace("_", " "), holds, row.get("reason", ""), "", ""))
                continue
            share = f"{'✖' if row['flag'] else '✓'} {percent(row['violations'])}"
            rows.append((name.replace("_", " "), holds, row["status"], share, row["rule"] or "none"))
        looked = "" if self["looked"] == self["targets"] else f", {self['looked']} of them for templates and neighbors"
        return Table(
            f"Symmetries of {self['targets']} targets{looked}",
            ("symmetry", "f has it", "targets", "violations", "broken by"),
            rows,
        )

    def _margins(self) -> Table:
        rows = [
            (rule, name.replace("_", " "), percent(each["near_ties"]), "")
            for rule, margins in self["margins"].items()
            for name, each in margins.items()
        ]
        note = ""
        if "noise" in self:
            rates = {rule: each for rule, each in self["noise"].items() if rule != "std"}
            note = (
                f"Noise of {self['noise']['std']:.2g} of the peak flips "
                + ", ".join(f"{percent(each['flips'])} ({rule})" for rule, each in rates.items())
                + " of the targets. It moves "
                + ", ".join(f"{percent(each['targets elsewhere'])} ({rule})" for rule, each in rates.items())
                + " by more than .1 of their norm."
            )
        return Table("Near-ties: margins below 1e-3", ("rule", "symmetry", "targets"), [row[:3] for row in rows], note)

    def sentences(self) -> Iterator[str]:
        """Yield the sentences besides the tables: undecided symmetries, duplicates and warnings."""
        for name, row in self["symmetries"].items():
            if row["holds"] is None and row.get("reason"):
                yield f"Whether f has the {name.replace('_', ' ')} is unknown: {row['reason']}."
        found = self["duplicates"]
        if len(found["pairs"]):
            share = percent(found["share"])
            yield f"Duplicates up to symmetry: {share} of the targets, such as {_named(found['pairs'])}."
        if "test pairs" in found:
            leak = f", such as {_named(found['test pairs'])}" if len(found["test pairs"]) else ""
            yield f"Test targets that are training targets up to symmetry: {percent(found['test share'])}{leak}."
        for each in self["warnings"]:
            yield f"{each['text']}{' Type: ' + each['line'] if each['line'] else ''}"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Drawn
        from rich.text import Text

        yield Text(self["verdict"], style="bold", overflow="fold")
        if self["line"]:
            yield Text(f"Type: {self['line']}")  # whole if the console ignores overflow
        for table in self.tables():
            yield Text(f"\n{table.title}", style="bold")
            drawn = Drawn(*table.header, box=SIMPLE_HEAD, pad_edge=False)
            for row in table.rows:
                drawn.add_row(*row)
            yield drawn
            if table.note:
                yield Text(table.note, overflow="fold")
        yield Text()
        for sentence in self.sentences():
            yield Text(f"• {sentence}", overflow="fold")

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=WIDTH, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(self, overflow="ignore", crop=False)  # the line to type stays whole
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def __repr__(self) -> str:
        return str(self) if "proxy" in self else super().__repr__()

    # ------------------------------------------------------------------------------------------------------ files

    def to_json(self) -> str:
        """Return the report as JSON. Tensors become lists, NaN becomes null.

        Example:
            >>> Report(verdict="Fine.", scores=torch.tensor([1.0, float("nan")])).to_json()[-42:]
            '"verdict": "Fine.", "scores": [1.0, null]}'
        """
        return json.dumps(_plain(dict(self)), allow_nan=False, ensure_ascii=False)

    def save_json(self, path: str | Path) -> Path:
        """Write the report as JSON."""
        return write_file(Path(path), self.to_json().encode())

    def to_html(self) -> str:
        """Return the report as one page of HTML with its figures inside."""
        from torch_symbreak.diagnostics._page import page_of

        return page_of(self)

    def save_html(self, path: str | Path) -> Path:
        """Write the report as one page of HTML. It needs no other file and no network."""
        return write_file(Path(path), self.to_html().encode())


def _interval(value: tuple[float, float, float]) -> str:
    mean, low, high = value
    return f"{mean:.3g} ±{(high - low) / 2:.1g}"


def _named(pairs: Tensor) -> str:
    named = [f"{a} and {b}" for a, b in pairs[:3].tolist()]
    return "; ".join(named)


def _plain(value: Any) -> Any:
    """Return a value made of JSON's types."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
