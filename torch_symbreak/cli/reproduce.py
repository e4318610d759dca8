"""``symbreak reproduce EXPERIMENT``."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from torch_symbreak._checks import DEVICES
from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing
from torch_symbreak.cli.solve import METHODS

EXAMPLES = o.examples(
    "symbreak reproduce gaussian --preset cpu --dims 5,10 --networks dnn --resume",
    "symbreak reproduce farfield --solver hio --iterations 100,400",
)

#: Names of the experiments, the quickest first.
EXPERIMENTS = ("square", "factorization", "gaussian", "separation", "deconvolution", "farfield")
# Listed here again, because the modules that own them import Lightning. A test compares.
PRESETS = ("quick", "cpu", "paper")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")


def reproduce(
    experiment: Annotated[str, o.choice_argument("experiment", EXPERIMENTS, "Experiment to run.")],
    preset: Annotated[
        str, o.choice("--preset", PRESETS, "Size of the run: quick takes minutes, cpu takes hours, paper takes a GPU.")
    ] = "quick",
    data: Annotated[
        str | None,
        typer.Option(
            help="farfield: crystals, photographs, digits. factorization: gram-3, distances-2. separation: pulses-2, "
            "pulses-3. Separate several by commas."
        ),
    ] = None,
    dims: Annotated[str | None, typer.Option(help="gaussian: dimensions of x (default: 5).")] = None,
    fields: Annotated[str | None, typer.Option(help="gaussian: real, complex or both (default: real).")] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            help="dnn: fully connected network. knn: 5 nearest neighbors. farfield: unet, sisprnet, knn. A constant "
            "answer always runs, too."
        ),
    ] = None,
    breaking: Annotated[
        str | None,
        typer.Option(
            help="none: raw targets. exact: the exact rule. template. orbit-loss: raw targets and the orbit-min loss. "
            "template-orbit: template, then orbit-loss. farfield also takes literal: the published algorithm, read "
            "word by word; and translation-only, flip-only, phase-only: that one symmetry stays unbroken."
        ),
    ] = None,
    samples: Annotated[
        str | None, typer.Option(help="Numbers of pairs. A tenth of them is the validation set.")
    ] = None,
    rotated: Annotated[
        float | None,
        typer.Option(help="farfield: share of the training pairs that are rotated and measured again."),
    ] = None,
    frame: Annotated[
        str | None, typer.Option(help="farfield: sizes of the objects, such as 32,32, or 16,16,16 for volumes.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the UNet's finest level, or units of a hidden layer.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Seeds per case.")] = None,
    seed: Annotated[int | None, o.seed("First seed.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Largest number of epochs. Training stops earlier when the validation loss no longer falls."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs per step and process.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate at the start.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without gain after which the learning rate is halved.")
    ] = None,
    solver: Annotated[
        str | None,
        o.choice(
            "--solver", METHODS, "farfield: refine 100 test objects, from the networks' answers and from random starts."
        ),
    ] = None,
    iterations: Annotated[
        str | None, typer.Option(help="For --solver: numbers of iterations, a run for each (default: 100,400).")
    ] = None,
    photons: Annotated[
        str | None,
        typer.Option(help="For --solver: photons per test pattern, such as 1e5,1e6. Patterns without noise run, too."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=o.named, metavar="FOLDER", help="Folder for the results (default: symbreak-out/EXPERIMENT)."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the results in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the results in the folder first.")] = False,
    device: Annotated[str, o.choice("--device", DEVICES, "Device for training. auto takes CUDA if present.")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes per machine, one per GPU.")] = 1,
    num_nodes: Annotated[int, typer.Option(help="Number of machines.")] = 1,
    precision: Annotated[
        str, o.choice("--precision", PRECISIONS, "Floating-point precision of the training.")
    ] = "32-true",
    debug: o.Debug = False,
) -> None:
    """Run an experiment, before and after symmetry breaking.

    The options from --data to --patience replace the preset's values.
    """
    from torch_symbreak.experiments import CAPTION, FarFieldPhaseRetrieval, Refining, refining, remove_results
    from torch_symbreak.experiments import PRESETS as presets
    from torch_symbreak.experiments.report import limited
    from torch_symbreak.training import Hardware, main_process

    with failing(2, debug=debug):
        if resume and overwrite:
            raise ValueError("--resume and --overwrite contradict one another. Give one of them.")
        if dims is not None or fields is not None:
            if experiment != "gaussian" or data is not None:
                raise ValueError("--dims and --fields name the data of gaussian, and of it alone. Leave --data out.")
            data = ",".join(
                f"{field}-{dim}" for field, dim in itertools.product(_words(fields or "real"), _words(dims or "5"))
            )
        axes = {"data": data, "networks": networks, "breaking": breaking}
        changes: dict[str, Any] = {axis: _words(value) for axis, value in axes.items() if value is not None}
        changes |= {"samples": _whole("--samples", samples)} if samples is not None else {}
        changes |= _given(repeats=repeats, seed=seed)
        chosen = presets[experiment][preset]
        grids = list(dict.fromkeys(replace(grid, **changes) for grid in chosen.grids))
        numbers = _given(max_epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience)
        training = replace(chosen.training, **numbers)
        hardware = Hardware(device=device, devices=devices, num_nodes=num_nodes, precision=precision)
        own: dict[str, Any] = _given(rotated=rotated)
        own |= {"frame": _whole("--frame", frame)} if frame is not None else {}
        if own and not isinstance(chosen.experiment, FarFieldPhaseRetrieval):
            raise ValueError(f"--{next(iter(own))} is for the objects of farfield, but the experiment is {experiment}.")
        if solver is None and (iterations is not None or photons is not None):
            raise ValueError("--iterations and --photons are for solvers. Add --solver hio, or leave them out.")
        if solver is not None and not isinstance(chosen.experiment, FarFieldPhaseRetrieval):
            raise ValueError(f"--solver is for the objects of farfield, but the experiment is {experiment}.")
        refines: dict[str, Any] = {"iterations": _whole("--iterations", iterations)} if iterations is not None else {}
        refines |= {"photons": _numbers("--photons", photons)} if photons is not None else {}
        plan = None if solver is None else Refining(method=solver, **refines)
        recipe: Any = replace(chosen.experiment, **own, **_given(width=width))
        recipe.check(grids)
        out = out or Path("symbreak-out") / experiment
        if overwrite and main_process():
            remove_results(out)
        try:
            recipe.resumable(out, training, resume=resume)
        except FileExistsError as error:
            raise FileExistsError(f"{error} Here: --resume, --overwrite, or another --out.") from None
        if plan is not None:
            refining.check_refinable(recipe, grids, out, training)

    def report(message: str) -> None:
        print(message, flush=True)

    with failing(1, debug=debug, interrupted="To go on, add --resume."):
        keep = plan is not None
        rows = recipe.run(grids, out, training=training, hardware=hardware, resume=resume, keep=keep, report=report)
        if not main_process():
            return
        paths = recipe.write(out)
        tables = [(experiment, CAPTION, recipe.table(rows))]
        tables.append(("before / after: ratios of errors", "", recipe.ratios(rows)))
        if plan is not None:
            refined = refining.refine_answers(
                recipe, grids, out, plan, training=training, hardware=hardware, report=report
            )
            paths += refining.write_refined(out)
            tables.append((f"{experiment}, refined", refining.SHARES, refining.shares(refined)))
    for title, caption, (header, *lines) in tables:
        if lines:
            _print_table(title, caption, header, lines)
    if remark := limited(rows):
        print(f"{remark}\n")
    for path in paths:
        print(path)


def _print_table(title: str, caption: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print the columns that fit a terminal. Training errors and repeats stand in table.md alone."""
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    shown = [heading != "repeats" and "train" not in heading for heading in header]
    kept = [i for i, keep in enumerate(shown) if keep and any(line[i] for line in lines)]
    for i in kept:
        # Headings may wrap, numbers may not.
        table.add_column(header[i].replace("before / after, ", ""), min_width=max(len(line[i]) for line in lines))
    for line in lines:
        table.add_row(*(line[i] for i in kept))
    Console().print(table)


def _given(**values: float | None) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _words(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _numbers(option: str, value: str) -> tuple[float, ...]:
    """Read comma-separated numbers."""
    try:
        return tuple(float(part) for part in _words(value))
    except ValueError:
        raise ValueError(f"{option} needs numbers, comma-separated, but got {value!r}.") from None


def _whole(option: str, value: str) -> tuple[int, ...]:
    """Read comma-separated whole numbers. 2e4 is one."""
    try:
        numbers = tuple(float(part) for part in _words(value))
    except ValueError:
        numbers = (math.nan,)
    if not all(number % 1 == 0 for number in numbers):  # false for NaN and infinity
        raise ValueError(f"{option} needs whole numbers, comma-separated, but got {value!r}.")
    return tuple(int(number) for number in numbers)
