"""Write the verdict in a sentence, and the line to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_symbreak.symmetries import Canonicalizer

#: Returns the line that breaks by a rule, "exact" or "template", with a content threshold other than the default. The
#: canonicalizer is the exact rule.
LineOf = Callable[[str, float | None, Canonicalizer[Any]], str]


def python_line(rule: str, threshold: float | None, fix: Canonicalizer[Any], *, keys: Any, plain: bool) -> str:
    """Return the line of a program.

    Args:
        rule: "exact" or "template".
        threshold: Of content. None is the default.
        fix: The exact rule.
        keys: Of the samples.
        plain: Whether the model is a plain function, which makes no canonicalizer.

    Example:
        >>> from torch_symbreak import FixSign
        >>> python_line("exact", None, FixSign(1), keys=None, plain=False)
        'dataset = SymmetryBrokenDataset(dataset, model.canonicalizer())'
        >>> python_line("template", None, FixSign(1), keys="x", plain=False)
        "dataset = SymmetryBrokenDataset(dataset, model.fit_canonicalizer(dataset, keys='x'), keys='x')"
    """
    option = [] if threshold is None else [f"threshold={threshold:g}"]
    key = [] if keys is None else [f"keys={keys!r}"]
    exact = repr(fix) if plain else f"model.canonicalizer({', '.join(option)})"
    fit = (
        ["AlignToTemplate.fit(dataset", f"{fix!r}.symmetry"] if plain else ["model.fit_canonicalizer(dataset", *option]
    )
    made = f"{', '.join([*fit, *key])})" if rule == "template" else exact
    return f"dataset = SymmetryBrokenDataset({', '.join(['dataset', made, *key])})"


def percent(share: float) -> str:
    """Return a share in percent. A small one is no zero, and nearly all are not all.

    Example:
        >>> percent(0.0), percent(0.0001), percent(0.034), percent(0.9999), percent(1.0)
        ('0.0%', '<0.1%', '3.4%', '>99.9%', '100.0%')
    """
    if 1e-9 < share < 5e-4:
        return "<0.1%"
    return ">99.9%" if 1 - 5e-4 < share < 1 - 1e-9 else f"{share:.1%}"


def listed(names: list[str]) -> str:
    """Return names as words: "translation, conjugate flip and global phase"."""
    words = [name.replace("_", " ") for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def of(report: dict[str, Any], line: Callable[[str], str]) -> tuple[str, str]:
    """Return the verdict and the line of a report.

    Args:
        report: The numbers.
        line: Returns the line for a rule.
    """
    verdict, typed = _of(report, line)
    absent = [name for name, row in report["symmetries"].items() if "status" in row and row.get("verdict") == "fails"]
    if absent:
        it = "it" if len(absent) == 1 else "them"
        verdict += f" But f is not invariant to {listed(absent)}, so breaking {it} can lose information."
    return verdict, typed


def _of(report: dict[str, Any], line: Callable[[str], str]) -> tuple[str, str]:
    """Return the verdict and the line as if f had all symmetries of its rule."""
    error = {name: each["5-NN"]["raw"][0] for name, each in report["proxy"].items()}
    constant = report["proxy"]["raw"]["constant"]["raw"][0]
    advice = report["advice"]
    rows = {name: row for name, row in report["symmetries"].items() if "status" in row}
    # One target may violate several.
    flags = [report["findings"][name]["flags"] for name in rows]
    worst = float(torch.stack(flags).any(0).double().mean()) if flags else 0.0
    saved = 1 - error[advice] / error["raw"] if advice != "none" and error["raw"] > 0 else 0.0
    gain = "No rule helps nearest neighbors."
    if advice != "none":
        gain = (
            f"With {'a template' if advice == 'template' else 'the exact rule'}, the error of five nearest neighbors "
            f"falls from {error['raw']:.3g} to {error[advice]:.3g} ({saved:.0%}). A constant answer has {constant:.3g}."
        )
    if report["rule"] == "literal":
        doubled = report["doubled"]
        return (
            "The literal reading of Algorithm 2 broke these targets. It does not break the flip: it has two targets "
            f"for {percent(doubled['orbits'])} of the orbits, in {percent(doubled['opposite orientations'])} of "
            f"opposite orientation. {gain}",
            line("exact" if advice == "none" else advice),
        )
    if report["rule"] is not None:
        name = "The exact rule" if report["rule"] == "exact" else "A template, their own mean,"
        verdict = f"{name} broke these targets"
        verdict += ": no violations." if worst == 0 else f", but {percent(worst)} of them violate it."
        if worst == 0 and report["rule"] == "exact" and advice == "template":
            return f"{verdict} A template can gain more. {gain}", line("template")
        if worst == 0:
            return f"{verdict} Train on them.", ""
        return verdict, line(report["rule"])
    by_status = {
        status: [name for name, row in rows.items() if row["status"] == status]
        for status in ("unbroken", "naturally oriented", "broken")
    }
    said = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {status}" for status, names in by_status.items() if names
    ]
    sentence = f"{', '.join(said)}."
    if advice == "none":
        return (
            f"{sentence[0].upper()}{sentence[1:]} No rule helps nearest neighbors: leave the targets as they are.",
            "",
        )
    hurting = [name for name in by_status["unbroken"] if rows[name].get("verdict") != "fails"]
    suffers = "These targets suffer: " if hurting else "These targets have some order: "
    return f"{suffers}{sentence} {gain}", line(advice)
