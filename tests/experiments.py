"""Helpers of the tests of experiments: run the command, and compare rows."""

import sys

import pytest

pytest.importorskip("lightning")
from torch_symbreak import cli
from torch_symbreak.training import Hardware

CPU = Hardware(device="cpu")
#: Columns that depend on the clock or the machine.
CLOCK = ("seconds", "machine")


def symbreak(monkeypatch, *arguments):
    """Run the command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def numbers(rows):
    """Return the rows without the columns that differ between equal runs."""
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]
