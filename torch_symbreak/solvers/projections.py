"""The projection onto measured Fourier magnitudes, and the R-factor of an estimate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torch_symbreak._items import power

#: Return the nearest point of a set to an iterate, (B, *M) to (B, *M).
Projection = Callable[[Tensor], Tensor]


class Magnitudes:
    """Project iterates onto those with the measured Fourier magnitudes. Unmeasured pixels keep the iterate's values.

    Transforms are orthonormal, with zero frequency at index 0. Real iterates take the real transform.

    Shape: magnitudes (B, *M), iterates (B, *M), complex or real, to the same.

    Args:
        magnitudes: Square roots of the intensities. If iterates are real, only their mean over k and -k counts.
        measured: True where measured, (B, *M) or (1, *M). Default: everywhere.
        real: Iterates are real. Default False.

    Example: the zero frequency is not measured and stays.
        >>> x = torch.tensor([[3.0, 1.0, 0.0, 0.0]], dtype=torch.complex64)
        >>> measured = torch.tensor([[False, True, True, True]])
        >>> found = Magnitudes(torch.ones(1, 4), measured)(x)
        >>> torch.fft.fft(found, norm="ortho").abs()
        tensor([[2., 1., 1., 1.]])
    """

    def __init__(self, magnitudes: Tensor, measured: Tensor | None = None, *, real: bool = False) -> None:
        self.shape = tuple(magnitudes.shape[1:])
        self.real = real
        if measured is None:
            measured = torch.ones_like(magnitudes[:1], dtype=torch.bool)
        if real:
            magnitudes, measured = _mirrored(magnitudes, measured)
        self.magnitudes = torch.where(measured, magnitudes, 0)
        self.free = None if bool(measured.all()) else (~measured).to(magnitudes.dtype).expand_as(self.magnitudes)

    def spectrum(self, x: Tensor) -> Tensor:
        """Return the transform of iterates: (B, *M), or the half k >= 0 of the last axis if they are real."""
        dims = tuple(range(1, x.dim()))
        return torch.fft.rfftn(x, dim=dims, norm="ortho") if self.real else torch.fft.fftn(x, dim=dims, norm="ortho")

    def __call__(self, x: Tensor) -> Tensor:
        spectrum = self.spectrum(x)
        # The clamp leaves an exact zero where it is: its phase is unknown.
        ratio = power(spectrum).clamp_(min=torch.finfo(self.magnitudes.dtype).tiny).rsqrt_()
        ratio = ratio.mul_(self.magnitudes) if self.free is None else torch.addcmul(self.free, ratio, self.magnitudes)
        spectrum = spectrum * ratio
        dims = tuple(range(1, x.dim()))
        if self.real:
            return torch.fft.irfftn(spectrum, s=self.shape, dim=dims, norm="ortho")
        return torch.fft.ifftn(spectrum, dim=dims, norm="ortho")


def _mirrored(magnitudes: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of measured magnitudes at k and -k, for k >= 0 on the last axis, and whether either is measured.

    Real parts of a projected iterate have that mean.
    """
    dims = tuple(range(1, magnitudes.dim()))
    known = torch.where(measured, magnitudes, 0)
    other, also = (z.flip(dims).roll([1] * len(dims), dims) for z in (known, measured))
    count = measured.to(known.dtype) + also
    half = magnitudes.shape[-1] // 2 + 1
    return ((known + other) / count.clamp(min=1))[..., :half], (count > 0)[..., :half]


class Residual:
    """Measure the R-factor of estimates, ``sum | |F x| - sqrt(y) | / sum sqrt(y)``, over chosen pixels.

    Shape: estimates (B, *M), to (B,).

    Args:
        magnitudes: Square roots of the intensities, (B, *M).
        pixels: True where pixels count, (B, *M) or (1, *M).
        real: Estimates are real. Default False.

    Example: estimates that fit all pixels have 0.
        >>> x = torch.randn(2, 8, dtype=torch.complex64)
        >>> pixels = torch.ones(1, 8, dtype=torch.bool)
        >>> residual = Residual(torch.fft.fft(x, norm="ortho").abs(), pixels)
        >>> bool((residual(torch.fft.fft(x, norm="ortho")) < 1e-6).all())
        True
    """

    def __init__(self, magnitudes: Tensor, pixels: Tensor, *, real: bool = False) -> None:
        weight = pixels.to(magnitudes.dtype)
        if real:  # half of the spectrum says all: a pixel stands for k and -k, unless both are in that half
            size = magnitudes.shape[-1]
            magnitudes, _ = _mirrored(magnitudes, pixels)
            dims = tuple(range(1, weight.dim()))
            column = torch.arange(size // 2 + 1, device=weight.device)
            share = torch.where((column == 0) | (2 * column == size), 0.5, 1.0).to(weight)
            weight = (weight + weight.flip(dims).roll([1] * len(dims), dims))[..., : size // 2 + 1] * share
        self.weight = weight.expand_as(magnitudes)
        self.magnitudes = magnitudes
        self.total = (self.weight * magnitudes).flatten(1).sum(1)

    def __call__(self, spectrum: Tensor) -> Tensor:
        difference = (spectrum.abs() - self.magnitudes).abs_().mul_(self.weight)
        return difference.flatten(1).sum(1) / self.total
