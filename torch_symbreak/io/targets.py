"""Name the targets of a file, their model, and the arrays that move with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_symbreak.forward import canonicalizer_of, event_dims_of
from torch_symbreak.io.formats.base import Format
from torch_symbreak.io.layouts import Layout, count_event, find, parse_axes, shortened
from torch_symbreak.io.template import canonicalizer_from, check_note, digest, read_template
from torch_symbreak.symmetries import Canonicalizer, Element, Product


@dataclass(frozen=True)
class Targets:
    """Name the targets of a file, and their model.

    Args:
        forward: "farfield" (default), "gaussian" or "square".
        event_dims: Dimensions of one far-field object. Default: 2, if the shape leaves no doubt. (gaussian has 1,
            square 0.)
        oversampling: Detector pixels per object pixel along each axis. 1.0 is the periodic model. Default 2.
        threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
        key: As for :func:`torch_symbreak.io.find`. Default: what is found.
        layout: As for :func:`torch_symbreak.io.find`.
        batch_axis: The axis that counts the targets. Default: 0, if the shape leaves no doubt.
        axes: As for :func:`torch_symbreak.io.find`, instead of event_dims, batch_axis and a layout of one array.
        template: Template file. Each target moves to the point of its orbit nearest to it. Default: the exact rule.

    Raises:
        ValueError: If ``forward`` is another one, or ``threshold`` is outside [0, 1).

    Example:
        >>> Targets(key="entry/data", oversampling=3.0).dims
        2
    """

    forward: str = "farfield"
    event_dims: int | None = None
    oversampling: float = 2.0
    threshold: float = 1e-4
    key: str | None = None
    layout: str | None = None
    batch_axis: int | None = None
    axes: str | None = None
    template: str | None = None
    template_sha256: str | None = None  # of the file when it was named, so that another one has another run

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(
                f"threshold={self.threshold:g} is no fraction of the peak. Give 0 or more, and less than 1."
            )
        self._rule(torch.float32)
        if self.template is not None and self.template_sha256 is None:
            read_template(self.template)
            check_note(self.template, {name: self.model[name] for name in ("forward", "oversampling", "threshold")})
            object.__setattr__(self, "template", str(Path(self.template).absolute()))
            object.__setattr__(self, "template_sha256", digest(self.template))

    def find(self, file: Format) -> tuple[Layout, str]:
        """Find the targets in an open file, and say why these."""
        options: dict[str, Any] = {"layout": self.layout, "batch_axis": self.batch_axis, "axes": self.axes}
        dims = self.event_dims if self.forward == "farfield" else self.dims
        layout, reason = find(file, key=self.key, event_dims=dims, real=self.forward == "square", **options)
        if self.template is not None:
            fix = self.fix(layout.dtype)
            shape = tuple(fix.get_buffer("template").shape)
            if shape != tuple(layout.event):
                raise ValueError(
                    f"The template {self.template} has shape {shape}, but the targets have {tuple(layout.event)}. Fit "
                    "one to them: symbreak fit IN template.npz"
                )
            fix.check(torch.empty(0, *layout.event, dtype=layout.dtype))
        return layout, reason

    @property
    def dims(self) -> int:
        """Dimensions of one target."""
        said = count_event(parse_axes(self.axes)) if self.axes is not None else self.event_dims
        return event_dims_of(self.forward, 2 if said is None else said)

    @property
    def model(self) -> dict[str, Any]:
        """The model, as a note has it."""
        names = ("forward", "event_dims", "oversampling", "threshold")
        return {name: getattr(self, name) for name in names} | {"event_dims": self.dims}

    def fix(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        """Return the canonicalizer for targets of a dtype."""
        rule = self._rule(dtype)
        if self.template is None or self.template_sha256 is None:
            return rule
        return canonicalizer_from(self.template, self.template_sha256, Product(rule.symmetry))

    def _rule(self, dtype: torch.dtype) -> Canonicalizer[Any]:
        options: dict[str, Any] = {"oversampling": self.oversampling, "threshold": self.threshold}
        return canonicalizer_of(self.forward, dtype, event_dims=self.dims, **options)


def choose(
    file: Format, targets: Targets, also: Sequence[str], folder: Path | None = None
) -> tuple[Layout, tuple[str, ...], str]:
    """Find the targets and the arrays beside them, and check that a copy in ``folder`` can hold new values of them.

    Returns:
        The targets, cut along the grids of the other arrays, too: two blocks must not share a piece of any. The names
        of the others. Why these targets.
    """
    layout, reason = targets.find(file)
    also = tuple(dict.fromkeys(file.resolve(key) for key in also))
    if also and Product(targets.fix(layout.dtype).symmetry).rearrangement is None:
        raise ValueError(f"also={also[0]!r} moves pixels, which forward={targets.forward!r} does not. Leave it out.")
    for key in also:
        pieces = iter(also_layout(file, key, layout).grid)
        grid = [
            mine if word == "r" else math.lcm(mine, len(word) * next(pieces))
            for word, mine in zip(layout.axes, layout.grid, strict=True)
        ]
        layout = replace(layout, grid=tuple(grid))
    file.check((*layout.keys, *also), folder)
    return layout, also, reason


def also_layout(file: Format, key: str, targets: Layout) -> Layout:
    """Return how an array beside the targets, of their batch and event shape, is read and written.

    Raises:
        ValueError: If there is no such array, it is one of the targets, it is not real, or its shape is another one.
    """
    # Without axes of real and imaginary parts.
    sizes = zip(targets.axes, targets.shape, strict=True)
    axes, wanted = zip(*((w if len(w) == 1 else "n", n // len(w)) for w, n in sizes if w != "r"), strict=True)
    if len(targets.keys) > len(targets.dtypes):
        raise ValueError(f"also={key!r} needs targets in one array, but got {', '.join(shortened(targets.keys))}.")
    others = {name: each for name, each in file.arrays.items() if name not in targets.keys}
    fit = {name: each for name, each in others.items() if each.dtype.kind in "biuf" and each.shape == wanted}
    if key not in fit:
        there, closest = others.get(key), sorted(fit, key=lambda name: -SequenceMatcher(None, name, key).ratio())[:3]
        what = f"has dtype {there.dtype} and shape {there.shape}" if there else "is no array of numbers"
        raise ValueError(
            f"also={key!r} {'is one of the targets' if key in targets.keys else what} in {file.path}. It needs bool, "
            f"integers or floats of shape {wanted}. "
            + (f"Type {', or '.join(f'also={name!r}' for name in closest)}." if closest else "The file has none.")
        )
    array = fit[key]
    return replace(
        targets, keys=(key,), kind="plain", shape=wanted, dtypes=(array.dtype,), grid=array.grid, axes=axes
    )  # fmt: skip


def moved_beside(group: Product, g: Element, values: np.ndarray) -> np.ndarray:
    """Move arrays beside the targets, (B, *event) of any dtype, by the motions of the targets' elements."""
    event = values.shape[1:]
    # The places are moved, which is exact for every dtype and conjugates nothing.
    places = torch.arange(math.prod(event), dtype=torch.float64).reshape(event).expand(values.shape)
    order = group.rearrangement.act(g.motion, places).long().flatten(1)  # type: ignore[union-attr]
    return np.take_along_axis(values.reshape(len(values), -1), order.numpy(), 1).reshape(values.shape)
