"""Read and change files of training targets."""

from torch_symbreak.io.arrays import locked, read_array, write_file
from torch_symbreak.io.canonical import Plan, plan
from torch_symbreak.io.formats import open_file
from torch_symbreak.io.inspection import Found, inspect
from torch_symbreak.io.layouts import find
from torch_symbreak.io.targets import Targets
from torch_symbreak.io.template import fit_template, read_template

__all__ = [
    "Found",
    "Plan",
    "Targets",
    "find",
    "fit_template",
    "inspect",
    "locked",
    "open_file",
    "plan",
    "read_array",
    "read_template",
    "write_file",
]
