"""Training a network to invert a measurement, on Lightning (imported only here)."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torch_symbreak.transforms import FromChannels, ToChannels

#: Standard deviations below this, in units of the log magnitude, are those of a pixel that never changes.
_LEAST_STD = 1e-3


@dataclass(frozen=True)
class Curves:
    """The MSE of every epoch: a running mean over the training batches, and on the whole test set afterwards."""

    train: list[float]
    test: list[float]


def resolve_device(name: str) -> torch.device:
    """Return the device called "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        ValueError: If the name is another one, or CUDA is not available.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"The device needs to be auto, cpu or cuda, but got {name!r}.")
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise ValueError("The device is cuda, but torch finds no CUDA device here. Use auto or cpu.")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


class Regression(LightningModule):
    """Regress complex objects on their measurements by end-to-end least squares.

    The network gets the log magnitude ``log(1 + sqrt(y))``, standardized pixel by pixel with the statistics of the
    training set, which are buffers and so belong to the checkpoint. The loss is the mean of ``|prediction - x|²`` over
    the entries of the objects.

    Shape: y (B, M1, M2) real to (B, N1, N2) complex.

    Args:
        network: (B, 1, M1, M2) to (B, 2, N1, N2), real and imaginary parts.
        y: The training set's measurements, (n, M1, M2), whose statistics are taken.
        learning_rate: The largest of the one-cycle schedule. Default 6e-3.

    Example: an intensity in, a complex object out.
        >>> import torch
        >>> from torch_symbreak.models import UNet
        >>> y = torch.rand(10, 16, 16)
        >>> x = Regression(UNet((16, 16), (8, 8), width=4), y)(y)
        >>> x.shape, x.dtype
        (torch.Size([10, 8, 8]), torch.complex64)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, y: Tensor, *, learning_rate: float = 6e-3) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        std, mean = torch.std_mean(self._log_magnitude(y), 0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.clamp_min(_LEAST_STD))
        self.curves = Curves([], [])

    @staticmethod
    def _log_magnitude(y: Tensor) -> Tensor:
        return torch.log1p(y.sqrt())

    def forward(self, y: Tensor) -> Tensor:
        inputs = (self._log_magnitude(y) - self.mean) / self.std
        x: Tensor = FromChannels()(self.network(inputs.unsqueeze(1)))
        return x

    def _loss(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        y, x = batch
        loss = ToChannels()(self(y) - x).square().sum(1).mean()  # |.|² without the root
        self.log(name, loss, on_step=False, on_epoch=True, prog_bar=name == "test MSE", batch_size=len(y))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self._loss(batch, "train MSE")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._loss(batch, "test MSE")

    def on_train_epoch_end(self) -> None:
        self.curves.train.append(float(self.trainer.callback_metrics["train MSE"]))
        self.curves.test.append(float(self.trainer.callback_metrics["test MSE"]))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def predict(self, y: Tensor, *, batch_size: int = 500) -> Tensor:
        """Return the objects of measurements (n, M1, M2), in evaluation mode and in batches, where ``y`` is."""
        self.eval()
        return torch.cat([self(part.to(self.device)).to(y.device) for part in y.split(batch_size)])


class _Progress(RichProgressBar):
    """Lightning's progress bar, which says what is trained."""

    def __init__(self, label: str) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self.label = label

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{self.label}: {super()._get_train_description(current_epoch).lower()}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's notes on hardware and workers: the data are in memory, and the caller chose the device."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def fit(
    model: Regression,
    train: TensorDataset,
    test: TensorDataset,
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    label: str = "training",
) -> Curves:
    """Train a model in place and return its learning curves; leaves it on ``device``.

    AdamW with a one-cycle schedule; no checkpoints, no log files. On a CPU the same seed gives the same numbers.

    Args:
        model: What is trained.
        train: Pairs (y, x).
        test: Pairs (y, x), whose MSE is recorded after every epoch and steers nothing.
        epochs: Passes over ``train``.
        batch_size: Default 64.
        seed: Of the order of the batches. Default 0.
        device: Default "cpu".
        label: What the progress bar calls it. Default "training".

    Raises:
        RuntimeError: If the training diverges.

    Example:
        >>> import torch
        >>> from torch_symbreak.models import UNet
        >>> pairs = TensorDataset(torch.rand(8, 8, 8), torch.randn(8, 4, 4, dtype=torch.complex64))
        >>> model = Regression(UNet((8, 8), (4, 4), width=4, depth=1), pairs.tensors[0])
        >>> len(fit(model, pairs, pairs, epochs=2).test)
        2
    """
    device = torch.device(device)
    order = torch.Generator().manual_seed(seed)
    with _quiet():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[_Progress(label)],
        )
        trainer.fit(
            model,
            DataLoader(train, batch_size, shuffle=True, generator=order),
            DataLoader(test, batch_size=500),
        )
    model.to(device)
    if not all(map(math.isfinite, model.curves.train + model.curves.test)):
        raise RuntimeError(f"{label}: the training diverged (the MSE is not finite). Use a smaller learning rate.")
    return model.curves
