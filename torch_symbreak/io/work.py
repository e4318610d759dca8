"""Work on one block of targets, in any process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak.io.formats import Index, Region, Sink
from torch_symbreak.io.layouts import shortened
from torch_symbreak.io.provenance import element_arrays
from torch_symbreak.io.runs import opened, reading
from torch_symbreak.io.targets import also_layout, moved_beside
from torch_symbreak.symmetries import Canonicalizer, Element, Product

if TYPE_CHECKING:
    from torch_symbreak.io.canonical import Plan


class Bad(NamedTuple):
    """Entries that are not finite."""

    nans: int
    infinite: int
    target: int
    place: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """Hold all that a worker needs to do any block."""

    plan: Plan
    elements_in: Path  # the file that has the elements to undo
    sinks: tuple[Sink, ...]
    elements: dict[str, Region]

    def __call__(self, block: Index) -> Bad | None:
        """Do one block: read, check, change, write."""
        plan, layout = self.plan, self.plan.layout
        with reading:  # one opens it for all
            file = opened(plan.src, plan.stamp)
            x = layout.read(file, block)
        first = layout.first(block)
        parts = torch.view_as_real(x) if x.is_complex() else x
        # The extremes tell, NaN being one if there is any, in a twentieth of the time that isfinite takes.
        if x.numel() and not all(extreme.isfinite() for extreme in parts.aminmax()):
            finite = torch.isfinite(x)
            target, *place = (~finite).nonzero()[0].tolist()
            nans = int(x.isnan().sum())
            return Bad(nans, int((~finite).sum()) - nans, first + target, tuple(place))
        fix = plan.targets.fix(x.dtype)
        group = Product(fix.symmetry)
        if plan.command == "break" and not self.elements and not plan.also:
            moved = fix(x)  # which need not make the elements' moves one after the other
        else:
            g = self._element(fix, group, x, first)
            moved = group.act(g, x)
        layout.write(self.sinks[: len(layout.keys)], moved, block)
        for key, sink in zip(plan.also, self.sinks[len(layout.keys) :], strict=True):
            like = also_layout(file, key, layout)
            index = like.index(block)
            with reading:
                values = like.forward(file.read(key, index)).reshape(len(x), *like.event)
            sink.write(index, like.back(moved_beside(group, g, values), index))
        for name, region in self.elements.items():
            part = getattr(g, name.rpartition("_")[2])
            region.write(_rows(first, len(x), region.shape), part.numpy())
        return None

    def _element(self, fix: Canonicalizer[Any], group: Product, x: Tensor, first: int) -> Element:
        """Return what is done to each target."""
        if self.plan.command == "break":
            return group.lift(fix.symmetry, fix.element(x), x)
        if self.plan.command == "scramble":  # as ScrambledDataset draws it
            return group.sample_each(x, self.plan.seed, first + torch.arange(len(x)))
        with reading:
            file = opened(self.elements_in, self.plan.stamp)
        found: dict[str, Any] = {}
        identity = group.identity(x)
        for name in element_arrays(self.plan.layout, self.plan.targets, self.plan.prefix):
            with reading:
                part = file.read(name, _rows(first, len(x), file.arrays[name].shape))
            field = name.rpartition("_")[2]
            plain = getattr(identity, field)
            if part.dtype.names:  # MATLAB's complex numbers
                part = part["real"] + 1j * part["imag"]
            found[field] = torch.from_numpy(np.array(part)).to(plain.dtype).reshape(plain.shape)
        return group.inverse(identity._replace(**found))


def _rows(first: int, count: int, shape: tuple[int, ...]) -> Index:
    return (slice(first, first + count), *(slice(0, size) for size in shape[1:]))


def describe(bad: list[Bad], src: Path, keys: tuple[str, ...]) -> str:
    nans, infinite = sum(one.nans for one in bad), sum(one.infinite for one in bad)
    where = f"target {bad[0].target}" + (f" at {bad[0].place}" if bad[0].place else "")
    return (
        f"{', '.join(shortened(keys))} of {src} has {nans} NaN and {infinite} infinite entries, the first in {where}. "
        "Mend or drop them."
    )
