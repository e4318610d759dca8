"""Canonicalizers of whole groups."""

from torch_symbreak.canonical.backends import using
from torch_symbreak.canonical.far_field import FarFieldCanonicalizer
from torch_symbreak.canonical.in_turn import FixInTurn
from torch_symbreak.canonical.template import AlignToTemplate
from torch_symbreak.canonical.thresholds import suggest_threshold

__all__ = ["AlignToTemplate", "FarFieldCanonicalizer", "FixInTurn", "suggest_threshold", "using"]
