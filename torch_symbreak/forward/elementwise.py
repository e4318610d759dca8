"""The square root problem: ``y = x²``, entry by entry."""

from __future__ import annotations

from torch import Tensor

from torch_symbreak._checks import check_tensor, describe
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import FixSign, Sign


class ElementwiseSquare(ForwardModel):
    """Measure the square of every entry, ``y = x²``. The symmetry is a sign per entry.

    Shape: any real tensor to the same shape.

    Raises:
        TypeError: If the target is complex.

    Example:
        >>> import torch
        >>> model, x = ElementwiseSquare(), torch.tensor([-2.0, 3.0])
        >>> model(x)
        tensor([4., 9.])
        >>> model.canonicalizer()(x)
        tensor([2., 3.])

    References: Tayal et al., arXiv 2003.09077, the square root example; the talk, "Why more is less here?".
    """

    @property
    def symmetries(self) -> tuple[Sign]:
        return (Sign(0),)

    def canonicalizer(self) -> FixSign:
        return FixSign(0)

    def forward(self, x: Tensor) -> Tensor:
        check_tensor("ElementwiseSquare", x)
        if x.is_complex():
            raise TypeError(f"ElementwiseSquare needs a real target, but got {describe(x)}. Pass x.real or x.abs().")
        return x.square()
