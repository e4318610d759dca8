"""Baselines that the library is compared with."""

from torch_symbreak.baselines.literal import LiteralAlgorithm2

__all__ = ["LiteralAlgorithm2"]
