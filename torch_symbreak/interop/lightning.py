"""A Lightning data module that breaks symmetries on the device, a batch at once.

Extra ``[lightning]``: ``pip install "torch_symbreak[lightning]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

try:
    from lightning.pytorch import LightningDataModule
except ModuleNotFoundError as error:  # pragma: no cover
    raise ModuleNotFoundError(
        'torch_symbreak.interop.lightning needs lightning: pip install "torch_symbreak[lightning]"'
    ) from error

from torch_symbreak.datasets.loading import on_targets
from torch_symbreak.datasets.wrappers import target_keys

__all__ = ["SymmetryBrokenDataModule"]


class SymmetryBrokenDataModule(LightningDataModule):
    """Loaders whose targets are canonicalized after the batch is on the device: ``trainer.fit(network, data)``.

    Batches of x become C(x), or (f(C(x)), C(x)) if ``forward`` is given; of (y, x), (y, C(x)), y untouched. That holds
    for training, validation and test; prediction gets its batches as they are. Lightning distributes the loaders over
    processes. Values are not looked at, so that nothing waits for the device; a NaN stays in its item.

    Args:
        train: Map-style data sets, or tensors: of targets x, or a tuple (y, x). Shuffled.
        val: The same, for validation. Default: none.
        test: The same, for tests. Default: none.
        predict: For prediction, e.g. measurements. Default: none.
        canonicalizer: Takes and returns targets (B, ...), e.g. ``FarField().canonicalizer()``.
        forward: Measures targets that come without measurements. Default: none.
        keys: Where the targets are in a batch: ints for tuples and lists, any for dicts, or a sequence of such.
            Default: the batch itself, or its second part if it is a pair.
        batch_size: Items per batch, and device. Default 64.
        **options: Of ``DataLoader``: ``num_workers``, ``pin_memory``, ``drop_last``, ``collate_fn``, ...

    Raises:
        TypeError: If a batch needs ``keys``.
        ValueError: If ``forward`` comes with batches that are no plain targets.

    Example: what the network is trained on.
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
        keys: Hashable | Sequence[Hashable] | None = None,
        batch_size: int = 64,
        **options: Any,
    ) -> None:
        super().__init__()
        self.train, self.val, self.test, self.predict = train, val, test, predict
        self.canonicalizer = canonicalizer
        self.forward = forward
        self.keys = keys
        self.batch_size = batch_size
        self.options = options

    def _loader(self, data: Any, shuffle: bool = False) -> Any:
        if data is None:
            return []  # Lightning leaves out what has no batches
        dataset = TensorDataset(*data) if isinstance(data, (tuple, list)) else data
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
        if self.forward is None:
            return on_targets(type(self).__name__, self.canonicalizer, self.keys, batch)
        if target_keys(type(self).__name__, batch, self.keys) is not None:
            raise ValueError(
                "SymmetryBrokenDataModule got forward= for batches that are no plain targets: they carry measurements "
                "of their own, which stay untouched. Leave forward=None, or pass data of targets."
            )
        x = self.canonicalizer(batch)
        with torch.no_grad():
            return self.forward(x), x
