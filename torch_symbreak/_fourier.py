"""Fourier conventions, in one place: ``torch.fft``, unnormalized forward, zero-padding at the end, index 0 is DC."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torch_symbreak._items import power


def detector_shape(frame: Sequence[int], oversampling: float) -> tuple[int, ...]:
    """Return ``M = ceil(s N - 1e-9)`` per axis. The guard keeps 1.1 * 10 from becoming 12."""
    return tuple(math.ceil(oversampling * n - 1e-9) for n in frame)


def spectrum(x: Tensor, shape: Sequence[int], norm: str = "backward", *, half: bool = False) -> Tensor:
    """Transform the last ``len(shape)`` dimensions, zero-padded to ``shape``; of real x the half k >= 0 if ``half``.

    In one call: axis by axis, without the transforms of zeros, the copies between the axes cost more than is saved.
    """
    transform = torch.fft.rfftn if half else torch.fft.fftn
    return transform(x, s=tuple(shape), dim=tuple(range(-len(shape), 0)), norm=norm)


def diffraction(x: Tensor, shape: Sequence[int], norm: str, centered: bool) -> Tensor:
    """Return ``|F x|²`` over the last ``len(shape)`` dimensions, zero-padded to ``shape``."""
    dims = tuple(range(-len(shape), 0))
    if x.is_complex():
        intensity = power(spectrum(x, shape, norm))
    else:
        # |F(-k)| = |F(k)| for real x: the missing half is the mirror image, k -> -k modulo M, of the half at hand.
        half = power(spectrum(x, shape, norm, half=True))
        mirror = half[..., 1 : (shape[-1] + 1) // 2].flip(dims)
        if len(shape) > 1:
            mirror = mirror.roll([1] * (len(shape) - 1), dims[:-1])
        intensity = torch.cat([half, mirror], -1)
    return torch.fft.fftshift(intensity, dim=dims) if centered else intensity


def correlate(fx: Tensor, fr: Tensor, d: int, *, flipped: bool, halves: bool = False) -> Tensor:
    """Return ``<g . x, r>`` for every shift t on the torus of the spectra of x and r over d dimensions.

    g flips and conjugates if ``flipped``; the result is then conjugated, to save a pass over it. With ``halves`` the
    shifts go in steps of half an entry, by Fourier interpolation: (*batch, 2 M_1, ..., 2 M_d).
    """
    dims = tuple(range(-d, 0))
    cross = fx * (fr if flipped else fr.conj())
    if halves:
        for dim in dims:
            size = cross.shape[dim]
            wide = cross.new_zeros([2 * n if cross.dim() + dim == a else n for a, n in enumerate(cross.shape)])
            cross = wide.index_copy(dim, frequencies(size, fx.device).long() % (2 * size), 2 * cross)
    # The inverse transform of conj(c) is the conjugate of c's forward one.
    return torch.fft.ifftn(cross, dim=dims) if flipped else torch.fft.fftn(cross, dim=dims, norm="forward")


def frequencies(size: int, device: torch.device) -> Tensor:
    """Return the signed frequencies of a transform of length ``size``, in cycles per transform: 0, 1, ..., -1."""
    return torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=device)


def fourier_move(x: Tensor, flipped: Tensor, shift: Tensor, shape: Sequence[int]) -> Tensor:
    """Shift by fractions of an entry, and flip and conjugate, on the torus of ``shape``, to which x is zero-padded.

    ``flipped`` broadcasts to what is before the event, ``shift`` is that with (d,) behind it.
    """
    d, dims = len(shape), tuple(range(-len(shape), 0))
    fx = spectrum(x, shape)
    fx = torch.where(flipped.reshape((*flipped.shape, *[1] * d)), fx.conj(), fx)
    for axis, size in enumerate(shape):
        angle = -2 * math.pi / size * shift[..., axis, None] * frequencies(size, x.device)
        phase = torch.polar(torch.ones_like(angle), angle).to(fx.dtype)
        fx = fx * phase.reshape((*angle.shape[:-1], *[size if a == axis else 1 for a in range(d)]))
    moved = torch.fft.ifftn(fx, dim=dims)
    return moved if x.is_complex() else moved.real


def transform_at(values: Tensor, points: Tensor) -> Tensor:
    """Return ``sum_k values(k) exp(2 pi i k . p)``, k signed, on a grid of points p.

    This is a matrix Fourier transform, axis by axis.

    Shape: values (*batch, M_1, ..., M_d), points (*batch, d, U) in cycles per k, to (*batch, U^d).
    """
    batch, d = points.shape[:-2], points.shape[-2]
    for axis, size in enumerate(values.shape[values.dim() - d :]):
        angle = 2 * math.pi * frequencies(size, values.device)[:, None] * points[..., axis, None, :]
        kernel = torch.polar(torch.ones_like(angle), angle)  # (*batch, M, U)
        # The axis comes first among those not yet contracted, and goes last.
        flat = values.reshape(*batch, size, math.prod(values.shape[len(batch) :]) // size)
        values = (
            (flat.transpose(-1, -2) @ kernel)
            .flatten(-2)
            .unflatten(-1, (*values.shape[len(batch) + 1 :], points.shape[-1]))
        )
    return values.flatten(len(batch))
