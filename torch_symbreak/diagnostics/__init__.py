"""Does my data set suffer? Find the symmetries of a measurement, and the transform that breaks them.

>>> import torch
>>> from torch_symbreak import FarField
>>> x = torch.nn.functional.pad(torch.randn(8, 9, 9, dtype=torch.complex64), (3, 4, 5, 2))
>>> report = symmetries_of(FarField(2), x, event_dims=2)
>>> list(report.holds)
['Translation', 'ConjugateFlip', 'GlobalPhase']
"""

from torch_symbreak.diagnostics.diagnose import diagnose
from torch_symbreak.diagnostics.discovery import canonicalizer_for, symmetries_of
from torch_symbreak.diagnostics.findings import Finding, SymmetryReport
from torch_symbreak.diagnostics.report import Report

__all__ = ["Finding", "Report", "SymmetryReport", "canonicalizer_for", "diagnose", "symmetries_of"]
