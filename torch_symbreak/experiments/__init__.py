"""Experiments: each is a recipe from parameters to rows; nothing is printed here."""

from torch_symbreak.experiments.farfield import PRESETS, FarFieldParameters, FarFieldResult, Row, run, write

__all__ = ["PRESETS", "FarFieldParameters", "FarFieldResult", "Row", "run", "write"]
