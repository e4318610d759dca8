"""Measurement models by name, for callers that cannot pass an object: the command line, files and experiments."""

from __future__ import annotations

from typing import Any

import torch

from torch_symbreak._checks import check_choice
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.forward.elementwise import ElementwiseSquare
from torch_symbreak.forward.far_field import FarField
from torch_symbreak.forward.gaussian import GaussianIntensity
from torch_symbreak.symmetries import Canonicalizer

#: Names of the models.
NAMES = ("farfield", "gaussian", "square")


def canonicalizer_of(
    name: str, dtype: torch.dtype, *, event_dims: int = 2, oversampling: float = 2.0, threshold: float = 1e-4
) -> Canonicalizer[Any]:
    """Return a model's canonicalizer for targets of a dtype. Its ``symmetry`` is the model's.

    Args:
        name: "farfield", "gaussian" or "square".
        dtype: Dtype of the targets.
        event_dims: Dimensions of one far-field object. Default 2. The other models fix theirs: :func:`event_dims_of`.
        oversampling: Detector pixels per object pixel along each axis of the far field. Default 2. Use 1 if both grids
            have the same size.
        threshold: Far-field pixels below this fraction of the peak count as background. Default 1e-4.

    Raises:
        ValueError: If no model has the name, or an option of the far field is out of range.

    Example:
        >>> canonicalizer_of("gaussian", torch.float32).symmetry
        Sign(event_dims=1, channel_dims=0)
        >>> canonicalizer_of("farfeild", torch.float32)
        Traceback (most recent call last):
        ...
        ValueError: forward needs to be one of farfield, gaussian, square, but got 'farfeild'. Did you mean 'farfield'?
    """
    check_choice("forward", name, NAMES)
    if name == "farfield":
        model = FarField(event_dims, oversampling=oversampling, field="complex" if dtype.is_complex else "real")
        return model.canonicalizer(threshold=threshold)
    # The canonicalizer depends on the field of the matrix only, so that any matrix stands for all.
    other: ForwardModel = (
        GaussianIntensity(torch.ones(1, 1, dtype=dtype)) if name == "gaussian" else ElementwiseSquare()
    )
    return other.canonicalizer()


def event_dims_of(name: str, event_dims: int) -> int:
    """Return how many dimensions one target of a model has: 1 for gaussian, 0 for square, else ``event_dims``.

    Args:
        name: "farfield", "gaussian" or "square".
        event_dims: Dimensions of one far-field object.

    Raises:
        ValueError: If no model has the name.

    Example:
        >>> [event_dims_of(name, 3) for name in NAMES]
        [3, 1, 0]
    """
    check_choice("forward", name, NAMES)
    return {"gaussian": 1, "square": 0}.get(name, event_dims)
