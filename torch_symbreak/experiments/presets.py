"""Sizes of the experiments: "quick" takes minutes, "cpu" hours on two cores, and "paper" has the talk's sizes."""

from __future__ import annotations

from dataclasses import dataclass

from torch_symbreak.experiments.deconvolution import Deconvolution
from torch_symbreak.experiments.factorization import Factorization
from torch_symbreak.experiments.farfield import FarFieldPhaseRetrieval
from torch_symbreak.experiments.gaussian import Gaussian
from torch_symbreak.experiments.grid import ORBIT_LOSS, TEMPLATE, TEMPLATE_ORBIT, Grid
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.separation import Separation
from torch_symbreak.experiments.square import SquareRoot
from torch_symbreak.training import Training


@dataclass(frozen=True)
class Preset:
    """Bundle an experiment with its cases and the settings of its trainings.

    Example:
        >>> preset = PRESETS["farfield"]["quick"]
        >>> preset.experiment.frame, preset.grids[0].samples, preset.training.max_epochs
        ((24, 24), (3000,), 20)
    """

    experiment: Experiment
    grids: tuple[Grid, ...]
    training: Training


_BOTH = ("none", "exact")
_RULES = ("none", "literal", "exact", TEMPLATE)
_NETWORKS = ("unet", "sisprnet")
_ONLY = ("translation-only", "flip-only", "phase-only")
_GAUSSIAN = Training(batch_size=512, learning_rate=2e-3, weight_decay=0.0, patience=10)
_SQUARE = Training(batch_size=100, learning_rate=3e-3, weight_decay=0.0, patience=10, max_epochs=300)
_FACTORIZATION = Training(batch_size=128, learning_rate=2e-3, weight_decay=0.0, patience=5)
_SEPARATION = Training(batch_size=256, learning_rate=2e-3, weight_decay=0.0, patience=5)
_DECONVOLUTION = Training(batch_size=64, learning_rate=2e-3, weight_decay=0.0, patience=4)
_FARFIELD = Training(batch_size=32, learning_rate=5e-3, patience=12)


def _square(samples: tuple[int, ...], repeats: int) -> Preset:
    grid = Grid(data=("uniform",), networks=("dnn", "knn"), breaking=_BOTH, samples=samples, repeats=repeats)
    return Preset(SquareRoot(), (grid,), _SQUARE)


def _gaussian(data: tuple[str, ...], samples: tuple[int, ...], repeats: int = 1) -> Preset:
    grid = Grid(data=data, networks=("dnn", "knn"), breaking=_BOTH, samples=samples, repeats=repeats)
    return Preset(Gaussian(), (grid,), _GAUSSIAN)


def _factorization(data: tuple[str, ...], samples: tuple[int, ...], repeats: int) -> Preset:
    breaking = (*_BOTH, TEMPLATE, ORBIT_LOSS)
    grid = Grid(data=data, networks=("dnn", "knn"), breaking=breaking, samples=samples, repeats=repeats)
    return Preset(Factorization(), (grid,), _FACTORIZATION)


def _separation(data: tuple[str, ...], samples: tuple[int, ...], repeats: int) -> Preset:
    grids = tuple(
        Grid(data=data, networks=networks, breaking=breaking, samples=samples, repeats=repeats)
        for networks, breaking in ((("dnn", "knn"), (*_BOTH, TEMPLATE)), (("dnn",), (ORBIT_LOSS,)))
    )
    return Preset(Separation(), grids, _SEPARATION)


def _deconvolution(samples: tuple[int, ...], repeats: int) -> Preset:
    grids = tuple(
        Grid(data=("shapes",), networks=networks, breaking=breaking, samples=samples, repeats=repeats)
        for networks, breaking in ((("dnn", "knn"), (*_BOTH, TEMPLATE)), (("dnn",), (ORBIT_LOSS,)))
    )
    return Preset(Deconvolution(), grids, _DECONVOLUTION)


def _crystals(networks: tuple[str, ...], breaking: tuple[str, ...], samples: tuple[int, ...], repeats: int = 1) -> Grid:
    return Grid(data=("crystals",), networks=networks, breaking=breaking, samples=samples, repeats=repeats)


PRESETS: dict[str, dict[str, Preset]] = {
    "square": {
        "quick": _square((100, 1000), 1),
        "cpu": _square((100, 1000, 10_000), 3),
        "paper": _square((100, 1000, 10_000, 100_000), 3),
    },
    "gaussian": {
        "quick": _gaussian(("real-5",), (2000, 20_000)),
        "cpu": _gaussian(("real-5", "real-10", "complex-5"), (20_000, 50_000, 100_000)),
        "paper": _gaussian(
            ("real-5", "real-10", "real-15", "complex-5", "complex-10", "complex-15"),
            (20_000, 50_000, 100_000, 1_000_000),
            3,
        ),
    },
    "factorization": {
        "quick": _factorization(("distances-2",), (250,), 1),
        "cpu": _factorization(("gram-3", "distances-2"), (250, 1000, 4000), 2),
        "paper": _factorization(("gram-3", "distances-2"), (250, 1000, 4000, 16_000, 64_000), 3),
    },
    "separation": {
        "quick": _separation(("pulses-2",), (1000,), 1),
        "cpu": _separation(("pulses-2", "pulses-3"), (1000, 3000, 10_000), 2),
        "paper": _separation(("pulses-2", "pulses-3", "pulses-4"), (1000, 10_000, 100_000, 1_000_000), 3),
    },
    "deconvolution": {
        "quick": _deconvolution((300,), 1),
        "cpu": _deconvolution((500, 1500, 4000), 2),
        "paper": _deconvolution((500, 1500, 4000, 16_000, 64_000), 3),
    },
    "farfield": {
        "quick": Preset(
            FarFieldPhaseRetrieval(frame=(24, 24)),
            (_crystals(("unet",), (*_BOTH, TEMPLATE), (3000,)),),
            Training(batch_size=64, learning_rate=5e-3, patience=2, max_epochs=20),
        ),
        "cpu": Preset(
            FarFieldPhaseRetrieval(),
            (
                _crystals(_NETWORKS, _RULES, (500,), 3),
                _crystals(_NETWORKS, _RULES, (1000, 1500)),
                _crystals(("unet",), (ORBIT_LOSS,), (500, 1000, 1500, 5000)),
                _crystals(("unet",), (TEMPLATE_ORBIT,), (500, 1500)),
                _crystals(("unet",), _ONLY, (1500,)),
                _crystals(_NETWORKS, _RULES, (5000,)),
                Grid(data=("photographs",), networks=("unet",), breaking=_RULES, samples=(500, 1500, 5000)),
                Grid(data=("digits",), networks=("unet",), breaking=_RULES, samples=(500, 1000)),
            ),
            _FARFIELD,
        ),
        "paper": Preset(
            FarFieldPhaseRetrieval(frame=(128, 128)),
            (
                _crystals(_NETWORKS, (*_RULES, ORBIT_LOSS, *_ONLY), (500, 1000, 1500, 5000), 3),
                Grid(
                    data=("photographs",),
                    networks=_NETWORKS,
                    breaking=(*_RULES, ORBIT_LOSS),
                    samples=(500, 1000, 1500, 5000),
                    repeats=3,
                ),
            ),
            _FARFIELD,
        ),
    },
}
