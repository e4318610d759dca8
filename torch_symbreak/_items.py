"""Layout and numerics of batched items.

A target is ``(*batch, *channels, *event)``; an *item* is its ``(*channels, *event)`` part.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: Tie threshold. A sum below this share of its largest possible value is rounding noise.
TIE = 1e-6
#: A score above this is no clear tie: at another point of the orbit, rounding may lift it over the tie threshold.
NOISE = TIE / 2
#: A margin below this is a near-tie: noise of that relative size may decide.
NEAR_TIE = 1e-3


def eager(x: Tensor) -> bool:
    """Return whether ``x`` is a plain tensor that is neither compiled, traced, fake nor differentiated."""
    return (
        type(x) is Tensor
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0  # fake tensors, make_fx
        and torch._C._functorch.maybe_current_level() is None
        and not (x.requires_grad and torch.is_grad_enabled())
        and forward_ad.unpack_dual(x).tangent is None
    )


def tangible(x: Tensor) -> bool:
    """Return whether the values of ``x`` can be read at once: on a CPU, and not traced or differentiated."""
    return x.device.type == "cpu" and eager(x)


def batch_shape(x: Tensor, item_dims: int) -> torch.Size:
    """Return the leading, batch part of the shape of ``x``."""
    return x.shape[: x.dim() - item_dims]


def flat_items(x: Tensor, item_dims: int) -> Tensor:
    """Flatten every item: ``(*batch, *item)`` to ``(*batch, P)``; P = 1 for ``item_dims = 0``."""
    batch = batch_shape(x, item_dims)
    return x.reshape(*batch, math.prod(x.shape[len(batch) :]))


def flat_parts(x: Tensor, item_dims: int) -> Tensor:
    """Flatten every item to real numbers; complex x to real and imaginary parts in turn, (*batch, 2 P)."""
    flat = flat_items(x, item_dims)
    return torch.view_as_real(resolved(flat)).flatten(-2) if x.is_complex() else flat


def per_item(value: Tensor, item_dims: int) -> Tensor:
    """Give a ``(*batch,)`` tensor ``item_dims`` trailing dimensions of size 1, to broadcast over items."""
    return value.reshape((*value.shape, *[1] * item_dims))


def power(x: Tensor) -> Tensor:
    """Return ``re² + im²``. Unlike ``abs() ** 2`` it takes no root and has a gradient at 0."""
    return torch.addcmul(x.real.square(), x.imag, x.imag) if x.is_complex() else x.square()


def root(squares: Tensor) -> Tensor:
    """Return the square root. Of 0 and of negative numbers it is 0, with gradient 0. NaN stays NaN."""
    none = squares <= 0
    return torch.where(none, 0, torch.where(none, 1, squares).sqrt())


def finite_items(x: Tensor, item_dims: int) -> Tensor:
    """Return which items have finite entries only, (*batch,) bool. It does not wait for the device."""
    return flat_items(x.detach(), item_dims).isfinite().all(-1)


def nan_unless_finite(values: Tensor, *tensors: Tensor, item_dims: int) -> Tensor:
    """Replace the value of every item that is not finite in one of the tensors by NaN, (*batch,)."""
    finite = torch.stack([finite_items(z, item_dims) for z in tensors]).all(0)
    return torch.where(finite, values, torch.nan)


def too_small(x: Tensor, item_dims: int) -> Tensor:
    """Return which items are so small that a phase rounds them by more than a tie, (*batch,) bool; real ones are not.

    Subnormal numbers have one absolute spacing. Single precision has it below 1e-38, and more than a tie below 1e-39.
    """
    x, numbers = x.detach().to(wide(x)), torch.finfo(x.dtype)
    largest = peak(x, item_dims=item_dims)
    size = flat_items(divided(x, per_item(largest, item_dims)), item_dims).abs()
    spacing = (numbers.smallest_normal * numbers.eps if x.is_complex() else 0) / largest
    return size.sum(-1) * TIE < spacing * (size > 0).sum(-1)


def margins_of(x: Tensor, margins: Tensor, item_dims: int) -> Tensor:
    """Return margins, (..., *batch), with 0 for items that are :func:`too_small`, and NaN for those not finite."""
    return nan_unless_finite(torch.where(too_small(x, item_dims), 0, margins), x, item_dims=item_dims)


def peak(*tensors: Tensor, item_dims: int) -> Tensor:
    """Return every item's largest ``|re|`` or ``|im|`` in all tensors, (*batch,); 1, a safe divisor, if all are 0."""
    flat = [flat_parts(x, item_dims) for x in tensors]
    largest = functools.reduce(torch.maximum, [part for x in flat for part in (x.amax(-1), -x.amin(-1))])
    return torch.where(largest > 0, largest, 1)


def unit_scale(x: Tensor, item_dims: int) -> Tensor:
    """Divide every item by its :func:`peak`, so that its squares neither under- nor overflow."""
    return divided(x, per_item(peak(x, item_dims=item_dims), item_dims))


def divided(x: Tensor, by: Tensor) -> Tensor:
    """Return x / by for real ``by``, part by part: complex division overflows on subnormal numbers."""
    if not x.is_complex():
        return x / by
    return torch.view_as_complex(torch.view_as_real(resolved(x)) / by[..., None])


def first_above(sizes: Tensor, level: float | Tensor) -> Tensor:
    """Return the index of the first size above a level along the last axis, (*batch, 1); 0 if none is."""
    return (sizes > level).to(torch.int8).argmax(-1, keepdim=True)


def wide(x: Tensor) -> torch.dtype:
    """Return the dtype of decisions about ``x``: double precision, or single on a device that has no double."""
    if x.device.type == "mps":
        return torch.complex64 if x.is_complex() else torch.float32
    return torch.complex128 if x.is_complex() else torch.float64


def autocast_type(x: Tensor) -> str:
    """Return the device type with which ``torch.autocast`` is turned off for ``x``. It knows no meta device."""
    return "cpu" if x.is_meta else x.device.type


def resolved(x: Tensor) -> Tensor:
    """Resolve lazy conj and neg bits. ``DataLoader`` workers silently lose those that are not resolved."""
    return x.resolve_conj().resolve_neg()


def typed_like(y: Tensor, x: Tensor) -> Tensor:
    """Return ``y`` as the torchvision type of ``x`` (Image, Mask, ...), if it has one: transforms keep it."""
    if type(x) in (Tensor, torch.nn.Parameter):  # nearly always, and torch.compile follows
        return y
    tv_tensors = sys.modules.get("torchvision.tv_tensors")  # x can be none of its types if nobody imported it
    return tv_tensors.wrap(y, like=x) if tv_tensors and isinstance(x, tv_tensors.TVTensor) else y


def items_within(limit: int, x: Tensor) -> int:
    """Return how many items of ``x``, (B, *item) and not empty, have at most ``limit`` bytes; at least 1."""
    return max(1, limit * len(x) // x.nbytes)


def join_elements(parts: Sequence[Any], batch: torch.Size) -> Any:
    """Join elements of consecutive items, tensors or (named) tuples of them, to the element of a batch."""
    if isinstance(parts[0], Tensor):
        whole = torch.cat(list(parts))
        return whole.reshape((*batch, *whole.shape[1:]))
    columns = [join_elements(column, batch) for column in zip(*parts, strict=True)]
    return type(parts[0])(*columns) if hasattr(parts[0], "_fields") else tuple(columns)


def some_elements(element: Any, items: slice) -> Any:
    """Return the element of some consecutive items of a batch (B,): undoes join_elements."""
    if isinstance(element, Tensor):
        return element[items]
    columns = [some_elements(column, items) for column in element]
    return type(element)(*columns) if hasattr(element, "_fields") else tuple(columns)


def where_elements(mask: Tensor, new: Any, old: Any) -> Any:
    """Choose per item, by a mask (*batch,), the new or the old element: tensors, or (named) tuples of them."""
    if isinstance(new, Tensor):
        return torch.where(mask.reshape((*mask.shape, *[1] * (new.dim() - mask.dim()))), new, old)
    parts = [where_elements(mask, one, other) for one, other in zip(new, old, strict=True)]
    return type(new)(*parts) if hasattr(new, "_fields") else tuple(parts)
