"""Symmetry breaking for end-to-end learning in nonlinear inverse problems.

Put a canonicalizer on the training targets, and every orbit has exactly one target (off a set of ties):

>>> import torch
>>> from torch_symbreak import FarField
>>> model = FarField(2)
>>> fix = model.canonicalizer()  # translation, conjugate flip and global phase
>>> x = torch.randn(8, 16, 16, dtype=torch.complex64)
>>> torch.allclose(fix(1j * x), fix(x), atol=1e-5)
True

The names below are those of daily use. All others are in the subpackages: ``datasets``, ``metrics``, ``symmetries``,
``canonical``, ``testing``, ``models``, ``interop``, ``io``.
"""

from torch_symbreak._checks import check_finite
from torch_symbreak._version import __version__
from torch_symbreak.alignment import align
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.datasets import CollateTransform, DeviceLoader, ScrambledDataset, SymmetryBrokenDataset
from torch_symbreak.forward import ElementwiseSquare, FarField, GaussianIntensity
from torch_symbreak.losses import MagnitudeLoss, OrbitMinLoss
from torch_symbreak.metrics import relative_error, sa_mse
from torch_symbreak.symmetries import CenterContent, FixConjugateFlip, FixGlobalPhase, FixSign
from torch_symbreak.transforms import FromChannels, OnKeys, OnRealImag, RandomSymmetry, ToChannels

__all__ = [
    "AlignToTemplate",
    "CenterContent",
    "CollateTransform",
    "DeviceLoader",
    "ElementwiseSquare",
    "FarField",
    "FixConjugateFlip",
    "FixGlobalPhase",
    "FixSign",
    "FromChannels",
    "GaussianIntensity",
    "MagnitudeLoss",
    "OnKeys",
    "OnRealImag",
    "OrbitMinLoss",
    "RandomSymmetry",
    "ScrambledDataset",
    "SymmetryBrokenDataset",
    "ToChannels",
    "__version__",
    "align",
    "check_finite",
    "relative_error",
    "sa_mse",
]
