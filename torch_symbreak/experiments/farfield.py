"""Far-field phase retrieval: the talk's networks on crystals, photographs and digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor, nn

from torch_symbreak import (
    CenterContent,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    RandomSymmetry,
    ScrambledDataset,
    align,
    check_finite,
    sa_mse,
)
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.datasets import BraggCrystals, ComplexImages
from torch_symbreak.ensembles import predict_turned, square_turns
from torch_symbreak.experiments.grid import BREAKINGS, CONSTANT, ORBIT_LOSS, TEMPLATE, TEMPLATE_ORBIT
from torch_symbreak.experiments.predictors import KNN, Predict, Split
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.report import MSE, Talk, largest
from torch_symbreak.experiments.results import Row
from torch_symbreak.models import SiSPRNet, UNet
from torch_symbreak.plots import plot_answers, plot_objects
from torch_symbreak.solvers import refine
from torch_symbreak.training import Change, Feature

Objects = Callable[[Sequence[int], int, int, bool], Tensor]
MakeNetwork = Callable[[Sequence[int], Sequence[int]], nn.Module]

#: Training part of scikit-learn's 1,797 digits. The other 500 are for testing.
TRAIN_DIGITS = 1297
#: Number of test objects in a figure.
SHOWN = 5
#: Iterations of hybrid input-output that refine a network's answers in that figure.
REFINED = 400
#: Headings of targets in a figure.
_HEADINGS = {"none": "before", "exact": "after, by the exact rule", TEMPLATE: "after, by a template"}
#: Addition to a network's name where it answers all eight turned measurements, averaged up to the symmetries.
TURNED = " + turns"

#: Further transforms that make targets, by the number of the frame's axes. "...-only" leaves that one symmetry of the
#: three unbroken.
BREAK: dict[str, Callable[[int], nn.Module]] = {
    "literal": lambda d: LiteralAlgorithm2(),
    "translation-only": lambda d: nn.Sequential(FixConjugateFlip(d), FixGlobalPhase(d)),
    "flip-only": lambda d: nn.Sequential(CenterContent(d), FixGlobalPhase(d)),
    "phase-only": lambda d: nn.Sequential(CenterContent(d), FixConjugateFlip(d)),
}


# ------------------------------------------------------------------------------------------------------- the data


def photograph_patches(name: str, count: int, seed: int, size: int = 16) -> Tensor:
    """Cut patches from one of scikit-learn's sample photographs in gray, halved in size: (count, size, size) in [0, 1].

    Args:
        name: "china.jpg" or "flower.jpg".
        count: Number of patches, at random positions.
        seed: Seed of the positions.
        size: Height and width. Default 16.

    Example:
        >>> photograph_patches("china.jpg", 3, seed=0).shape
        torch.Size([3, 16, 16])
    """
    photographs = load_sample_images()
    names = [Path(path).name for path in photographs.filenames]
    color = torch.from_numpy(np.array(photographs.images[names.index(name)])).float() / 255
    gray = F.avg_pool2d(color.mean(-1)[None], 2)[0]
    generator = torch.Generator().manual_seed(seed)
    windows = gray.unfold(0, size, 1).unfold(1, size, 1)
    top, left = (torch.randint(extent, (count,), generator=generator) for extent in windows.shape[:2])
    return windows[top, left]


def digit_images(count: int, seed: int, *, train: bool, size: int = 16) -> Tensor:
    """Take scikit-learn's digits, enlarged: (count, size, size) in [0, 1].

    The training and the test part are disjoint and always the same. The seed orders them. Digits repeat if ``count``
    exceeds the size of the part.

    Example:
        >>> digit_images(3, seed=0, train=False).shape
        torch.Size([3, 16, 16])
    """
    digits = torch.from_numpy(load_digits().images).float()[:, None] / 16
    digits = F.interpolate(digits, (size, size), mode="bilinear", align_corners=False)[:, 0]
    part = digits[:TRAIN_DIGITS] if train else digits[TRAIN_DIGITS:]
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    return part[order[torch.arange(count) % len(part)]]


def _photographs(frame: Sequence[int], count: int, seed: int, train: bool) -> Tensor:
    patches = photograph_patches("flower.jpg" if train else "china.jpg", count, seed, 2 * min(frame) // 3)
    return ComplexImages(patches, frame=frame, forward=FarField(len(frame)), seed=seed).objects(torch.arange(count))


def _digits(frame: Sequence[int], count: int, seed: int, train: bool) -> Tensor:
    images = digit_images(count, seed, train=train, size=2 * min(frame) // 3)
    return ComplexImages(images, frame=frame, forward=FarField(len(frame)), seed=seed).objects(torch.arange(count))


def _crystals(frame: Sequence[int], count: int, seed: int, train: bool) -> Tensor:
    return BraggCrystals(count, frame=frame, forward=FarField(len(frame)), seed=seed).objects(torch.arange(count))


DATA: dict[str, Objects] = {"crystals": _crystals, "photographs": _photographs, "digits": _digits}
NETWORKS: dict[str, MakeNetwork] = {"unet": UNet, "sisprnet": SiSPRNet}


def turned(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror and transpose the items of a batch at random, measurements and objects together.

    A symmetry of the square, or of the cube, turns an object and its diffraction pattern alike, so that one pair
    becomes eight, or 48. Only neighboring axes of one length are exchanged. Draws from torch's global generator.

    Shape: y (B, M1, ..., Md), with zero frequency at M // 2, and x (B, N1, ..., Nd), to the same.

    Example: the new measurements belong to the new objects.
        >>> x, model = torch.randn(9, 6, 6, dtype=torch.complex64), FarField(2, centered=True)
        >>> y, x = turned(model(x), x)
        >>> torch.allclose(model(x), y, atol=1e-3)
        True
    """
    d = x.dim() - 1
    # Every permutation of the axes is a product of these.
    swaps = ([(axis - 1, axis) for axis in range(-1, -d, -1)] * d)[: d * (d - 1) // 2]
    chosen = torch.rand(d + len(swaps), len(y), *[1] * d).to(y.device) < 0.5
    for axis, choice in zip(range(-1, -d - 1, -1), chosen, strict=False):
        # The roll keeps zero frequency at index M // 2.
        y = torch.where(choice, y.flip(axis).roll((y.shape[axis] + 1) % 2, axis), y)
        x = torch.where(choice, x.flip(axis), x)
    for axes, choice in zip(swaps, chosen[d:], strict=True):
        if x.shape[axes[0]] == x.shape[axes[1]] and y.shape[axes[0]] == y.shape[axes[1]]:
            y, x = torch.where(choice, y.transpose(*axes), y), torch.where(choice, x.transpose(*axes), x)
    return y, x


def rotated(x: Tensor) -> Tensor:
    """Rotate the items of a batch about the middle of their frame, each by its own random angle.

    Real and imaginary part are interpolated bicubically, with zeros outside the frame. Center the objects first: parts
    that leave the frame are cut off. The results are new objects, so measure them anew. Draws from torch's global
    generator.

    Shape: x (B, N1, N2) complex, to the same.

    Example: the middle of the frame stays.
        >>> x = torch.zeros(2, 5, 5, dtype=torch.complex64)
        >>> x[:, 2, 2] = 1j
        >>> torch.allclose(rotated(x)[:, 2, 2], x[:, 2, 2], atol=1e-6)
        True
    """
    angle = 2 * math.pi * torch.rand(len(x), 1, 1).to(x.device, x.real.dtype)
    rows, columns = (torch.arange(n, device=x.device) - (n - 1) / 2 for n in x.shape[-2:])
    # affine_grid multiplies matrices, and autocast would round them to bfloat16.
    row = angle.cos() * rows[:, None] + angle.sin() * columns
    column = angle.cos() * columns - angle.sin() * rows[:, None]
    grid = torch.stack((column * 2 / x.shape[-1], row * 2 / x.shape[-2]), -1)
    parts = F.grid_sample(torch.view_as_real(x).movedim(-1, 1), grid, mode="bicubic", align_corners=False)
    return torch.view_as_complex(parts.movedim(1, -1).contiguous())


# ------------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, kw_only=True)
class FarFieldPhaseRetrieval(Experiment):
    """Learn complex objects from their diffraction patterns Y = |F X|², twice oversampled and without noise.

    Objects are images, or volumes if the frame has three axes.

    All symmetries scramble the objects of a case. ``breaking`` makes the targets for training and test from them:

    - "none": the scrambled objects;
    - "exact": their canonical points by the exact rule;
    - "template": the points of their orbits nearest to a template, which is fitted to the training objects;
    - "literal": their images under our literal reading of Algorithm 2;
    - "orbit-loss": the scrambled objects, with ``OrbitMinLoss`` as training and validation loss;
    - "template-orbit": "template"; then, at a tenth of the learning rate, ``OrbitMinLoss``; then targets aligned to the
      answers that the network gave at that point. Test targets are those of "template";
    - "translation-only", "flip-only", "phase-only": objects scrambled by that symmetry alone.

    All share their measurements. Errors are per complex entry. In each epoch, every training pair is mirrored and
    transposed at random, and a share ``rotated`` of the pairs is rotated, scrambled and measured again. Then
    ``breaking`` makes the targets anew.

    Args:
        frame: Frame of the objects, of 2 axes, or of 3 for "crystals" and "unet". Default (32, 32).
        width: Channels of the UNet's finest level. Default 16.
        augmented: Mirror and transpose pairs. Default True.
        rotated: Share of the training pairs, in [0, 1], that are rotated by any angle and measured again. Default 0.
            Volumes are not rotated.
        test_samples: Number of test pairs, and of training pairs that training errors are measured on. Default 500.
        objects: Functions by name, from (frame, count, seed, train) to complex objects (count, *frame). ``train`` is
            True for training objects and False for test objects. Default: "crystals", "photographs" (one photograph
            for training, another for test) and "digits".
        networks: Functions by name, from (detector shape, frame) to a network. Default: "unet" and "sisprnet".

    Raises:
        ValueError: If ``rotated`` is not in [0, 1], or the frame has other axes.

    Example: a data set of your own.
        >>> import tempfile
        >>> from torch_symbreak.experiments import Grid
        >>> objects = {"noise": lambda frame, n, seed, train: torch.randn(n, *frame) + 0j}
        >>> experiment = FarFieldPhaseRetrieval(frame=(8, 8), test_samples=4, objects=objects)
        >>> grid = Grid(data=("noise",), networks=("constant",), breaking=("none", "exact"), samples=(20,))
        >>> with tempfile.TemporaryDirectory() as out:
        ...     [row["breaking"] for row in experiment.run(grid, Path(out))]
        ['none', 'exact']
    """

    name: ClassVar[str] = "farfield"
    metrics: ClassVar[Mapping[str, str]] = MSE
    talk: ClassVar[Talk] = {
        ("crystals", "unet", 500): (0.1210, 0.0448),
        ("crystals", "unet", 1000): (0.1057, 0.0460),
        ("crystals", "unet", 1500): (0.1056, 0.0385),
        ("crystals", "unet", 5000): (0.0580, 0.0326),
        ("crystals", "sisprnet", 500): (0.1412, 0.0426),
        ("crystals", "sisprnet", 1000): (0.1389, 0.0357),
        ("crystals", "sisprnet", 1500): (0.0733, 0.0336),
        ("crystals", "sisprnet", 5000): (0.0568, 0.0255),
    }
    feature: ClassVar[Feature] = "log-magnitude"

    frame: tuple[int, ...] = (32, 32)
    width: int = 16
    augmented: bool = True
    rotated: float = 0.0
    objects: Mapping[str, Objects] = field(default_factory=lambda: DATA, metadata={"row": False})
    networks: Mapping[str, MakeNetwork] = field(default_factory=lambda: NETWORKS, metadata={"row": False})

    def __post_init__(self) -> None:
        if not isinstance(self.rotated, (int, float)) or not 0 <= self.rotated <= 1:
            raise ValueError(f"rotated needs to be a share in [0, 1], but got {self.rotated!r}.")
        if len(self.frame) not in (2, 3) or (self.rotated and len(self.frame) == 3):
            wanted = "2 axes, because volumes are not rotated" if self.rotated else "2 or 3 axes"
            raise ValueError(f"The frame needs {wanted}, but got {self.frame}.")

    @property
    def axes(self) -> dict[str, Sequence[str]]:
        objects, networks, breaking = self.objects, self.networks, (*BREAKINGS, *BREAK)
        if len(self.frame) == 3:
            objects = {name: make for name, make in objects.items() if make not in (_photographs, _digits)}
            networks = {name: make for name, make in networks.items() if make is not SiSPRNet}
            breaking = tuple(name for name in breaking if name != "literal")
        return {"data": tuple(objects), "networks": (*networks, KNN), "breaking": breaking}

    def model(self, data: str) -> FarField:
        # Zero frequency is in the middle, so that neighbors on the detector are neighbors for the network.
        return FarField(len(self.frame), centered=True)

    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        objects = self.objects[data](self.frame, count, seed, train)
        model = self.model(data)
        scrambled = ScrambledDataset(objects, model.symmetries, seed)
        x = torch.stack(scrambled.__getitems__(range(count)))
        y = check_finite(torch.cat([model(part) for part in x.split(500)]), name="the measurements")
        return y, x

    def breaker(self, data: str, breaking: str, x: Tensor) -> Callable[[Tensor], Tensor]:
        return BREAK[breaking](len(self.frame)) if breaking in BREAK else super().breaker(data, breaking, x)

    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        make: Any = self.networks[name]
        sizes = {"width": self.width} if make is UNet else {}
        network: nn.Module = make(tuple(y.shape[1:]), tuple(x.shape[1:]), **sizes)
        return network

    def augment(self, data: str, breaking: str, fix: Callable[[Tensor], Tensor]) -> Change | None:
        if not self.augmented and not self.rotated:
            return None
        # Rotation needs centered objects. Their old place matters unless all symmetries are broken, so scramble again.
        broken = breaking in ("exact", TEMPLATE, TEMPLATE_ORBIT)
        model = self.model(data)
        scramble = nn.Identity() if broken else RandomSymmetry(model.symmetries)

        def changed(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            if self.augmented:
                y, x = turned(y, x)
            if self.rotated:
                chosen = torch.rand(len(x), 1, 1).to(x.device) < self.rotated
                new = scramble(rotated(CenterContent()(x)))
                y, x = torch.where(chosen, model(new), y), torch.where(chosen, new, x)
            return y, fix(x)

        return changed

    def variants(self, data: str, breaking: str, predict: Predict) -> dict[str, Predict]:
        if breaking not in (TEMPLATE, ORBIT_LOSS, TEMPLATE_ORBIT) or len(self.frame) == 3 or len(set(self.frame)) > 1:
            return {}
        model = self.model(data)
        turns = square_turns(model)
        return {TURNED: lambda y: predict_turned(predict, y, turns, model.symmetries).mean}

    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        mse = (prediction - truth).abs().square().double().mean()
        return {"mse": float(mse), "sa_mse": float(sa_mse(prediction, truth, self.model(data).symmetries))}

    def keep(self, data: str, breaking: str, predict: Predict, split: Split) -> dict[str, Tensor]:
        y, x = (part[:SHOWN] for part in split.test)
        shown = {"truth": x, "prediction": predict(y)}
        if breaking == TEMPLATE and len(self.frame) == 2 and shown["prediction"].isfinite().all():
            model, generator = self.model(data), torch.Generator().manual_seed(0)
            found = refine(
                shown["prediction"], y, model=model, starts=1, iterations=REFINED, generator=generator, progress=False
            )
            # The solver's answer may drift along the orbit of the truth.
            shown |= {"measured": y, "refined": align(found.object, x, model.symmetries).aligned}
        # A picture of a volume is one of its middle slice.
        return {name: v[:, v.shape[1] // 2] if v.dim() == 4 else v for name, v in shown.items()}

    def figures(self, rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> dict[str, Figure]:
        groups: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
        answers: dict[str, dict[str, dict[str, Tensor]]] = {}
        for row in largest(rows):
            kept = arrays(row)
            if kept and row["network"] != CONSTANT and row["breaking"] in _HEADINGS:
                heading = f"{_HEADINGS[row['breaking']]}, n = {row['n']}"
                name = f"{row['data']}_{row['network']}"
                groups.setdefault(f"objects_{name}", {})[heading] = (kept["truth"], kept["prediction"])
                answers.setdefault(name, {})[row["breaking"]] = kept
        shown = "The first test objects" + (", middle slices" if len(self.frame) == 3 else "")
        titles = {name: name.replace("_", ", ").replace("objects", shown) for name in groups}
        figures = {name: plot_objects(group, title=titles[name]) for name, group in groups.items()}
        for name, kinds in answers.items():
            if "none" in kinds and "refined" in kinds.get(TEMPLATE, {}):
                after = kinds[TEMPLATE]
                columns = {
                    "before": kinds["none"]["prediction"],
                    "after": after["prediction"],
                    "after + refinement": after["refined"],
                    "truth": after["truth"],
                }
                title = f"{shown}, {name.replace('_', ', ')}"
                figures[f"refined_{name}"] = plot_answers(after["measured"], columns, title=title)
        return figures
