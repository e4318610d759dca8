"""The names of daily use, loaded when the first of them is used."""

from torch_symbreak._checks import check_finite
from torch_symbreak._version import __version__
from torch_symbreak.alignment import align
from torch_symbreak.canonical import AlignToTemplate, suggest_threshold
from torch_symbreak.datasets import CollateTransform, DeviceLoader, ScrambledDataset, SymmetryBrokenDataset
from torch_symbreak.forward import (
    BlindConvolution,
    DistanceMatrix,
    ElementwiseSquare,
    FarField,
    GaussianIntensity,
    GramMatrix,
    LinearMixing,
)
from torch_symbreak.losses import MagnitudeLoss, OrbitMinLoss
from torch_symbreak.metrics import relative_error, sa_mse
from torch_symbreak.symmetries import CenterContent, FixConjugateFlip, FixGlobalPhase, FixSign
from torch_symbreak.transforms import FromChannels, OnKeys, OnRealImag, RandomSymmetry, ToChannels

__all__ = [
    "AlignToTemplate",
    "BlindConvolution",
    "CenterContent",
    "CollateTransform",
    "DeviceLoader",
    "DistanceMatrix",
    "ElementwiseSquare",
    "FarField",
    "FixConjugateFlip",
    "FixGlobalPhase",
    "FixSign",
    "FromChannels",
    "GaussianIntensity",
    "GramMatrix",
    "LinearMixing",
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
    "suggest_threshold",
]
