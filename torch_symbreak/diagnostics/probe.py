"""Measure whether a change of x changes f(x), relative to f's own sensitivity and above its noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import check_tensor, describe
from torch_symbreak._items import batch_shape, flat_items, flat_parts, per_item, wide
from torch_symbreak.diagnostics.findings import Finding, Verdict
from torch_symbreak.symmetries import Symmetry
from torch_symbreak.testing.measure import random_like

#: Elements drawn per item.
_DRAWS = 4
#: Measurements of one x that tell whether there is noise, and more of them that tell how much.
_REPEATS, _MORE = 2, 8
#: An element that moves an item by less than this share of its norm says nothing; it is drawn again, so many times.
_MOVES, _AGAIN = 0.01, 20
#: Default tolerance by the precision of f(x); whole numbers and half precision have 1e-2.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
#: Errors above the tolerance and up to this are approximate symmetries.
_CLOSE = 0.1
#: Rounding errors of a measurement, in units of its precision and norm.
_ROUNDING = 8
#: Two largest differences that are both noise stay within this factor.
_SPREAD = 3


class _Draw(NamedTuple):
    """Changes by one drawn element per item, (B,) each."""

    moved: Tensor  # whether the element moved the item
    error: Tensor  # ||f(g x) - f(x)||
    sensitivity: Tensor  # ||f(x') - f(x)||


class Probe:
    """A function f at a batch x: its value, its noise and its precision.

    Args:
        forward: The function.
        x: The items, (*batch, *item), finite.
        item_dims: Dimensions of one item.
        generator: Draws the elements and the changes.
        tolerance: Largest error of a symmetry. Default: by the precision of f(x).
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Any],
        x: Tensor,
        item_dims: int,
        generator: torch.Generator | None,
        tolerance: float | None,
    ) -> None:
        self.forward, self.x, self.item_dims = forward, x, item_dims
        self.generator = generator
        with torch.no_grad():
            raw = self._raw(x)
        precision = raw.real.dtype if raw.is_floating_point() or raw.is_complex() else None
        eps = max(torch.finfo(dtype).eps for dtype in (precision, x.real.dtype) if dtype is not None)
        if tolerance is None:
            of_x = _TOLERANCE.get(x.real.dtype, 1e-2)
            tolerance = max(of_x, 1e-2 if precision is None else _TOLERANCE.get(precision, 1e-2))
        self.tolerance = tolerance
        self.unit = 1.0  # so that squares of f(x) do not overflow
        self.y = self._flat(raw, x)
        largest = float(torch.where(self.y.isfinite(), self.y, 0).abs().max()) if self.y.numel() else 0.0
        if largest > 0:
            self.unit, self.y = largest, self.y / largest
        self.seen = self.y.isfinite().any(-1)
        self.rounding = _ROUNDING * eps * _norm(torch.where(self.y.isfinite(), self.y, 0))
        self.noise = self._largest_of(_REPEATS)
        self.noisy = bool((self.noise > self.rounding).any())
        if self.noisy:
            self.noise = torch.maximum(self.noise, self._largest_of(_MORE))

    def _largest_of(self, repeats: int) -> Tensor:
        """Return the largest distance of repeated measurements from f(x), (B,)."""
        return torch.stack([_distance(self.measure(self.x), self.y) for _ in range(repeats)]).amax(0)

    def _raw(self, x: Tensor) -> Tensor:
        y = self.forward(x.clone())  # a function may write into its argument
        batch = batch_shape(x, self.item_dims)
        if not isinstance(y, Tensor) or y.layout != torch.strided:
            check_tensor("symmetries_of", y, what="f(x)", name="forward(x)")
        if y.shape[: len(batch)] != batch or y.numel() == 0:
            raise ValueError(
                f"symmetries_of needs one measurement per item: x has the batch {tuple(batch)} "
                f"({self.item_dims} dimensions make one item), but f(x) is {describe(y)}. Set event_dims and "
                "channel_dims. If two channels are real and imaginary parts, pass complex x and "
                "lambda x: forward(ToChannels()(x))."
            )
        return y

    def _flat(self, y: Tensor, x: Tensor) -> Tensor:
        batch = batch_shape(x, self.item_dims)
        y = y.detach().to(x.device)
        y = y.to(wide(y)) if y.is_complex() or y.is_floating_point() else y.to(wide(torch.empty(0, device=y.device)))
        # The quotient is a copy: a function may write its next answer into the same tensor.
        return y.reshape(batch.numel(), math.prod(y.shape[len(batch) :])) / self.unit

    def measure(self, x: Tensor) -> Tensor:
        """Return f(x), (B, P), in double precision."""
        with torch.no_grad():
            return self._flat(self._raw(x), x)

    def warn_of_company(self) -> None:
        """Warn if f(x) of an item changes when other items do, or has changed since the beginning."""
        items = self.x.reshape(len(self.y), *self.x.shape[self.x.dim() - self.item_dims :])
        other = items.clone()
        other[1::2] = 2 * items[: len(items) // 2]
        change = _distance(self.measure(other.reshape(self.x.shape)), self.y)[::2].max()
        if bool(change > _SPREAD * torch.maximum(self.noise, self.rounding).max()):
            warnings.warn(
                "forward gives an item another measurement when other items of the batch change, or when it is called "
                "again, so the report is not about single items. Call forward.eval() if it has batch normalization, "
                "and take means and maxima over one item.",
                stacklevel=3,
            )

    def changed(self, moved: Tensor) -> Tensor:
        """Return the norm of the change of every item, (*batch,)."""
        return _norm(flat_items(moved - self.x, self.item_dims))

    def of_symmetry(self, symmetry: Symmetry, unmoved: str) -> Finding:
        """Test a symmetry. ``unmoved`` is the reason if none of its elements moves an item."""

        def draw() -> Tensor:
            least, moved = _MOVES * _norm(flat_items(self.x, self.item_dims)), self.x
            for _ in range(_AGAIN):
                still = ~(self.changed(moved) > least)
                if not still.any():
                    break
                drawn = symmetry.act(symmetry.sample(self.x, generator=self.generator), self.x)
                moved = torch.where(per_item(still, self.item_dims), drawn, moved)
            return moved

        return self.of_moves(symmetry, draw, unmoved)

    def of_moves(self, symmetry: Symmetry, draw: Callable[[], Tensor], unmoved: str) -> Finding:
        """Test whether f changes as ``draw`` changes x."""
        draws = [self._drawn(draw()) for _ in range(_DRAWS)]
        moved, error, sensitivity = (torch.stack(column) for column in zip(*draws, strict=True))
        # A change that f does not see above its noise says nothing, and a fine error needs digits.
        tested = moved & self.seen
        visible = tested & (sensitivity > _SPREAD * torch.maximum(self.noise, self.rounding))
        fine = visible & (self.rounding <= self.tolerance * sensitivity)
        items = int(moved.any(0).sum())
        if bool((tested & error.isinf()).any()):
            reason = "f(g x) is not finite where f(x) is, or the other way round"
            return Finding(symmetry, "fails", math.inf, math.nan, items, reason)
        if not visible.any():
            return Finding(symmetry, "unknown", math.nan, math.nan, items, self._why_none(moved, sensitivity, unmoved))
        scale = torch.where(visible, sensitivity, 1)
        ratio, noise = (torch.where(visible, size / scale, 0) for size in (error, self.noise))
        # Compare the largest over all items with the largest noise: of single items two may lie far apart.
        beyond = torch.where(error > _SPREAD * self.rounding, ratio, 0).amax(-1)
        clear = beyond > (_SPREAD * noise.amax(-1)).clamp(min=self.tolerance)
        least = float(noise.amax(-1)[visible.any(-1)].min())
        if bool(clear.any()):
            worst = float(beyond[clear].max())
            verdict: Verdict = "approximate" if worst <= _CLOSE else "fails"
            return Finding(symmetry, verdict, worst, least, items, self._why(visible, ratio))
        worst = float(ratio[fine if fine.any() else visible].max())
        if not fine.any():
            reason = "cannot tell below the rounding of f: compute it in double precision, or raise tolerance"
        elif max(worst, float(noise[fine].max())) <= self.tolerance:
            return Finding(symmetry, "holds", worst, least, items)
        else:
            reason = f"cannot tell below the {'noise' if self.noisy else 'rounding'} of f, {least:.1e}"
        return Finding(symmetry, "unknown", worst, least, items, reason)

    def _drawn(self, moved: Tensor) -> _Draw:
        x, dims = self.x, self.item_dims
        size = self.changed(moved)
        # As large as the change by g, and where x or g x have entries.
        direction = random_like(x, self.generator) * ((x != 0) | (moved != 0))
        length = _norm(flat_items(direction, dims))
        scale = (size / torch.where(length > 0, length, 1)).to(x.real.dtype)
        error = _distance(self.measure(moved), self.y)
        sensitivity = _distance(self.measure(x + per_item(scale, dims) * direction), self.y, where_both=True)
        least = _MOVES * _norm(flat_items(x, dims))
        return _Draw((size > least).flatten(), error, sensitivity)

    def _why_none(self, moved: Tensor, sensitivity: Tensor, unmoved: str) -> str:
        tested = moved & self.seen
        if not self.seen.any():
            return "f(x) has no finite entry"
        if not tested.any():
            return unmoved
        if bool((tested & sensitivity.isnan()).any()):
            return "f is not finite at a random change of x of the same size"
        if self.noisy:
            return "cannot tell below the noise of f, which hides a random change of the same size"
        return "f is constant: a random change of the same size does not change f(x)"

    def _why(self, visible: Tensor, ratio: Tensor) -> str:
        items = visible.any(0)
        good = int((items & (ratio.amax(0) <= self.tolerance)).sum())
        return f"holds for {good} of {int(items.sum())} items" if good else ""


def _norm(x: Tensor) -> Tensor:
    """Return the norm along the last dimension, in double precision."""
    return torch.linalg.vector_norm(flat_parts(x.to(wide(x)), 1), dim=-1)


def _distance(a: Tensor, b: Tensor, *, where_both: bool = False) -> Tensor:
    """Return ``||a - b||``, (B,), infinite if an entry is finite in one alone. Dead pixels, NaN in both, are equal.

    With ``where_both`` entries that are finite in both count, and without any the distance is NaN.
    """
    finite = a.isfinite() & b.isfinite()
    distance = _norm(torch.where(finite, a - b, 0))
    if where_both:
        return torch.where(finite.any(-1), distance, torch.nan)
    return torch.where((a.isfinite() == b.isfinite()).all(-1), distance, torch.inf)
