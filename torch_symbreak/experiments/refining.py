"""Solvers that start from networks' answers, beside random starts, on the far field's test objects."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak import FarField, relative_error
from torch_symbreak._checks import check_choice
from torch_symbreak._progress import bar
from torch_symbreak.experiments import report as reports
from torch_symbreak.experiments import results
from torch_symbreak.experiments.farfield import FarFieldPhaseRetrieval
from torch_symbreak.experiments.grid import CONSTANT, Case, Grid
from torch_symbreak.experiments.predictors import KNN, Predict
from torch_symbreak.experiments.results import Row
from torch_symbreak.forward import Measured, PoissonCounts
from torch_symbreak.io import write_file
from torch_symbreak.metrics import measurement_residual
from torch_symbreak.plots import Line, plot_lines, png
from torch_symbreak.solvers import solve
from torch_symbreak.solvers._checks import padded
from torch_symbreak.solvers._run import METHODS
from torch_symbreak.training import Hardware, Training

#: Name of random starts among the networks.
RANDOM = "random"
#: An object of a smaller relative error is solved.
SOLVED = 0.1
#: Caption of the table of shares.
SHARES = (
    f"Share of the test objects with a relative error below {SOLVED:g}, on the detector's torus and up to the "
    'symmetries, after so many iterations from one start each. "Half at": fewest iterations measured that solve half.'
)
#: Objects that share the random numbers of their starts.
_AT_ONCE = 10
_FILE = "solver.jsonl"
#: Columns that tell rows apart.
_KEY = ("data", "network", "breaking", "n", "seed", "method", "photons", "iterations", "objects")


@dataclass(frozen=True, kw_only=True)
class Refining:
    """Say how test objects are refined: from the answer of each network, and from random starts.

    Each object has one start. Each number of iterations is a run of its own.

    Args:
        method: Method of :func:`~torch_symbreak.solvers.solve`. Default "hio".
        iterations: Numbers of iterations. Default (100, 400).
        photons: Expected photons of a pattern: Poisson counts, besides the patterns without noise. Networks were
            trained without noise. Default: no noise alone.
        objects: The most test objects, the first ones. Default 100.

    Raises:
        ValueError: If the method is unknown, or a number is not positive.

    Example:
        >>> Refining(iterations=(0, 100))
        Traceback (most recent call last):
        ...
        ValueError: iterations needs whole numbers of at least 1, but got 0. Networks alone are always measured.
    """

    method: str = "hio"
    iterations: tuple[int, ...] = (100, 400)
    photons: tuple[float, ...] = ()
    objects: int = 100

    def __post_init__(self) -> None:
        check_choice("method", self.method, tuple(METHODS))
        if not self.iterations:
            raise ValueError("iterations needs at least one number, but got none.")
        for name, values in (("iterations", self.iterations), ("objects", (self.objects,))):
            for value in values:
                if not isinstance(value, int) or value < 1:
                    remark = " Networks alone are always measured." if name == "iterations" else ""
                    raise ValueError(f"{name} needs whole numbers of at least 1, but got {value!r}.{remark}")
        for number in self.photons:
            if not 0 < number < math.inf:
                raise ValueError(f"photons needs finite numbers above 0, but got {number!r}.")


class _Start(NamedTuple):
    """One source of starts: its label, its columns in a row, and what answers measurements. None: random starts."""

    label: str
    columns: Row
    predict: Predict | None


def refine_answers(
    experiment: FarFieldPhaseRetrieval,
    grids: Sequence[Grid],
    out: Path,
    refining: Refining,
    *,
    training: Training,
    hardware: Hardware | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Refine test objects, once ``experiment.run(..., keep=True)`` has trained the networks of the grids in ``out``.

    Each row goes to ``out/solver.jsonl`` as soon as it is measured. Rows that are there are not measured again. A row
    has the share of objects that are solved, the mean relative error on the detector's torus up to the symmetries
    ("error"), the mean R-factor ("residual"), and seconds per object by the wall clock and of the process, the
    network's answer included.

    Args:
        experiment: The experiment that was run.
        grids: Its cases. Nearest neighbors and the constant predictor start nothing.
        out: Directory of its results.
        refining: Method, iterations and noise.
        training: Settings of its trainings.
        hardware: Device. Default ``Hardware()``.
        report: Called with a message per start and noise. Default: no-op.

    Returns:
        All rows of the file.

    Raises:
        FileNotFoundError: If a network was not kept.
        FileExistsError: If another run is at work in ``out``.

    Example: a network must have been kept.
        >>> import tempfile
        >>> from torch_symbreak.experiments import PRESETS
        >>> preset, refining = PRESETS["farfield"]["quick"], Refining(iterations=(10,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     refine_answers(preset.experiment, preset.grids, Path(folder), refining, training=preset.training)
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    device = (hardware or Hardware()).torch_device
    cases = _cases(grids)
    wanted = [(data, photons) for data in dict.fromkeys(c.data for c in cases) for photons in (None, *refining.photons)]
    with results.only_run(out):
        rows = read_refined(out)
        done = {tuple(row[name] for name in _KEY) for row in rows}
        for data, photons in wanted:
            y, x = (z.to(device) for z in _noisy(experiment, data, photons, refining.objects))
            for start in _starts(experiment, [case for case in cases if case.data == data], out, training, device):
                columns: Row = {**start.columns, "method": refining.method, "photons": photons, "objects": len(x)}
                counts = [0, *refining.iterations] if start.predict else refining.iterations
                todo = [k for k in counts if tuple((columns | {"iterations": k})[name] for name in _KEY) not in done]
                if not todo:
                    continue
                report(f"{refining.method}: {start.label}, {_noise(photons)}")
                for row in _refined(experiment.model(data), refining.method, start, y, x, todo):
                    rows.append(
                        {
                            "experiment": experiment.name,
                            **columns,
                            **row,
                            "parameters": experiment.parameters(training),
                            "versions": results.versions(),
                            "machine": results.machine(hardware or Hardware()),
                        }
                    )
                    write_file(out / _FILE, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
    return rows


def check_refinable(experiment: FarFieldPhaseRetrieval, grids: Sequence[Grid], out: Path, training: Training) -> None:
    """Raise the errors of :func:`refine_answers` before anything is trained.

    Raises:
        ValueError: If no case has a trained network.
        FileNotFoundError: If a case has its row in ``out``, but its network was not kept.
    """
    cases, done = _cases(grids), {results.case_of(row) for row in results.read_rows(out)}
    if not cases:
        raise ValueError("Solvers start from trained networks, but the networks have none. Add unet or sisprnet.")
    for case in cases:
        if case in done:
            try:
                experiment.restored(out, case, training)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"{error} Networks are kept only by runs that start a solver. Train it again in another out."
                ) from None


def read_refined(out: Path) -> list[Row]:
    """Read the rows of :func:`refine_answers`. Return an empty list if there are none.

    Raises:
        ValueError: If a line is no such row.

    Example:
        >>> read_refined(Path("no-such-directory"))
        []
    """
    path = out / _FILE
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            row = json.loads(line)
            missing = {*_KEY, *_METRICS, "solved"} - set(row)
        except (ValueError, TypeError) as error:
            raise ValueError(f"Line {number} of {path} is no row: {error!r}. Mend or delete it.") from None
        if missing:
            raise ValueError(f"Line {number} of {path} lacks {', '.join(sorted(missing))}. Mend or delete it.")
        rows.append(row)
    return rows


def _cases(grids: Sequence[Grid]) -> list[Case]:
    cases = dict.fromkeys(itertools.chain.from_iterable(grid.cases() for grid in grids))
    return [case for case in cases if case.network not in (CONSTANT, KNN)]


def _noisy(experiment: FarFieldPhaseRetrieval, data: str, photons: float | None, count: int) -> tuple[Tensor, Tensor]:
    """Make the first test pairs. All starts get the same counts."""
    y, x = experiment.pairs(data, min(count, experiment.test_samples), 1, train=False)
    if photons is not None:
        count_photons = PoissonCounts(generator=torch.Generator().manual_seed(0))
        y = Measured(experiment.model(data), [count_photons], photons=photons)(x)
    return y, x


def _starts(
    experiment: FarFieldPhaseRetrieval, cases: Sequence[Case], out: Path, training: Training, device: torch.device
) -> Iterator[_Start]:
    """Yield random starts, then the networks of the cases and their variants."""
    data = cases[0].data
    columns = {"data": data, "network": RANDOM, "breaking": None, "n": None, "seed": None}
    yield _Start(f"{data}, {RANDOM} starts", columns, None)
    for case in cases:
        predict = experiment.restored(out, case, training).to(device).predict
        variants = experiment.variants(data, case.breaking, predict)
        for name, function in {"": predict, **variants}.items():
            turned = replace(case, network=f"{case.network}{name}")
            yield _Start(str(turned), asdict(turned), function)


def _refined(model: FarField, method: str, start: _Start, y: Tensor, x: Tensor, counts: Sequence[int]) -> Iterator[Row]:
    """Yield the numbers of one source of starts after each number of iterations."""
    frame, torus = tuple(x.shape[1:]), y.shape[1:]
    periodic = FarField(model.event_dims, oversampling=1).symmetries
    answers, first = None, (0.0, 0.0)
    if start.predict is not None:
        begin = _clocks()
        answers = start.predict(y)
        first = _since(begin)
    with bar(start.label, sum(counts) * len(x)) as tick:
        for iterations in counts:
            begin = _clocks()
            found = answers
            if iterations:
                parts = []
                for i in range(0, len(y), _AT_ONCE):
                    some = slice(i, i + _AT_ONCE)
                    solution = solve(
                        y[some], model=model, method=method, iterations=iterations, starts=1, frame=frame,
                        start=None if answers is None else answers[some],
                        generator=torch.Generator().manual_seed(i), progress=False,
                    )  # fmt: skip
                    parts.append(solution.object)
                    tick(iterations * len(parts[-1]))
                found = torch.cat(parts)
            assert found is not None
            wall, process = _since(begin)
            error = relative_error(padded(found, torus), padded(x, torus), periodic, reduction="none")
            yield {
                "iterations": iterations,
                "solved": float((error < SOLVED).double().mean()),
                "error": float(error.mean()),
                "residual": float(measurement_residual(found, y, model)),
                "seconds": (first[0] + wall) / len(x),
                "cpu_seconds": (first[1] + process) / len(x),
            }


def _clocks() -> tuple[float, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _since(begin: tuple[float, float]) -> tuple[float, float]:
    wall, process = _clocks()
    return wall - begin[0], process - begin[1]


# --------------------------------------------------------------------------------------------------------- the report

#: Tables besides that of shares: column of a row to heading.
_METRICS = {
    "error": "Mean relative error, on the detector's torus and up to the symmetries",
    "residual": "Mean R-factor",
    "cpu_seconds": "CPU seconds per object, the network's answer included",
}


def shares(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table of objects solved that ``SHARES`` describes: header and lines."""
    header, *lines = _table(rows, "solved", lambda values: f"{100 * statistics.mean(values):.0f} %")
    halves = [_half(group) for group in _grouped(rows).values()]
    return [[*header, "half at"], *([*line, half] for line, half in zip(lines, halves, strict=True))]


def write_refined(out: Path) -> list[Path]:
    """Write solver.md and solver.png from the rows in ``out``. Return the paths of all three files.

    Example:
        >>> import tempfile
        >>> row = {"data": "crystals", "network": "unet", "breaking": "exact", "n": 500, "seed": 0, "method": "hio"}
        >>> row |= {"photons": None, "objects": 100, "iterations": 50, "solved": 0.5} | dict.fromkeys(_METRICS, 0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "solver.jsonl").write_text(json.dumps(row))
        ...     [path.name for path in write_refined(Path(folder))]
        ['solver.jsonl', 'solver.md', 'solver.png']
    """
    rows = read_refined(out)
    page = ["# Refined test objects", "", SHARES, "", *reports.markdown_lines(shares(rows)), ""]
    for metric, heading in _METRICS.items():
        page += [f"## {heading}", "", *reports.markdown_lines(_table(rows, metric, reports.spread)), ""]
    figure = plot_lines(_panels(rows), x="iterations", y="share of objects solved")
    for axes in figure.axes:
        axes.set_ylim(-0.03, 1.03)
    files = {"solver.md": "\n".join(page).encode(), "solver.png": png(figure)}
    return [out / _FILE, *(write_file(out / name, content) for name, content in files.items())]


def _noise(photons: object) -> str:
    return "no noise" if photons is None else f"{photons:.3g} photons"


def _grouped(rows: Sequence[Row]) -> dict[tuple[object, ...], dict[int, list[Row]]]:
    """Group rows that differ in their seed by their number of iterations. Sort by data, photons, most first, and n."""
    groups: dict[tuple[object, ...], dict[int, list[Row]]] = {}

    def order(row: Row) -> tuple[object, ...]:
        photons = math.inf if row["photons"] is None else row["photons"]
        return row["data"], row["method"], -photons, row["n"] or 0, row["iterations"]

    for row in sorted(rows, key=order):
        key = tuple(row[name] for name in ("data", "method", "photons", "objects", "n", "network", "breaking"))
        groups.setdefault(key, {}).setdefault(row["iterations"], []).append(row)
    return groups


def _table(rows: Sequence[Row], metric: str, cell: Callable[[Sequence[float]], str]) -> list[list[str]]:
    counts = sorted({row["iterations"] for row in rows})
    heads = ["alone" if count == 0 else str(count) for count in counts]
    lines = [["data", "method", "noise", "objects", "n", "start", "targets", *heads]]
    for (data, method, photons, objects, n, network, breaking), by_count in _grouped(rows).items():
        names = (data, method, _noise(photons), objects, n, network, breaking)
        cells = [cell([row[metric] for row in by_count[k]]) if k in by_count else "" for k in counts]
        lines.append([*("" if name is None else str(name) for name in names), *cells])
    return lines


def _half(by_count: dict[int, list[Row]]) -> str:
    """Return the fewest iterations that solve half of the objects, or the most that do not."""
    for count, group in sorted(by_count.items()):
        if statistics.mean(row["solved"] for row in group) >= 0.5:
            return str(count)
    return f"> {max(by_count)}"


def _panels(rows: Sequence[Row]) -> dict[str, list[Line]]:
    """Make one panel per data, n, method and noise. Random starts are in all panels of their data."""
    groups = _grouped(rows)
    colors = reports.colors_of([row for row in rows if row["network"] != RANDOM])
    panels: dict[str, list[Line]] = {}
    random = {key[:4]: by_count for key, by_count in groups.items() if key[5] == RANDOM}
    for (data, method, photons, objects, n, network, breaking), by_count in groups.items():
        if network == RANDOM:
            continue
        panel = panels.setdefault(f"{data}, n = {n}, {method}, {_noise(photons)}", [])
        if not panel and (data, method, photons, objects) in random:
            panel.append(_line("random start", random[data, method, photons, objects], "k", ":"))
        turned = network != str(network).split(" + ")[0]
        panel.append(_line(f"{network}, {breaking}", by_count, colors[str(breaking)], "--" if turned else "-"))
    return panels


def _line(label: str, by_count: dict[int, list[Row]], color: str, style: str) -> Line:
    means = [statistics.mean(row["solved"] for row in group) for group in by_count.values()]
    return Line(label, list(by_count), means, color=color, style=style)
