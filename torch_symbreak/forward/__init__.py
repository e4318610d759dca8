"""Measurement models that declare their symmetries."""

from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.forward.elementwise import ElementwiseSquare
from torch_symbreak.forward.far_field import FarField
from torch_symbreak.forward.gaussian import GaussianIntensity
from torch_symbreak.forward.named import NAMES, canonicalizer_of, event_dims_of

__all__ = [
    "NAMES",
    "ElementwiseSquare",
    "FarField",
    "ForwardModel",
    "GaussianIntensity",
    "canonicalizer_of",
    "event_dims_of",
]
