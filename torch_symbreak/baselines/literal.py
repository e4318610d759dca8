"""Our literal reading of Algorithm 2 (Zhang et al., arXiv 2403.15448), to compare with; not a canonicalizer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_symbreak.transforms import CenterContent


class LiteralAlgorithm2(nn.Module):
    """Our literal reading of Algorithm 2 for images, on the padded grid.

    Center the bounding box at ``(M - L) // 2`` on the grid of M = 2 N; transform; divide out the phase of the DC
    coefficient; conjugate the spectrum where coefficient (0, 1), the talk's (1, 2), is not in the upper half circle;
    transform back; crop the middle N. It leaves two points of an orbit with two representatives if their
    orientations differ: conjugating the spectrum flips about index 0, which moves a centered box by one entry if its
    length is even and by two if it is odd, and coefficient (0, 1) sees that.

    Shape: (*batch, N1, N2), complex, to the same.

    Example: one object, two representatives (the exact transform has one).
        >>> import torch
        >>> from torch_symbreak import FarField, RandomSymmetry
        >>> x = torch.randn(200, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        >>> scramble = RandomSymmetry(FarField().symmetries, generator=torch.Generator().manual_seed(0))
        >>> literal, exact = LiteralAlgorithm2(), FarField().canonicalizer()
        >>> torch.allclose(literal(scramble(x)), literal(x), atol=1e-3)
        False
        >>> torch.allclose(exact(scramble(x)), exact(x), atol=1e-3)
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        n1, n2 = x.shape[-2:]
        grid = torch.zeros(*x.shape[:-2], 2 * n1, 2 * n2, dtype=x.dtype, device=x.device)
        grid[..., :n1, :n2] = x
        spectrum = torch.fft.fft2(CenterContent(2)(grid))
        spectrum = spectrum * torch.sgn(spectrum[..., :1, :1]).conj()
        spectrum = torch.where(spectrum[..., :1, 1:2].imag > 0, spectrum, spectrum.conj())
        back: Tensor = torch.fft.ifft2(spectrum)
        return back[..., n1 // 2 : n1 // 2 + n1, n2 // 2 : n2 // 2 + n2]
