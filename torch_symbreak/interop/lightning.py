"""Break symmetries on the device, a batch at once, in a Lightning data module.

Extra ``[lightning]``: ``pip install "torch_symbreak[lightning]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

try:
    from lightning.pytorch import LightningDataModule
    from lightning.pytorch.utilities import CombinedLoader
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.lightning needs lightning: pip install "torch_symbreak[lightning]"', name=error.name
    ) from error

from torch_symbreak._checks import check_callable, describe
from torch_symbreak._samples import Keys, check_keys, on_targets
from torch_symbreak.canonical.ties import TieWatch

__all__ = ["SymmetryBrokenDataModule"]


class SymmetryBrokenDataModule(LightningDataModule):
    """Load batches and canonicalize their targets on the device: ``trainer.fit(network, data)``.

    A batch x becomes C(x), [x] becomes [C(x)], and [y, x] becomes [y, C(x)] with y untouched. With ``forward``, x and
    [x] become (f(C(x)), C(x)). Training, validation and test get such batches; prediction gets its batches unchanged.
    Lightning distributes the loaders over processes. Values are not checked, so that nothing waits for the device; a
    NaN stays in its item. Only the first 1000 targets are looked at for ties.

    Args:
        train: A data set, a tensor of targets x, a tuple of tensors (x,) or (y, x), or a loader. Several of them come
            as a list or a dict; their batches then arrive together, as Lightning combines them. Map-style data sets are
            shuffled. A loader, such as a ``DataLoader``, keeps its own batch size and order.
        val: Likewise, for validation, but not shuffled, and of several one after another. Default: none.
        test: Likewise, for tests. Default: none.
        predict: For prediction, e.g. measurements. Default: none.
        canonicalizer: Takes and returns targets (B, ...), e.g. ``FarField().canonicalizer()``.
        forward: Measures targets that come without measurements. Default: none.
        keys: A key or a sequence of keys of the targets in a batch: ints for tuples and lists, any for dicts.
            Default: the batch itself, the only part of (x,), or the second part of a pair (y, x).
        batch_size: Items per batch and device, of each data set. Default 64.
        **options: Passed to ``DataLoader``: ``num_workers``, ``pin_memory``, ``drop_last``, ``collate_fn``, ...

    Raises:
        TypeError: If the data are neither data sets nor loaders, or could be one data set or several, as a list of
            tensors could. If a batch needs ``keys``.
        ValueError: If ``keys`` is empty, or ``forward`` comes with batches that have other parts.

    Warns:
        UserWarning: Once, if one of the first 1000 targets is a tie of a ``Canonicalizer``: how many, and what to do.

    Example: a batch that the network is trained on.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> x, model = torch.randn(100, 8, 8, dtype=torch.complex64), FarField(2)
        >>> fix = model.canonicalizer()
        >>> data = SymmetryBrokenDataModule(x, canonicalizer=fix, forward=model, batch_size=20)
        >>> y, target = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
        >>> y.shape, torch.allclose(fix(1j * target), target, atol=1e-5)
        (torch.Size([20, 16, 16]), True)
    """

    def __init__(
        self,
        train: Any = None,
        val: Any = None,
        test: Any = None,
        predict: Any = None,
        *,
        canonicalizer: Callable[[Tensor], Tensor],
        forward: Callable[[Tensor], Tensor] | None = None,
        keys: Keys = None,
        batch_size: int = 64,
        **options: Any,
    ) -> None:
        check_callable("SymmetryBrokenDataModule", "canonicalizer", canonicalizer)
        if forward is not None:
            check_callable("SymmetryBrokenDataModule", "forward", forward)
        check_keys("SymmetryBrokenDataModule", keys)
        for name, data in (("train", train), ("val", val), ("test", test), ("predict", predict)):
            _check_data(name, data)
        super().__init__()
        self.train, self.val, self.test, self.predict = train, val, test, predict
        self.canonicalizer = canonicalizer
        self.forward = forward
        self.keys = keys
        self.batch_size = batch_size
        self.options = options
        self._ties = TieWatch("SymmetryBrokenDataModule", canonicalizer)

    def _loader(self, data: Any, shuffle: bool = False) -> Any:
        if data is None or (type(data) in (list, tuple) and not data):
            return []  # Lightning skips a loader without batches
        if _are_tensors(data):
            data = TensorDataset(*data)
        elif _are_several(data):
            parts = data.items() if isinstance(data, Mapping) else enumerate(data)
            loaders = {name: self._loader(part, shuffle) for name, part in parts}
            return loaders if isinstance(data, Mapping) else list(loaders.values())
        elif _is_loader(data):
            return data
        shuffle = shuffle and not isinstance(data, IterableDataset)
        return DataLoader(data, batch_size=self.batch_size, shuffle=shuffle, **self.options)

    def train_dataloader(self) -> Any:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> Any:
        return self._loader(self.val)

    def test_dataloader(self) -> Any:
        return self._loader(self.test)

    def predict_dataloader(self) -> Any:
        return self._loader(self.predict)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        trainer = self.trainer
        if trainer is not None and trainer.predicting:
            return batch
        return self._broken(trainer.train_dataloader if trainer is not None and trainer.training else None, batch)

    def _broken(self, loaders: Any, batch: Any) -> Any:
        """Break a batch, or each of the batches that Lightning combines of several loaders while it trains."""
        if isinstance(loaders, Mapping):
            return {name: self._broken(loader, batch[name]) for name, loader in loaders.items()}
        if isinstance(loaders, (tuple, list)):
            return type(batch)(self._broken(*pair) for pair in zip(loaders, batch, strict=True))
        if batch is None:  # of a shorter loader, in the mode "max_size"
            return None
        return on_targets("SymmetryBrokenDataModule", self._changed, self.keys, batch, self.forward)

    def _changed(self, x: Tensor) -> Tensor:
        fixed = self.canonicalizer(x)
        self._ties.look(x)
        return fixed


def _are_tensors(data: Any) -> bool:
    """Return whether data are a tuple of tensors, which is one data set."""
    return isinstance(data, tuple) and len(data) > 0 and all(isinstance(part, Tensor) for part in data)


def _is_loader(data: Any) -> bool:
    """Return whether data yield batches rather than items, as far as their class tells."""
    if isinstance(data, (DataLoader, CombinedLoader)):
        return True
    return isinstance(data, Iterable) and not isinstance(data, Dataset) and not hasattr(data, "__getitem__")


def _are_several(data: Any) -> bool:
    """Return whether data are a list, tuple or mapping of data sets and loaders. A list of samples is one data set."""
    if not isinstance(data, (list, tuple, Mapping)) or isinstance(data, Dataset):
        return False
    parts = list(data.values()) if isinstance(data, Mapping) else list(data)
    return any(isinstance(part, Dataset) or _is_loader(part) or _are_several(part) for part in parts)


def _check_data(name: str, data: Any) -> None:
    """Raise ``TypeError`` unless data are None, a data set, a loader, or several of them."""
    if _are_tensors(data) and len({part.shape[:1] for part in data}) > 1:
        raise ValueError(
            f"SymmetryBrokenDataModule needs tensors with one entry per item, but got the shapes "
            f"{[tuple(part.shape) for part in data]} as {name}."
        )
    if _are_several(data):
        for key, part in data.items() if isinstance(data, Mapping) else enumerate(data):
            if part is None:
                raise TypeError(f"SymmetryBrokenDataModule got None as {name}[{key!r}]. Leave it out.")
            _check_data(f"{name}[{key!r}]", part)
    elif hint := _remedy(name, data):
        raise TypeError(
            f"SymmetryBrokenDataModule needs data sets or loaders, but got {describe(data)} as {name}. {hint}"
        )


def _remedy(name: str, data: Any) -> str:
    """Return what to pass instead of data that are neither a data set nor a loader; empty if they are."""
    if isinstance(data, LightningDataModule):
        return f"Pass its data sets or its loaders: {name}=module.{name.partition('[')[0]}_dataloader()."
    if isinstance(data, CombinedLoader) and name != "train":
        return f"Pass its loaders: {name}=combined.iterables."
    if isinstance(data, Mapping):
        return "Of tensors, pass (y, x). Of data sets, each needs to be one: TensorDataset(y, x)."
    samples = [isinstance(part, Tensor) or _are_tensors(part) for part in data] if type(data) in (list, tuple) else []
    if samples and all(samples) and not _are_tensors(data):
        return (
            "It could hold samples or data sets. For one data set, pass tensors: torch.stack(samples), or (y, x). For "
            "several, wrap each: [TensorDataset(x1), TensorDataset(x2)]."
        )
    readable = data is None or isinstance(data, Dataset) or hasattr(data, "__getitem__") or _is_loader(data)
    used_up = isinstance(data, Iterator) and not hasattr(data, "reset")  # which Lightning's and DALI's loaders have
    if used_up or isinstance(data, (str, bytes)) or not readable:
        return "Pass what every epoch can read again: a data set, a tensor, (y, x), or a DataLoader."
    return ""
