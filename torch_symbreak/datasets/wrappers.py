"""Wrappers for a user's own data set: break its symmetries, or scramble it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from torch_symbreak._checks import check_finite, check_tensor, describe
from torch_symbreak._random import item_seed
from torch_symbreak.datasets.base import check_index
from torch_symbreak.symmetries import Canonicalizer, Product, Symmetry
from torch_symbreak.transforms import OnKeys, replace_keys


def fetch(dataset: Any, indices: Sequence[int]) -> list[Any]:
    """The samples of a map-style data set, by its own batched fetch where it has one."""
    batched = getattr(dataset, "__getitems__", None)
    return list(batched(list(indices))) if callable(batched) else [dataset[i] for i in indices]


def check_keys(owner: str, keys: Hashable | Sequence[Hashable] | None) -> None:
    """Raise ``ValueError`` if there is no key in a sequence of keys."""
    if isinstance(keys, (list, tuple)) and not keys:
        raise ValueError(f"{owner} needs at least one key, but got keys={keys!r}.")


def target_keys(owner: str, sample: Any, keys: Hashable | Sequence[Hashable] | None) -> tuple[Any, ...] | None:
    """Where the targets are in a sample or batch; None: it is the target."""
    if keys is not None:
        return tuple(keys) if isinstance(keys, (list, tuple)) else (keys,)
    if isinstance(sample, (tuple, list)) and len(sample) == 2:
        return (1,)
    if isinstance(sample, (tuple, list, dict)):
        raise TypeError(
            f"{owner} got a {type(sample).__name__} of {len(sample)}, neither x nor (y, x). Say where the targets are: "
            "keys=0, keys='x', keys=('x', 'support')."
        )
    return None


class _OnTargets(Dataset[Any]):
    """A data set whose samples have their targets replaced, a batch at a time where the shapes agree."""

    def __init__(self, dataset: Any, keys: Hashable | Sequence[Hashable] | None) -> None:
        map_style = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        if not map_style or isinstance(dataset, IterableDataset):
            raise TypeError(
                f"{type(self).__name__} needs a map-style data set (with a length and an index), but got "
                f"{describe(dataset)}. In an iterable one, apply the transform to each sample: OnKeys(transform, keys)."
            )
        check_keys(type(self).__name__, keys)
        self.dataset = dataset
        self.keys = keys

    def __len__(self) -> int:
        return len(self.dataset)

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        """Change targets (B, ...), which are the items ``indices``."""
        raise NotImplementedError

    def _changed(self, targets: list[Any], indices: Sequence[int]) -> list[Tensor]:
        name = type(self).__name__
        for i, x in zip(indices, targets, strict=True):
            try:
                check_tensor(name, x)
            except TypeError as error:
                raise TypeError(f"{error} (Item {i}; for (x, label) samples pass keys=0.)") from None
            check_finite(x.flatten(), name=f"item {i} of the data set")
        if len({(x.shape, x.dtype, x.device) for x in targets}) == 1:
            return list(self._change(torch.stack(targets), indices).unbind(0))
        return [self._change(x[None], [i])[0] for i, x in zip(indices, targets, strict=True)]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        indices = [check_index(i, len(self)) for i in indices]
        samples = fetch(self.dataset, indices)
        if not samples:
            return []
        keys = target_keys(type(self).__name__, samples[0], self.keys)
        if keys is None:
            return self._changed(samples, indices)
        whole = OnKeys(lambda part: part, keys)  # its errors say which keys there are
        samples = [whole(sample) for sample in samples]
        columns = [self._changed([sample[key] for sample in samples], indices) for key in keys]
        return [
            replace_keys(sample, dict(zip(keys, parts, strict=True)))
            for sample, parts in zip(samples, zip(*columns, strict=True), strict=True)
        ]

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]


class SymmetryBrokenDataset(_OnTargets):
    """A data set with one canonical target per orbit: what to train an end-to-end network on.

    x becomes C(x), or (f(x), C(x)) if ``forward`` is given; (y, x) becomes (y, C(x)), y untouched; for other samples
    ``keys`` says where the targets are. Several keys are canonicalized each by itself.

    Args:
        dataset: A map-style data set of targets, of pairs (y, x), or of any samples with ``keys``; or a tensor of
            targets. Its own ``__getitems__`` is used if it has one, and batches are canonicalized at once.
        canonicalizer: E.g. ``FarField().canonicalizer()``, or a ``Compose`` of transforms.
        forward: Measures targets that come without measurements. Default: none.
        keys: A key or a sequence of keys of the targets in a sample: ints for tuples, any for dicts. Default: the
            sample itself, or its second part if it is a pair.

    Raises:
        TypeError: If a target is no tensor of the right dtype, or a sample needs ``keys``.
        ValueError: If a target is not finite, or ``forward`` comes with samples that are no plain targets.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(2)
        >>> objects = torch.randn(6, 8, 8, dtype=torch.complex64)
        >>> data = SymmetryBrokenDataset(objects, model.canonicalizer(), forward=model)
        >>> y, x = data[0]
        >>> torch.allclose(y, model(objects[0]), atol=1e-3)
        True
    """

    def __init__(
        self,
        dataset: Any,
        canonicalizer: Canonicalizer[Any] | Callable[[Tensor], Tensor],
        forward: Callable[[Tensor], Tensor] | None = None,
        *,
        keys: Hashable | Sequence[Hashable] | None = None,
    ) -> None:
        super().__init__(dataset, keys)
        self.canonicalizer = canonicalizer
        self.forward = forward

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        fixed = self.canonicalizer(x)
        if not isinstance(fixed, Tensor) or (fixed.shape, fixed.dtype) != (x.shape, x.dtype):
            raise ValueError(
                f"SymmetryBrokenDataset needs a canonicalizer that keeps targets in shape and dtype, but {describe(x)} "
                f"became {describe(fixed)}. For a forward model, pass model.canonicalizer()."
            )
        return fixed

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        samples = super().__getitems__(indices)
        if self.forward is None or not samples:
            return samples
        if not isinstance(samples[0], Tensor):
            raise ValueError(
                "SymmetryBrokenDataset got forward= for samples that are no plain targets: they carry measurements of "
                "their own, which stay untouched. Leave forward=None, or pass a data set of targets."
            )
        with torch.no_grad():
            if len({(x.shape, x.dtype, x.device) for x in samples}) == 1:
                return list(zip(self.forward(torch.stack(samples)).unbind(0), samples, strict=True))
            return [(self.forward(x[None])[0], x) for x in samples]


class ScrambledDataset(_OnTargets):
    """A data set with every target moved to a random point of its orbit: the "before" of symmetry breaking.

    x becomes g x, and (y, x) becomes (y, g x), y untouched, since f(g x) = f(x). The element g of an item is a function
    of (seed, index) alone: the same in every epoch, worker and batch.

    Args:
        dataset: As for ``SymmetryBrokenDataset``.
        symmetries: Which symmetries scramble, e.g. ``FarField().symmetries``.
        seed: Default 0.
        keys: Where the targets are in a sample. Default: the sample itself, or the second part of a pair.

    Example:
        >>> import torch
        >>> from torch_symbreak import Sign
        >>> x = torch.ones(6, 3)
        >>> before = ScrambledDataset(x, Sign(1), seed=1)
        >>> torch.equal(before[2], before[2]), torch.equal(torch.stack(list(before)).abs(), x)
        (True, True)
    """

    def __init__(
        self,
        dataset: Any,
        symmetries: Symmetry | Sequence[Symmetry],
        seed: int = 0,
        *,
        keys: Hashable | Sequence[Hashable] | None = None,
    ) -> None:
        super().__init__(dataset, keys)
        self.symmetry = Product(symmetries)
        self.seed = operator.index(seed)

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        moved = []
        for item, index in zip(x, indices, strict=True):
            generator = torch.Generator().manual_seed(item_seed(self.seed, index))
            moved.append(self.symmetry.act(self.symmetry.sample(item, generator=generator), item))
        return torch.stack(moved)
