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

_EXTRAS = {
    "experiments": ("filelock", "lightning", "matplotlib", "PIL", "rich", "sklearn", "typer"),
    "io": ("h5py", "hdf5plugin", "scipy", "tifffile", "zarr"),
    "dask": ("dask", "distributed"),
}


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
        message = error.args[0] if isinstance(error, KeyError) else str(error)  # which would be quoted
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        print(f"symbreak: {message or kind}", file=sys.stderr)
        raise SystemExit(status) from None


def build() -> "typer.Typer":
    """Build the command; Typer is imported here, so that :func:`main` can say what to install without it."""
    import typer

    app = typer.Typer(
        help="Symmetry breaking for nonlinear inverse problems.", no_args_is_help=True, add_completion=False
    )

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

        from torch_symbreak import Product, diagnostics, plots
        from torch_symbreak.io import fix_of, read_array, write_file

        with _failing(2, debug=debug):
            if out.exists() and any(path.exists() and out.samefile(path) for path in (a, b)):
                raise ValueError(f"The picture {out} would replace an array. Give another --out.")
            x, reference = read_array(a, key_a), read_array(b, key_b)
            fix = fix_of(forward, x.dtype, event_dims=event_dims, oversampling=oversampling)
            symmetries = Product(fix.symmetry).symmetries
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

    source = typer.Argument(help="HDF5, CXI, .npy, .npz, .mat, .tif, .zarr or .pt.", show_default=False)
    output = typer.Argument(help="The same with other targets, in the same format.", show_default=False)
    model = typer.Option(help="Whose symmetries: farfield, gaussian or square.")
    which = typer.Option(help="Array, group with a pair, or A,B (default: the only choice).", show_default=False)
    how = typer.Option(
        help="plain, channels, parts or polar (default: what names and shapes tell).", show_default=False
    )
    dims = typer.Option(help="Dimensions of one far-field object; others are batch.")
    axis = typer.Option(help="Which axis counts the targets; -1 for MATLAB's x(:,:,i).")
    factor = typer.Option(help="Of the far field; 1 is the periodic model.")
    content = typer.Option(help="Content exceeds this, relative to the target's largest magnitude.")
    stored = typer.Option("--elements", help="Store what was done to each target, for unbreak.")
    replaced = typer.Option("--overwrite", help="Replace OUT if it exists.")
    jobs = typer.Option("-j", "--processes", help="How many processes compute.")
    cluster = typer.Option(help="Compute on this dask cluster, whose workers see the same files.", show_default=False)
    traced = typer.Option("--debug", help="Show tracebacks.")

    @app.command("break")
    def break_(
        src: Annotated[Path, source],
        dst: Annotated[Path, output],
        forward: Annotated[str, model] = "farfield",
        key: Annotated[str | None, which] = None,
        layout: Annotated[str | None, how] = None,
        event_dims: Annotated[int, dims] = 2,
        batch_axis: Annotated[int, axis] = 0,
        oversampling: Annotated[float, factor] = 2.0,
        threshold: Annotated[float, content] = 1e-4,
        elements: Annotated[bool, stored] = False,
        overwrite: Annotated[bool, replaced] = False,
        processes: Annotated[int, jobs] = 1,
        scheduler: Annotated[str | None, cluster] = None,
        debug: Annotated[bool, traced] = False,
    ) -> None:
        """Replace every target in a file by the canonical point of its orbit.

        Any size, in constant memory. A killed run goes on when it is called again.
        """
        what = (forward, event_dims, oversampling, threshold, key, layout, batch_axis)
        rest = {"elements": elements, "overwrite": overwrite}
        _change_file("break", src, dst, what, rest, processes=processes, scheduler=scheduler, debug=debug)

    @app.command()
    def scramble(
        src: Annotated[Path, source],
        dst: Annotated[Path, output],
        forward: Annotated[str, model] = "farfield",
        key: Annotated[str | None, which] = None,
        layout: Annotated[str | None, how] = None,
        event_dims: Annotated[int, dims] = 2,
        batch_axis: Annotated[int, axis] = 0,
        oversampling: Annotated[float, factor] = 2.0,
        threshold: Annotated[float, content] = 1e-4,
        seed: Annotated[int, typer.Option(help="Target i is moved by a function of (seed, i).")] = 0,
        elements: Annotated[bool, stored] = False,
        overwrite: Annotated[bool, replaced] = False,
        processes: Annotated[int, jobs] = 1,
        scheduler: Annotated[str | None, cluster] = None,
        debug: Annotated[bool, traced] = False,
    ) -> None:
        """Move every target in a file to a random point of its orbit: the opposite of break."""
        what = (forward, event_dims, oversampling, threshold, key, layout, batch_axis)
        rest = {"elements": elements, "overwrite": overwrite, "seed": seed}
        _change_file("scramble", src, dst, what, rest, processes=processes, scheduler=scheduler, debug=debug)

    @app.command()
    def unbreak(
        src: Annotated[Path, source],
        dst: Annotated[Path, output],
        overwrite: Annotated[bool, replaced] = False,
        processes: Annotated[int, jobs] = 1,
        scheduler: Annotated[str | None, cluster] = None,
        debug: Annotated[bool, traced] = False,
    ) -> None:
        """Undo break or scramble by the elements that they stored with --elements."""
        rest = {"overwrite": overwrite}
        _change_file("unbreak", src, dst, (), rest, processes=processes, scheduler=scheduler, debug=debug)

    @app.command()
    def info(
        src: Annotated[Path, source],
        forward: Annotated[str, model] = "farfield",
        key: Annotated[str | None, which] = None,
        layout: Annotated[str | None, how] = None,
        event_dims: Annotated[int, dims] = 2,
        batch_axis: Annotated[int, axis] = 0,
        debug: Annotated[bool, traced] = False,
    ) -> None:
        """Say what is in a file, and which key, dtype and layout would be taken, and why."""
        from torch_symbreak.io import Targets, inspect

        with _failing(2, debug=debug):
            targets = Targets(forward, event_dims, key=key, layout=layout, batch_axis=batch_axis)
            found = inspect(src, targets)
        for name, array in found.arrays.items():
            print(f"{name}: {array.dtype}, {array.shape}")
        print(f"targets: {found.choice}")
        for name, value in (found.note or {}).items():
            print(f"made with {name}: {value}")

    @app.command()
    def reproduce(
        experiment: Annotated[str, typer.Argument(help="square, gaussian or farfield.")],
        preset: Annotated[
            str, typer.Option(help="How much is computed: quick (minutes), cpu (hours) or paper (a GPU).")
        ] = "quick",
        data: Annotated[
            str | None, typer.Option(help="farfield: crystals, photographs, digits; comma-separated, as all axes.")
        ] = None,
        dims: Annotated[str | None, typer.Option(help="gaussian: dimensions of x (default: 5).")] = None,
        fields: Annotated[str | None, typer.Option(help="gaussian: real, complex or both (default: real).")] = None,
        networks: Annotated[
            str | None,
            typer.Option(help="dnn, knn; farfield: unet, sisprnet. The constant predictor is always there."),
        ] = None,
        breaking: Annotated[
            str | None,
            typer.Option(
                help="none, exact; farfield also literal, orbit-loss, translation-only, flip-only, phase-only."
            ),
        ] = None,
        samples: Annotated[str | None, typer.Option(help="Numbers of pairs, a tenth for validation.")] = None,
        rotated: Annotated[
            float | None,
            typer.Option(help="farfield: share of the training pairs that are rotated and measured again."),
        ] = None,
        repeats: Annotated[int | None, typer.Option(help="Seeds per case.")] = None,
        seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
        epochs: Annotated[
            int | None, typer.Option(help="At most; the validation loss may end a training before.")
        ] = None,
        batch_size: Annotated[int | None, typer.Option(help="Pairs per step and process.")] = None,
        learning_rate: Annotated[float | None, typer.Option(help="To start with.")] = None,
        patience: Annotated[
            int | None, typer.Option(help="Epochs without gain after which the learning rate is halved.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Directory for the results (default: symbreak-out/EXPERIMENT).")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the directory.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove what is in the directory first.")] = False,
        device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
        devices: Annotated[int, typer.Option(help="Processes per machine, one per GPU.")] = 1,
        num_nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
        precision: Annotated[str, typer.Option(help="As Lightning has it: 32-true, bf16-mixed, 16-mixed.")] = "32-true",
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    ) -> None:
        """Run one of the talk's experiments, before and after symmetry breaking.

        An axis or number that is given replaces the preset's.
        """
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        from torch_symbreak.experiments import CAPTION, PRESETS, FarFieldPhaseRetrieval, remove_results
        from torch_symbreak.training import Hardware, main_process

        with _failing(2, debug=debug):
            presets = PRESETS.get(experiment)
            if presets is None:
                raise ValueError(f"The experiment needs to be one of {', '.join(PRESETS)}, but got {experiment!r}.")
            if preset not in presets:
                raise ValueError(f"--preset needs to be one of {', '.join(presets)}, but got {preset!r}.")
            if resume and overwrite:
                raise ValueError("--resume and --overwrite contradict one another. Give one of them.")
            if dims is not None or fields is not None:
                if experiment != "gaussian" or data is not None:
                    raise ValueError(
                        "--dims and --fields name the data of gaussian, and of it alone. Leave --data out."
                    )
                data = ",".join(
                    f"{one}-{dim}" for one, dim in itertools.product(_names(fields or "real"), _names(dims or "5"))
                )
            axes = {"data": data, "networks": networks, "breaking": breaking}
            changes: dict[str, Any] = {axis: _names(value) for axis, value in axes.items() if value is not None}
            changes |= {"samples": _whole(samples)} if samples is not None else {}
            changes |= _given(repeats=repeats, seed=seed)
            grids = list(dict.fromkeys(replace(grid, **changes) for grid in presets[preset].grids))
            numbers = _given(max_epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience)
            training = replace(presets[preset].training, **numbers)
            hardware = Hardware(device=device, devices=devices, num_nodes=num_nodes, precision=precision)
            recipe = presets[preset].experiment
            if rotated is not None:
                if not isinstance(recipe, FarFieldPhaseRetrieval):
                    raise ValueError(f"--rotated is for the objects of farfield, but the experiment is {experiment}.")
                recipe = replace(recipe, rotated=rotated)
            recipe.check(grids)
            out = out or Path("symbreak-out") / experiment
            if overwrite and main_process():
                remove_results(out)
            recipe.resumable(out, training, resume=resume)

        def report(message: str) -> None:
            print(message, flush=True)

        with _failing(1, debug=debug):
            rows = recipe.run(grids, out, training=training, hardware=hardware, resume=resume, report=report)
            if not main_process():
                return
            paths = recipe.write(out)
        console = Console()
        tables = ((experiment, CAPTION, recipe.table(rows)), ("before / after", "", recipe.ratios(rows)))
        for title, caption, (header, *lines) in tables:
            table = Table(title=title, caption=caption, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
            for heading in header:
                table.add_column(heading, overflow="fold")
            for line in lines:
                table.add_row(*line)
            if lines:
                console.print(table)
        for path in paths:
            print(path)

    return app


def _change_file(
    command: Any,
    src: Path,
    dst: Path,
    what: tuple[Any, ...],
    how: dict[str, Any],
    *,
    processes: int,
    scheduler: str | None,
    debug: bool,
) -> None:
    """Plan, where a failure is that of the call, then run with a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    from torch_symbreak.io import Targets, plan

    with _failing(2, debug=debug):
        if processes < 1:
            raise ValueError(f"-j needs at least one process, but got {processes}.")
        planned = plan(command, src, dst, Targets(*what), **how)
    with _failing(1, debug=debug), Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(command, total=None)
        planned.run(
            processes=processes,
            scheduler=scheduler,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    print(dst)


def _given(**values: float | None) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in values.items() if value is not None}


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _whole(value: str) -> tuple[int, ...]:
    """Read comma-separated whole numbers, of which 2e4 is one."""
    try:
        numbers = tuple(float(part) for part in _names(value))
    except ValueError:
        numbers = (math.nan,)
    if not all(number % 1 == 0 for number in numbers):  # which NaN and infinity are not
        raise ValueError(f"--samples needs whole numbers, comma-separated, but got {value!r}.")
    return tuple(int(number) for number in numbers)


def main() -> None:
    """Run ``symbreak``."""
    try:
        build()()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
        if extra is None:
            raise
        print(
            f'symbreak needs the package {package}. Install it with: pip install "torch_symbreak[{extra}]"',
            file=sys.stderr,
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
