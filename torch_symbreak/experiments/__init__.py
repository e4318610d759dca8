"""Experiments: each is a recipe from cases to rows, tables and figures; nothing is printed here."""

from torch_symbreak.experiments.base import CAPTION, Case, Experiment, Grid, read_rows, remove_results
from torch_symbreak.experiments.farfield import FarFieldPhaseRetrieval
from torch_symbreak.experiments.gaussian import Gaussian
from torch_symbreak.experiments.presets import PRESETS, Preset
from torch_symbreak.experiments.square import SquareRoot

__all__ = [
    "CAPTION",
    "PRESETS",
    "Case",
    "Experiment",
    "FarFieldPhaseRetrieval",
    "Gaussian",
    "Grid",
    "Preset",
    "SquareRoot",
    "read_rows",
    "remove_results",
]
