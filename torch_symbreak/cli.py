"""The ``symbreak`` command: arguments in, files and a table out; what happens in between is in ``experiments``."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from torch_symbreak._version import __version__

if TYPE_CHECKING:
    import typer

_EXTRAS = ("lightning", "matplotlib", "PIL", "rich", "sklearn", "typer")


@contextmanager
def _failing(status: int, *, debug: bool) -> Iterator[None]:
    """Turn an error into one line on stderr and an exit status; with ``debug``, show where it came from too."""
    try:
        yield
    except ModuleNotFoundError:
        raise  # main() knows what to install
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        print(f"symbreak: {error or type(error).__name__}", file=sys.stderr)
        raise SystemExit(status) from None


def build() -> "typer.Typer":
    """Build the command; Typer is imported here, so that :func:`main` can say what to install without it."""
    import typer

    app = typer.Typer(
        help="Symmetry breaking for nonlinear inverse problems.", no_args_is_help=True, add_completion=False
    )
    reproduce = typer.Typer(help="Run an experiment: train before and after symmetry breaking.", no_args_is_help=True)
    app.add_typer(reproduce, name="reproduce")

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"symbreak {__version__}")
            raise typer.Exit

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
        ] = False,
    ) -> None:
        pass

    @reproduce.callback()
    def group() -> None:
        pass

    @reproduce.command()
    def farfield(
        preset: Annotated[str, typer.Option(help="How much is computed: quick.")] = "quick",
        data: Annotated[str, typer.Option(help="The objects: photographs, digits or crystals.")] = "photographs",
        out: Annotated[Path, typer.Option(help="Directory for the results.")] = Path("symbreak-out"),
        seed: Annotated[int | None, typer.Option(help="Seed of everything random; the preset's if absent.")] = None,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        samples: Annotated[int | None, typer.Option(help="Training pairs; the preset's if absent.")] = None,
        epochs: Annotated[int | None, typer.Option(help="Epochs; the preset's if absent.")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="Its largest; the preset's if absent.")] = None,
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    ) -> None:
        """Far-field phase retrieval: one UNet on the same objects, before and after symmetry breaking."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        from torch_symbreak.experiments import FarFieldParameters, run, write
        from torch_symbreak.training import resolve_device

        with _failing(2, debug=debug):
            parameters = FarFieldParameters.preset(
                preset, data=data, seed=seed, samples=samples, epochs=epochs, learning_rate=learning_rate
            )
            where = resolve_device(device)
            out.mkdir(parents=True, exist_ok=True)
        console = Console()
        with _failing(1, debug=debug):
            result = run(parameters, device=where, report=lambda message: print(message, flush=True))
            paths = write(result, out)
        header, *lines = result.table()
        title = f"Far-field phase retrieval, {data}"
        caption = "(share of the constant predictor's); ratio: before / after"
        table = Table(*header, title=title, caption=caption, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for line in lines:
            table.add_row(*line)
        console.print(table)
        for path in paths:
            print(path)

    return app


def main() -> None:
    """Run ``symbreak``."""
    try:
        build()()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRAS:
            raise
        print(
            f'symbreak needs the package {error.name}. Install it with: pip install "torch_symbreak[experiments]"',
            file=sys.stderr,
        )
        raise SystemExit(1) from None
