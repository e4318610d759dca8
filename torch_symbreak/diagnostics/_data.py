"""Read a data set once: all targets, and the measurements of some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import check_finite, check_tensor, describe
from torch_symbreak._items import flat_items, power, resolved, root
from torch_symbreak._samples import Keys, check_keys, check_present, measured, target_keys
from torch_symbreak.datasets.wrappers import check_map_style, fetch

_OWNER = "diagnose"
#: Samples that are fetched at once.
_STEP = 500

Forward = Callable[[Tensor], Tensor]


class Read(NamedTuple):
    """Targets of a data set, one index per item, and what its measurements say."""

    x: Tensor  # (n, *item)
    batched: tuple[int, ...]  # dimensions of a sample that were taken as batch
    disagreement: Tensor | None  # (n,), ||y - f(x)|| / ||y||; None without stored measurements
    hint: str  # what the stored measurements would agree with; "" if nothing is known


def read(dataset: Any, forward: Forward, keys: Keys, item_dims: int) -> Read:
    """Read the targets of a data set, and compare its measurements with f(x) if it stores them.

    Args:
        dataset: A tensor (n, ..., *item), or a map-style data set of x, (x,), (y, x), or samples with ``keys``.
        forward: Measures targets.
        keys: The key of the targets in a sample.
        item_dims: Dimensions of one target.

    Raises:
        TypeError: If ``dataset`` is neither, a sample needs ``keys``, or a target is no tensor of numbers.
        ValueError: If there are fewer than 2 targets, one is not finite, or the shapes differ.
        KeyError: If a sample lacks the key.
    """
    check_keys(_OWNER, keys)
    if isinstance(keys, (list, tuple)) and len(keys) != 1:
        raise ValueError(f"{_OWNER} needs one key, but got keys={keys!r}. Name the part that holds the targets.")
    if isinstance(dataset, tuple) and all(isinstance(part, Tensor) for part in dataset):
        raise TypeError(
            f"{_OWNER} got a tuple of {len(dataset)} tensors. If it is (y, x), pass "
            "torch.utils.data.TensorDataset(y, x)."
        )
    check_map_style(_OWNER, dataset)
    if isinstance(dataset, Tensor):
        check_tensor(_OWNER, dataset, what="targets")
        return Read(*_flat(dataset.detach(), item_dims), None, "")
    targets, apart, hints = list[Tensor](), list[Tensor](), list[str]()
    for y, x in _batches(dataset, keys):
        targets.append(x)
        if y is not None and x.dim() == item_dims + 1:
            distance, hint = _disagreement(forward, y, x)
            apart.append(distance)
            hints.append(hint)
    if len({part.shape[1:] for part in targets}) > 1:
        shapes = sorted({tuple(part.shape[1:]) for part in targets})
        raise ValueError(f"{_OWNER} needs targets of one shape, but got {shapes}. Pad them to one frame first.")
    x = torch.cat(targets) if targets else torch.zeros(0)
    hint = hints[0] if hints and len({*hints}) == 1 else ""
    return Read(*_flat(x, item_dims), torch.cat(apart) if apart else None, hint)


def _batches(dataset: Any, keys: Keys) -> Iterator[tuple[Tensor | None, Tensor]]:
    """Yield measurements (B, ...), if there are any, and targets (B, ...)."""
    for start in range(0, len(dataset), _STEP):
        samples = fetch(dataset, range(start, min(start + _STEP, len(dataset))))
        chosen = target_keys(_OWNER, samples[0], keys)
        for sample in samples if chosen is not None else ():
            check_present(_OWNER, sample, chosen or ())
        targets = samples if chosen is None else [sample[chosen[0]] for sample in samples]
        for x in targets:
            check_tensor(_OWNER, x, what="target")
        if len({x.shape for x in targets}) > 1:
            shapes = sorted({tuple(x.shape) for x in targets})
            raise ValueError(f"{_OWNER} needs targets of one shape, but got {shapes}. Pad them to one frame first.")
        pairs = keys is None and isinstance(samples[0], (tuple, list)) and len(samples[0]) == 2
        first = [sample[0] for sample in samples] if pairs else []
        alike = bool(first) and all(isinstance(y, Tensor) and y.shape == first[0].shape for y in first)
        yield torch.stack(first) if alike else None, torch.stack([x.detach() for x in targets])


def _flat(x: Tensor, item_dims: int) -> tuple[Tensor, tuple[int, ...]]:
    """Return one item per index, and the dimensions of a sample that were taken as batch."""
    if x.dim() <= item_dims or len(x) < 2:
        raise ValueError(
            f"{_OWNER} needs at least 2 targets with {item_dims} dimensions each, as (n, *channels, *event), but got "
            f"{describe(x)}."
        )
    batched = tuple(x.shape[1 : x.dim() - item_dims])
    flat = resolved(x.reshape(-1, *x.shape[x.dim() - item_dims :]))
    return check_finite(flat, name="the targets"), batched


def _disagreement(forward: Forward, y: Tensor, x: Tensor) -> tuple[Tensor, str]:
    """Return ``||y - f(x)|| / ||y||`` of every item, and what would agree."""
    modeled = measured(forward, x)
    if modeled.shape != y.shape:
        return torch.full((len(x),), torch.inf, dtype=torch.float64), f"f(x) has shape {tuple(modeled.shape[1:])}"
    distance = relative(y, modeled)
    if distance.median() < 0.01:
        return distance, ""
    axes = tuple(range(1, y.dim()))
    for hint, other in (
        ("f(x) with zero frequency in the middle", torch.fft.fftshift(modeled, axes)),
        ("f(x) with zero frequency at index 0", torch.fft.ifftshift(modeled, axes)),
        ("the root of f(x)", root(modeled.clamp_min(0)) if not modeled.is_complex() else modeled),
        ("a multiple of f(x)", modeled * (_total(y) / _total(modeled)).reshape(-1, *[1] * (y.dim() - 1))),
    ):
        if relative(y, other).median() < 0.01:
            return distance, hint
    return distance, ""


def _total(y: Tensor) -> Tensor:
    return y.reshape(len(y), -1).sum(-1)


def relative(y: Tensor, other: Tensor) -> Tensor:
    """Return ``||y - other|| / ||y||`` of every item, (n,), in double precision."""
    dims = y.dim() - 1
    size = flat_items(power(y), dims).sum(-1, dtype=torch.float64)
    apart = flat_items(power(y - other), dims).sum(-1, dtype=torch.float64)
    return root(apart / torch.where(size > 0, size, 1))
