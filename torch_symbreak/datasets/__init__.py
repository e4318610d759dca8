"""Data sets: synthetic pairs, complex images, and wrappers for a user's own."""

from torch_symbreak.datasets.atoms import Atoms
from torch_symbreak.datasets.blurred import BlurredShapes
from torch_symbreak.datasets.crystals import BraggCrystals
from torch_symbreak.datasets.images import ComplexImages
from torch_symbreak.datasets.loading import CollateTransform, DeviceLoader
from torch_symbreak.datasets.mixed_sources import MixedSources
from torch_symbreak.datasets.point_clouds import PointClouds
from torch_symbreak.datasets.synthetic import GaussianPairs, SquareRoots
from torch_symbreak.datasets.wrappers import ScrambledDataset, SymmetryBrokenDataset

__all__ = [
    "Atoms",
    "BlurredShapes",
    "BraggCrystals",
    "CollateTransform",
    "ComplexImages",
    "DeviceLoader",
    "GaussianPairs",
    "MixedSources",
    "PointClouds",
    "ScrambledDataset",
    "SquareRoots",
    "SymmetryBrokenDataset",
]
