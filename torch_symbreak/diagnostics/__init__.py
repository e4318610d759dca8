"""Does my data set suffer, and is it cured? Diagnose a data set before anyone trains."""

from torch_symbreak.diagnostics.diagnose import diagnose
from torch_symbreak.diagnostics.report import Report

__all__ = ["Report", "diagnose"]
