"""Break symmetries on the device, a batch at once, in a Lightning data module.

Extra ``[lightning]``: ``pip install "torch_symbreak[lightning]"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

try:
    from lightning.pytorch import LightningDataModule
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.lightning needs lightning: pip install "torch_symbreak[lightning]"'
    ) from error

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
        train: A map-style data set, a tensor of targets x, or a tuple of tensors (x,) or (y, x). Shuffled.
        val: Likewise, for validation. Default: none.
        test: Likewise, for tests. Default: none.
        predict: For prediction, e.g. measurements. Default: none.
        canonicalizer: Takes and returns targets (B, ...), e.g. ``FarField().canonicalizer()``.
        forward: Measures targets that come without measurements. Default: none.
        keys: A key or a sequence of keys of the targets in a batch: ints for tuples and lists, any for dicts.
            Default: the batch itself, the only part of (x,), or the second part of a pair (y, x).
        batch_size: Items per batch and device. Default 64.
        **options: Passed to ``DataLoader``: ``num_workers``, ``pin_memory``, ``drop_last``, ``collate_fn``, ...

    Raises:
        TypeError: If a batch needs ``keys``.
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
        check_keys("SymmetryBrokenDataModule", keys)
        super().__init__()
        self.train, self.val, self.test, self.predict = train, val, test, predict
        self.canonicalizer = canonicalizer
        self.forward = forward
        self.keys = keys
        self.batch_size = batch_size
        self.options = options
        self._ties = TieWatch("SymmetryBrokenDataModule", canonicalizer)

    def _loader(self, data: Any, shuffle: bool = False) -> Any:
        if data is None:
            return []  # Lightning skips a loader without batches
        dataset = TensorDataset(*data) if isinstance(data, tuple) else data
        return DataLoader(dataset, batch_size=self.batch_size, shuffle=shuffle, **self.options)

    def train_dataloader(self) -> Any:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> Any:
        return self._loader(self.val)

    def test_dataloader(self) -> Any:
        return self._loader(self.test)

    def predict_dataloader(self) -> Any:
        return self._loader(self.predict)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer is not None and self.trainer.predicting:
            return batch
        return on_targets("SymmetryBrokenDataModule", self._changed, self.keys, batch, self.forward)

    def _changed(self, x: Tensor) -> Tensor:
        fixed = self.canonicalizer(x)
        self._ties.look(x)
        return fixed
