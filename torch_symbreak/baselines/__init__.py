"""Baselines to compare the library with: the literal reading of Algorithm 2, and nearest neighbors."""

from torch_symbreak.baselines.literal import LiteralAlgorithm2
from torch_symbreak.baselines.neighbors import nearest_neighbors, nearest_others

__all__ = ["LiteralAlgorithm2", "nearest_neighbors", "nearest_others"]
