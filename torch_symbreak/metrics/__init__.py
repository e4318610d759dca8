"""Metrics that respect symmetries."""

from torch_symbreak.metrics.alignment import Alignment, align, sa_mse

__all__ = ["Alignment", "align", "sa_mse"]
