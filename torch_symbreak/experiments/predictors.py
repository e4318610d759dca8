"""Predictors that learn from the pairs of a case: the mean, nearest neighbors, and trained networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from torch_symbreak.baselines import nearest_neighbors
from torch_symbreak.experiments.grid import TEMPLATE
from torch_symbreak.forward import ForwardModel
from torch_symbreak.training import FEATURES, Change, Curves, Feature, Hardware, Regression, Training, fit, main_process

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


def simple_breaker(model: ForwardModel, breaking: str, x: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the transform of raw targets of a model: its rule, a template fitted to ``x``, or none.

    Args:
        model: Measurement model.
        breaking: "exact", "template", or another name for raw targets.
        x: Raw training targets.
    """
    if breaking == TEMPLATE:
        generator = torch.Generator().manual_seed(0)
        return model.fit_canonicalizer(x, generator=generator, progress=main_process())
    return model.canonicalizer() if breaking == "exact" else lambda raw: raw


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
    loss: Callable[[Tensor, Tensor], Tensor] | None,
    augment: Change | None,
    training: Training,
    seed: int,
    folder: Path,
    hardware: Hardware,
    label: str,
) -> tuple[Predict, Curves]:
    """Train a network on the first nine tenths of the training pairs, and stop by the loss on the others.

    Args:
        split: Pairs to learn from.
        make: Makes the network from all training pairs (y, x). ``seed`` alone determines its first weights.
        feature: Function of the measurements that the network gets.
        loss: Training and validation loss. None: the mean squared error.
        augment: Changes the pairs of a training batch. None: no change.
        training: Optimizer and end of the training.
        seed: Seed of the weights, the order of the pairs, and the augmentation.
        folder: Directory of the checkpoints. A training that was interrupted continues from them.
        hardware: Device and precision.
        label: Name of the training in messages.

    Returns:
        The predictor, and the losses of all epochs, including those before an interruption.
    """
    y, x = split.train
    held = max(1, round(VALIDATION * len(y)))
    train, validation = TensorDataset(y[:-held], x[:-held]), TensorDataset(y[-held:], x[-held:])
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # all breakings start from the same weights
        network = make(y, x)
    model = Regression(
        network, *train.tensors, feature=feature, loss=loss, augment=augment, training=training, seed=seed
    )
    curves = fit(model, train, validation, folder=folder, hardware=hardware, label=label)
    return model.predict, curves
