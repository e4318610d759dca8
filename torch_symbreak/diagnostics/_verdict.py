"""Write the verdict in a sentence, and the line to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Returns the line that breaks by a rule, "exact" or "template", with a content threshold other than the default.
LineOf = Callable[[str, float | None], str]


def python_line(rule: str, threshold: float | None) -> str:
    """Return the line of a program.

    Example:
        >>> python_line("exact", None)
        'dataset = SymmetryBrokenDataset(dataset, model.canonicalizer())'
    """
    option = "" if threshold is None else f"threshold={threshold:g}"
    if rule == "template":
        made = f"model.fit_canonicalizer(dataset{', ' if option else ''}{option})"
    else:
        made = f"model.canonicalizer({option})"
    return f"dataset = SymmetryBrokenDataset(dataset, {made})"


def listed(names: list[str]) -> str:
    """Return names as words: "translation, conjugate flip and global phase"."""
    words = [name.replace("_", " ") for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def of(report: dict[str, Any], line: LineOf, threshold: float | None) -> tuple[str, str]:
    """Return the verdict and the line of a report.

    Args:
        report: The numbers.
        line: Returns the line for a rule.
        threshold: The content threshold, None where the default suits.
    """
    error = {name: each["5-NN"]["raw"][0] for name, each in report["proxy"].items()}
    constant = report["proxy"]["raw"]["constant"]["raw"][0]
    advice = report["advice"]
    rows = {name: row for name, row in report["symmetries"].items() if "status" in row}
    worst = max((row["violations"] for row in rows.values()), default=0.0)
    saved = 1 - error[advice] / error["raw"] if advice != "none" and error["raw"] > 0 else 0.0
    gain = (
        f"With {'a template' if advice == 'template' else 'the exact rule'}, the error of five nearest neighbors falls "
        f"from {error['raw']:.3g} to {error.get(advice, 0.0):.3g} ({saved:.0%}). A constant answer has {constant:.3g}."
    )
    if report["rule"] == "literal":
        doubled = report["doubled"]
        return (
            "The literal reading of Algorithm 2 broke these targets. It does not break the flip: it has two targets "
            f"for {doubled['orbits']:.0%} of the orbits, in {doubled['opposite orientations']:.0%} of opposite "
            f"orientation. {gain}",
            line("exact" if advice == "none" else advice, threshold),
        )
    if report["rule"] is not None:
        name = "The exact rule" if report["rule"] == "exact" else "A template, their own mean,"
        verdict = f"{name} broke these targets: "
        verdict += "no violations." if worst == 0 else f"but {worst:.1%} of them violate it."
        if worst == 0 and report["rule"] == "exact" and advice == "template":
            return f"{verdict} A template can gain more. {gain}", line("template", threshold)
        if worst == 0:
            return f"{verdict} Train on them.", ""
        return verdict, line(report["rule"], threshold)
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
    suffers = "These targets suffer: " if by_status["unbroken"] else "These targets have some order: "
    return f"{suffers}{sentence} {gain}", line(advice, threshold)
