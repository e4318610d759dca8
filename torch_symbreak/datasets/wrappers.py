"""Wrap a user's data set: break its symmetries, or scramble it."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torch_symbreak._checks import check_callable, check_choice, describe
from torch_symbreak._items import NEAR_TIE
from torch_symbreak._samples import Change, Keys, appended, change_samples, check_keys, take
from torch_symbreak.canonical.ties import TieWatch, smallest_margins
from torch_symbreak.datasets.base import check_index
from torch_symbreak.symmetries import Canonicalizer, Product, Symmetry

#: Treatments of targets that are nearly ties.
Ties = Literal["keep", "drop", "weight"]
#: Samples that are read at once to find near-ties.
_STEP = 500


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
        hint = "Pass one of several splits. From columns, make torch.utils.data.TensorDataset(y, x)."
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
        return self._samples([check_index(i, size) for i in indices], self._change)

    def _samples(self, indices: Sequence[int], change: Change) -> list[Any]:
        """Return samples of the wrapped data set with their targets changed."""
        # A tensor is indexed at once: its items need not be taken apart and stacked again.
        samples = take(self.dataset, indices) if isinstance(self.dataset, Tensor) else fetch(self.dataset, indices)
        return change_samples(type(self).__name__, samples, indices, change, self.keys, self.forward)

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
        ties: Treatment of near-ties: targets with a margin below ``min_margin``. A template's translation gap does not
            count. "keep" (default) keeps them. "drop" leaves them out: the data set is read once when it is wrapped,
            and ``dropped`` has their indices. "weight" gives every sample a weight ``min(1, margin / min_margin)`` for
            the loss. It stands last in a tuple or list, and under the key "weight" in a mapping. x becomes
            (x, weight).
        min_margin: Margin in (0, 1] below which a target is a near-tie. Default 1e-3. With several keys the smallest
            margin counts.

    Raises:
        TypeError: If the data set is not map-style, a target has the wrong type or dtype, a sample needs ``keys``, or
            its class can neither be copied nor built from its parts; if ``ties`` needs margins and ``canonicalizer``
            has none, or a weight comes to a named tuple.
        ValueError: If a target is not finite, ``forward`` comes with samples that have other parts, the canonicalizer
            changes a shape or dtype, or the data set's ``__getitems__`` returns too few samples or too many. If
            ``ties`` is another word, ``min_margin`` is out of range or comes with "keep", or a mapping
            already has the key "weight".
        KeyError: If a sample lacks a key.

    Attributes:
        dropped: Indices of the targets that were left out, (k,) int64.

    Warns:
        UserWarning: Once, if one of the first 1000 targets is a tie of a ``Canonicalizer``. It says how many
            are, and what to do.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(2)
        >>> objects = torch.randn(6, 8, 8, dtype=torch.complex64)
        >>> data = SymmetryBrokenDataset(objects, model.canonicalizer(), forward=model)
        >>> y, x = data[0]
        >>> torch.allclose(y, model(objects[0]), atol=1e-3)
        True
        >>> y, x, weight = SymmetryBrokenDataset(objects, model.canonicalizer(), model, ties="weight")[0]
        >>> bool(0 <= weight <= 1)
        True
    """

    def __init__(
        self,
        dataset: Any,
        canonicalizer: Canonicalizer[Any] | Callable[[Tensor], Tensor],
        forward: Callable[[Tensor], Tensor] | None = None,
        *,
        keys: Keys = None,
        ties: Ties = "keep",
        min_margin: float | None = None,
    ) -> None:
        check_callable("SymmetryBrokenDataset", "canonicalizer", canonicalizer)
        super().__init__(dataset, keys, forward)
        check_choice("ties", ties, ("keep", "drop", "weight"))
        if ties == "keep" and min_margin is not None:
            raise ValueError('SymmetryBrokenDataset uses min_margin with ties="drop" or ties="weight". Add one.')
        if min_margin is not None and (isinstance(min_margin, bool) or not isinstance(min_margin, numbers.Real)):
            raise TypeError(f"SymmetryBrokenDataset needs a number as min_margin, but got {min_margin!r}.")
        if min_margin is not None and not 0 < min_margin <= 1:
            raise ValueError(f"SymmetryBrokenDataset needs min_margin in (0, 1], but got {min_margin!r}.")
        if ties != "keep" and not isinstance(canonicalizer, Canonicalizer):
            raise TypeError(
                f"SymmetryBrokenDataset needs margins for ties={ties!r}, but {describe(canonicalizer)} has none. Pass "
                "a Canonicalizer, such as model.canonicalizer()."
            )
        self.canonicalizer = canonicalizer
        self.ties: Ties = ties
        self.min_margin = NEAR_TIE if min_margin is None else min_margin
        self._ties = TieWatch(type(self).__name__, canonicalizer)
        self._kept: list[int] | None = None
        self.dropped = torch.zeros(0, dtype=torch.int64)
        if ties == "drop":
            near = self._near_ties()
            self.dropped, self._kept = near.nonzero()[:, 0], (~near).nonzero()[:, 0].tolist()

    def __len__(self) -> int:
        return len(self.dataset) if self._kept is None else len(self._kept)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        size = len(self)
        places = [check_index(i, size) for i in indices]
        if self._kept is not None:
            places = [self._kept[i] for i in places]
        if self.ties != "weight":
            return self._samples(places, self._change)
        margins: dict[int, Tensor] = {}

        def change(x: Tensor, indices: Sequence[int]) -> Tensor:
            self._note_margins(margins, x, indices)
            return self._change(x, indices)

        samples = self._samples(places, change)
        weights = [(margins[i] / self.min_margin).clamp(max=1) for i in places]
        return [appended(type(self).__name__, *pair, "weight") for pair in zip(samples, weights, strict=True)]

    def _note_margins(self, margins: dict[int, Tensor], x: Tensor, indices: Sequence[int]) -> None:
        """Note the smallest margin of each item."""
        assert isinstance(self.canonicalizer, Canonicalizer)
        for i, margin in zip(indices, smallest_margins(self.canonicalizer, x).unbind(0), strict=True):
            # An item may hold several objects, which share its weight.
            margin = margin.amin()
            margins[i] = torch.minimum(margins[i], margin) if i in margins else margin

    def _near_ties(self) -> Tensor:
        """Return which items are near-ties, (n,) bool."""
        margins: dict[int, Tensor] = {}

        def look(x: Tensor, indices: Sequence[int]) -> Tensor:
            self._note_margins(margins, x, indices)
            return x

        size = len(self.dataset)
        for start in range(0, size, _STEP):
            indices = range(start, min(start + _STEP, size))
            samples = take(self.dataset, indices) if isinstance(self.dataset, Tensor) else fetch(self.dataset, indices)
            change_samples(type(self).__name__, samples, indices, look, self.keys)
        return torch.tensor([bool(margins[i] < self.min_margin) for i in range(size)], dtype=torch.bool)

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
