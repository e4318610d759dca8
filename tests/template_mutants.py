"""Ways to break a template: its shifts, its gains, the twin and the fit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from draws import objects
from torch import Tensor

from torch_symbreak import FarField
from torch_symbreak._items import where_elements
from torch_symbreak.alignment import search
from torch_symbreak.alignment.search import Choice, nearest_choice
from torch_symbreak.canonical import AlignToTemplate, template
from torch_symbreak.symmetries import Canonicalizer, Motion, Product
from torch_symbreak.symmetries.motion import move, placement, source_indices

Patch = pytest.MonkeyPatch


def far_field(threshold: float = 1e-4, mean: float = 0.0) -> AlignToTemplate:
    t = mean + torch.randn(8, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    fix = FarField().canonicalizer(threshold=threshold, template=t)
    assert isinstance(fix, AlignToTemplate)
    return fix


def with_a_mean() -> AlignToTemplate:
    """On which shifts gain nearly alike, so that a faint background counts."""
    return far_field(threshold=0.05, mean=3.0)


def on_a_background() -> Tensor:
    """Content of .3 or more on a background of 1 %, both relative to the peak."""
    x = objects()
    x = torch.where(x != 0, torch.sgn(x) * (1 + x.abs().clamp(max=2)), 0) / 3
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(6))
    return x + 0.01 * noise / noise.abs().clamp(min=1)


def shifts_that_cut(patch: Patch) -> None:
    """All shifts compete, and cut what leaves the frame, as ``align`` has them."""

    def rearranged(self: AlignToTemplate, x: Tensor, choice: Choice, order: Any) -> tuple[Choice, Tensor, Tensor]:
        choice, moved, scalar = exact(self, x, choice, order)
        return choice, inside_the_frame(choice.motion, x) * moved, scalar

    exact = AlignToTemplate._rearranged
    patch.setattr(template, "nearest_inside", nearest_choice)
    patch.setattr(AlignToTemplate, "_rearranged", rearranged)


def inside_the_frame(motion: Motion, x: Tensor) -> Tensor:
    """Return whether entries of the frame, (*batch, *event), come from inside it."""
    rows, columns = (
        (source >= 0) & (source < size)
        for source, size in zip(source_indices(motion, x.shape[-2:]), x.shape[-2:], strict=True)
    )
    return rows[..., :, None] & columns[..., None, :]


def gains_of_the_cut(patch: Patch) -> None:
    """Admissible shifts of content of 5 x 6 compete, but a background that wraps with them gains nothing."""

    def choice(x: Tensor, t: Tensor, group: Product) -> Choice:
        assert group.rearrangement is not None
        box, motions, gains = group.rearrangement.box(x), [], []
        for row, column, turned in itertools.product(range(4), range(4), (False, True)):
            flipped = torch.full([len(x)], turned, device=x.device)
            motions.append(Motion(flipped, placement(*box, torch.tensor([row, column], device=x.device), flipped)))
            moved = inside_the_frame(motions[-1], x) * move(motions[-1], x, 2, 0)
            gains.append((moved * t.conj()).sum((-2, -1)).abs())
        best, each = torch.stack(gains).argmax(0), torch.arange(len(x), device=x.device)
        return Choice(Motion(*(torch.stack(part)[best, each] for part in zip(*motions, strict=True))))

    patch.setattr(template, "nearest_inside", choice)


def twin_without_conjugation(patch: Patch) -> None:
    exact = search.mirrored_spectra

    def spectra(reference: Tensor, group: Product, real: bool) -> Tensor:
        """The second image is that of the conjugate, so that two conjugations leave none."""
        return torch.stack([exact(image, group, real)[k] for k, image in enumerate((reference, reference.conj()))])

    patch.setattr(search, "mirrored_spectra", spectra)


class BySize(Canonicalizer[Product]):
    """Two templates, each for the items of its size: one point per orbit, on a set that is not convex."""

    convex = True

    def __init__(self, fix: AlignToTemplate) -> None:
        super().__init__(fix.symmetry)
        self.both = (fix, AlignToTemplate(fix.template.roll(1, -1), fix.symmetry))

    def element(self, x: Tensor) -> Any:
        large = x.abs().square().sum((-2, -1)) > 7 * x.abs().square().amax((-2, -1))
        return where_elements(large, *(fix.element(x) for fix in self.both))

    def margin(self, x: Tensor) -> Tensor:
        return torch.stack([fix.margin(x) for fix in self.both]).amin(0)


def by_size(patch: Patch) -> BySize:
    return BySize(far_field())


def mean_without_realigning(patch: Patch) -> None:
    """Align to the first template alone."""
    exact = template.iterate

    def iterate(x: Tensor, start: Tensor, align_to: Any, *rest: Any) -> Any:
        return exact(x, start, lambda t: align_to(start), *rest)

    patch.setattr(template, "iterate", iterate)
