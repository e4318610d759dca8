"""Simulated Bragg crystals: convex polygons and polyhedra with a smooth strain phase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torch_symbreak._random import item_normal, item_uniform
from torch_symbreak.datasets.base import Pairs, Transform, check_model
from torch_symbreak.forward import FarField

#: Entries of crystals that are made at once on a CPU: what is needed in between stays in its cache.
_ENTRIES = 2**17


class BraggCrystals(Pairs):
    """Draw pairs (y, x): far-field diffraction and a random crystal, a convex polygon (2-D) or polyhedron (3-D).

    The crystal is the intersection of ``facets`` half-spaces in random directions with a box that keeps it inside the
    frame, at a random place. Its magnitude is 1 inside, 0 outside, and in between on the entries that an edge cuts.
    Its phase is a smooth random field (four plane waves of at most one period per crystal) of standard deviation
    ``strain``, the projected displacement that Bragg diffraction sees.

    Shape: y (M_1, ..., M_d) float32, x (N_1, ..., N_d) complex64, d = 2 or 3.

    Args:
        size: Number of pairs.
        frame: The frame (N_1, ..., N_d), each at least 4. Default (32, 32).
        forward: The model. Default ``FarField(d)``.
        facets: Number of half-spaces. Default 6.
        strain: Standard deviation of the phase, in radians. Default 1.0.
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``forward.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device on which items are made. Default "cpu".

    Example:
        >>> from torch_symbreak import FarField
        >>> model = FarField(2)
        >>> y, x = BraggCrystals(10, frame=(24, 24), target_transform=model.canonicalizer())[0]
        >>> y.shape, x.shape, x.dtype
        (torch.Size([48, 48]), torch.Size([24, 24]), torch.complex64)

    References: crystals of the kind in Zhang et al., arXiv 2403.15448 (whose generator is not public: this is ours).
    """

    def __init__(
        self,
        size: int,
        *,
        frame: Sequence[int] = (32, 32),
        forward: FarField | None = None,
        facets: int = 6,
        strain: float = 1.0,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        frame = (frame,) if isinstance(frame, int) else tuple(frame)
        if len(frame) not in (2, 3) or min(frame) < 4:
            raise ValueError(f"BraggCrystals needs a frame of 2 or 3 axes of at least 4 entries, but got {frame}.")
        forward = FarField(len(frame)) if forward is None else forward
        check_model("BraggCrystals", forward, len(frame))
        if not isinstance(facets, int) or facets < 1 or not math.isfinite(strain):
            raise ValueError(f"BraggCrystals needs facets >= 1 and a finite strain, but got {facets!r} and {strain!r}.")
        super().__init__(size, forward, seed, transform, target_transform, device)
        self.frame = frame
        self.facets = facets
        self.strain = strain

    def objects(self, index: Tensor) -> Tensor:
        step = max(1, _ENTRIES // math.prod(self.frame)) if index.device.type == "cpu" else len(index)
        return torch.cat([self._objects(part) for part in index.split(step)])

    def _objects(self, index: Tensor) -> Tensor:
        d, count = len(self.frame), len(index)
        frame = torch.tensor(self.frame, dtype=torch.float64, device=index.device)
        # Half the size of the surrounding box, 0.2 to 0.4 of the frame per axis, and a center that keeps it inside.
        half = (0.2 + 0.2 * item_uniform(self.seed, index, (d,), stream=0)) * (frame - 1)
        room = frame - 1 - 2 * half
        center = half + room * item_uniform(self.seed, index, (d,), stream=1)

        grid = torch.meshgrid(
            *(torch.arange(n, device=index.device, dtype=torch.float64) for n in self.frame), indexing="ij"
        )
        point = torch.stack(grid, -1).reshape(1, -1, d) - center[:, None]  # (B, P, d), in entries

        # Depth below the nearest face, in entries: the box's faces, then the random ones.
        depth = (half[:, None] - point.abs()).amin(-1)
        normal = item_normal(self.seed, index, (self.facets, d), stream=2)
        normal = normal / torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
        distance = (0.55 + 0.45 * item_uniform(self.seed, index, (self.facets,), stream=3)) * half.amin(
            -1, keepdim=True
        )
        depth = torch.minimum(depth, (distance[:, None] - point @ normal.mT).amin(-1))
        magnitude = (depth + 0.5).clamp(0, 1)

        waves = 4
        frequency = 2 * item_uniform(self.seed, index, (waves, d), stream=4) - 1  # periods per box
        offset = item_uniform(self.seed, index, (waves,), stream=5)
        weight = item_normal(self.seed, index, (waves,), stream=6) * math.sqrt(2 / waves)
        turns = (point / (2 * half)[:, None]) @ frequency.mT + offset[:, None]
        phase = self.strain * (torch.cos(2 * math.pi * turns) * weight[:, None]).sum(-1)
        return torch.polar(magnitude, phase).to(torch.complex64).reshape(count, *self.frame)
