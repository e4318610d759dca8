"""Training a network to invert a measurement, on Lightning (imported only here)."""

from __future__ import annotations

import logging
import math
import signal
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from torch_symbreak._checks import find_device
from torch_symbreak._items import root
from torch_symbreak.transforms import FromChannels, ToChannels

__all__ = ["FEATURES", "Curves", "Hardware", "Regression", "Training", "fit"]

#: Standard deviations below this, in units of the features, are those of a pixel that never changes.
_LEAST_STD = 1e-3
#: Below this improvement of the validation loss, relative to the best so far, an epoch has brought nothing.
_LEAST_GAIN = 1e-3

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")

Feature = Literal["intensity", "magnitude", "log-magnitude"]
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "intensity": lambda y: y,
    "magnitude": root,
    "log-magnitude": lambda y: torch.log1p(root(y)),
}


@dataclass(frozen=True, kw_only=True)
class Training:
    """Train with AdamW until the validation loss has reached a plateau, never to a clock.

    The learning rate is halved after ``patience`` epochs without improvement of the validation loss (by 0.1 %), and the
    training ends after three times as many. The network of the best epoch is kept.

    Args:
        batch_size: Pairs per step (and device). Default 64.
        learning_rate: To start with. Default 5e-3.
        weight_decay: Default 1e-2.
        patience: Epochs. Default 8.
        max_epochs: The most epochs. Default 1000.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> Training(batch_size=0)
        Traceback (most recent call last):
        ...
        ValueError: batch_size needs to be at least 1, but got 0.
    """

    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    patience: int = 8
    max_epochs: int = 1000

    def __post_init__(self) -> None:
        for name in ("batch_size", "patience", "max_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} needs to be at least 1, but got {getattr(self, name)}.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate needs to be positive, but got {self.learning_rate}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay needs to be at least 0, but got {self.weight_decay}.")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Choose devices and precision for Lightning's ``Trainer``.

    Args:
        device: "auto" (CUDA where there is one), "cpu" or "cuda". Default "auto".
        devices: Processes per machine, one per GPU: Lightning's distributed data parallel. Default 1.
        num_nodes: Machines. Default 1.
        precision: "32-true" (default), "bf16-mixed", "16-mixed" or "64-true".

    Raises:
        ValueError: If there is no such device, or fewer than one is wanted.

    Example:
        >>> Hardware(device="cpu").torch_device
        device(type='cpu')
    """

    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        find_device(self.device)
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision needs to be one of {', '.join(_PRECISIONS)}, but got {self.precision!r}.")
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} needs to be at least 1, but got {getattr(self, name)}.")

    @property
    def torch_device(self) -> torch.device:
        """The device of this process."""
        return find_device(self.device)


@dataclass(frozen=True)
class Curves:
    """Losses of every epoch: a running mean over the training batches, then the validation set's.

    Seconds per epoch are ignored by ``==``.

    Example:
        >>> Curves([1.0, 0.5], [1.1, 0.8]).validation
        [1.1, 0.8]
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list, compare=False)


class Regression(LightningModule):
    """Regress objects on their measurements, by end-to-end least squares unless ``loss`` is given.

    The network gets a feature of y, standardized entry by entry with the statistics of the training set, which are
    buffers and so belong to the checkpoint. Images get a channel in front; a complex object is two channels of the
    network's output, its real and its imaginary part.

    Shape: y (B, m) or (B, M1, M2), real, to x (B, n) or (B, N1, N2), in the dtype of the training objects.

    Args:
        network: (B, m) to (B, n), or (B, 1, M1, M2) to (B, 1, N1, N2); for complex objects two times as many.
        y: The training set's measurements, for their statistics.
        x: The training set's objects, for the shape and dtype of the answer.
        feature: Input of the network, made from y: "intensity", "magnitude" or "log-magnitude", log(1 + sqrt(y)).
            Negative intensities count as zero. Default "log-magnitude".
        loss: Of prediction and x. Default: the mean over all entries of ``|prediction - x|²``.
        augment: Makes other pairs (y, x) of those of a training batch. Default: none.
        training: Default ``Training()``.
        seed: Seed of the order of the pairs and of all draws in a step: ``augment``, dropout. Default 0.

    Example: an intensity in, a complex object out.
        >>> import torch
        >>> from torch_symbreak.models import UNet
        >>> y, x = torch.rand(10, 16, 16), torch.zeros(10, 8, 8, dtype=torch.complex64)
        >>> found = Regression(UNet((16, 16), (8, 8), width=4), y, x)(y)
        >>> found.shape, found.dtype
        (torch.Size([10, 8, 8]), torch.complex64)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        y: Tensor,
        x: Tensor,
        *,
        feature: Feature = "log-magnitude",
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        augment: Change | None = None,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.event, self.complex = tuple(x.shape[1:]), x.is_complex()
        self.feature = FEATURES[feature]
        self.loss = loss
        self.augment = augment
        self.training_plan = training or Training()
        self.seed = seed
        std, mean = torch.std_mean(self.feature(y), 0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.clamp_min(_LEAST_STD))
        self.curves = Curves()
        self._plateau_state: dict[str, Any] | None = None

    def forward(self, y: Tensor) -> Tensor:
        inputs = (self.feature(y) - self.mean) / self.std
        out: Tensor = self.network(inputs.unsqueeze(1) if y.dim() > 2 else inputs)
        if not self.complex:
            return out.reshape(len(y), *self.event).float()
        return FromChannels(len(self.event))(out.reshape(len(y), 2, *self.event))

    def _loss(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        y, x = batch
        prediction = self(y)
        if self.loss is not None:
            loss = self.loss(prediction, x)
        elif self.complex:  # |.|² without the root
            loss = ToChannels(len(self.event))(prediction - x).square().sum(1).mean()
        else:
            loss = (prediction - x).square().mean()
        self.log(name, loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(y))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        # Draws of a step are a function of (seed, step, process): a resumed training draws the same.
        torch.manual_seed((self.seed * 1_000_003 + self.global_step) * 1_009 + self.global_rank)
        return self._loss(batch if self.augment is None else self.augment(*batch), "train")

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._loss(batch, "validation")

    def on_train_epoch_start(self) -> None:
        self._epoch_start = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        self.curves.seconds.append(time.perf_counter() - self._epoch_start)
        self.curves.train.append(float(self.trainer.callback_metrics["train"]))
        self.curves.validation.append(float(self.trainer.callback_metrics["validation"]))
        # By hand: Lightning steps it after the checkpoint is written, and a resumed training would miss the step.
        self.plateau.step(self.curves.validation[-1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        plan = self.training_plan
        optimizer = torch.optim.AdamW(self.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=plan.patience - 1, threshold=_LEAST_GAIN
        )
        if self._plateau_state is not None:
            self.plateau.load_state_dict(self._plateau_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["curves"] = asdict(self.curves)
        checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.curves = Curves(**checkpoint["curves"])
        self._plateau_state = checkpoint["plateau"]

    @torch.no_grad()
    def predict(self, y: Tensor, *, batch_size: int = 500) -> Tensor:
        """Return the objects of measurements (n, ...), in evaluation mode and in batches, where ``y`` is."""
        self.eval()
        return torch.cat([self(part.to(self.device)).to(y.device) for part in y.split(batch_size)])


def main_process() -> bool:
    """Return whether this process writes files: in a distributed training one does."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


class _Progress(RichProgressBar):
    """Lightning's progress bar with a label."""

    def __init__(self, label: str) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self.label = label

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{self.label}: {super()._get_train_description(current_epoch).lower()}"


class _Plateau(EarlyStopping):
    """Lightning's early stopping, which also remembers across a resumption that the plateau was reached."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class _Checkpoint(ModelCheckpoint):
    """Lightning's checkpoints, found by their names, so that their folder can be moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


class _Batches(TensorDataset):
    """Fetch pairs (y, x) a batch at a time, without collation of single samples."""

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, ...]:
        return self[indices]


def _as_it_is(batch: Any) -> Any:
    return batch


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


@contextmanager
def _interruptible(message: str) -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` where Lightning exits the process, and hear the next one too, as it does not."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler if handler is None else handler)  # None: set from C
        raise KeyboardInterrupt(message) from None


def fit(
    model: Regression,
    train: TensorDataset,
    validation: TensorDataset,
    *,
    folder: Path,
    hardware: Hardware | None = None,
    label: str = "training",
) -> Curves:
    """Train a model to the plateau of its validation loss, and leave it with the weights of its best epoch.

    Every epoch ends with a checkpoint in ``folder``; if there is one, the training goes on from it, and on a CPU ends
    with the numbers of an undisturbed one. On a CPU the same seed gives the same numbers.

    Args:
        model: The model to train, as its ``training_plan`` says.
        train: Pairs (y, x).
        validation: Pairs (y, x), whose loss is measured after every epoch.
        folder: Folder of this training's checkpoints.
        hardware: Default ``Hardware()``.
        label: Label of the progress bar. Default "training".

    Raises:
        RuntimeError: If the training diverges, or the checkpoint in ``folder`` is damaged.
        KeyboardInterrupt: If it is interrupted.

    Example:
        >>> import tempfile, torch
        >>> from torch_symbreak.models import UNet
        >>> y, x = torch.rand(8, 8, 8), torch.randn(8, 4, 4, dtype=torch.complex64)
        >>> model = Regression(UNet((8, 8), (4, 4), width=4, depth=1), y, x, training=Training(max_epochs=2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     len(fit(model, TensorDataset(y, x), TensorDataset(y, x), folder=Path(folder)).validation)
        2
    """
    hardware, plan = hardware or Hardware(), model.training_plan
    device = hardware.torch_device
    saving: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = _Checkpoint(folder, "best", monitor="validation", **saving)
    last = _Checkpoint(folder, "last", **saving)  # comes behind, and so knows which one is the best
    with _quiet(), torch.random.fork_rng():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=plan.max_epochs,
            logger=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the sampler below does that, and is deterministic in any number
            callbacks=[
                _Progress(label),
                _Plateau("validation", patience=3 * plan.patience, min_delta=0, check_finite=True),
                best,
                last,
            ],
        )
        order: DistributedSampler[Any] = DistributedSampler(
            train, trainer.world_size, trainer.global_rank, seed=model.seed * 1_000_003
        )
        saved = folder / "last.ckpt"
        resumed = saved.exists()
        for file in (saved, folder / "best.ckpt"):
            if resumed and not zipfile.is_zipfile(file):
                raise RuntimeError(f"{file} is damaged or missing. Delete {folder}, and this training starts again.")
        with _interruptible(f"{label}: interrupted; resume to go on from its last whole epoch."):
            trainer.fit(
                model,
                DataLoader(_Batches(*train.tensors), plan.batch_size, sampler=order, collate_fn=_as_it_is),
                DataLoader(_Batches(*validation.tensors), 500, collate_fn=_as_it_is),
                ckpt_path=saved if resumed else None,
            )
    if not all(map(math.isfinite, model.curves.train + model.curves.validation)):
        raise RuntimeError(f"{label}: the training diverged (the loss is not finite). Use a smaller learning rate.")
    model.load_state_dict(torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"])
    model.to(device)
    return model.curves
