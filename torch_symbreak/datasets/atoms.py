"""Atoms on a periodic grid: the benchmark of Elser, Lan and Bendory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torch_symbreak._fourier import diffraction
from torch_symbreak._random import item_uniform
from torch_symbreak.datasets.base import Pairs, Transform, check_index
from torch_symbreak.forward import FarField

#: Standard deviation of an atom's density in pixels, its pixels, and the least distance between two atoms in pixels.
_WIDTH, PIXELS, _APART = 0.35, 8, 3.0
#: Candidates for the place of each atom.
_CANDIDATES = 8


class Atoms(Pairs):
    """Draw pairs (y, x): diffraction of a periodic grid, and equal atoms at random places on it.

    An atom is a Gaussian of height 1 and standard deviation .35 pixels, at any place between the pixels. Eight
    pixels hold all of its power to 1e-6. Centers are at least 3 pixels apart. A solver knows only the number of
    atoms: pass it ``support_size=data.support_size``, ``nonnegative=True`` and ``mask=data.mask``. The mask leaves out
    the zero frequency, as in an experiment.

    Shape: y (N_1, ..., N_d) float32, x (N_1, ..., N_d) float32, d = 1, 2 or 3.

    Args:
        size: Number of pairs.
        atoms: Atoms per object. Default 100.
        frame: The frame (N_1, ..., N_d). Default (128, 128).
        seed: Item i is a function of (seed, i) alone. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample. Default: none.
        device: Device on which items are made. Default "cpu".

    Raises:
        ValueError: If the frame has no room for the atoms.

    Example: the 8 N largest pixels hold nearly all power.
        >>> data = Atoms(2, atoms=10, frame=(32, 32))
        >>> y, x = data[0]
        >>> largest = x.flatten().topk(data.support_size).values
        >>> y.shape, bool(largest.square().sum() > 0.98 * x.square().sum())
        (torch.Size([32, 32]), True)

    References: Elser, Lan, Bendory, SIAM J. Imaging Sciences 11, 2429 (2018). The places and the profile are ours.
    """

    def __init__(
        self,
        size: int,
        *,
        atoms: int = 100,
        frame: Sequence[int] = (128, 128),
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        frame = (frame,) if isinstance(frame, int) else tuple(frame)
        if len(frame) not in (1, 2, 3) or min(frame) < 4:
            raise ValueError(f"Atoms needs a frame of 1 to 3 axes of at least 4 entries, but got {frame}.")
        if isinstance(atoms, bool) or not isinstance(atoms, int) or atoms < 1:
            raise ValueError(f"Atoms needs an int atoms >= 1, but got {atoms!r}.")
        if atoms * (_APART + 1) ** len(frame) > math.prod(frame):
            most = int(math.prod(frame) / (_APART + 1) ** len(frame))
            raise ValueError(f"Atoms needs atoms <= {most} in a frame of {frame}, but got {atoms}.")
        super().__init__(
            size, FarField(len(frame), oversampling=1, field="real"), seed, transform, target_transform, device
        )
        self.atoms = atoms
        self.frame = frame

    @property
    def support_size(self) -> int:
        """Return the number of pixels that atoms occupy, 8 per atom."""
        return PIXELS * self.atoms

    @property
    def mask(self) -> Tensor:
        """Return the mask of y, (N_1, ..., N_d), True where measured. Only the zero frequency is not."""
        mask = torch.ones(self.frame, dtype=torch.bool, device=self.device)
        mask[(0,) * len(self.frame)] = False
        return mask

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor([check_index(i, self.size) for i in indices], dtype=torch.int64, device=self.device)
        x = self.objects(index)
        # Not by the model, which warns that a periodic measurement alone determines nothing.
        return diffraction(x, self.frame, "backward", False), x

    def objects(self, index: Tensor) -> Tensor:
        d = len(self.frame)
        frame = torch.tensor(self.frame, dtype=torch.float64, device=index.device)
        drawn = frame * item_uniform(self.seed, index, (_CANDIDATES * self.atoms, d))
        places = torch.full((len(index), self.atoms, d), math.inf, dtype=torch.float64, device=index.device)
        count = torch.zeros_like(index)
        rows = torch.arange(len(index), device=index.device)
        for candidate in drawn.unbind(1):
            away = (candidate[:, None] - places).abs()
            away = torch.minimum(away, frame - away).square().sum(-1)  # infinite if there is no atom yet
            free = (away.nan_to_num(math.inf, math.inf, math.inf).amin(1) >= _APART**2) & (count < self.atoms)
            places[rows[free], count[free]] = candidate[free]
            count += free
        if bool((count < self.atoms).any()):
            raise ValueError(f"Atoms found no room for {self.atoms} atoms in a frame of {self.frame}. Use fewer.")
        density: Tensor | None = None
        for axis, size in enumerate(self.frame):
            away = (torch.arange(size, device=index.device) - places[..., axis, None]).abs()
            away = torch.minimum(away, size - away)
            profile = torch.exp(-away.square() / (2 * _WIDTH**2))  # (B, atoms, N)
            density = (
                profile
                if density is None
                else density[..., None] * profile.reshape(*profile.shape[:2], *[1] * axis, size)
            )
        assert density is not None
        return density.sum(1).float()
