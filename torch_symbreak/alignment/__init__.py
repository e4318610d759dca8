"""Alignment: the nearest point of an orbit to a reference."""

from torch_symbreak.alignment.nearest import Alignment, align

__all__ = ["Alignment", "align"]
