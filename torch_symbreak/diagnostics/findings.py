"""Findings about the symmetries of a measurement."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch_symbreak.diagnostics.choice import joined, of_the_users, parts_for, unbroken
from torch_symbreak.symmetries import Canonicalizer, Symmetry

Verdict = Literal["holds", "approximate", "fails", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One symmetry, whether the measurement has it, and the evidence.

    ``error`` is the largest ``||f(g x) - f(x)|| / ||f(x') - f(x)||`` over items and drawn elements g, x' a random
    change of x with ``||x' - x|| = ||g x - x||``. 0 is exact. At 1, g changes f as much as the random change does.

    Example:
        >>> import torch
        >>> from torch_symbreak.diagnostics import symmetries_of
        >>> finding = symmetries_of(torch.abs, torch.randn(8, 5), event_dims=1).holds["Sign"]
        >>> finding.verdict, finding.error, finding.moved
        ('holds', 0.0, 8)
    """

    symmetry: Symmetry
    verdict: Verdict
    error: float  #: NaN if nothing could be compared
    noise: float  #: the same of two measurements of one x
    moved: int  #: items that a drawn element moved
    reason: str = ""


@dataclass(frozen=True)
class SymmetryReport:
    """Symmetries of a measurement by verdict, each a dict from name to :class:`Finding`. Prints as a table.

    Obtain it from :func:`symmetries_of`.

    Args:
        findings: All findings by name, in the order in which they were tested.

    Example:
        >>> import torch
        >>> from torch_symbreak.diagnostics import symmetries_of
        >>> report = symmetries_of(lambda x: x.cumsum(-1).abs(), torch.randn(40, 5), event_dims=1)
        >>> [name for name in report.findings if name not in report.fails], list(report.holds)
        (['Translation', 'Sign'], ['Sign'])
        >>> print(report.unknown["Translation"].reason)
        content fills the frame, so that no shift keeps it inside: pad x with zeros, or raise threshold
        >>> report.canonicalizer()
        FixSign(event_dims=1, channel_dims=0, anchor='sum')
    """

    findings: Mapping[str, Finding]

    def _of(self, verdict: Verdict) -> dict[str, Finding]:
        return {name: finding for name, finding in self.findings.items() if finding.verdict == verdict}

    @property
    def holds(self) -> dict[str, Finding]:
        """Symmetries that the measurement has, up to the tolerance."""
        return self._of("holds")

    @property
    def approximate(self) -> dict[str, Finding]:
        """Symmetries with an error above the tolerance and at most a tenth."""
        return self._of("approximate")

    @property
    def fails(self) -> dict[str, Finding]:
        """Symmetries that the measurement does not have."""
        return self._of("fails")

    @property
    def unknown(self) -> dict[str, Finding]:
        """Symmetries that these x cannot decide. Each has its reason."""
        return self._of("unknown")

    def canonicalizer(self) -> Canonicalizer[Any]:
        """Return the canonicalizer of the symmetries that hold, as :func:`canonicalizer_for`, with its errors."""
        return self.broken(stacklevel=3)

    def broken(self, stacklevel: int) -> Canonicalizer[Any]:
        """Return the canonicalizer; warnings go to the caller ``stacklevel`` calls up."""
        held = {name: finding.symmetry for name, finding in self.holds.items()}
        parts, left = parts_for(held), unbroken(held)
        own = [name for name in left if of_the_users(held[name])]
        template = f"For {' and '.join(own)}, fit a template: AlignToTemplate.fit(x, symmetries)."
        if not parts and own:
            raise ValueError(f"canonicalizer_for has no rule for a symmetry of your own. {template}")
        if not parts:
            raise ValueError(
                "canonicalizer_for found no symmetry of forward that it can break. Train on your targets as they are, "
                f"or test other items if the report names a reason:\n{self}"
            )
        doubtful = [f"{name} ({finding.reason})" for name, finding in self.unknown.items() if finding.moved]
        if left:
            warnings.warn(
                f"canonicalizer_for found that {' and '.join(left)} holds, too, and no canonicalizer breaks it. "
                f"{template if own else 'For a scale, divide every target by its norm.'}",
                stacklevel=stacklevel,
            )
        close = [f"{name} ({finding.error:.1e})" for name, finding in self.approximate.items()]
        if close:
            message = f"canonicalizer_for leaves what holds approximately: {', '.join(close)}. To break it, too, raise "
            warnings.warn(f"{message}tolerance.", stacklevel=stacklevel)
        if doubtful:
            message = f"canonicalizer_for leaves what it could not decide: {', '.join(doubtful)}."
            warnings.warn(message, stacklevel=stacklevel)
        return joined(parts)

    def __str__(self) -> str:
        rows = [("symmetry", "verdict", "error", "why"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def __rich__(self) -> Any:
        from rich.table import Table  # only rich calls this

        table = Table("symmetry", "verdict", "error", "why")
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [
            (name, finding.verdict, "" if math.isnan(finding.error) else f"{finding.error:.1e}", finding.reason)
            for name, finding in self.findings.items()
        ]
