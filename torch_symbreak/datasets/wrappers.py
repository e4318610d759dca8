"""Wrap a user's data set: break its symmetries, or scramble it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torch_symbreak._checks import check_callable, describe
from torch_symbreak._samples import Keys, change_samples, check_keys, take
from torch_symbreak.canonical.ties import TieWatch
from torch_symbreak.datasets.base import check_index
from torch_symbreak.symmetries import Canonicalizer, Product, Symmetry


def fetch(dataset: Any, indices: Sequence[int]) -> list[Any]:
    """Return the samples of a map-style data set, by its own batched fetch if it has one.

    Raises:
        TypeError: If its ``__getitems__`` returns no sequence of samples.
        ValueError: If it returns more or fewer samples than indices.
    """
    batched = getattr(dataset, "__getitems__", None)
    if not callable(batched):
        return [dataset[i] for i in indices]
    samples, name = batched(list(indices)), f"{type(dataset).__name__}.__getitems__"
    wanted = "It needs to return a list of samples, one per index, and no collated batch."
    if not isinstance(samples, Iterable) or isinstance(samples, (Mapping, str, bytes)):
        raise TypeError(f"{name} returned {describe(samples)}. {wanted}")
    samples = list(samples)
    if len(samples) != len(indices):
        raise ValueError(f"{name} returned {len(samples)} samples for {len(indices)} indices. {wanted}")
    return samples


def check_map_style(owner: str, dataset: Any) -> None:
    """Raise ``TypeError`` unless a data set has a length and takes the indices 0, 1, ..."""
    if isinstance(dataset, DataLoader):
        hint = "Wrap its data set instead, or its batches: DeviceLoader(loader, transform, device)."
    elif isinstance(dataset, Mapping) and 0 not in dataset:
        hint = "Of several splits, pass one. Of columns, pass torch.utils.data.TensorDataset(y, x)."
    elif isinstance(dataset, (str, bytes)):
        hint = "Read the file first, or use the command: symbreak break."
    elif isinstance(dataset, Tensor) and dataset.dim() == 0:
        hint = "Pass the targets, (n, ...)."
    elif isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        hint = "In an iterable one, apply the transform to each sample: OnKeys(transform, keys)."
    else:
        return
    raise TypeError(
        f"{owner} needs a map-style data set (with a length and an index), but got {describe(dataset)}. {hint}"
    )


class _OnTargets(Dataset[Any]):
    """Change the targets of a data set, a batch at a time where the shapes agree."""

    def __init__(self, dataset: Any, keys: Keys, forward: Callable[[Tensor], Tensor] | None = None) -> None:
        if isinstance(dataset, tuple) and all(isinstance(part, Tensor) for part in dataset):
            raise TypeError(
                f"{type(self).__name__} needs a data set, but got a tuple of {len(dataset)} tensors. If it is (y, x), "
                "pass torch.utils.data.TensorDataset(y, x)."
            )
        check_map_style(type(self).__name__, dataset)
        if forward is not None:
            check_callable(type(self).__name__, "forward", forward)
        check_keys(type(self).__name__, keys)
        self.dataset = dataset
        self.keys = keys
        self.forward = forward

    def __len__(self) -> int:
        return len(self.dataset)

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        """Change targets (B, ...), the items ``indices``."""
        raise NotImplementedError

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        size = len(self)
        indices = [check_index(i, size) for i in indices]
        # A tensor is indexed at once: its items need not be taken apart and stacked again.
        samples = take(self.dataset, indices) if isinstance(self.dataset, Tensor) else fetch(self.dataset, indices)
        return change_samples(type(self).__name__, samples, indices, self._change, self.keys, self.forward)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]


class SymmetryBrokenDataset(_OnTargets):
    """Give a data set one canonical target per orbit, to train an end-to-end network on it.

    x becomes C(x), (x,) becomes (C(x),), and (y, x) becomes (y, C(x)) with y untouched. With ``forward``, x and (x,)
    become pairs (f(C(x)), C(x)), where f(C(x)) = f(x). If your samples have another form, pass ``keys``. Several keys
    are canonicalized independently. Tuples, named tuples, lists and mappings keep their type, and so do torchvision's
    tv_tensors.

    Args:
        dataset: A map-style data set of targets, of pairs (y, x), or of any samples with ``keys``; or a tensor of
            targets. Its own ``__getitems__`` is used if it has one. Batches are canonicalized at once.
        canonicalizer: E.g. ``FarField().canonicalizer()``, or a ``Compose`` of transforms.
        forward: Measures targets that come without measurements. Default: none.
        keys: A key or a sequence of keys of the targets in a sample: ints for tuples, any for dicts. Default: the
            sample itself, the only part of (x,), or the second part of a pair.

    Raises:
        TypeError: If the data set is not map-style, a target has the wrong type or dtype, a sample needs ``keys``, or
            its class can neither be copied nor built from its parts.
        ValueError: If a target is not finite, ``forward`` comes with samples that have other parts, the canonicalizer
            changes a shape or dtype, or the data set's ``__getitems__`` returns too few samples or too many.
        KeyError: If a sample lacks a key.

    Warns:
        UserWarning: Once, if one of the first 1000 targets is a tie of a ``Canonicalizer``: how many, and what to do.

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
        keys: Keys = None,
    ) -> None:
        check_callable("SymmetryBrokenDataset", "canonicalizer", canonicalizer)
        super().__init__(dataset, keys, forward)
        self.canonicalizer = canonicalizer
        self._ties = TieWatch(type(self).__name__, canonicalizer)

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        fixed = self.canonicalizer(x)
        if not isinstance(fixed, Tensor) or (fixed.shape, fixed.dtype) != (x.shape, x.dtype):
            raise ValueError(
                f"SymmetryBrokenDataset needs a canonicalizer that keeps targets in shape and dtype, but {describe(x)} "
                f"became {describe(fixed)}. For a forward model, pass model.canonicalizer()."
            )
        self._ties.look(x)
        return fixed


class ScrambledDataset(_OnTargets):
    """Move every target of a data set to a random point of its orbit: the "before" of symmetry breaking.

    x becomes g x, (x,) becomes (g x,), and (y, x) becomes (y, g x) with y untouched, since f(g x) = f(x). The element g
    of an item is a function of (seed, index) alone: the same in every epoch, worker and batch, and the same as in
    ``symbreak scramble``. Several keys of one sample draw from the same random numbers.

    Args:
        dataset: As for ``SymmetryBrokenDataset``.
        symmetries: The symmetries that scramble, e.g. ``FarField().symmetries``.
        seed: Any int. Other seeds give other elements. Default 0.
        keys: As for ``SymmetryBrokenDataset``.

    Raises:
        TypeError: If the data set is not map-style, a target has the wrong type or dtype, or a sample needs ``keys``.
        ValueError: If a target is not finite, or the symmetries contradict one another.
        KeyError: If a sample lacks a key.

    Example:
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
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
        keys: Keys = None,
    ) -> None:
        super().__init__(dataset, keys)
        self.symmetry = Product(symmetries)
        try:
            self.seed = operator.index(seed)
        except TypeError:
            raise TypeError(f"ScrambledDataset needs an int as seed, but got {seed!r}.") from None

    def _change(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        return self.symmetry.act(self.symmetry.sample_each(x, self.seed, torch.tensor(indices)), x)
