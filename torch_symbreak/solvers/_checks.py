"""Check the arguments of a solver, and bring them onto the detector's torus in one order of pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import as_tensors, describe
from torch_symbreak._fourier import frequencies
from torch_symbreak.forward import FarField, Mask, Measured, PoissonCounts, ReadoutNoise
from torch_symbreak.symmetries import Symmetry

#: Above this share of the power at the highest frequencies of all axes, the order of the pixels is in doubt.
_MISPLACED = 0.75


class Inputs(NamedTuple):
    """Checked arguments of :func:`torch_symbreak.solvers.solve`, with one batch dimension and zero frequency at 0."""

    intensities: Tensor  # (B, *M), not negative, 0 where not measured
    measured: Tensor  # (B, *M), bool
    misplaced: Tensor  # (B,), bool: the pixels look like the other order
    start: Tensor | None  # (B, *M), in units of orthonormal transforms
    support: Tensor | None  # (B, *M), bool
    support_size: int | None
    frame: tuple[int, ...]
    torus: tuple[int, ...]
    batch: tuple[int, ...]
    symmetries: tuple[Symmetry, ...]  # on the torus
    real: bool
    nonnegative: bool
    unit: float  # times an object in units of orthonormal transforms is an object in the model's

    def items(self, index: Tensor | slice) -> Inputs:
        """Return some of the items."""
        return self._replace(
            intensities=self.intensities[index],
            measured=self.measured[index],
            misplaced=self.misplaced[index],
            start=None if self.start is None else self.start[index],
            support=None if self.support is None else self.support[index],
        )


def check_inputs(
    y: Any, *, model: Any, iterations: Any, starts: Any, start: Any, frame: Any, support: Any, support_size: Any,
    nonnegative: bool, real: bool, mask: Any,
) -> Inputs:  # fmt: skip
    """Check the arguments of ``solve`` and bring them into one form."""
    for name, count, fewest in (
        ("iterations", iterations, 1),
        ("starts", starts, 1),
        ("support_size", support_size, 1),
    ):
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < fewest):
            raise ValueError(f"solve needs an int {name} >= {fewest}, but got {count!r}.")
    if frame is not None:
        frame = (frame,) if isinstance(frame, int) else frame
        if not isinstance(frame, (tuple, list)):
            raise TypeError(f"solve needs a tuple of ints as frame, such as (24, 24), but got {frame!r}.")
        frame = tuple(frame)
    model = FarField(2 if frame is None else len(frame)) if model is None else model
    masks = [] if mask is None else [mask]
    while isinstance(model, Measured):
        model, masks = _behind(model, masks)
    if not isinstance(model, FarField):
        raise TypeError(
            f"solve needs a FarField model, but got {describe(model)}. Solvers project onto Fourier magnitudes."
        )
    (y,) = as_tensors("solve", y, names=("y",), last="model")
    y = y.detach()
    if y.is_complex():
        raise TypeError(
            f"solve needs real intensities y, but got {describe(y)}. From Fourier values, pass y.abs().square()."
        )
    d = model.event_dims
    if y.dim() < d or 0 in y.shape[y.dim() - d :]:
        raise ValueError(
            f"solve needs y of shape (*batch, *M) with {d} detector axes, but got {describe(y)}. "
            f"For another number of axes pass model=FarField({max(1, y.dim())})."
        )
    dtype = torch.promote_types(y.dtype, torch.float32)
    batch, torus = tuple(y.shape[: y.dim() - d]), tuple(y.shape[y.dim() - d :])
    if model.shape is not None and model.shape != torus:
        raise ValueError(f"solve needs y on the model's detector {model.shape}, but got {describe(y)}.")
    frame = _frame(frame, model, torus, known=support is not None or support_size is not None)
    y = _flat(y, batch, torus).to(dtype)
    measured = torch.ones_like(y, dtype=torch.bool)
    for each in masks:
        measured = measured & _bool("mask", each, batch, torus, y.device)
    if model.centered:
        dims = tuple(range(1, d + 1))
        y, measured = (torch.fft.ifftshift(z, dim=dims) for z in (y, measured))
    y = _intensities(y, measured)
    misplaced = _misplaced(y)
    if bool(misplaced.any()):
        where = "at index 0" if model.centered else "in the middle"
        warnings.warn(
            f"y has most of its power at the highest frequencies, as if zero frequency were {where}. If it is there, "
            f"pass model=FarField({d}, centered={not model.centered}). Otherwise another object would be found. Such "
            'items are "doubtful" at best.',
            stacklevel=3,
        )
    real = bool(real or nonnegative or model.field == "real")
    unit = {"backward": 1 / math.sqrt(math.prod(torus)), "ortho": 1.0, "forward": math.sqrt(math.prod(torus))}
    if support is not None:
        support = padded(_bool("support", support, batch, frame, y.device), torus)
        if not bool(support.flatten(1).any(1).all()):
            raise ValueError("solve needs a support with at least one True per item. Leave it out for shrink-wrap.")
    if start is not None:
        (start,) = as_tensors("solve", start, names=("start",), last="model")
        if tuple(start.shape) != (*batch, *frame):
            raise ValueError(
                f"solve needs a start of shape {(*batch, *frame)}, (*batch, *frame), but got {describe(start)}. "
                f"Pass frame={tuple(start.shape[max(0, start.dim() - d) :])} if objects have another frame."
            )
        start = padded(_flat(start.detach(), batch, frame).to(y.device), torus) / unit[model.norm]
        start = (start.real if start.is_complex() else start).to(dtype) if real else start.to(dtype.to_complex())
        if not bool(torch.isfinite(start).all()) or not bool((start != 0).flatten(1).any(1).all()):
            raise ValueError("solve needs a finite start that is not zero in any item. Leave it out for random phases.")
    symmetries = FarField(d, oversampling=1, field="real" if real else "complex").symmetries
    return Inputs(
        y, measured, misplaced, start, support, support_size, frame, torus, batch, symmetries, real, nonnegative,
        unit[model.norm],
    )  # fmt: skip


def _behind(measured: Measured, masks: list[Any]) -> tuple[Any, list[Any]]:
    """Return the model in front of the parts, and all masks. Noise changes neither. Raise for other parts."""
    for part in measured.parts:
        if isinstance(part, Mask):
            masks = [*masks, part.mask]
        elif not isinstance(part, (PoissonCounts, ReadoutNoise)):
            raise TypeError(
                f"solve cannot undo the part {part!r} of a Measured model. Undo it in y (subtract a Background), and "
                "pass model=measured.model, with mask= for pixels that are not measured."
            )
    return measured.model, masks


def _frame(frame: tuple[int, ...] | None, model: FarField, torus: tuple[int, ...], *, known: bool) -> tuple[int, ...]:
    """Return the frame of the objects, or raise if the detector does not determine them."""
    if frame is None:
        s = model.oversampling
        if model.shape is not None or s == 2:
            return tuple((m + 1) // 2 for m in torus)
        frame = tuple(max(1, math.floor(m / s + 1e-9)) for m in torus)
    if len(frame) != len(torus) or not all(type(n) is int and n >= 1 for n in frame):
        raise ValueError(f"solve needs a frame of {len(torus)} ints >= 1, but got {frame!r}.")
    if any(m < n for m, n in zip(torus, frame, strict=True)):
        raise ValueError(f"solve needs a detector of at least the frame's shape {frame}, but y has {torus}.")
    if not known and any(m < 2 * n - 1 for m, n in zip(torus, frame, strict=True)):
        raise ValueError(
            f"solve needs a detector of at least 2 N - 1 pixels along every axis, but the frame is {frame} and the "
            f"detector {torus}: more than one object has these intensities, and their autocorrelation wraps around. "
            "Pass support= or support_size=, or a smaller frame if the objects are smaller."
        )
    return frame


def _intensities(y: Tensor, measured: Tensor) -> Tensor:
    """Return the intensities, 0 where they are negative or not measured."""
    seen = torch.where(measured, y, 0)
    bad = ~torch.isfinite(seen)
    if bool(bad.any()):
        raise ValueError(
            f"y has {int(bad.sum())} measured pixels that are NaN or infinite. Pass mask=torch.isfinite(y) to leave "
            "them out."
        )
    negative = seen < 0
    empty = ~(seen > 0).flatten(1).any(1)
    if bool(empty.any()):
        items = empty.nonzero().flatten().tolist()
        kind = "negative or zero" if bool(negative[empty].any()) else "zero"
        raise ValueError(f"y is {kind} on every measured pixel of items {items[:10]}. Drop them, or check the mask.")
    if bool(negative.any()):
        warnings.warn(
            f"y has {int(negative.sum())} negative pixels. They count as zero. To leave them out pass mask=y >= 0.",
            stacklevel=4,
        )
    return seen.clamp(min=0)


def _misplaced(y: Tensor) -> Tensor:
    """Return which items have most power where low frequencies would be in the other order of the pixels, (B,) bool.

    In the wrong order, along one axis or all, y fits a modulated object. Nothing but this share of the power tells.
    """
    misplaced = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for axis, n in enumerate(y.shape[1:]):
        profile = y.movedim(axis + 1, 1)[..., None].flatten(2).sum(2, dtype=torch.float64)
        high = frequencies(n, y.device).abs() * 4 >= n
        misplaced |= profile[:, high].sum(1) > _MISPLACED * profile.sum(1)
    return misplaced


def _bool(name: str, mask: Any, batch: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """Return a mask as (B, *shape), bool."""
    if not isinstance(mask, (Tensor, np.ndarray)):
        raise TypeError(f"solve needs a tensor or an array as {name}, but got {describe(mask)}.")
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"solve needs a bool {name}, but got {describe(mask)}. Pass {name} > 0.")
    wanted = (*batch, *shape)
    if tuple(mask.shape) not in (wanted, tuple(shape)):
        raise ValueError(f"solve needs {name} of shape {wanted} or {tuple(shape)}, but got {describe(mask)}.")
    return _flat(mask.to(device).expand(wanted), batch, shape)


def _flat(x: Tensor, batch: Sequence[int], shape: Sequence[int]) -> Tensor:
    return x.reshape(math.prod(batch), *shape)


def padded(x: Tensor, torus: Sequence[int]) -> Tensor:
    """Put items (B, *frame) into the first corner of the torus."""
    wide = x.new_zeros(len(x), *torus)
    wide[(slice(None), *(slice(0, n) for n in x.shape[1:]))] = x
    return wide
