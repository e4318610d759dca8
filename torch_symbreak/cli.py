"""The ``symbreak`` command: arguments in, files and a table out; what happens in between is in ``experiments``."""

import itertools
import math
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    reproduce = typer.Typer(help="Run one of the talk's experiments, before and after.", no_args_is_help=True)
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

    add_experiments(reproduce)
    return app


def add_experiments(app: "typer.Typer") -> None:
    """Add one command per experiment; an option that is given replaces that axis or number of the preset."""
    import typer

    Preset = Annotated[str, typer.Option(help="How much is computed: quick (minutes), cpu (hours) or paper (a GPU).")]
    Networks = Annotated[str | None, typer.Option(help="Comma-separated. The constant predictor is always there.")]
    Breaking = Annotated[str | None, typer.Option(help="Comma-separated.")]
    Samples = Annotated[str | None, typer.Option(help="Comma-separated numbers of pairs, a tenth for validation.")]
    Repeats = Annotated[int | None, typer.Option(help="Seeds per case.")]
    Seed = Annotated[int | None, typer.Option(help="The first seed.")]
    Epochs = Annotated[int | None, typer.Option(help="At most; the validation loss may end a training before.")]
    BatchSize = Annotated[int | None, typer.Option(help="Pairs per step and process.")]
    LearningRate = Annotated[float | None, typer.Option(help="To start with.")]
    Patience = Annotated[int | None, typer.Option(help="Epochs without gain after which the learning rate is halved.")]
    Out = Annotated[Path | None, typer.Option(help="Directory for the results.  [default: symbreak-out/EXPERIMENT]")]
    Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is in the directory.")]
    Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove what is in the directory first.")]
    Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
    Devices = Annotated[int, typer.Option(help="Processes per machine, one per GPU.")]
    NumNodes = Annotated[int, typer.Option(help="Machines.")]
    Precision = Annotated[str, typer.Option(help="As Lightning has it: 32-true, bf16-mixed, 16-mixed.")]
    Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

    @app.command()
    def square(
        preset: Preset = "quick",
        networks: Networks = None,
        breaking: Breaking = None,
        samples: Samples = None,
        repeats: Repeats = None,
        seed: Seed = None,
        epochs: Epochs = None,
        batch_size: BatchSize = None,
        learning_rate: LearningRate = None,
        patience: Patience = None,
        out: Out = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        device: Device = "auto",
        devices: Devices = 1,
        num_nodes: NumNodes = 1,
        precision: Precision = "32-true",
        debug: Debug = False,
    ) -> None:
        """The square root, y = x²."""
        _reproduce("square", **locals())

    @app.command()
    def gaussian(
        preset: Preset = "quick",
        dims: Annotated[str | None, typer.Option(help="Comma-separated dimensions of x.")] = None,
        fields: Annotated[str | None, typer.Option(help="real, complex or both.  [default: real]")] = None,
        networks: Networks = None,
        breaking: Breaking = None,
        samples: Samples = None,
        repeats: Repeats = None,
        seed: Seed = None,
        epochs: Epochs = None,
        batch_size: BatchSize = None,
        learning_rate: LearningRate = None,
        patience: Patience = None,
        out: Out = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        device: Device = "auto",
        devices: Devices = 1,
        num_nodes: NumNodes = 1,
        precision: Precision = "32-true",
        debug: Debug = False,
    ) -> None:
        """Gaussian phase retrieval, y = |A x|²: networks and nearest neighbors."""
        options = locals()
        del options["dims"], options["fields"]
        data = None
        if dims is not None or fields is not None:
            pairs = itertools.product((fields or "real").split(","), (dims or "5").split(","))
            data = ",".join(f"{one.strip()}-{dim.strip()}" for one, dim in pairs)
        _reproduce("gaussian", data=data, **options)

    @app.command()
    def farfield(
        preset: Preset = "quick",
        data: Annotated[str | None, typer.Option(help="crystals, photographs, digits; comma-separated.")] = None,
        networks: Networks = None,
        breaking: Annotated[
            str | None,
            typer.Option(help="none, literal, exact, orbit-loss, translation-only, flip-only, phase-only."),
        ] = None,
        samples: Samples = None,
        repeats: Repeats = None,
        seed: Seed = None,
        epochs: Epochs = None,
        batch_size: BatchSize = None,
        learning_rate: LearningRate = None,
        patience: Patience = None,
        out: Out = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        device: Device = "auto",
        devices: Devices = 1,
        num_nodes: NumNodes = 1,
        precision: Precision = "32-true",
        debug: Debug = False,
    ) -> None:
        """Far-field phase retrieval, Y = |F X|²."""
        _reproduce("farfield", **locals())


def _reproduce(
    name: str,
    *,
    preset: str,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    device: str,
    devices: int,
    num_nodes: int,
    precision: str,
    debug: bool,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    patience: int | None,
    **axes: str | int | None,
) -> None:
    """Run an experiment with some of its preset's numbers replaced, and print its tables."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from torch_symbreak.experiments import PRESETS, read_rows, remove_results
    from torch_symbreak.training import Hardware, main_process

    with _failing(2, debug=debug):
        if preset not in PRESETS[name]:
            raise ValueError(f"--preset needs to be one of {', '.join(PRESETS[name])}, but got {preset!r}.")
        if resume and overwrite:
            raise ValueError("--resume and --overwrite contradict one another. Give one of them.")
        chosen = PRESETS[name][preset]
        experiment = chosen.experiment
        changes: dict[str, Any] = {key: _axis(key, value) for key, value in axes.items() if value is not None}
        grids = list(dict.fromkeys(replace(grid, **changes) for grid in chosen.grids))
        numbers: dict[str, Any] = {
            "max_epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "patience": patience,
        }
        training = replace(chosen.training, **{key: value for key, value in numbers.items() if value is not None})
        hardware = Hardware(device=device, devices=devices, num_nodes=num_nodes, precision=precision)
        experiment.check(grids)
        out = out or Path("symbreak-out") / name
        if overwrite and main_process():
            remove_results(out)
        experiment.resumable(out, training, resume=resume)

    def report(message: str) -> None:
        print(message, flush=True)

    with _failing(1, debug=debug):
        experiment.run(grids, out, training=training, hardware=hardware, resume=resume, report=report)
        if not main_process():
            return
        paths = experiment.write(out)
        rows = read_rows(out)
    console = Console()
    caption = "(share of the constant predictor's, the mean of the training targets)"
    for title, (header, *lines) in ((name, experiment.table(rows)), ("before / after", experiment.ratios(rows))):
        table = Table(title=title, caption=caption, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for heading in header:
            table.add_column(heading, overflow="fold")
        for line in lines:
            table.add_row(*line)
        if lines:
            console.print(table)
        caption = ""
    for path in paths:
        print(path)


def _axis(key: str, value: str | int) -> int | tuple[Any, ...]:
    """Read one axis of a grid: a number, or comma-separated names or numbers (2e4 is one)."""
    if isinstance(value, int):
        return value
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if key != "samples":
        return names
    try:
        numbers = tuple(float(part) for part in names)
    except ValueError:
        numbers = (math.nan,)
    if not all(number == number and number % 1 == 0 for number in numbers):
        raise ValueError(f"--samples needs whole numbers, comma-separated, but got {value!r}.")
    return tuple(int(number) for number in numbers)


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


if __name__ == "__main__":
    main()
