"""Align, and compute the error and the loss up to symmetry, beside the Fourier transforms that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.canonicalize import model_of, objects
from benchmarks.measure import Operations, Timing
from benchmarks.report import rates as figure
from torch_symbreak import OrbitMinLoss, RandomSymmetry, align, sa_mse

__all__ = ["cases", "figure", "notes"]


def transforms(x: Tensor, reference: Tensor) -> list[Tensor]:
    """Compute both spectra on the torus of 2 N, and a correlation for each orientation, of the whole batch at once."""
    dims = tuple(range(1, x.dim()))
    spectra = [torch.fft.fftn(z, s=[2 * n for n in x.shape[1:]], dim=dims) for z in (x, reference)]
    return [torch.fft.ifftn(z, dim=dims) for z in spectra]


def _operations(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Operations:
    symmetries = model_of(len(shape) - 1, dtype).symmetries
    reference = objects(shape, dtype)
    x = RandomSymmetry(symmetries, generator=torch.Generator().manual_seed(1))(reference)
    x = x + 0.05 * torch.randn(x.shape, dtype=dtype, generator=torch.Generator().manual_seed(2))
    x, reference = x.to(device), reference.to(device)
    estimate, loss = x.clone().requires_grad_(), OrbitMinLoss(symmetries)
    return {
        "align": lambda: align(x, reference, symmetries),
        "sa_mse": lambda: sa_mse(x, reference, symmetries),
        "OrbitMinLoss and its gradient": lambda: torch.autograd.grad(loss(estimate, reference), estimate),
        "4 padded FFTs": lambda: transforms(x, reference),
        "align, one by one": lambda: [align(a, b, symmetries) for a, b in zip(x, reference, strict=True)],
    }


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    shapes = ((16, 32, 32), (16, 256)) if quick else ((64, 64, 64), (64, 128, 128), (16, 256, 256), (256, 1024))
    volumes = (1, 16, 16, 16) if quick else (4, 32, 32, 32)
    for shape in (*shapes, volumes):
        for dtype in (torch.complex64, torch.complex128, torch.float32) if shape == shapes[0] else (torch.complex64,):
            parameters = {"N": " x ".join(map(str, shape[1:])), "batch": shape[0], "dtype": str(dtype)[6:]}
            yield Timing("far field", parameters, shape[0], lambda s=shape, dtype=dtype: _operations(s, dtype, device))


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    return {}
