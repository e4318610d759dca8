"""Give sphinx-gallery the figures that the library makes without pyplot."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_shown: set[int] = set()


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures among a script's variables that were not saved yet, and return their reStructuredText."""
    paths = []
    for value in list(block_vars["example_globals"].values()):
        figure = value.figure if isinstance(value, Axes) else value
        if not isinstance(figure, Figure) or id(figure) in _shown or getattr(figure, "number", None) is not None:
            continue
        _shown.add(id(figure))
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=100)
        paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])


def reset(gallery_conf: dict[str, Any], script: str) -> None:
    """Start every script with the same random numbers, on one thread."""
    _shown.clear()
    torch.manual_seed(0)
    torch.set_num_threads(1)
