"""A report as one page of HTML."""

from __future__ import annotations

import base64
from typing import Any

from torch_symbreak._version import __version__
from torch_symbreak.diagnostics._verdict import percent
from torch_symbreak.plots import png


def page_of(report: Any) -> str:
    """Return the page. Its figures are inside, and it has no scripts."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'The page of a report needs jinja2: pip install "torch_symbreak[diagnose]"', name=error.name
        ) from None
    from torch_symbreak.diagnostics._figures import figures_of  # needs Matplotlib, and the numbers do not

    environment = Environment(
        loader=PackageLoader("torch_symbreak.diagnostics", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    figures = [(caption, base64.b64encode(png(figure, dpi=200)).decode()) for caption, figure in figures_of(report)]
    return environment.get_template("report.html.jinja").render(
        report=report,
        tables=list(report.tables()),
        sentences=list(report.sentences()),
        findings=report["findings"],
        figures=figures,
        version=__version__,
    )
