"""The linear phase ramp, which an off-center detector adds to a reconstruction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_complex
from torch_symbreak._fourier import diffraction, transform_at
from torch_symbreak._items import batch_shape, flat_items, resolved
from torch_symbreak._random import uniform
from torch_symbreak.symmetries.base import Symmetry, check_element_batch, part_of


@dataclass(frozen=True)
class PhaseRamp(Symmetry):
    """Multiplication by ``exp(2 pi i q . n)``: it shifts the diffraction pattern by q M entries.

    No model declares it, because ``|F x|²`` changes. If the center of the detector is uncertain, name it beside the
    other symmetries, and an alignment finds it. It commutes with shifts and flips only up to a global phase. So a
    product of these must have ``GlobalPhase``. On periodic axes it does not commute with them, and a product refuses to
    act.

    Alignment takes the better of no ramp and the one that registers the diffraction patterns, which no other symmetry
    changes. It finds q to 1/3125 of a step of the padded grid, 1 / (2 N). This is exact, up to that step, for points of
    one orbit. For noisy ones a nearer ramp may exist.

    Shape: targets (*batch, *channels, *event), complex; elements q (*batch, d), float64, in cycles per entry.

    Args:
        event_dims: Trailing dimensions of one item. Default 2.
        channel_dims: Dimensions before the event that share its ramp. Default 0.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField, sa_mse
        >>> x = torch.randn(1, 8, 8, dtype=torch.complex64)
        >>> ramped = PhaseRamp().act(torch.tensor([[0.1, -0.2]], dtype=torch.float64), x)
        >>> known, unknown = FarField().symmetries, [*FarField().symmetries, PhaseRamp()]
        >>> bool(sa_mse(ramped, x, known) > 0.1), bool(sa_mse(ramped, x, unknown) < 1e-4)
        (True, True)
    """

    event_dims: int = 2
    least_dims = 1
    commutes = False
    exact = False
    counted = True

    def check(self, x: Any) -> None:
        super().check(x)
        check_complex(type(self).__name__, x, self.event_dims)

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        self.check(x)
        return uniform((*batch_shape(x, self.item_dims), self.event_dims), x.device, generator) - 0.5

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check(x)
        check_element_batch("PhaseRamp", batch_shape(x, self.item_dims), part_of("PhaseRamp", g).shape[:-1])
        if g.shape[-1:] != (self.event_dims,):
            raise ValueError(f"PhaseRamp needs elements (*batch, {self.event_dims}), but got {tuple(g.shape)}.")
        for axis in range(self.event_dims):
            size = x.shape[x.dim() - self.event_dims + axis]
            angle = 2 * math.pi * g[..., axis, None] * torch.arange(size, device=x.device)
            ramp = torch.polar(torch.ones_like(angle), angle).to(x.dtype)
            spread = [size if a == axis else 1 for a in range(self.event_dims)]
            x = x * ramp.reshape((*g.shape[:-1], *[1] * self.channel_dims, *spread))
        return resolved(x)

    def inverse(self, g: Tensor) -> Tensor:
        return -part_of("PhaseRamp", g)

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return part_of("PhaseRamp", g2) + part_of("PhaseRamp", g1)

    def identity(self, x: Tensor) -> Tensor:
        batch = batch_shape(x, self.item_dims)
        return torch.zeros((*batch, self.event_dims), dtype=torch.float64, device=x.device)

    def exchange(self, g: Tensor, shift: Tensor) -> Tensor:
        angle = 2 * math.pi * (g * shift).sum(-1)
        return torch.polar(torch.ones_like(angle), angle)

    def candidates(self, x: Tensor, reference: Tensor) -> Iterator[Tensor]:
        d, dims = self.event_dims, tuple(range(-self.event_dims, 0))
        shape = tuple(2 * n for n in x.shape[x.dim() - d :])
        # The ramp multiplies the autocorrelation at lag m by exp(2 pi i q . m).
        own, there = (
            torch.fft.ifftn(diffraction(z, shape, "backward", centered=False), dim=dims) for z in (x, reference)
        )
        if self.channel_dims:
            own, there = (z.sum(tuple(range(-self.item_dims, -d))) for z in (own, there))
        product = there * own.conj()
        best = flat_items(torch.fft.fftn(product, dim=dims).real, d).argmax(-1)
        q = torch.stack(torch.unravel_index(best, shape), -1) / torch.tensor(shape, device=x.device).double()
        step = 1 / torch.tensor(shape, dtype=torch.float64, device=x.device)
        offsets = torch.arange(-5, 6, dtype=torch.float64, device=x.device) / 5
        for _ in range(5):  # to 1/3125 of a step of the padded grid
            points = q[..., None] + step[:, None] * offsets
            best = transform_at(product, -points).real.argmax(-1)
            index = torch.stack(torch.unravel_index(best, (len(offsets),) * d), -1)
            q = points.gather(-1, index[..., None]).squeeze(-1)
            step = step / 5
        yield (q + 0.5) % 1 - 0.5
        yield torch.zeros_like(q)  # so that no ramp is never worse than none
