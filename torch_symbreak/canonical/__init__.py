"""Canonicalizers of whole groups."""

from torch_symbreak.canonical.backends import using
from torch_symbreak.canonical.far_field import FarFieldCanonicalizer

__all__ = ["FarFieldCanonicalizer", "using"]
