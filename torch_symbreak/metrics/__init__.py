"""Metrics that respect symmetries."""

from torch_symbreak.metrics.comparison import Comparison, compare
from torch_symbreak.metrics.curves import Curve, frc, prtf
from torch_symbreak.metrics.errors import (
    measurement_residual,
    orbit_distance,
    relative_error,
    sa_mse,
    sa_nrmse,
    sa_psnr,
)
from torch_symbreak.metrics.modes import Modes, average_modes
from torch_symbreak.metrics.similarity import sa_ssim

__all__ = [
    "Comparison",
    "Curve",
    "Modes",
    "average_modes",
    "compare",
    "frc",
    "measurement_residual",
    "orbit_distance",
    "prtf",
    "relative_error",
    "sa_mse",
    "sa_nrmse",
    "sa_psnr",
    "sa_ssim",
]
