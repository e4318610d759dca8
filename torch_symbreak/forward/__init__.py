"""Measurement models that declare their symmetries."""

from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.forward.elementwise import ElementwiseSquare
from torch_symbreak.forward.far_field import FarField
from torch_symbreak.forward.gaussian import GaussianIntensity

__all__ = ["ElementwiseSquare", "FarField", "ForwardModel", "GaussianIntensity"]
