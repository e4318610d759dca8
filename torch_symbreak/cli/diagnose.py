"""``symbreak diagnose FILE``."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing, say

EXAMPLES = o.examples(
    "symbreak diagnose objects.h5 --out report",
    "symbreak diagnose train.h5 --test test.h5 --noise 0.01",
)


def diagnose(
    src: o.In,
    out: Annotated[
        Path | None,
        typer.Option(parser=o.named, metavar="DIR", help="Folder for report.html and report.json.", show_default=False),
    ] = None,
    forward: o.Forward = "farfield",
    key: o.Key = None,
    layout: o.LayoutKind = None,
    event_dims: o.EventDims = None,
    batch_axis: o.BatchAxis = None,
    axes: o.Axes = None,
    oversampling: o.Oversampling = 2.0,
    test: Annotated[
        Path | None,
        typer.Option(
            parser=o.named,
            metavar="FILE",
            help="Test targets. The report lists those that are training targets, too.",
            show_default=False,
        ),
    ] = None,
    test_key: Annotated[
        str | None, typer.Option(help="Name of the test targets, as in --key.", show_default=False)
    ] = None,
    n: Annotated[
        int, typer.Option("-n", help="Number of targets for the template and the nearest neighbors, drawn at random.")
    ] = 2000,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the targets' noise, as a share of the peak. The report then says how often it "
            "flips a target.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, o.seed("Seed of all draws.")] = 0,
    overwrite: o.Overwrite = False,
    debug: o.Debug = False,
) -> None:
    """Say whether the targets in a file suffer from the symmetries of their measurement, and what to type.

    All targets are read into memory.
    """
    from torch_symbreak.diagnostics.diagnose import run
    from torch_symbreak.io import Targets
    from torch_symbreak.io.arrays import check_new

    with failing(2, debug=debug):
        if test_key is not None and test is None:
            raise ValueError("--test-key names an array of --test FILE. Give both.")
        if out is not None:
            if out.exists() and not out.is_dir():
                raise FileExistsError(f"{out} exists and is no folder. Give another --out.")
            for path in (out / "report.html", out / "report.json"):
                if path.is_dir():
                    raise FileExistsError(f"{path} is a folder. Give another --out.")
                check_new(path, overwrite=overwrite)
        options: dict[str, Any] = {"layout": layout, "batch_axis": batch_axis, "axes": axes}
        targets = Targets(forward, event_dims, oversampling, key=key, **options)
        x, choice = _read(src, targets)
        say(choice)
        others = None
        if test is not None:
            others, choice = _read(test, Targets(forward, event_dims, oversampling, key=test_key, **options))
            say(choice)
        model = _model(targets, x)

        def line(rule: str, threshold: float | None, fix: Any) -> str:
            flags = "".join(
                f" --{name} {shlex.quote(str(value))}"
                for name, value in {
                    "forward": None if forward == "farfield" else forward,
                    "key": key,
                    "layout": layout,
                    "event-dims": event_dims,
                    "batch-axis": batch_axis,
                    "axes": axes,
                    "oversampling": None if oversampling == 2 else oversampling,
                    "threshold": None if threshold is None else f"{threshold:g}",
                }.items()
                if value is not None
            )
            name, broken = shlex.quote(str(src)), shlex.quote(f"{src.stem}_broken{src.suffix}")
            if rule == "template":
                fit = f"symbreak fit {name} template.npz{flags}"
                return f"{fit} && symbreak break {name} {broken} --template template.npz{flags}"
            return f"symbreak break {name} {broken}{flags}"

        report = run(x, model, others, None, None, n, noise, seed, line)
    console = Console()
    console.print(report, overflow="ignore", crop=False)  # the line to type stays whole
    if out is not None:
        with failing(1, debug=debug):
            out.mkdir(parents=True, exist_ok=True)
            paths = [report.save_html(out / "report.html"), report.save_json(out / "report.json")]
        for path in paths:
            print(path)


def _read(path: Path, targets: Any) -> tuple[torch.Tensor, str]:
    """Return all targets of a file, (n, *event), and the sentence that says which they are."""
    from torch_symbreak.io import open_file
    from torch_symbreak.io.layouts import BLOCK, blocks

    file = open_file(path)
    found, reason = targets.find(file)
    parts = [found.read(file, block) for block in blocks(found, BLOCK)]
    return torch.cat(parts), f"{found.describe()} ({reason})"


def _model(targets: Any, x: torch.Tensor) -> Any:
    """Return a measurement model of some targets."""
    from torch_symbreak.forward import ElementwiseSquare, FarField, GaussianIntensity

    field: Any = "complex" if x.is_complex() else "real"
    if targets.forward == "farfield":
        return FarField(targets.dims, oversampling=targets.oversampling, field=field)
    if targets.forward == "square":
        return ElementwiseSquare()
    size = x.shape[-1]
    say(f"The targets are measured by a matrix drawn for this report, {4 * size} x {size}.")
    return GaussianIntensity.draw(4 * size, size, field=field, generator=torch.Generator().manual_seed(0))
