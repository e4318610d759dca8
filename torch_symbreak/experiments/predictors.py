"""Predictors that learn from the pairs of a case: the mean, nearest neighbors, and trained networks."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from torch_symbreak.alignment import align
from torch_symbreak.baselines import nearest_neighbors
from torch_symbreak.experiments.grid import ORBIT_LOSS, TEMPLATE_ORBIT
from torch_symbreak.losses import OrbitMinLoss
from torch_symbreak.symmetries import Symmetry
from torch_symbreak.training import FEATURES, Change, Curves, Feature, Hardware, Regression, Training, fit

Predict = Callable[[Tensor], Tensor]

#: Name of the predictor that :func:`neighbors` makes.
KNN = "knn"
#: Share of the n pairs of a case that is held out from training. Their loss ends the training.
VALIDATION = 0.1


class Split(NamedTuple):
    """Hold the pairs (y, x) of a case, with the transform that made their targets."""

    train: tuple[Tensor, Tensor]  # n pairs, the last of which are a network's validation set
    test: tuple[Tensor, Tensor]
    fix: Callable[[Tensor], Tensor] = lambda x: x


class Stage(NamedTuple):
    """Describe one training of a case. The next stage goes on with its network.

    Args:
        loss: Training and validation loss. None: the mean squared error.
        rate: Factor of the learning rate. Default 1.
        aligned_by: Symmetries. The targets are aligned by them to the answers that the network gave before this stage.
            Default: the targets stay.
    """

    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    rate: float = 1.0
    aligned_by: Sequence[Symmetry] = ()


def stages(breaking: str, symmetries: Sequence[Symmetry]) -> list[Stage]:
    """Return the stages in which a network is trained.

    Example:
        >>> from torch_symbreak.symmetries import Sign
        >>> [stage.rate for stage in stages("template-orbit", (Sign(1),))]
        [1.0, 0.1, 0.1]
    """
    orbit = OrbitMinLoss(symmetries)
    if breaking == TEMPLATE_ORBIT:
        return [Stage(), Stage(orbit, rate=0.1), Stage(rate=0.1, aligned_by=symmetries)]
    return [Stage(orbit if breaking == ORBIT_LOSS else None)]


def fixed(fix: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Transform targets a few hundred at a time, to bound memory."""
    return torch.cat([fix(part) for part in x.split(500)])


def constant(split: Split) -> Predict:
    """Predict the mean of the training targets for every measurement.

    Example:
        >>> y, x = torch.zeros(2, 3), torch.tensor([[1.0], [3.0]])
        >>> constant(Split((y, x), (y, x)))(torch.ones(2, 3)).tolist()
        [[2.0], [2.0]]
    """
    mean = split.train[1].mean(0)
    return lambda y: mean.expand(len(y), *mean.shape)


def neighbors(split: Split, feature: Feature) -> Predict:
    """Predict the mean target of the 5 nearest training pairs.

    Args:
        split: Pairs to learn from.
        feature: Function of the measurements. Distances are those between its values.
    """
    features = FEATURES[feature]
    y, x = split.train
    mean = nearest_neighbors(features(y), x)
    return lambda y: mean(features(y))


def trained(
    split: Split,
    make: Callable[[Tensor, Tensor], nn.Module],
    *,
    feature: Feature,
    stages: Sequence[Stage],
    augment: Change | None,
    training: Training,
    seed: int,
    folder: Path,
    hardware: Hardware,
    label: str,
) -> tuple[Predict, list[Curves]]:
    """Train a network on the first nine tenths of the training pairs, and stop by the loss on the others.

    Args:
        split: Pairs to learn from.
        make: Makes the network from all training pairs (y, x). ``seed`` alone determines its first weights.
        feature: Function of the measurements that the network gets.
        stages: Trainings of the network, one after the other.
        augment: Changes the pairs of a training batch. None: no change.
        training: Optimizer and end of the training.
        seed: Seed of the weights, the order of the pairs, and the augmentation.
        folder: Directory of the checkpoints. A training that was interrupted continues from them.
        hardware: Device and precision.
        label: Name of the training in messages.

    Returns:
        The predictor, and the losses of all epochs by stage, including those before an interruption.
    """
    y, x = split.train
    held = max(1, round(VALIDATION * len(y)))
    train, validation = TensorDataset(y[:-held], x[:-held]), (y[-held:], x[-held:])
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # all breakings start from the same weights
        network = make(y, x)
    curves: list[Curves] = []

    def model(network: nn.Module, stage: Stage, augment: Change | None) -> Regression:
        plan = replace(training, learning_rate=stage.rate * training.learning_rate)
        return Regression(
            network, *train.tensors, feature=feature, loss=stage.loss, augment=augment, training=plan, seed=seed
        )

    for number, stage in enumerate(stages):
        change, held_out = augment, validation
        if stage.aligned_by:
            relabel = _aligned_to(model(copy.deepcopy(network), stage, None), stage.aligned_by)
            change, held_out = _after(relabel, augment), relabel(*validation)
        regression = model(network, stage, change)
        curves.append(
            fit(
                regression,
                train,
                TensorDataset(*held_out),
                folder=folder / str(number),
                hardware=hardware,
                label=label if len(stages) == 1 else f"{label}, stage {number + 1} of {len(stages)}",
            )
        )
    return regression.predict, curves


def restored(file: Path, network: nn.Module, y: Tensor, x: Tensor, *, feature: Feature) -> Regression:
    """Return the trained network of a checkpoint.

    Args:
        file: The checkpoint.
        network: A network like the trained one, with any weights. Changed in place.
        y: Measurements of the shape that it was trained on.
        x: Objects of the shape that it was trained on.
        feature: Function of the measurements that it gets.

    Raises:
        FileNotFoundError: If the checkpoint is missing or damaged.
    """
    if not zipfile.is_zipfile(file):
        raise FileNotFoundError(f"{file} is missing or damaged, so its network is lost.")
    regression = Regression(network, y, x, feature=feature)
    regression.load_state_dict(torch.load(file, map_location="cpu", weights_only=True)["state_dict"])
    return regression


def _aligned_to(frozen: Regression, symmetries: Sequence[Symmetry]) -> Change:
    """Return the function that aligns the targets of pairs to the answers of a network."""

    def relabel(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return y, align(x, frozen.to(y.device).predict(y), symmetries).aligned

    return relabel


def _after(change: Change, first: Change | None) -> Change:
    """Return the function that applies ``first`` and then ``change``."""
    return change if first is None else lambda y, x: change(*first(y, x))
