"""``symbreak solve IN OUT``."""

import warnings
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from torch_symbreak._checks import DEVICES, find_device
from torch_symbreak.cli import _options as o
from torch_symbreak.cli._files import counted
from torch_symbreak.cli._run import failing, say
from torch_symbreak.forward import FarField
from torch_symbreak.io.solutions import Patterns, Solved, SolvePlan, plan_solve

EXAMPLES = o.examples(
    "symbreak solve scan.h5 found.h5 --key data --centered --mask good",
    "symbreak solve counts.npy found.npz --frame 24,24 --starts 16",
)

#: Names of the algorithms and verdicts. Listed here again, as the modules that own them are private. A test compares.
METHODS = ("hio", "er", "raar", "dm", "rrr")
VERDICTS = ("solved", "doubtful", "not solved")
#: Iterates per block, roughly: few enough that a kill costs seconds, and enough that the solvers keep a device busy.
_ITERATES = {"cpu": 2**18, "cuda": 2**25}
#: Items that are listed.
_MOST = 10


def solve(
    src: o.In,
    dst: Annotated[
        Path, typer.Argument(parser=o.named, metavar="OUT", help="An .npz or HDF5 file.", show_default=False)
    ],
    key: Annotated[
        str | None,
        typer.Option(
            help="Name of the array of intensities, or 'scan_*/data' for many. Needed if several arrays could hold "
            "intensities.",
            show_default=False,
        ),
    ] = None,
    event_dims: Annotated[
        int | None,
        typer.Option(
            help="Number of dimensions of one pattern. Axes before them count the patterns. Default: 2, if the shape "
            "leaves no doubt.",
            show_default=False,
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="n,y,x",
            help="One word per axis, separated by commas. Replaces --event-dims. n: counts patterns. u to z: an axis "
            "of each pattern.",
            show_default=False,
        ),
    ] = None,
    centered: Annotated[
        bool, typer.Option("--centered", help="Zero frequency is at index M // 2 of M pixels. Default: at index 0.")
    ] = False,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="KEY|FILE",
            help="Array of bools, True where measured. Give a key of IN, or FILE, or FILE:KEY. One mask for all "
            "patterns, or one for each.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            help="Largest size of the objects in pixels, such as 24,24. Default: by --oversampling.", show_default=False
        ),
    ] = None,
    oversampling: Annotated[
        float, typer.Option(help="Detector pixels per object pixel along each axis, if --frame is not given.")
    ] = 2.0,
    support: Annotated[
        str | None,
        typer.Option(
            metavar="KEY|FILE",
            help="Array of bools, True where objects may be nonzero, given like --mask. Default: shrink-wrap finds it.",
            show_default=False,
        ),
    ] = None,
    support_size: Annotated[
        int | None, typer.Option(help="Number of nonzero pixels of an object. Replaces shrink-wrap.")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Objects are real.")] = False,
    nonnegative: Annotated[bool, typer.Option("--nonnegative", help="Objects are real and not negative.")] = False,
    method: Annotated[
        str,
        o.choice(
            "--method",
            METHODS,
            "Algorithm. hio: hybrid input-output. er: error reduction. raar, rrr: relaxed reflections. dm: difference "
            "map. raar solves most under noise.",
        ),
    ] = "hio",
    starts: Annotated[
        int, typer.Option(help="Random starts per item. The one with the smallest R-factor is kept.")
    ] = 8,
    iterations: Annotated[
        int | None,
        typer.Option(
            help="Iterations of each start. Default: 1000, and up to two more rounds for items that need them.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, o.seed("Seed of the starts.")] = 0,
    device: Annotated[str, o.choice("--device", DEVICES, "Device that computes. auto takes CUDA if present.")] = "cpu",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Draw every item. The folder is OUT without its suffix, plus -pictures.",
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT and its pictures if they exist.")] = False,
    debug: o.Debug = False,
) -> None:
    """Retrieve objects from the far-field intensities in a file, and say which of them to trust.

    OUT holds object, support, verdict, and three measures of trust.
    residual is the R-factor: the relative misfit of the magnitudes.
    held_out is the R-factor on pixels that the solver did not see.
    agreement is the relative error between two groups of starts.

    If a run was killed, type the same command and it goes on. Pictures need the package matplotlib.
    """
    with failing(2, debug=debug):
        where = find_device(device)
    options = {
        "method": method,
        "starts": starts,
        "iterations": iterations,
        "frame": None if frame is None else _sizes(frame, debug=debug),
        "oversampling": oversampling,
        "centered": centered,
        "support_size": support_size,
        "real": real,
        "nonnegative": nonnegative,
        "seed": seed,
        "device": where.type,
    }
    job = _Job(options, pictures=pictures)
    with failing(2, debug=debug):
        plan = plan_solve(
            src, dst, key=key, event_dims=event_dims, axes=axes, mask=mask, support=support,
            frame=lambda torus: job.frame(torus, known=support is not None), options=options, pictures=pictures,
            overwrite=overwrite,
        )  # fmt: skip
    say(plan.choice)
    job.width = len(str(plan.count - 1))
    with failing(1, debug=debug, interrupted="To go on, type the same command."):
        numbers = _run(plan, job)
    _print_summary(numbers)
    if pictures:
        print(dst.with_name(plan.folder.name))
    print(dst)


class _Job:
    """Solve blocks of patterns, and draw their items."""

    def __init__(self, options: dict[str, Any], *, pictures: bool) -> None:
        from torch_symbreak.solvers import solve

        self.solve, self.pictures = solve, pictures
        if pictures:
            from torch_symbreak import plots  # needs Matplotlib, and the numbers do not

            self.plots = plots
        self.options = dict(options)
        self.seed = self.options.pop("seed")
        self.device = torch.device(self.options.pop("device"))
        self.oversampling, self.centered = self.options.pop("oversampling"), self.options.pop("centered")
        self.width = 1
        self.alone = False
        self.said: set[str] = set()

    def model(self, dims: int) -> FarField:
        return FarField(dims, oversampling=self.oversampling, centered=self.centered)

    def frame(self, torus: tuple[int, ...], *, known: bool) -> tuple[int, ...]:
        """Return the frame of the objects. Raise the errors that the options cause in solve."""
        if self.pictures and len(torus) > 3:
            raise ValueError(f"Pictures show patterns of 1 to 3 dimensions, but these have {len(torus)}: --no-pictures")
        options = self.options
        if known:  # its shape does not matter here
            options = {**options, "support_size": options["support_size"] or 1}
        found = self.solve(torch.empty(0, *torus), model=self.model(len(torus)), progress=False, **options)
        return tuple(found.object.shape[1:])

    def __call__(self, patterns: Patterns) -> Solved:
        dims = patterns.y.dim() - 1
        y = patterns.y.clamp(min=0)  # plan_solve reported negative pixels
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = self.solve(
                y.to(self.device), model=self.model(dims), mask=patterns.mask, support=patterns.support,
                generator=torch.Generator().manual_seed(self.seed), progress=self.alone, **self.options,
            )  # fmt: skip
        for message in {str(each.message) for each in caught} - self.said:
            self.said.add(message)
            last = patterns.first + len(y) - 1
            say(f"items {patterns.first} to {last}: {message}" if len(y) > 1 else f"item {last}: {message}")
        arrays = {
            "object": found.object.numpy(force=True),
            "support": found.support.numpy(force=True),
            "residual": found.residual.numpy(force=True),
            "agreement": found.agreement.numpy(force=True),
            "held_out": found.held_out.numpy(force=True),
            "verdict": np.array(found.verdict, f"U{max(map(len, VERDICTS))}"),
        }
        pictures = {}
        for i in range(len(y) if self.pictures else 0):
            number = patterns.first + i
            mask = patterns.mask
            measured = y[i] if mask is None else y[i].where(mask if mask.dim() == dims else mask[i], torch.nan)
            if not self.centered:
                measured = torch.fft.fftshift(measured)
            title = f"item {number}: {found.verdict[i]}, R-factor {found.residual[i]:.3g}"
            if self.options["starts"] > 1:
                title += f", starts agree to {found.agreement[i]:.3g}"
            figure = self.plots.plot_solution(measured, found.object[i], found.support[i], title=title)
            pictures[f"item-{number:0{self.width}d}.png"] = self.plots.png(figure, dpi=80)
        return Solved(arrays, pictures)


def _run(plan: SolvePlan, job: _Job) -> dict[str, np.ndarray]:
    """Run with a progress bar over the items, or over the iterations of a single item."""
    job.alone = plan.count == 1
    with counted("solve", wanted=not job.alone) as progress:
        return plan.run(job, entries=_ITERATES[job.device.type] // job.options["starts"], progress=progress, say=say)


def _print_summary(numbers: dict[str, np.ndarray]) -> None:
    """Print how many items have each verdict, and which are not solved."""
    words = numbers["verdict"]
    shown = Table("verdict", "items", "", "R-factor", "held out", "starts agree to", box=SIMPLE_HEAD)
    for verdict in VERDICTS:
        of = words == verdict
        values = [numbers[name][of].tolist() for name in ("residual", "held_out", "agreement")]
        medians = [f"{median(each):.3g}" if each else "" for each in values]
        shown.add_row(verdict, str(of.sum()), f"{of.mean():.0%}", *medians)
    Console().print(shown)
    print("Numbers are medians over the items.")
    for verdict in VERDICTS[1:]:
        items = np.flatnonzero(words == verdict)
        if len(items):
            listed = ", ".join(map(str, items[:_MOST])) + ", ..." * (len(items) > _MOST)
            print(f"{verdict}: item{'s' * (len(items) > 1)} {listed}")
    if VERDICTS[-1] in words:
        print(
            "To solve more: check --centered and --mask. Then try more --starts, or --method raar (under noise) or rrr."
        )


def _sizes(frame: str, *, debug: bool) -> tuple[int, ...]:
    with failing(2, debug=debug):
        try:
            return tuple(int(part) for part in frame.split(","))
        except ValueError:
            raise ValueError(f"--frame needs whole numbers, comma-separated, but got {frame!r}.") from None
