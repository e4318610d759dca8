"""Far-field phase retrieval before and after symmetry breaking: one network, the same objects, two sets of targets."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor
from torch.utils.data import TensorDataset

from torch_symbreak import (
    BraggCrystals,
    ComplexImages,
    FarField,
    ScrambledDataset,
    SymmetryBrokenDataset,
    __version__,
    check_finite,
    sa_mse,
)
from torch_symbreak.datasets.base import Pairs
from torch_symbreak.io import write_file
from torch_symbreak.models import UNet
from torch_symbreak.plots import plot_curves, plot_objects, png
from torch_symbreak.training import Curves, Regression, fit

Targets = Literal["before", "after"]
KINDS: tuple[Targets, ...] = ("before", "after")

#: Zero frequency in the middle: neighbors on the detector are then neighbors for the network too.
MODEL = FarField(2, centered=True)
FRAME = (24, 24)
PATCH = 16
TRAIN_DIGITS = 1297  # of scikit-learn's 1,797; the other 500 are for testing
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class FarFieldParameters:
    """What the experiment does; the same parameters on the same CPU give the same numbers.

    Args:
        data: "photographs", "digits" or "crystals". Default "photographs".
        samples: Training pairs. Default 8000.
        test_samples: Test pairs. Default 500.
        epochs: Default 12.
        batch_size: Default 64.
        learning_rate: The largest of the one-cycle schedule. Default 1e-2.
        width: Channels of the UNet's finest level. Default 16.
        depth: How many times the UNet halves its grid. Default 3.
        seed: Of the data, the scrambling, the initial weights and the order of the batches. Default 0.

    Raises:
        ValueError: If ``data`` is unknown or a size is not positive.

    Example:
        >>> FarFieldParameters(data="crystals", samples=-1)
        Traceback (most recent call last):
        ...
        ValueError: samples needs to be at least 2, but got -1.
    """

    data: str = "photographs"
    samples: int = 8000
    test_samples: int = 500
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 1e-2
    width: int = 16
    depth: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.data not in DATA:
            raise ValueError(f"data needs to be one of {', '.join(DATA)}, but got {self.data!r}.")
        least = {"samples": 2, "test_samples": 2, "epochs": 1, "batch_size": 1, "width": 1, "depth": 0, "seed": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} needs to be at least {low}, but got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate needs to be positive, but got {self.learning_rate}.")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> FarFieldParameters:
        """Return a preset with some parameters changed; a change to None keeps the preset's own value.

        Raises:
            ValueError: If there is no such preset.

        Example:
            >>> FarFieldParameters.preset("quick", epochs=3, seed=None).epochs
            3
        """
        if name not in PRESETS:
            raise ValueError(f"preset needs to be one of {', '.join(PRESETS)}, but got {name!r}.")
        return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})


@dataclass(frozen=True)
class Row:
    """Errors of one predictor on one kind of targets, each also as a share of the constant predictor's."""

    targets: Targets
    predictor: Literal["unet", "constant"]
    test_mse: float
    test_sa_mse: float
    train_mse: float
    train_sa_mse: float
    test_mse_share: float
    test_sa_mse_share: float
    train_mse_share: float
    train_sa_mse_share: float


METRICS = ("test_mse", "test_sa_mse", "train_mse", "train_sa_mse")


@dataclass(frozen=True)
class FarFieldResult:
    """Everything that was measured."""

    parameters: FarFieldParameters
    device: torch.device
    rows: list[Row]
    curves: dict[Targets, Curves]
    seconds: dict[Targets, float]  # of training
    examples: dict[Targets, tuple[Tensor, Tensor]]  # truth and prediction of the first test objects

    def row(self, targets: Targets, predictor: str) -> Row:
        """Return one row by name."""
        return next(row for row in self.rows if (row.targets, row.predictor) == (targets, predictor))

    def ratios(self, predictor: str) -> dict[str, float]:
        """Return each metric before symmetry breaking divided by the same after it."""
        before, after = self.row("before", predictor), self.row("after", predictor)
        return {metric: getattr(before, metric) / getattr(after, metric) for metric in METRICS}

    def table(self) -> list[list[str]]:
        """Return the table as text, its header first: a value, and in parentheses its share of the constant's."""
        lines = [["targets", "predictor", "test MSE", "test SA-MSE", "train MSE", "train SA-MSE"]]  # as METRICS
        for row in self.rows:
            cells = [f"{getattr(row, m):.4f} ({getattr(row, f'{m}_share'):.2f})" for m in METRICS]
            lines.append([row.targets, row.predictor, *cells])
        for predictor in ("unet", "constant"):
            ratios = self.ratios(predictor)
            lines.append(["ratio", predictor, *(f"{ratios[m]:.2f}" for m in METRICS)])
        return lines


# ------------------------------------------------------------------------------------------------------- the data


def photograph_patches(name: str, count: int, seed: int) -> Tensor:
    """Cut patches from one of scikit-learn's sample photographs in gray, halved in size: (count, 16, 16) in [0, 1].

    Args:
        name: "china.jpg" or "flower.jpg".
        count: How many, at random positions.
        seed: Of the positions.

    Example:
        >>> photograph_patches("china.jpg", 3, seed=0).shape
        torch.Size([3, 16, 16])
    """
    photographs = load_sample_images()
    names = [Path(path).name for path in photographs.filenames]
    color = torch.from_numpy(np.array(photographs.images[names.index(name)])).float() / 255
    gray = F.avg_pool2d(color.mean(-1)[None], 2)[0]
    generator = torch.Generator().manual_seed(seed)
    windows = gray.unfold(0, PATCH, 1).unfold(1, PATCH, 1)
    top, left = (torch.randint(size, (count,), generator=generator) for size in windows.shape[:2])
    return windows[top, left]


def digit_images(count: int, seed: int, *, train: bool) -> Tensor:
    """Take digits of scikit-learn's training or test part, doubled in size: (count, 16, 16) in [0, 1].

    The parts are disjoint and do not depend on the seed, which orders them; a part too small is repeated.

    Example:
        >>> digit_images(3, seed=0, train=False).shape
        torch.Size([3, 16, 16])
    """
    digits = torch.from_numpy(load_digits().images).float()[:, None] / 16
    digits = F.interpolate(digits, scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
    part = digits[:TRAIN_DIGITS] if train else digits[TRAIN_DIGITS:]
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    return part[order[torch.arange(count) % len(part)]]


def _photographs(count: int, seed: int, train: bool) -> Pairs:
    patches = photograph_patches("flower.jpg" if train else "china.jpg", count, seed)
    return ComplexImages(patches, frame=FRAME, forward=MODEL, seed=seed)


def _digits(count: int, seed: int, train: bool) -> Pairs:
    return ComplexImages(digit_images(count, seed, train=train), frame=FRAME, forward=MODEL, seed=seed)


def _crystals(count: int, seed: int, train: bool) -> Pairs:
    return BraggCrystals(count, frame=FRAME, forward=MODEL, seed=seed)


DATA: dict[str, Callable[[int, int, bool], Pairs]] = {
    "photographs": _photographs,
    "digits": _digits,
    "crystals": _crystals,
}
PRESETS = {"quick": FarFieldParameters()}


def pairs(parameters: FarFieldParameters, targets: Targets, *, train: bool) -> TensorDataset:
    """Make the pairs (y, x) of one kind of targets: y is the same for both, x scrambled or canonical.

    Example: what is measured does not tell them apart.
        >>> few = FarFieldParameters(samples=4)
        >>> y, scrambled = pairs(few, "before", train=True).tensors
        >>> torch.allclose(MODEL(pairs(few, "after", train=True).tensors[1]), MODEL(scrambled), rtol=1e-3, atol=1e-3)
        True
    """
    seed = 2 * parameters.seed + (not train)  # training and test draw from different seeds
    count = parameters.samples if train else parameters.test_samples
    data: Any = ScrambledDataset(DATA[parameters.data](count, seed, train), MODEL.symmetries, seed)
    if targets == "after":
        data = SymmetryBrokenDataset(data, MODEL.canonicalizer())
    y, x = zip(*data.__getitems__(range(count)), strict=True)
    return TensorDataset(check_finite(torch.stack(y), name="the measurements"), torch.stack(x))


# ------------------------------------------------------------------------------------------------- the experiment


def _errors(prediction: Tensor, truth: Tensor) -> tuple[float, float]:
    """MSE and SA-MSE, per complex entry."""
    mse = (prediction - truth).abs().square().double().mean()
    return float(mse), float(sa_mse(prediction, truth, MODEL.symmetries))


def run(
    parameters: FarFieldParameters,
    *,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = lambda message: None,
) -> FarFieldResult:
    """Train the same network on scrambled and on canonical targets, and measure both, each beside a constant predictor.

    Args:
        parameters: E.g. ``PRESETS["quick"]``.
        device: Where the network is trained. Default "cpu".
        report: Is told what happens. Default: nobody is.
    """
    rows: list[Row] = []
    result = FarFieldResult(parameters, torch.device(device), rows, {}, {}, {})
    for targets in KINDS:
        report(f"{parameters.data}, {targets}: {parameters.samples} pairs to train, {parameters.test_samples} to test")
        train, test = (pairs(parameters, targets, train=part) for part in (True, False))
        with torch.random.fork_rng():
            torch.manual_seed(parameters.seed)  # both networks start from the same weights
            detector = tuple(train.tensors[0].shape[1:])
            network = UNet(detector, FRAME, width=parameters.width, depth=parameters.depth)
        model = Regression(network, train.tensors[0], learning_rate=parameters.learning_rate)
        start = time.perf_counter()
        result.curves[targets] = fit(
            model,
            train,
            test,
            epochs=parameters.epochs,
            batch_size=parameters.batch_size,
            seed=parameters.seed,
            device=device,
            label=targets,
        )
        result.seconds[targets] = time.perf_counter() - start
        report(f"{parameters.data}, {targets}: trained for {result.seconds[targets]:.0f} s")

        mean = train.tensors[1].mean(0)
        found: dict[str, list[float]] = {"unet": [], "constant": []}
        for part in (test, train):  # in the order of METRICS
            y, x = part.tensors
            prediction = model.predict(y)
            found["unet"] += _errors(prediction, x)
            found["constant"] += _errors(mean.expand_as(x), x)
            if part is test:
                result.examples[targets] = (x[:SHOWN], prediction[:SHOWN])
        for predictor in ("unet", "constant"):
            shares = [value / of for value, of in zip(found[predictor], found["constant"], strict=True)]
            rows.append(Row(targets, predictor, *found[predictor], *shares))
    return result


# ----------------------------------------------------------------------------------------------------- the report


def _markdown(result: FarFieldResult) -> str:
    header, *lines = result.table()
    p = result.parameters
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(
        [
            f"# Far-field phase retrieval, {p.data}, {p.samples} training pairs, {p.epochs} epochs, seed {p.seed}",
            "",
            "Before: scrambled targets; after: canonical ones. In parentheses: the share of the constant predictor's",
            "(the mean of the training targets of the same kind). Ratio: before / after.",
            "",
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
        ]
    )


def _json(result: FarFieldResult) -> str:
    cuda = result.device.type == "cuda"
    return json.dumps(
        {
            "experiment": "farfield",
            "data": result.parameters.data,
            "seed": result.parameters.seed,
            "parameters": asdict(result.parameters),
            "rows": [asdict(row) for row in result.rows],
            "ratios": {predictor: result.ratios(predictor) for predictor in ("unet", "constant")},
            "curves": {targets: asdict(curves) for targets, curves in result.curves.items()},
            "seconds": result.seconds,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "lightning": lightning.__version__,
                "torch_symbreak": __version__,
            },
            "machine": f"{torch.cuda.get_device_name(result.device) if cuda else 'CPU'}, {os.cpu_count()} CPUs, "
            f"{torch.get_num_threads()} threads, {platform.system()} {platform.machine()}",
        },
        indent=2,
    )


def write(result: FarFieldResult, out: Path) -> list[Path]:
    """Write results.json, table.md, objects.png and curves.png into an existing directory; return their paths."""
    p = result.parameters
    headings = {"before": "before: scrambled targets", "after": "after: canonical targets"}
    objects = plot_objects(
        {headings[targets]: result.examples[targets] for targets in KINDS},
        title=f"The first test objects ({p.data}), as trained on and as retrieved",
    )
    curves = plot_curves(
        {targets: (result.curves[targets].train, result.curves[targets].test) for targets in KINDS},
        {targets: result.row(targets, "constant").test_mse for targets in KINDS},
        title=f"Far-field phase retrieval, {p.data}",
    )
    files = {
        "results.json": _json(result).encode(),
        "table.md": _markdown(result).encode(),
        "objects.png": png(objects),
        "curves.png": png(curves),
    }
    return [write_file(out / name, content) for name, content in files.items()]
