"""The ``symbreak`` command. Each of its commands is one file here."""

from torch_symbreak.cli._run import main

__all__ = ["main"]
