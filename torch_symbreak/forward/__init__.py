"""Measurement models that declare their symmetries."""

from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.forward.blind_convolution import BlindConvolution, Deconvolved
from torch_symbreak.forward.detector import Background, Mask, Measured, PoissonCounts, ReadoutNoise, beam_stop
from torch_symbreak.forward.elementwise import ElementwiseSquare
from torch_symbreak.forward.factorization import DistanceMatrix, GramMatrix
from torch_symbreak.forward.far_field import FarField
from torch_symbreak.forward.gaussian import GaussianIntensity
from torch_symbreak.forward.linear_mixing import LinearMixing, Mixture
from torch_symbreak.forward.named import NAMES, canonicalizer_of, event_dims_of

__all__ = [
    "NAMES",
    "Background",
    "BlindConvolution",
    "Deconvolved",
    "DistanceMatrix",
    "ElementwiseSquare",
    "FarField",
    "ForwardModel",
    "GaussianIntensity",
    "GramMatrix",
    "LinearMixing",
    "Mask",
    "Measured",
    "Mixture",
    "PoissonCounts",
    "ReadoutNoise",
    "beam_stop",
    "canonicalizer_of",
    "event_dims_of",
]
