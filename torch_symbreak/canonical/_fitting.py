"""Fitting a template to objects: generalized Procrustes analysis, by Lloyd's iteration.

Align all objects to the template, take their mean as the next template, and repeat. The mean squared distance of the
aligned objects from the template never rises: aligning minimizes it over the elements, the mean over templates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from torch_symbreak._checks import check_finite, check_generator, check_tensor, describe
from torch_symbreak._items import divided, flat_items, per_item, power, unit_scale, wide
from torch_symbreak._progress import bar
from torch_symbreak._samples import Keys, check_present, target_keys
from torch_symbreak.canonical.far_field import FarFieldCanonicalizer
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Sign, Translation

#: Items that are aligned between two steps of the progress bar, or fetched from a data set at once.
_STEP = 500
#: Objects that are tried as a start.
_DRAWN = 8
#: A mean below this share of the mean magnitude is no template, but rounding noise.
_CANCELED = 1e-6
_OWNER = "AlignToTemplate.fit"

Align = Callable[[Tensor], Tensor]


class Fit(NamedTuple):
    """A fitted template."""

    template: Tensor
    history: list[float]  # mean ||C(x) - t||² of every round
    explained: float  # ||t||² / mean ||x||², in [0, 1]


def iterate(
    x: Tensor, start: Tensor, align_to: Callable[[Tensor], Align], item_dims: int, rounds: int, tolerance: float,
    progress: bool,
) -> Fit:  # fmt: skip
    """Refine a template until a round lowers the mean squared distance by less than ``tolerance``, relatively.

    Args:
        x: The objects, (n, *item).
        start: The first template.
        align_to: Return the function that aligns items to a template.
        item_dims: Dimensions of one item.
        rounds: The most rounds.
        tolerance: Relative decrease below which to stop.
        progress: Show a progress bar on stderr.
    """
    energy = float(flat_items(power(x), item_dims).sum(-1, dtype=torch.float64).mean())
    template, history = start, list[float]()
    with bar("fitting a template", rounds * len(x), wanted=progress) as advance:
        for _ in range(rounds):
            align, total = align_to(template), torch.zeros_like(template, dtype=wide(template))
            for part in x.split(_STEP):
                total += align(part).sum(0, dtype=wide(part))
                advance(len(part))
            mean, t = total / len(x), template.to(wide(template))
            # Elements keep norms, so that mean ||C(x) - t||² needs no second pass. Rounding may take 0 below 0.
            cross = float((mean * t.conj()).real.sum())
            history.append(max(0.0, energy + float(power(t).sum()) - 2 * cross))
            template = mean.to(template.dtype)
            if len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]:
                break
    explained = float(power(template.to(wide(template))).sum()) / energy if energy else 0.0
    return Fit(template, history, min(1.0, explained))


def check_options(start: Any, rounds: Any, tolerance: Any, restarts: Any, generator: Any) -> None:
    """Raise unless the options of a fit have values that it can work with."""
    for name, value in (("rounds", rounds), ("restarts", restarts)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{_OWNER} needs an int {name} >= 1, but got {value!r}.")
    if not isinstance(tolerance, (int, float)) or not tolerance >= 0:
        raise ValueError(f"{_OWNER} needs a tolerance >= 0, but got {tolerance!r}.")
    check_generator(_OWNER, generator)
    if not (start is None or isinstance(start, Tensor) or (callable(start) and not isinstance(start, type))):
        raise TypeError(f"{_OWNER} needs a tensor, a canonicalizer or None as start, but got {describe(start)}.")


def check_start(start: Tensor, x: Tensor) -> None:
    """Raise unless a first template has the shape of the objects (n, *item), and is real if they are."""
    if start.shape != x.shape[1:]:
        raise ValueError(
            f"{_OWNER} needs a start of the objects' shape {tuple(x.shape[1:])}, but got {tuple(start.shape)}."
        )
    if start.is_complex() and not x.is_complex():
        raise TypeError(f"{_OWNER} needs a real start for real objects, but got {describe(start)}.")


def normalized(x: Tensor, item_dims: int) -> Tensor:
    """Divide every item by its norm; a zero item stays."""
    x = unit_scale(x, item_dims)
    norm = flat_items(power(x), item_dims).sum(-1, dtype=torch.float64).sqrt().to(x.real.dtype)
    return divided(x, per_item(torch.where(norm > 0, norm, 1), item_dims))


def gather(objects: Any, item_dims: int, keys: Keys, most: int | None, generator: torch.Generator | None) -> Tensor:
    """Return targets as one tensor (n, *item), read once: from a tensor, a map-style data set, or a loader.

    Args:
        objects: A tensor (*batch, *item), a data set with a length and an index, or any iterable of batches.
        item_dims: Dimensions of one item.
        keys: Key of the targets in a sample or batch.
        most: Keep at most so many, drawn without replacement; of an iterable the first.
        generator: Source of randomness for that draw.

    Raises:
        TypeError: If ``objects`` is none of these, or a sample needs ``keys``.
        ValueError: If an object is not finite, fewer than 2 are left, their shapes differ, or ``keys`` are several.
        KeyError: If a sample lacks the key.
    """
    if isinstance(keys, (list, tuple)) and len(keys) != 1:
        raise ValueError(f"{_OWNER} needs one key, but got keys={keys!r}. Name the part that holds the objects.")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 2):
        raise ValueError(f"{_OWNER} needs an int max_objects >= 2 or None, but got {most!r}.")
    if isinstance(objects, tuple) and all(isinstance(part, Tensor) for part in objects):
        raise TypeError(
            f"{_OWNER} got a tuple of {len(objects)} tensors. If it is (y, x), pass x or TensorDataset(y, x)."
        )
    if isinstance(objects, Tensor):
        check_tensor(_OWNER, objects, what="objects")
        x = _items(objects.detach(), item_dims)
        x = x if most is None or len(x) <= most else x[_drawn(len(x), most, generator).to(x.device)]
    elif _indexed(objects):
        count = len(objects)
        index = torch.arange(count) if most is None or count <= most else _drawn(count, most, generator)
        x = _stacked((_target(objects[i], keys) for i in index.tolist()), item_dims, None)
    elif isinstance(objects, Iterable) and not isinstance(objects, (str, dict)):
        x = _stacked((_target(batch, keys) for batch in objects), item_dims, most)
    else:
        raise TypeError(f"{_OWNER} needs a tensor, a data set or a loader of objects, but got {describe(objects)}.")
    if len(x) < 2:
        raise ValueError(
            f"{_OWNER} needs at least 2 objects, but got {len(x)}. Pass them as (n, *channels, *event). A single "
            "object x is its own template: AlignToTemplate(x, symmetries)."
        )
    return check_finite(x, name="objects")


def _indexed(objects: Any) -> bool:
    """Return whether objects are a map-style data set. An ``IterableDataset`` inherits an index, but has none."""
    other = isinstance(objects, (list, tuple, str, dict, IterableDataset))
    return hasattr(objects, "__getitem__") and hasattr(objects, "__len__") and not other


def _drawn(count: int, most: int, generator: torch.Generator | None) -> Tensor:
    return torch.randperm(count, generator=generator)[:most]


def _target(sample: Any, keys: Keys) -> Tensor:
    chosen = target_keys(_OWNER, sample, keys)
    if chosen is not None:
        check_present(_OWNER, sample, chosen)
        sample = sample[chosen[0]]
    check_tensor(_OWNER, sample, what="object")
    x: Tensor = sample.detach()
    return x


def _items(x: Tensor, item_dims: int) -> Tensor:
    """Return (*batch, *item) as (n, *item)."""
    if x.dim() < item_dims:
        raise ValueError(f"{_OWNER} needs objects of at least {item_dims} dimensions, but got {describe(x)}.")
    return x.reshape(-1, *x.shape[x.dim() - item_dims :])


def _stacked(targets: Iterator[Tensor], item_dims: int, most: int | None) -> Tensor:
    """Join targets, each one item or a batch of items, to (n, *item); stop once there are ``most``."""
    parts, count = list[Tensor](), 0
    for x in targets:
        parts.append(_items(x, item_dims))
        count += len(parts[-1])
        if most is not None and count >= most:
            break
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = sorted({tuple(part.shape[1:]) for part in parts})
        raise ValueError(f"{_OWNER} needs objects of one shape, but got {shapes}. Pad them to one frame first.")
    return torch.cat(parts)[:most] if parts else torch.zeros(0)


def mean_of_rule(x: Tensor, group: Product, start: Tensor | Callable[[Tensor], Tensor] | None) -> Tensor | None:
    """Return ``start`` if a tensor, else the mean of the targets of ``start`` or of the exact rule. None if no rule."""
    if isinstance(start, Tensor):
        return start.to(x.device, x.dtype)
    fix = _exact_rule(group) if start is None else start
    if fix is None:
        return None
    total = torch.zeros_like(x[0], dtype=wide(x))
    for part in x.split(_STEP):
        targets = fix(part)
        if (
            not isinstance(targets, Tensor)
            or targets.shape != part.shape
            or (targets.is_complex() and not part.is_complex())
        ):
            raise ValueError(
                f"{_OWNER} needs a start that makes targets of objects, {describe(part)}, but got {describe(targets)}."
            )
        total += targets.sum(0, dtype=wide(targets))
    mean = total / len(x)
    if not bool(mean.abs().sum() > _CANCELED * x.abs().mean(0).sum()):
        raise ValueError(
            f"{_OWNER} got objects whose canonical targets have the mean zero, which is no template. Pass start=, such "
            "as one of the objects."
        )
    return mean.to(x.dtype)


def best_of_drawn(
    x: Tensor, item_dims: int, align_to: Callable[[Tensor], Align], generator: torch.Generator | None
) -> Tensor:
    """Return the one of a few drawn objects to which the others align best."""
    order = torch.randperm(len(x), generator=generator).to(x.device)
    order = order[flat_items(x, item_dims).any(-1)[order]]
    if not len(order):
        raise ValueError(f"{_OWNER} needs objects that are not zero, but got none. Pass others.")
    best, most = x[order[0]], -math.inf
    for drawn in x[order[:_DRAWN]]:
        norm = float(torch.linalg.vector_norm(drawn))
        gain = float((align_to(drawn)(x[:_STEP]) * drawn.conj()).real.sum()) / norm
        best, most = (drawn, gain) if gain > most else (best, most)
    return best


def _exact_rule(group: Product) -> FarFieldCanonicalizer | None:
    """Return the far field's exact canonicalizer if the group has its symmetries."""
    kinds, like = {type(part) for part in group.symmetries}, group.rearrangement
    if like is None or kinds not in ({Translation, ConjugateFlip, GlobalPhase}, {Translation, ConjugateFlip, Sign}):
        return None
    return FarFieldCanonicalizer(
        like.event_dims,
        channel_dims=like.channel_dims,
        threshold=like.threshold,
        wrap=like.wrap,
        field="complex" if GlobalPhase in kinds else "real",
    )
