"""Break the symmetries of whole batches, in the collate step or on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from torch_symbreak._checks import check_callable, describe
from torch_symbreak._samples import Keys, check_keys, check_target_batch, on_targets, replace_keys
from torch_symbreak.canonical.ties import TieWatch


class CollateTransform:
    """Collate samples to a batch and run a transform on all its targets at once.

    Pass it to any ``DataLoader`` as ``collate_fn``. If the loader has workers, the transform runs in them.
    The targets of a batch x, [x] or [y, x] are replaced. The container and its other parts stay.

    Args:
        transform: Takes and returns targets (B, ...), e.g. ``FarField().canonicalizer()``.
        keys: A key or a sequence of keys of the targets in a batch: ints for tuples and lists, any for dicts.
            Default: the batch itself, the only part of (x,), or the second part of a pair (y, x).
        collate: Makes a batch of a list of samples. Default ``torch.utils.data.default_collate``.

    Raises:
        TypeError: If the batch is a dict or a tuple of more than two parts, and ``keys`` is missing.
        ValueError: If a target is not finite, or ``keys`` is empty.

    Warns:
        UserWarning: Once, if one of the first 1000 targets is a tie of a ``Canonicalizer``. It says how many
            are, and what to do.

    Example: the batch has the same targets as a data set that breaks item by item.
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from torch_symbreak import FarField, SymmetryBrokenDataset
        >>> model, x = FarField(2), torch.randn(6, 8, 8, dtype=torch.complex64)
        >>> pairs, fix = TensorDataset(model(x), x), model.canonicalizer()
        >>> y, broken = next(iter(DataLoader(pairs, batch_size=6, collate_fn=CollateTransform(fix))))
        >>> torch.equal(y, model(x)), torch.allclose(broken[2], SymmetryBrokenDataset(pairs, fix)[2][1], atol=1e-6)
        (True, True)
    """

    def __init__(
        self,
        transform: Callable[[Tensor], Any],
        *,
        keys: Keys = None,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> None:
        check_callable("CollateTransform", "transform", transform)
        check_callable("CollateTransform", "collate", collate)
        check_keys("CollateTransform", keys)
        self.transform = transform
        self.keys = keys
        self.collate = collate
        self._ties = TieWatch("CollateTransform", transform)

    def __call__(self, samples: list[Any]) -> Any:
        return on_targets("CollateTransform", self._checked, self.keys, self.collate(samples))

    def _checked(self, x: Tensor) -> Any:
        self._ties.look(check_target_batch("CollateTransform", x))
        return self.transform(x)

    def __repr__(self) -> str:
        return f"CollateTransform({self.transform!r}, keys={self.keys!r})"


class DeviceLoader:
    """Move every batch of a loader to a device and run a transform on all its targets there.

    The first 1000 targets are checked for ties. After them, nothing waits for the device. Give the ``DataLoader``
    ``pin_memory=True``, so that copies overlap with the device's work. Values are not checked, so a NaN stays in its
    item. The targets of a batch x, [x] or [y, x] are replaced. The container and its other parts stay.

    Args:
        loader: Yields batches: tensors, or tuples, lists and mappings of tensors, e.g. a ``DataLoader``.
        transform: Takes and returns targets (B, ...) on the device, e.g. ``FarField().canonicalizer()``.
        device: The device to move to. Default "cuda".
        keys: As for :class:`CollateTransform`.

    Warns:
        UserWarning: As :class:`CollateTransform`.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from torch_symbreak import FixSign
        >>> loader = DataLoader(TensorDataset(torch.ones(4, 2), -torch.ones(4, 2)), batch_size=2)
        >>> loader = DeviceLoader(loader, FixSign(1), "cpu")
        >>> len(loader), [x.sum().item() for y, x in loader]
        (2, [4.0, 4.0])
    """

    def __init__(
        self,
        loader: Iterable[Any],
        transform: Callable[[Tensor], Any],
        device: torch.device | str = "cuda",
        *,
        keys: Keys = None,
    ) -> None:
        if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
            raise TypeError(f"DeviceLoader needs a loader of batches, e.g. a DataLoader, but got {describe(loader)}.")
        check_callable("DeviceLoader", "transform", transform)
        check_keys("DeviceLoader", keys)
        self.loader = loader
        self.transform = transform
        self.device = torch.device(device)
        self.keys = keys
        self._ties = TieWatch("DeviceLoader", transform)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield on_targets("DeviceLoader", self._changed, self.keys, self._moved(batch))

    def _changed(self, x: Tensor) -> Any:
        changed = self.transform(x)
        self._ties.look(x)
        return changed

    def _moved(self, batch: Any) -> Any:
        if isinstance(batch, Tensor):
            return batch.to(self.device, non_blocking=True)
        if isinstance(batch, Mapping):
            return replace_keys("DeviceLoader", batch, {key: self._moved(part) for key, part in batch.items()})
        if isinstance(batch, (tuple, list)):
            return replace_keys("DeviceLoader", batch, {i: self._moved(part) for i, part in enumerate(batch)})
        return batch

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]
