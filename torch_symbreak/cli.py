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
        message = error.args[0] if isinstance(error, KeyError) else error  # whose str() is quoted
        print(f"symbreak: {message or type(error).__name__}", file=sys.stderr)
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

    @app.command()
    def compare(
        a: Annotated[Path, typer.Argument(help="The reconstruction, .npy or .npz.")],
        b: Annotated[Path, typer.Argument(help="The reference, of the same shape.")],
        forward: Annotated[
            str, typer.Option(help="Whose symmetries count: farfield, gaussian or square.")
        ] = "farfield",
        event_dims: Annotated[int, typer.Option(help="Dimensions of one far-field object; others are batch.")] = 2,
        oversampling: Annotated[float, typer.Option(help="Of the far field; 1 is the periodic model.")] = 2.0,
        subpixel: Annotated[int, typer.Option(help="Find shifts to 1/SUBPIXEL of an entry.")] = 1,
        key_a: Annotated[str | None, typer.Option(help="Which array of A, if .npz.")] = None,
        key_b: Annotated[str | None, typer.Option(help="Which array of B, if .npz.")] = None,
        out: Annotated[Path, typer.Option(help="The picture of the first item.")] = Path("comparison.png"),
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    ) -> None:
        """Compare a reconstruction with a reference, raw and up to the symmetries of the measurement."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        from torch_symbreak import diagnostics, plots
        from torch_symbreak.io import read_array, write_file

        with _failing(2, debug=debug):
            x, reference = read_array(a, key_a), read_array(b, key_b)
            symmetries = diagnostics.symmetries_of(forward, x, event_dims=event_dims, oversampling=oversampling)
            found = diagnostics.compare(x, reference, symmetries, subpixel=subpixel)
        with _failing(1, debug=debug):
            dims = max(symmetries[0].event_dims, 1)
            first = [z.reshape(-1, *z.shape[x.dim() - dims :])[0] for z in (reference, x, found.alignment.aligned)]
            picture = write_file(out, plots.png(plots.plot_comparison(*first, title=f"{a.name} against {b.name}")))
        table = Table("", "raw", "aligned", box=SIMPLE_HEAD)
        for name, value in found.raw.items():
            table.add_row(name, f"{value:.6g}", f"{found.aligned[name]:.6g}")
        Console().print(table)
        count = found.alignment.element.flipped.numel() if forward == "farfield" else 0
        for index in range(min(count, 5)):
            print(f"item {index}: {diagnostics.describe(found.alignment.element, index)}")
        if count > 5:
            print(f"... and {count - 5} items more")
        print(picture)

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
