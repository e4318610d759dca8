"""Read a data set once: all targets, and the measurements of some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torch_symbreak._checks import check_finite, check_tensor, describe
from torch_symbreak._items import flat_items, per_item, power, resolved, root
from torch_symbreak._samples import Keys, check_keys, check_present, check_targets, measured, target_keys
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
    hint: str  # a sentence on the stored measurements, such as what they agree with; "" if nothing is known


def read(dataset: Any, forward: Forward, keys: Keys, item_dims: int, *, name: str = "the targets") -> Read:
    """Read the targets of a data set, and compare its measurements with f(x) if it stores them.

    Args:
        dataset: A tensor (n, ..., *item), or a map-style data set of x, (x,), (y, x), or samples with ``keys``.
        forward: Measures targets.
        keys: The key of the targets in a sample.
        item_dims: Dimensions of one target.
        name: What errors call the targets.

    Raises:
        TypeError: If ``dataset`` is neither, a sample needs ``keys``, or a target is no tensor of numbers.
        ValueError: If there is no target, one is not finite, or the shapes differ.
        KeyError: If a sample lacks the key.
    """
    check_keys(_OWNER, keys)
    if isinstance(keys, (list, tuple)) and len(keys) != 1:
        raise ValueError(f"{_OWNER} needs one key, but got keys={keys!r}. Name the part that holds the targets.")
    _check_readable(dataset)
    if isinstance(dataset, tuple) and all(isinstance(part, Tensor) for part in dataset):
        raise TypeError(
            f"{_OWNER} got a tuple of {len(dataset)} tensors. If it is (y, x), pass "
            "torch.utils.data.TensorDataset(y, x)."
        )
    check_map_style(_OWNER, dataset)
    if isinstance(dataset, Tensor):
        check_tensor(_OWNER, dataset, name="dataset")
        return Read(*_flat(dataset.detach(), item_dims, name), None, "")
    targets, apart, hints = list[Tensor](), list[Tensor](), list[str]()
    for y, x in _batches(dataset, keys):
        targets.append(x)
        if y is not None and x.dim() == item_dims + 1:
            distance, hint = _disagreement(forward, y, x)
            apart.append(distance)
            hints.append(hint)
    _check_alike(targets)
    x = torch.cat(targets) if targets else torch.zeros(0)
    hint = hints[0] if hints and len({*hints}) == 1 else ""
    return Read(*_flat(x, item_dims, name), torch.cat(apart) if apart else None, hint)


def _batches(dataset: Any, keys: Keys) -> Iterator[tuple[Tensor | None, Tensor]]:
    """Yield measurements (B, ...), if there are any, and targets (B, ...)."""
    for start in range(0, len(dataset), _STEP):
        samples = fetch(dataset, range(start, min(start + _STEP, len(dataset))))
        chosen = target_keys(_OWNER, samples[0], keys)
        for sample in samples if chosen is not None else ():
            check_present(_OWNER, sample, chosen or ())
        targets = samples if chosen is None else [sample[chosen[0]] for sample in samples]
        check_targets(_OWNER, targets, range(start, start + len(targets)))
        _check_alike([x[None] for x in targets])
        pairs = keys is None and isinstance(samples[0], (tuple, list)) and len(samples[0]) == 2
        first = [_numbers(sample[0]) for sample in samples] if pairs else []
        yield _stacked(first), torch.stack([x.detach() for x in targets])


def _check_readable(dataset: Any) -> None:
    """Raise ``TypeError`` for what holds data, but is no data set."""
    if isinstance(dataset, DataLoader):
        hint = "Pass its data set: loader.dataset."
    elif isinstance(dataset, (str, Path)):
        hint = "Use the command: symbreak diagnose FILE."
    elif isinstance(dataset, Iterable) and not hasattr(dataset, "__len__"):
        hint = "Read some samples first: list(itertools.islice(dataset, 2000))."
    else:
        return
    raise TypeError(f"{_OWNER} needs a tensor or a map-style data set, but got {describe(dataset)}. {hint}")


def _check_alike(parts: Sequence[Tensor]) -> None:
    """Raise unless targets (B, *item) have one shape and one dtype."""
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = sorted({tuple(part.shape[1:]) for part in parts})
        raise ValueError(f"{_OWNER} needs targets of one shape, but got {shapes}. Pad them to one frame first.")
    if len({part.dtype for part in parts}) > 1:
        dtypes = sorted({str(part.dtype) for part in parts})
        raise TypeError(f"{_OWNER} needs targets of one dtype, but got {' and '.join(dtypes)}. Convert them first.")


def _numbers(y: Any) -> Any:
    """Return a stored measurement as a tensor if it is an array of numbers."""
    if isinstance(y, np.ndarray) and y.dtype.kind in "biufc":
        y = torch.from_numpy(np.require(y, y.dtype.newbyteorder("="), ["C", "W"]))
    # Counts are measurements, too. Bits cannot be subtracted.
    return y.detach().to(torch.get_default_dtype()) if isinstance(y, Tensor) and y.dtype == torch.bool else y


def _stacked(first: Sequence[Any]) -> Tensor | None:
    """Return stored measurements (B, ...), (B,) if their shapes differ. None if they are no tensors."""
    if not first or not all(isinstance(y, Tensor) for y in first):
        return None
    return torch.stack(list(first)) if len({y.shape for y in first}) == 1 else torch.full((len(first),), torch.nan)


def _flat(x: Tensor, item_dims: int, name: str) -> tuple[Tensor, tuple[int, ...]]:
    """Return one item per index, and the dimensions of a sample that were taken as batch."""
    if x.dim() <= item_dims or x.numel() == 0:
        raise ValueError(
            f"{_OWNER} needs targets with {item_dims} dimensions each, as (n, *channels, *event), but got "
            f"{describe(x)}."
        )
    batched = tuple(x.shape[1 : x.dim() - item_dims])
    flat = resolved(x.reshape(-1, *x.shape[x.dim() - item_dims :]))
    return check_finite(flat, name=name), batched


def _disagreement(forward: Forward, y: Tensor, x: Tensor) -> tuple[Tensor, str]:
    """Return ``||y - f(x)|| / ||y||`` of every item, and what would agree."""
    modeled = measured(forward, x)
    if modeled.shape != y.shape:
        of_y = f"they have {tuple(y.shape[1:])}" if y.dim() > 1 else "they have others"
        hint = f"Here f(x) has shape {tuple(modeled.shape[1:])}, and {of_y}."
        return torch.full((len(x),), torch.inf, dtype=torch.float64), hint
    distance = relative(y, modeled)
    if distance.median() < 0.01:
        return distance, ""
    if bool((~y.isfinite() & modeled.isfinite()).any()):
        return distance, "Some have entries that are not finite where f(x) is."
    if not y.any():
        return distance, "They are zero."
    axes = tuple(range(1, y.dim()))
    for hint, other in (
        ("They agree with f(x) with zero frequency in the middle.", torch.fft.fftshift(modeled, axes)),
        ("They agree with f(x) with zero frequency at index 0.", torch.fft.ifftshift(modeled, axes)),
        ("They agree with the root of f(x).", root(modeled.clamp_min(0)) if not modeled.is_complex() else modeled),
        ("They agree with a multiple of f(x).", modeled * per_item(_total(y) / _total(modeled), y.dim() - 1)),
    ):
        if relative(y, other).median() < 0.01:
            return distance, hint
    return distance, ""


def _total(y: Tensor) -> Tensor:
    return torch.where(y.isfinite(), y, 0).reshape(len(y), -1).sum(-1)


def relative(y: Tensor, other: Tensor) -> Tensor:
    """Return ``||y - other|| / ||y||`` of every item, (n,), in double precision.

    Entries that are finite in neither are equal. The distance is infinite if one is finite in one alone, or y is zero.
    """
    dims, known = y.dim() - 1, y.isfinite() & other.isfinite()
    size = flat_items(power(torch.where(known, y, 0)), dims).sum(-1, dtype=torch.float64)
    apart = flat_items(power(torch.where(known, y - other, 0)), dims).sum(-1, dtype=torch.float64)
    distance = root(apart / torch.where(size > 0, size, 1))
    alike = flat_items(y.isfinite() == other.isfinite(), dims).all(-1) & ((size > 0) | (apart == 0))
    return torch.where(alike, distance, torch.inf)
