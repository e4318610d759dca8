"""Options and arguments that several commands share, each declared once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from torch_symbreak._checks import check_choice
from torch_symbreak.cli._run import failing
from torch_symbreak.forward import NAMES
from torch_symbreak.io.layouts import Kind


def _checked(name: str, choices: Sequence[str]) -> Any:
    """Return a callback that accepts only the choices. Its error suggests the closest one. Typer's does not."""

    def check(value: str | None) -> str | None:
        if value is not None:
            with failing(2):
                check_choice(name, value, choices)
        return value

    return check


def choice(flag: str, choices: Sequence[str], text: str) -> Any:
    """Declare an option that takes one of a few words.

    Args:
        flag: The option, e.g. "--forward".
        choices: The words. The help text lists them, because Typer breaks a long metavar in the middle of a word.
        text: The rest of the help text.
    """
    return typer.Option(flag, callback=_checked(flag, choices), help=f"{text} One of {', '.join(choices)}.")


def choice_argument(name: str, choices: Sequence[str], text: str) -> Any:
    """Declare an argument that takes one of a few words. :func:`choice` declares an option."""
    listed = f"{text} One of {', '.join(choices)}."
    return typer.Argument(metavar=name.upper(), callback=_checked(name, choices), help=listed, show_default=False)


def seed(text: str) -> Any:
    """Declare the option ``--seed`` of random draws."""

    def check(value: int | None) -> int | None:
        with failing(2):
            if value is not None and not 0 <= value < 2**63:
                raise ValueError(f"--seed needs a number from 0 to 2^63 - 1, but got {value}.")
        return value

    return typer.Option("--seed", callback=check, help=text)


def named(path: str | Path) -> Path:
    """Parse a path, and refuse an empty one. An empty shell variable would mean the working directory."""
    with failing(2):
        if not str(path).strip():
            raise ValueError("A name of a file is empty. Give one, or leave the option out.")
    return Path(path)


def examples(*lines: str) -> str:
    """Return an epilog with one example a line. Empty lines keep Typer from joining them."""
    return "\n\n".join(("Examples:", *lines))


In = Annotated[
    Path,
    typer.Argument(
        parser=named,
        metavar="IN",
        help="Input file: HDF5, CXI, .npy, .npz, .mat, .tif, .zarr, .pt or .safetensors.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Argument(parser=named, metavar="OUT", help="Output file, in the input's format.", show_default=False),
]
Forward = Annotated[
    str,
    choice(
        "--forward",
        NAMES,
        "Measurement model, which sets the symmetries. farfield: |F x|². gaussian: |A x|². square: x².",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        help="Name of the array with the targets. Use A,B for a pair, and 'scan_*/object' for many arrays. Or "
        "name a group that holds one pair, or arrays of one shape. Needed if several arrays could be the targets.",
        show_default=False,
    ),
]
LayoutKind = Annotated[
    str | None,
    choice(
        "--layout",
        get_args(Kind),
        "Storage of the targets. plain: one array. channels: real and imaginary parts along one axis. parts: an array "
        "for each part. polar: an array of magnitudes and one of phases. Needed if names and shapes do not tell.",
    ),
]
EventDims = Annotated[
    int | None,
    typer.Option(
        help="Number of dimensions of one far-field object. Axes before them count the objects. Default: 2, if the "
        "shape leaves no doubt.",
        show_default=False,
    ),
]
BatchAxis = Annotated[
    int | None,
    typer.Option(
        help="Axis that counts the targets. Use -1 for MATLAB's x(:,:,i). Default: 0, if the shape leaves no doubt.",
        show_default=False,
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="n,y,x",
        help="One word per axis, separated by commas. Replaces --layout, --event-dims and --batch-axis. n: counts "
        "targets. r: real and imaginary parts. nr: both in one axis, as re, im, re, im, ... rn: both in one axis, "
        "all re, then all im. u to z: an axis of each target.",
        show_default=False,
    ),
]
Template = Annotated[
    Path | None,
    typer.Option(
        parser=named,
        metavar="FILE",
        help="Template file, written by fit. Move every target to the point of its orbit nearest to it. Default: use "
        "the exact rule.",
        show_default=False,
    ),
]
Oversampling = Annotated[
    float,
    typer.Option(
        help="Detector pixels per object pixel along each axis of the far field. Use 1 if both grids have the same "
        "size."
    ),
]
Threshold = Annotated[
    float,
    typer.Option(help="Pixels below this fraction of the peak count as background. Raise it for noisy data."),
]
Elements = Annotated[bool, typer.Option("--elements", help="Store how each target was moved, so that unbreak works.")]
Also = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Move this array along with the targets, for example a mask per target. Repeatable.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
Processes = Annotated[int, typer.Option("-j", "--processes", help="Number of processes that compute.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Address of a dask scheduler whose workers compute instead. They need to see the same files.",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
