"""Start the command, and turn failures into one line on stderr and an exit status. Runs without Typer and torch."""

import io
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

_PACKAGES = {
    "cli": ("rich", "typer"),
    "experiments": ("PIL", "lightning", "skimage", "sklearn"),
    "io": ("h5py", "hdf5plugin", "scipy", "tifffile", "zarr"),
    "dask": ("dask", "distributed"),
    "diagnose": ("jinja2", "matplotlib", "rich", "scipy", "skimage", "sklearn", "typer"),
}

_INTERRUPTED = 130
_UNPRINTED = "The results cannot be printed to the standard output: {}."


class _Interrupt:
    """Answer Ctrl-C. A working command gets a ``KeyboardInterrupt`` and cleans up. Otherwise the process ends at once.

    An import that got a ``KeyboardInterrupt`` would print many lines, or turn it into another error.
    """

    working = False
    came = False

    def __call__(self, number: int, frame: object) -> None:
        if not self.working:
            if not self.came:
                os.write(2, b"symbreak: interrupted\n")
            os._exit(_INTERRUPTED)
        self.came = True
        raise KeyboardInterrupt


_interrupt = _Interrupt()


@contextmanager
def failing(status: int, *, debug: bool = False, interrupted: str = "") -> Iterator[None]:
    """Turn an error into one line on stderr and an exit status.

    Args:
        status: The exit status. After Ctrl-C it is 130.
        debug: Print the traceback, too.
        interrupted: Sentence that is printed after Ctrl-C. It says how to go on.
    """
    _interrupt.working = True
    try:
        yield
    except BaseException as error:
        # Lightning, for one, turns a KeyboardInterrupt into a SystemExit.
        if _interrupt.came or isinstance(error, KeyboardInterrupt):
            _fail(f"interrupted. {interrupted}" if interrupted else "interrupted", _INTERRUPTED, debug=debug)
        # main() knows what to install.
        if isinstance(error, ModuleNotFoundError) or not isinstance(error, Exception):
            raise
        _fail(_message(error), status, debug=debug)
    finally:
        _interrupt.working = False


def _message(error: Exception) -> str:
    message = error.args[0] if isinstance(error, KeyError) and error.args else error  # str() would quote a KeyError's
    return str(message) or type(error).__name__


#: Arguments of the library that are options here, with the value that a message gives.
_ARGUMENT = re.compile(
    r"(?<![\w/.-])(also|axes|batch_axis|event_dims|forward|frame|key|layout|mask|oversampling|overwrite|support|"
    r"support_size|threshold)(_[ab])?="
    r"('[^']*'|\"[^\"]*\"|True|[\w-]+(?:\.\w+)*)?"
)


def as_typed(message: str) -> str:
    """Replace the library's argument names by the options to type.

    Example:
        >>> as_typed("Say which: key='scan_*/object', or axes='n,y,x'. Leave out batch_axis=. overwrite=True.")
        "Say which: --key 'scan_*/object', or --axes n,y,x. Leave out --batch-axis. --overwrite."
        >>> as_typed("If it is there, pass model=FarField(2, centered=True). Pass support= or support_size=.")
        'If it is there, type --centered. Pass --support or --support-size.'
    """

    def option(match: re.Match[str]) -> str:
        name, letter, value = (part or "" for part in match.groups())
        flag = f"--{name}{letter}".replace("_", "-")
        if value[:1] in ("'", '"'):
            value = shlex.quote(value[1:-1])
        return f"{flag} {value}" if value not in ("", "True") else flag

    message = re.sub(r"pass model=FarField\(\d+, centered=True\)", "type --centered", message)
    message = re.sub(r"pass model=FarField\(\d+, centered=False\)", "leave out --centered", message)
    return _ARGUMENT.sub(option, message)


def say(message: str) -> None:
    """Print one line on stderr."""
    with suppress(OSError):  # a full disk may hold stderr as well
        print("symbreak:", " ".join(as_typed(message).split()), file=sys.stderr, flush=True)


def _fail(message: str, status: int, *, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    say(message)
    raise SystemExit(status) from None


def main() -> None:
    """Run ``symbreak``. A failure outside the commands' own blocks prints one line, too, and exits with status 1.

    Example: as the command itself calls it.
        >>> import subprocess
        >>> command = [sys.executable, "-m", "torch_symbreak.cli", "--version"]
        >>> done = subprocess.run(command, capture_output=True, text=True)
        >>> done.returncode, done.stdout.startswith("symbreak ")
        (0, True)
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup and a shell's & ignore it, and so do we
        signal.signal(signal.SIGINT, _interrupt)
    _interrupt.came = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    debug = "--debug" in sys.argv
    try:
        from torch_symbreak.cli._app import app  # needs Typer

        app(prog_name="symbreak")
    except Exception as error:
        package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if needed := _requirement(package, sys.argv[1:]):
            skip = ", or type --no-pictures" if package == "matplotlib" and "solve" in sys.argv[1:2] else ""
            print(f"symbreak needs the package {package}. Install it with: pip install {needed}{skip}", file=sys.stderr)
            raise SystemExit(1) from None
        if isinstance(error, OSError):  # the commands only print outside of their blocks
            _discard_output()
            _fail(_UNPRINTED.format(error.strerror or error), 1, debug=debug)
        _fail(_message(error), 1, debug=debug)
    finally:
        _flush(debug=debug)


def _flush(*, debug: bool) -> None:
    """Write out what was printed while a failure can still be reported."""
    if sys.stdout is None:  # closed by the caller
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_output()
        if isinstance(error, BrokenPipeError):  # head, say, has seen enough
            raise SystemExit(1) from None
        _fail(_UNPRINTED.format(error.strerror), 1, debug=debug)


def _discard_output() -> None:
    """Discard the output that is left, because Python would try to print it again when it ends."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _requirement(package: str, arguments: Sequence[str]) -> str | None:
    """Return the smallest requirement that brings a package, or None if the command never needs it.

    Example:
        >>> _requirement("typer", ["break", "in.npy", "out.npy"]), _requirement("typer", ["reproduce", "square"])
        ('"torch_symbreak[cli]"', '"torch_symbreak[experiments]"')
    """
    if "diagnose" in arguments[:1] and package in _PACKAGES["diagnose"]:
        return '"torch_symbreak[diagnose]"'
    extra = next((extra for extra, packages in _PACKAGES.items() if package in packages), None)
    if "reproduce" in arguments[:1] and (extra == "cli" or package == "matplotlib"):
        extra = "experiments"  # the next import would ask for it
    if package == "matplotlib" and "reproduce" not in arguments[:1]:
        return package  # compare needs nothing else of the experiments
    return f'"torch_symbreak[{extra}]"' if extra else None
