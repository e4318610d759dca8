"""Experiments: recipes that turn cases into rows, tables and figures. Nothing is printed here."""

from torch_symbreak.experiments.deconvolution import Deconvolution
from torch_symbreak.experiments.factorization import Factorization
from torch_symbreak.experiments.farfield import FarFieldPhaseRetrieval
from torch_symbreak.experiments.gaussian import Gaussian
from torch_symbreak.experiments.grid import Case, Grid
from torch_symbreak.experiments.presets import PRESETS, Preset
from torch_symbreak.experiments.recipe import Experiment
from torch_symbreak.experiments.refining import Refining, read_refined, refine_answers, write_refined
from torch_symbreak.experiments.report import CAPTION
from torch_symbreak.experiments.results import read_rows, remove_results
from torch_symbreak.experiments.separation import Separation
from torch_symbreak.experiments.square import SquareRoot

__all__ = [
    "CAPTION",
    "PRESETS",
    "Case",
    "Deconvolution",
    "Experiment",
    "Factorization",
    "FarFieldPhaseRetrieval",
    "Gaussian",
    "Grid",
    "Preset",
    "Refining",
    "Separation",
    "SquareRoot",
    "read_refined",
    "read_rows",
    "refine_answers",
    "remove_results",
    "write_refined",
]
