"""Start the command, and turn failures into one line on stderr and an exit status. Runs without Typer."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PACKAGES = {
    "cli": ("rich", "typer"),
    "experiments": ("PIL", "filelock", "lightning", "skimage", "sklearn"),
    "io": ("h5py", "hdf5plugin", "scipy", "tifffile", "zarr"),
    "dask": ("dask", "distributed"),
}


@contextmanager
def failing(status: int, *, debug: bool = False) -> Iterator[None]:
    """Turn an error into one line on stderr and an exit status. With ``debug``, print the traceback too."""
    try:
        yield
    except ModuleNotFoundError:
        raise  # main() knows what to install
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        message = error.args[0] if isinstance(error, KeyError) else str(error)  # str() would quote a KeyError's
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        print(f"symbreak: {message or kind}", file=sys.stderr)
        raise SystemExit(status) from None


def main() -> None:
    """Run ``symbreak``. If a package is missing, print how to install it and exit with status 1."""
    try:
        from torch_symbreak.cli._app import app  # needs Typer

        app(prog_name="symbreak")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        needed = _requirement(package, sys.argv[1:])
        if needed is None:
            raise
        print(f"symbreak needs the package {package}. Install it with: pip install {needed}", file=sys.stderr)
        raise SystemExit(1) from None


def _requirement(package: str, arguments: Sequence[str]) -> str | None:
    """Return the smallest requirement that brings a package, or None if the command never needs it.

    Example:
        >>> _requirement("typer", ["break", "in.npy", "out.npy"]), _requirement("typer", ["reproduce", "square"])
        ('"torch_symbreak[cli]"', '"torch_symbreak[experiments]"')
    """
    extra = next((extra for extra, packages in _PACKAGES.items() if package in packages), None)
    if "reproduce" in arguments[:1] and (extra == "cli" or package == "matplotlib"):
        extra = "experiments"  # the next import would ask for it
    if package == "matplotlib" and extra is None:
        return package  # compare needs nothing else of the experiments
    return f'"torch_symbreak[{extra}]"' if extra else None
