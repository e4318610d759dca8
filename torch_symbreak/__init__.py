"""Symmetry breaking for end-to-end learning in nonlinear inverse problems.

Put a canonicalizer on the training targets, and every orbit has exactly one target (off a set of ties):

>>> import torch
>>> from torch_symbreak import FarField
>>> model = FarField(2)
>>> fix = model.canonicalizer()  # translation, conjugate flip and global phase
>>> x = torch.randn(8, 16, 16, dtype=torch.complex64)
>>> torch.allclose(fix(1j * x), fix(x), atol=1e-5)
True
"""

from torch_symbreak._checks import check_finite
from torch_symbreak._version import __version__
from torch_symbreak.alignment import Alignment, align
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.datasets import (
    BraggCrystals,
    CollateTransform,
    ComplexImages,
    DeviceLoader,
    GaussianPairs,
    ScrambledDataset,
    SquareRoots,
    SymmetryBrokenDataset,
)
from torch_symbreak.forward import ElementwiseSquare, FarField, ForwardModel, GaussianIntensity
from torch_symbreak.losses import MagnitudeLoss, OrbitMinLoss
from torch_symbreak.metrics import (
    Curve,
    Modes,
    average_modes,
    frc,
    measurement_residual,
    orbit_distance,
    prtf,
    relative_error,
    sa_mse,
    sa_nrmse,
    sa_psnr,
    sa_ssim,
)
from torch_symbreak.symmetries import (
    Canonicalizer,
    CenterContent,
    ConjugateFlip,
    Element,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    GlobalPhase,
    Motion,
    PhaseRamp,
    Product,
    Rearrangement,
    Scalar,
    Scale,
    Sign,
    Symmetry,
    Translation,
)
from torch_symbreak.transforms import FromChannels, OnKeys, OnRealImag, RandomSymmetry, ToChannels

__all__ = [
    "Alignment",
    "BraggCrystals",
    "Canonicalizer",
    "CenterContent",
    "CollateTransform",
    "ComplexImages",
    "ConjugateFlip",
    "Curve",
    "DeviceLoader",
    "Element",
    "ElementwiseSquare",
    "FarField",
    "FarFieldCanonicalizer",
    "FixConjugateFlip",
    "FixGlobalPhase",
    "FixSign",
    "ForwardModel",
    "FromChannels",
    "GaussianIntensity",
    "GaussianPairs",
    "GlobalPhase",
    "MagnitudeLoss",
    "Modes",
    "Motion",
    "OnKeys",
    "OnRealImag",
    "OrbitMinLoss",
    "PhaseRamp",
    "Product",
    "RandomSymmetry",
    "Rearrangement",
    "Scalar",
    "Scale",
    "ScrambledDataset",
    "Sign",
    "SquareRoots",
    "Symmetry",
    "SymmetryBrokenDataset",
    "ToChannels",
    "Translation",
    "__version__",
    "align",
    "average_modes",
    "check_finite",
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
