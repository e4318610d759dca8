"""Symmetries and their canonicalizers, one file each. A symmetry of your own derives from :class:`Symmetry`."""

from torch_symbreak.symmetries.base import Canonicalizer, Symmetry
from torch_symbreak.symmetries.conjugate_flip import ConjugateFlip, FixConjugateFlip
from torch_symbreak.symmetries.convolution_factors import ConvolutionFactors, FactorMove, FixConvolutionFactors
from torch_symbreak.symmetries.global_phase import FixGlobalPhase, GlobalPhase
from torch_symbreak.symmetries.motion import Motion, Rearrangement
from torch_symbreak.symmetries.orthogonal import FixOrthogonal, Orthogonal
from torch_symbreak.symmetries.phase_ramp import PhaseRamp
from torch_symbreak.symmetries.product import Element, Product
from torch_symbreak.symmetries.rigid_motion import FixRigidMotion, Rigid, RigidMotion
from torch_symbreak.symmetries.scalar import Scalar
from torch_symbreak.symmetries.scale import Scale
from torch_symbreak.symmetries.sign import FixSign, Sign
from torch_symbreak.symmetries.signed_permutation import FixSignedPermutation, Rows, SignedPermutation
from torch_symbreak.symmetries.translation import CenterContent, Translation

__all__ = [
    "Canonicalizer",
    "CenterContent",
    "ConjugateFlip",
    "ConvolutionFactors",
    "Element",
    "FactorMove",
    "FixConjugateFlip",
    "FixConvolutionFactors",
    "FixGlobalPhase",
    "FixOrthogonal",
    "FixRigidMotion",
    "FixSign",
    "FixSignedPermutation",
    "GlobalPhase",
    "Motion",
    "Orthogonal",
    "PhaseRamp",
    "Product",
    "Rearrangement",
    "Rigid",
    "RigidMotion",
    "Rows",
    "Scalar",
    "Scale",
    "Sign",
    "SignedPermutation",
    "Symmetry",
    "Translation",
]
