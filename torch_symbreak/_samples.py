"""Targets in samples and batches: find, check, change and measure them.

A *sample* is what a data set returns for one index. A *batch* is what a ``DataLoader`` yields. Either is a target x
alone, ``(x,)``, a pair ``(y, x)``, or a tuple, list or mapping whose targets stand at ``keys``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import all_finite, check_finite, check_tensor, describe, not_finite
from torch_symbreak._items import resolved, typed_like

#: One key or several: ints for tuples and lists, any for mappings. None: x alone, (x,) or (y, x).
Keys = Hashable | Sequence[Hashable] | None

#: Changes the items ``indices`` of a data set, stacked to targets (B, ...).
Change = Callable[[Tensor, Sequence[int]], Tensor]


# ------------------------------------------------------------------------------------------------------ find


def check_keys(owner: str, keys: Keys) -> None:
    """Raise ``ValueError`` if ``keys`` is an empty sequence, and ``TypeError`` if one can be no key."""
    if isinstance(keys, (list, tuple)) and not keys:
        raise ValueError(f"{owner} needs at least one key, but got keys={keys!r}.")
    for key in keys if isinstance(keys, (list, tuple)) else (keys,):
        if isinstance(key, bool) or not isinstance(key, Hashable):
            raise TypeError(
                f"{owner} needs keys like 0, 'x' or ('x', 'support'), but got keys={keys!r}, and {key!r} is no key."
            )


def target_keys(owner: str, sample: Any, keys: Keys) -> tuple[Any, ...] | None:
    """Return the keys of the targets in a sample or batch, or None if it is the target."""
    if keys is not None:
        return tuple(keys) if isinstance(keys, (list, tuple)) else (keys,)
    if isinstance(sample, (tuple, list)) and len(sample) in (1, 2):
        return (len(sample) - 1,)
    if isinstance(sample, (tuple, list, Mapping)):
        raise TypeError(
            f"{owner} got a {type(sample).__name__} of {len(sample)}, which is neither x, (x,) nor (y, x). "
            "Say where the targets are: keys=0, keys='x', keys=('x', 'support')."
        )
    return None


def check_present(owner: str, sample: Any, keys: tuple[Any, ...]) -> None:
    """Raise unless the sample has all the keys."""
    if isinstance(sample, Mapping):
        missing = [key for key in keys if key not in sample]
        present: list[Any] = list(sample) if missing else []
    elif isinstance(sample, (tuple, list)):
        size = len(sample)
        missing = [key for key in keys if not isinstance(key, int) or not -size <= key < size]
        present = list(range(size)) if missing else []
    else:
        raise TypeError(
            f"{owner} needs a tuple, a list or a mapping, but got {describe(sample)}, without keys {keys}. "
            "For one tensor, leave keys=None, or use the transform without OnKeys."
        )
    if not isinstance(sample, Mapping) and not missing and len({key % len(sample) for key in keys}) < len({*keys}):
        raise ValueError(f"{owner} got keys={keys}, two of which name one part of {len(sample)}. Leave one out.")
    if missing:
        raise KeyError(f"{owner} got no {missing} in a sample with the keys {present}.")


def _only_target(owner: str, sample: Any, keys: tuple[Any, ...] | None) -> Any:
    """Return x from x or (x,). Raise ``ValueError`` for a sample with other parts, which may hold measurements."""
    if keys is None:
        return sample
    if isinstance(sample, (tuple, list)) and len(sample) == len(keys) == 1:
        check_present(owner, sample, keys)
        return sample[keys[0]]
    raise ValueError(
        f"{owner} measures x or (x,) with forward=, but got a {type(sample).__name__} of {len(sample)}. "
        "Other parts, such as measurements, stay untouched: leave forward=None, or pass targets alone."
    )


# ---------------------------------------------------------------------------------------------------- change


def replace_keys(owner: str, sample: Any, new: Mapping[Any, Any]) -> Any:
    """Return a copy of a mapping, list or (named) tuple with some of its parts replaced.

    Raises:
        TypeError: If the class of the sample can be neither copied nor built from its parts.
    """
    kind = type(sample)
    for make in (_copied, _rebuilt) if isinstance(sample, Mapping) else (_rebuilt,):
        with contextlib.suppress(Exception):  # the class is the user's, and so is the exception
            made = make(sample, new)
            if type(made) is kind and len(made) == len(sample) and all(made[key] is new[key] for key in new):
                return made
    plain = "dict" if isinstance(sample, Mapping) else "tuple"
    raise TypeError(
        f"{owner} needs samples that it can copy, but {kind.__name__}(parts) does not build a {kind.__name__}, and "
        f"its class has no method copy. Return {plain}(sample) from the data set."
    )


def appended(owner: str, sample: Any, part: Any, key: str) -> Any:
    """Return a copy of a sample with one more part: last in a tuple or list, under ``key`` in a mapping.

    Raises:
        TypeError: If the sample is a named tuple, or its class cannot be copied.
        ValueError: If a mapping has the key.
    """
    if isinstance(sample, Mapping):
        if key in sample:
            raise ValueError(f"{owner} adds the key {key!r}, but the samples have it. Rename theirs.")
        return _copied(sample, {key: part})
    if isinstance(sample, tuple) and hasattr(sample, "_make"):
        raise TypeError(
            f"{owner} cannot add a {key} to a {type(sample).__name__}, which has fixed fields. Return tuple(sample) or "
            "a dict from the data set."
        )
    return type(sample)((*sample, part)) if isinstance(sample, (tuple, list)) else (sample, part)


def _copied(sample: Any, new: Mapping[Any, Any]) -> Any:
    """Copy a mapping by its own method, which keeps what else it holds: a default factory, a batch size."""
    kind = type(sample)
    # copy.copy of any other class would share its values with the input.
    by_copy = issubclass(kind, dict) or hasattr(kind, "__copy__")
    changed = copy.copy(sample) if by_copy else sample.copy()
    for key, value in new.items():
        changed[key] = value
    return changed


def _rebuilt(sample: Any, new: Mapping[Any, Any]) -> Any:
    """Build a sample from its parts by its class."""
    parts: Any = dict(sample) if isinstance(sample, Mapping) else list(sample)
    for key, value in new.items():
        parts[key] = value
    make = getattr(type(sample), "_make", type(sample))  # of a named tuple
    return make(parts)


def on_keys(owner: str, transform: Callable[[Any], Any], keys: tuple[Any, ...], sample: Any) -> Any:
    """Return a copy of a sample with the transform run on the parts at ``keys``."""
    check_present(owner, sample, keys)
    return replace_keys(owner, sample, {key: transform(sample[key]) for key in keys})


def measured(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the measurements of targets (B, ...). They are data: no gradient flows through them."""
    with torch.no_grad():
        return forward(x)


def on_targets(
    owner: str,
    transform: Callable[[Tensor], Any],
    keys: Keys,
    batch: Any,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Any:
    """Run a transform on the targets of a batch.

    Without ``forward`` the container stays: x becomes C(x), (x,) becomes (C(x),) and (y, x) becomes (y, C(x)).
    With it, x and (x,) become (f(C(x)), C(x)).
    """

    def change(x: Any) -> Any:
        changed = transform(x)
        return typed_like(changed, x) if isinstance(x, Tensor) and isinstance(changed, Tensor) else changed

    chosen = target_keys(owner, batch, keys)
    if forward is not None:
        x = change(_only_target(owner, batch, chosen))
        return measured(forward, x), x
    return change(batch) if chosen is None else on_keys(owner, change, chosen, batch)


def check_target_batch(owner: str, x: Any) -> Tensor:
    """Return a batch of targets, or raise unless it is a tensor of finite numbers."""
    check_tensor(owner, x, what="batch of targets")
    return check_finite(x, name="the batch of targets")


def change_samples(
    owner: str,
    samples: Sequence[Any] | Tensor,
    indices: Sequence[int],
    change: Change,
    keys: Keys = None,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> list[Any]:
    """Return samples of a data set with their targets changed.

    Targets of one shape, dtype and device are stacked, checked, changed and measured once. Others go one by one.
    Samples keep their containers as in :func:`on_targets`.

    Args:
        owner: Name of the class that error messages start with.
        samples: The samples, or a tensor (B, ...) of targets.
        indices: The samples' indices in the data set, for ``change`` and for errors.
        change: Takes targets (B, ...) and their indices, returns as many targets.
        keys: The keys of the targets in a sample.
        forward: Measures the changed targets. Default: none.

    Raises:
        TypeError: If a target is no floating-point or complex tensor, or a sample needs ``keys``.
        ValueError: If a target is not finite, or ``forward`` comes with samples that have other parts.
        KeyError: If a sample lacks a key.
    """
    if len(samples) == 0:
        return []
    chosen = target_keys(owner, samples[0], keys)
    if forward is not None:
        if chosen is not None:
            samples = [_only_target(owner, sample, chosen) for sample in samples]
        return _changed(owner, samples, indices, change, forward)
    if chosen is None:
        return _changed(owner, samples, indices, change)
    for sample in samples:
        check_present(owner, sample, chosen)
    columns = [_changed(owner, [sample[key] for sample in samples], indices, change) for key in chosen]
    return [
        replace_keys(owner, sample, dict(zip(chosen, parts, strict=True)))
        for sample, parts in zip(samples, zip(*columns, strict=True), strict=True)
    ]


def _changed(
    owner: str,
    targets: Sequence[Any] | Tensor,
    indices: Sequence[int],
    change: Change,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> list[Any]:
    """Return C(x) of every target x, or (f(C(x)), C(x)) with ``forward``."""
    if isinstance(targets, Tensor):
        check_tensor(owner, targets)
        return _changed_stack(targets.as_subclass(Tensor), [targets] * len(targets), indices, change, forward)
    if check_targets(owner, targets, indices):
        return _changed_stack(torch.stack(list(targets)), targets, indices, change, forward)
    return [_changed_stack(x[None], [x], [i], change, forward)[0] for i, x in zip(indices, targets, strict=True)]


def _changed_stack(
    x: Tensor,
    targets: Sequence[Tensor],
    indices: Sequence[int],
    change: Change,
    forward: Callable[[Tensor], Tensor] | None,
) -> list[Any]:
    """Change stacked targets, (B, ...). Each item gets the torchvision type of its target."""
    _check_items_finite(x, indices)
    changed = change(x, indices)
    items = [typed_like(item, target) for item, target in zip(changed.unbind(0), targets, strict=True)]
    if forward is None:
        return items
    y = measured(forward, changed)
    if not isinstance(y, Tensor) or y.shape[:1] != changed.shape[:1]:
        raise ValueError(
            f"forward= needs to return one measurement per target, ({len(changed)}, ...) for {describe(changed)}, but "
            f"returned {describe(y)}."
        )
    return list(zip(y.unbind(0), items, strict=True))


def check_targets(owner: str, targets: Sequence[Any], indices: Sequence[int]) -> bool:
    """Return whether the targets can be stacked, or raise ``TypeError`` if one cannot be a target."""
    kinds: dict[Any, tuple[int, Any]] = {}
    for i, x in zip(indices, targets, strict=True):
        kind = (type(x), x.shape, x.dtype, x.device, x.layout) if isinstance(x, Tensor) else type(x)
        kinds.setdefault(kind, (i, x))
    for i, x in kinds.values():
        if isinstance(x, (tuple, list, Mapping)):
            raise TypeError(
                f"{owner} needs one torch.Tensor as target, but got {describe(x)} in item {i}. Return samples from the "
                "data set that are not nested."
            )
        try:
            check_tensor(owner, x)
        except TypeError as error:
            raise TypeError(f"{error} (Item {i}; for (x, label) samples pass keys=0.)") from None
    return len(kinds) == 1


def _check_items_finite(x: Tensor, indices: Sequence[int]) -> None:
    """Raise ``ValueError`` with the index of the first item that is not finite."""
    if all_finite(x):
        return
    for i, item in zip(indices, x, strict=True):
        if not all_finite(item):
            raise ValueError(not_finite(f"item {i} of the data set", item))


def take(x: Tensor, indices: Sequence[int]) -> Tensor:
    """Return a copy of the items ``indices`` of a tensor, (B, ...)."""
    # A worker process would lose lazy conj and neg bits.
    return typed_like(resolved(x.index_select(0, torch.tensor(indices, dtype=torch.int64, device=x.device))), x)
