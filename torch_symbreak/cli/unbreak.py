"""``symbreak unbreak IN OUT``."""

from typing import Annotated

import typer

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._files import change_file

EXAMPLES = o.examples(
    "symbreak unbreak canonical.h5 objects.h5",
    "symbreak unbreak canonical.h5 objects.h5 --overwrite -j 4",
)


def unbreak(
    src: o.In,
    dst: o.Out,
    key: Annotated[
        str | None,
        typer.Option(
            help="Name of the targets to put back, if several runs can be undone. Default: the latest.",
            show_default=False,
        ),
    ] = None,
    overwrite: o.Overwrite = False,
    processes: o.Processes = 1,
    scheduler: o.Scheduler = None,
    debug: o.Debug = False,
) -> None:
    """Undo break or scramble: put every target back.

    Works on files that were made with --elements, which stores how each target was moved.
    """
    change_file(
        "unbreak", src, dst, {"key": key}, overwrite=overwrite, processes=processes, scheduler=scheduler, debug=debug
    )
