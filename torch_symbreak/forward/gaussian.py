"""Gaussian phase retrieval: ``y = |A x|²``."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_symbreak._checks import Field, check_choice, check_field, check_target, check_tensor
from torch_symbreak._items import autocast_type, power, resolved
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import FixGlobalPhase, FixSign, GlobalPhase, Sign


class GaussianIntensity(ForwardModel):
    """Measure ``y = |A x|²``. The symmetry is a global sign if A is real, and a global phase if A is complex.

    The matrix is a buffer: it moves with ``.to(device)`` and is saved in ``state_dict``. ``canonicalizer()`` makes the
    last entry of every target real and positive.

    Shape: (*batch, n) to (*batch, m), real.

    Args:
        A: Matrix (m, n), real for ``field="real"``, complex for ``field="complex"``. See :meth:`draw`.

    Raises:
        TypeError: If A or the target is no floating-point or complex tensor, or their fields differ.
        ValueError: If A is no matrix, or the target does not have n entries.

    Example:
        >>> import torch
        >>> model = GaussianIntensity.draw(8, 3, generator=torch.Generator().manual_seed(0))
        >>> x = torch.tensor([[1.0, 2.0, -3.0]])
        >>> torch.equal(model(-x), model(x)), model.canonicalizer()(x)
        (True, tensor([[-1., -2.,  3.]]))

    References: the talk, "A slightly more complicated example"; Zhang et al., arXiv 2403.15448.
    """

    A: Tensor

    def __init__(self, A: Tensor) -> None:
        super().__init__()
        check_tensor("GaussianIntensity", A, what="matrix A")
        if A.dim() != 2 or 0 in A.shape:
            raise ValueError(f"GaussianIntensity needs a non-empty matrix A of shape (m, n), but got {tuple(A.shape)}.")
        self.register_buffer("A", resolved(A))

    @classmethod
    def draw(
        cls, m: int, n: int, *, field: Field = "real", generator: torch.Generator | None = None
    ) -> GaussianIntensity:
        """Draw A with independent entries of mean 0 and variance 1 (complex: 1/2 in each part), single precision.

        Args:
            m: Number of measurements; 4 n is usual.
            n: Number of unknowns.
            field: "real" (default) or "complex".
            generator: Source of random numbers. Default: torch's global generator.
        """
        check_choice("field", field, ("real", "complex"))
        dtype = torch.float32 if field == "real" else torch.complex64
        device = "cpu" if generator is None else generator.device
        return cls(torch.randn(m, n, dtype=dtype, generator=generator, device=device))

    @property
    def field(self) -> Field:
        """Return "complex" or "real", by the dtype of A."""
        return "complex" if self.A.is_complex() else "real"

    @property
    def symmetries(self) -> tuple[Sign] | tuple[GlobalPhase]:
        return (GlobalPhase(1),) if self.A.is_complex() else (Sign(1),)

    def canonicalizer(self) -> FixSign | FixGlobalPhase:
        return FixGlobalPhase(1, anchor=-1) if self.A.is_complex() else FixSign(1, anchor=-1)

    def forward(self, x: Tensor) -> Tensor:
        check_target("GaussianIntensity", x, 1, least=1)
        check_field("GaussianIntensity", x, self.field, 1)
        if x.shape[-1] != self.A.shape[1]:
            raise ValueError(
                f"GaussianIntensity has A of shape {tuple(self.A.shape)} and needs targets of shape "
                f"(*batch, {self.A.shape[1]}), but got {tuple(x.shape)}."
            )
        dtype = torch.promote_types(x.dtype, self.A.dtype)
        with torch.autocast(autocast_type(x), enabled=False):  # half precision is too coarse for a measurement
            return power(x.to(dtype) @ self.A.to(dtype).mT)

    def extra_repr(self) -> str:
        return f"A=<{self.A.dtype} of shape {tuple(self.A.shape)}>"
