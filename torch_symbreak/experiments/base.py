"""What all experiments share: a grid of cases, one row of numbers for each, and tables and figures made of the rows."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import platform
import shutil
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightning
import numpy as np
import sklearn
import torch
from filelock import FileLock, Timeout
from matplotlib.figure import Figure
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from torch_symbreak import __version__
from torch_symbreak.io import write_file
from torch_symbreak.plots import Line, plot_lines, png
from torch_symbreak.training import FEATURES, Change, Curves, Feature, Hardware, Regression, Training, fit, main_process

Row = dict[str, Any]
Report = Callable[[str], None]

#: The predictor that is always measured: the mean of the training targets.
CONSTANT = "constant"
#: The mean of the 5 nearest neighbors, by scikit-learn.
KNN, NEIGHBORS = "knn", 5
#: Of the n pairs of a case, this share is held out: its loss says when the plateau is reached.
VALIDATION = 0.1

#: The metrics of experiments that measure mean squared errors: column of a row to heading of the table.
MSE = {
    "test_mse": "test MSE",
    "test_sa_mse": "test SA-MSE",
    "train_mse": "train MSE",
    "train_sa_mse": "train SA-MSE",
}
#: What the numbers of a table are.
CAPTION = "Errors, mean ± standard deviation over the repeats; in parentheses the share of the constant predictor's."

RESULTS, ARRAYS, CHECKPOINTS = "results.jsonl", "arrays", "checkpoints"
#: What is made of the rows, whatever they are; objects_*.png have the names of theirs.
WRITTEN = ("table.md", "errors.png", "curves.png", "functions.png")


@dataclass(frozen=True)
class Case:
    """One row of the table to be: which data, what learns from them, how their symmetry is broken, n, and the seed."""

    data: str
    network: str
    breaking: str
    n: int
    seed: int

    def __str__(self) -> str:
        return f"{self.data}, {self.network}, {self.breaking}, n = {self.n}, seed {self.seed}"

    @property
    def slug(self) -> str:
        """A name for files."""
        return "_".join(str(value) for value in asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of some axes.

    Args:
        data: Names of data, as the experiment knows them.
        networks: Names of predictors; the constant one is always added.
        breaking: How the symmetry of the targets is broken: "none", "exact", ...
        samples: Numbers of pairs n, validation included.
        repeats: Seeds ``seed``, ``seed + 1``, ... Default 1.
        seed: The first seed: of the training data, the scrambling, the weights and the order. Default 0.

    Raises:
        ValueError: If an axis is empty or a number is out of range.

    Example:
        >>> grid = Grid(data=("crystals",), networks=("unet",), breaking=("none", "exact"), samples=(500,))
        >>> [str(case) for case in grid.cases()][:2]
        ['crystals, constant, none, n = 500, seed 0', 'crystals, unet, none, n = 500, seed 0']
    """

    data: tuple[str, ...]
    networks: tuple[str, ...]
    breaking: tuple[str, ...]
    samples: tuple[int, ...]
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("data", "networks", "breaking", "samples"):
            if not getattr(self, name):
                raise ValueError(f"{name} needs at least one value, but got none.")
        for name, value, least in (("samples", min(self.samples), 20), ("repeats", self.repeats, 1)):
            if value < least:
                raise ValueError(f"{name} needs to be at least {least}, but got {value}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed needs to be in [0, 2^31), but got {self.seed}.")

    def cases(self) -> Iterator[Case]:
        """The cases in an order in which those that share their data are neighbors."""
        networks = dict.fromkeys((CONSTANT, *self.networks))
        seeds = range(self.seed, self.seed + self.repeats)
        for data, n, seed, breaking, network in itertools.product(
            self.data, self.samples, seeds, self.breaking, networks
        ):
            yield Case(data, network, breaking, n, seed)


class Split(NamedTuple):
    """Pairs (y, x) of a case."""

    train: tuple[Tensor, Tensor]  # n pairs; for a network the last of them are the validation set
    test: tuple[Tensor, Tensor]


Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """One recipe: what is measured, on what data, and what the talk found.

    Its fields are written into every row; rows of one directory agree in them.

    Args:
        test_samples: Test pairs, the same for all cases; as many training pairs are used for the training errors.
    """

    name: ClassVar[str]
    #: Column of a row to heading of the table. The first is what the figures show and the talk reports.
    metrics: ClassVar[Mapping[str, str]]
    #: What the talk reports beside the first metric: (data, network, n) to its (before, after).
    talk: ClassVar[Mapping[tuple[str, str, int], tuple[float, float]]] = {}
    #: Whether the talk's errors are in the units of the first metric, so that one figure can show both.
    talk_comparable: ClassVar[bool] = False
    #: What of y a network and the nearest neighbors get.
    feature: ClassVar[Feature]
    neighbor_feature: ClassVar[Feature] = "magnitude"

    test_samples: int = 500

    @property
    @abstractmethod
    def axes(self) -> dict[str, Sequence[str]]:
        """The names that the axes "data", "networks" and "breaking" can take."""

    @abstractmethod
    def pairs(self, data: str, breaking: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        """Make ``count`` pairs (y, x): y (count, ...) the measurements, x (count, ...) the targets."""

    @abstractmethod
    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        """Make a network for such pairs, with fresh weights."""

    @abstractmethod
    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        """Measure one set: metrics without their "train_" or "test_"."""

    def loss(self, breaking: str) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The training loss; None: the mean squared error."""
        return None

    def augment(self, breaking: str) -> Change | None:
        """What makes other pairs of those of a training batch; None: nothing."""
        return None

    def keep(self, predict: Predict, split: Split) -> dict[str, Tensor]:
        """What figures need of a trained predictor."""
        return {}

    def figures(self, rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> dict[str, Figure]:
        """More figures by name than the errors and the learning curves."""
        return {}

    # ------------------------------------------------------------------------------------------------------ rows

    def parameters(self, training: Training) -> Row:
        """What rows of one directory must agree in, as JSON has it."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.metadata.get("row", True)}
        written: Row = json.loads(json.dumps({**own, "training": asdict(training)}))
        return written

    def check(self, grids: Iterable[Grid]) -> None:
        """Raise ``ValueError`` if an axis has a value that this experiment does not know."""
        for grid, (axis, known) in itertools.product(grids, self.axes.items()):
            for value in getattr(grid, axis):
                if value not in known and (axis, value) != ("networks", CONSTANT):
                    names = ", ".join(known[:9]) + (", ..." if len(known) > 9 else "")
                    raise ValueError(f"{axis} of {self.name} needs to be among {names}, but got {value!r}.")

    def split(self, data: str, breaking: str, n: int, seed: int) -> Split:
        """The pairs of a case. Training and test draw from different seeds; the test objects are always the same."""
        train = self.pairs(data, breaking, n, 2 * seed, train=True)
        return Split(train, self.pairs(data, breaking, self.test_samples, 1, train=False))

    def _measure(
        self, case: Case, split: Split, training: Training, folder: Path, hardware: Hardware | None
    ) -> tuple[Row, dict[str, Tensor]]:
        """Train what a case asks for, and return its numbers and what the figures need."""
        start = time.perf_counter()
        curves = Curves()
        if case.network == CONSTANT:
            mean = split.train[1].mean(0)
            predict: Predict = lambda y: mean.expand(len(y), *mean.shape)  # noqa: E731
        elif case.network == KNN:
            predict = _neighbors(FEATURES[self.neighbor_feature], *split.train)
        else:
            model, curves = self._trained(case, split, training, folder, hardware)
            predict = model.predict
        # Of a training all epochs count, those before an interruption too.
        seconds = sum(curves.seconds) if curves.seconds else time.perf_counter() - start
        row: Row = {}
        for part, (y, x) in zip(("test", "train"), (split.test, split.train), strict=True):
            y, x = y[: self.test_samples], x[: self.test_samples]
            row |= {f"{part}_{name}": value for name, value in self.errors(case.data, predict(y), x).items()}
        row |= {"epochs": len(curves.validation), "seconds": round(seconds, 1)}
        kept = self.keep(predict, split)
        if curves.validation:
            kept |= {"train_curve": torch.tensor(curves.train), "validation_curve": torch.tensor(curves.validation)}
        return row, kept

    def _trained(
        self, case: Case, split: Split, training: Training, folder: Path, hardware: Hardware | None
    ) -> tuple[Regression, Curves]:
        y, x = split.train
        held = max(1, round(VALIDATION * len(y)))
        train, validation = TensorDataset(y[:-held], x[:-held]), TensorDataset(y[-held:], x[-held:])
        with torch.random.fork_rng():
            torch.manual_seed(case.seed)  # all breakings start from the same weights
            network = self.network(case.network, y, x)
        model = Regression(
            network,
            *train.tensors,
            feature=self.feature,
            loss=self.loss(case.breaking),
            augment=self.augment(case.breaking),
            training=training,
            seed=case.seed,
        )
        curves = fit(model, train, validation, folder=folder, hardware=hardware, label=str(case))
        return model, curves

    # ------------------------------------------------------------------------------------------------------- run

    def run(
        self,
        grids: Grid | Sequence[Grid],
        out: Path,
        *,
        training: Training | None = None,
        hardware: Hardware | None = None,
        resume: bool = False,
        report: Report = lambda message: None,
    ) -> list[Row]:
        """Measure all cases of some grids; every row is in ``out/results.jsonl`` as soon as it is measured.

        An interrupted run is resumed where it was, inside a training too, and gives the same numbers on a CPU.

        Args:
            grids: Which cases.
            out: The directory for the rows, checkpoints, table and figures; made if it is not there.
            training: Default ``Training()``.
            hardware: Default ``Hardware()``.
            resume: Go on with what is in ``out``. Default False: ``out`` must not hold rows.
            report: Is told what happens. Default: nobody is.

        Returns:
            All rows of the file.

        Raises:
            ValueError: If an axis has an unknown value, or the rows in ``out`` were made with other parameters.
            FileExistsError: If there are rows in ``out`` and ``resume`` is False, or another run is at work there.
        """
        grids = [grids] if isinstance(grids, Grid) else list(grids)
        self.check(grids)
        training = training or Training()
        parameters = self.parameters(training)
        cases = list(dict.fromkeys(itertools.chain.from_iterable(grid.cases() for grid in grids)))
        with _alone(out):
            rows = self.resumable(out, training, resume=resume)
            done = {case_of(row) for row in rows}
            # Checkpoints of other parameters are other checkpoints.
            digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
            of, split = None, None
            for number, case in enumerate(cases, 1):
                if case in done:
                    continue
                if (case.data, case.breaking, case.n, case.seed) != of or split is None:
                    of = (case.data, case.breaking, case.n, case.seed)
                    split = self.split(*of)
                if case.network != CONSTANT and main_process():
                    report(f"[{number}/{len(cases)}] {case}")
                folder = out / CHECKPOINTS / f"{case.slug}-{digest}"
                numbers, arrays = self._measure(case, split, training, folder, hardware)
                rows.append(
                    {
                        "experiment": self.name,
                        **asdict(case),
                        **numbers,
                        "parameters": parameters,
                        "versions": _versions(),
                        "machine": _machine(hardware or Hardware()),
                    }
                )
                if main_process():
                    if arrays:
                        (out / ARRAYS).mkdir(parents=True, exist_ok=True)
                        write_file(out / ARRAYS / f"{case.slug}.npz", _npz(arrays))
                    write_file(out / RESULTS, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
                    shutil.rmtree(folder, ignore_errors=True)
        return rows

    def resumable(self, out: Path, training: Training, *, resume: bool) -> list[Row]:
        """Read the rows in ``out`` that a run would go on with; raise as :meth:`run` does if it must not."""
        if out.exists() and not out.is_dir():
            raise NotADirectoryError(f"{out} is a file. The results need a directory: choose another --out.")
        rows, parameters = read_rows(out), self.parameters(training)
        for path in (out / name for name in WRITTEN):
            if not rows and path.exists():
                raise FileExistsError(
                    f"{path} would be replaced, but there are no rows that it was made of. Move it, or choose another "
                    "--out."
                )
        # The processes that Lightning starts beside the first one find rows that this has written before.
        if rows and not resume and main_process():
            raise FileExistsError(
                f"{out / RESULTS} has {len(rows)} rows. Add --resume to go on with them, --overwrite to remove them, "
                "or choose another --out."
            )
        for number, row in enumerate(rows, 1):
            if row["experiment"] != self.name or row["parameters"] != parameters:
                raise ValueError(
                    f"Row {number} of {out / RESULTS} was made with other parameters: {row['experiment']}, "
                    f"{row['parameters']} instead of {self.name}, {parameters}. Choose another --out."
                )
        return rows

    # ---------------------------------------------------------------------------------------------------- report

    def write(self, out: Path) -> list[Path]:
        """Write table.md and the figures of the rows in ``out``; return their paths."""
        rows = read_rows(out)

        def arrays(row: Row) -> dict[str, Tensor]:
            return _arrays(out, row)

        files = {"table.md": self.markdown(rows).encode(), "errors.png": png(self._plot_errors(rows))}
        curves = self._plot_curves(rows, arrays)
        figures = ({} if curves is None else {"curves": curves}) | self.figures(rows, arrays)
        files |= {f"{name}.png": png(figure) for name, figure in figures.items()}
        return [out / RESULTS, *(write_file(out / name, content) for name, content in files.items())]

    def table(self, rows: Sequence[Row]) -> list[list[str]]:
        """The errors, as ``CAPTION`` says."""
        lines = [["data", "n", "network", "targets", "repeats", *self.metrics.values()]]
        constants = {case_of(row): row for row in rows if row["network"] == CONSTANT}
        for (data, n, network, breaking), group in _grouped(rows):
            cells = []
            for metric in self.metrics:
                share = statistics.mean(
                    _ratio(row[metric], constants[replace(case_of(row), network=CONSTANT)][metric]) for row in group
                )
                cells.append(f"{_spread([row[metric] for row in group])} ({share:.2f})")
            lines.append([data, str(n), network, breaking, str(len(group)), *cells])
        return lines

    def ratios(self, rows: Sequence[Row]) -> list[list[str]]:
        """Raw targets against the exactly broken ones, pair by pair, beside the talk's."""
        header = ["data", "n", "network", *(f"none / exact, {heading}" for heading in self.metrics.values())]
        lines = [[*header, "the talk: before → after", "the talk's ratio"]]
        by_case = {case_of(row): row for row in rows}
        for (data, n, network, breaking), group in _grouped(rows):
            partners = [by_case.get(replace(case_of(row), breaking="none")) for row in group]
            if breaking != "exact" or None in partners:
                continue
            cells = [
                _spread(
                    [_ratio(p[metric], row[metric]) for p, row in zip(partners, group, strict=True) if p is not None]
                )
                for metric in self.metrics
            ]
            talk = self.talk.get((data, network, n))
            theirs = ["", ""] if talk is None else [f"{talk[0]} → {talk[1]}", f"{talk[0] / talk[1]:.2f}"]
            lines.append([data, str(n), network, *cells, *theirs])
        return lines

    def markdown(self, rows: Sequence[Row]) -> str:
        """The tables, as Markdown."""
        parts = [f"# {self.name}", "", CAPTION, "", *_markdown(self.table(rows)), ""]
        ratios = self.ratios(rows)
        if len(ratios) > 1:
            parts += ["## Before / after", "", *_markdown(ratios), ""]
        return "\n".join(parts)

    def _plot_errors(self, rows: Sequence[Row]) -> Figure:
        metric, heading = next(iter(self.metrics.items()))
        points: dict[str, dict[tuple[str, str], dict[int, list[float]]]] = {}
        for (data, n, network, breaking), group in _grouped(rows):
            points.setdefault(data, {}).setdefault((network, breaking), {})[n] = [row[metric] for row in group]
        colors = _colors(rows)
        others = [name for name in dict.fromkeys(row["network"] for row in rows) if name != CONSTANT]
        markers = {CONSTANT: "", **dict(zip(others, itertools.cycle("os^Dv")))}
        panels: dict[str, list[Line]] = {}
        for data, found in points.items():
            lines = panels[data] = []
            for (network, breaking), by_n in found.items():
                means = [statistics.mean(values) for values in by_n.values()]
                spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in by_n.values()]
                label, style = f"{network}, {breaking}", ":" if network == CONSTANT else "-"
                color, marker = colors[breaking], markers[network]
                lines.append(Line(label, list(by_n), means, spreads, color=color, style=style, marker=marker))
            talked = dict.fromkeys(key[1] for key in self.talk if key[0] == data and self.talk_comparable)
            for network, marker in zip(talked, "x+", strict=False):
                for side, (breaking, name) in enumerate({"none": "before", "exact": "after"}.items()):
                    theirs = {n: both[side] for (of, by, n), both in self.talk.items() if (of, by) == (data, network)}
                    look = Line(f"the talk: {network}, {name}", list(theirs), list(theirs.values()), style="")
                    lines.append(replace(look, color=colors.get(breaking), marker=marker))
        return plot_lines(panels, x="training pairs n", y=heading, log_x=True, log_y=True)

    def _plot_curves(self, rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> Figure | None:
        colors = _colors(rows)
        panels: dict[str, list[Line]] = {}
        for row in largest(rows):
            kept = arrays(row)
            if "validation_curve" in kept:
                epochs = list(range(1, row["epochs"] + 1))
                lines = panels.setdefault(f"{row['data']}, {row['network']}, n = {row['n']}", [])
                for part in ("validation", "train"):
                    curve = kept[f"{part}_curve"].tolist()
                    style = "--" if part == "train" else "-"
                    label = f"{row['breaking']}, {part}"
                    lines.append(Line(label, epochs, curve, color=colors[row["breaking"]], style=style))
        return plot_lines(panels, x="epoch", y="loss", log_y=True) if panels else None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a directory: each would write its own rows over the others'."""
    if not main_process():  # which the first process lets in
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise FileExistsError(f"Another run is at work in {out}. Wait for it, or choose another --out.") from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def case_of(row: Row) -> Case:
    """The case of a row."""
    return Case(*(row[one.name] for one in fields(Case)))


def read_rows(out: Path) -> list[Row]:
    """The rows in a directory; none if it has none.

    Raises:
        ValueError: If a line is no row.
    """
    path = out / RESULTS
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            row = json.loads(line)
            case = case_of(row)
            numbers = [value for name, value in row.items() if name.startswith(("test_", "train_"))]
            if not isinstance(row["parameters"], dict) or not numbers:
                raise KeyError("parameters, or errors")
            for value, kind in ((row["experiment"], str), (case.slug, str), (case.n, int), (case.seed, int)):
                if not isinstance(value, kind):
                    raise TypeError(f"{value!r} is no {kind.__name__}")
            if not all(isinstance(value, (int, float)) for value in numbers):
                raise TypeError("an error is no number")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"Line {number} of {path} is no row of an experiment: {error!r}. Mend or delete it."
            ) from None
        rows.append(row)
    return rows


def remove_results(out: Path) -> None:
    """Remove the rows of a directory and the files that were made of them, and nothing else.

    Raises:
        ValueError: If there is a file called as that of the rows which has none.
    """
    rows = read_rows(out)
    mine = [out / RESULTS] if rows else []
    for row in rows:
        slug = case_of(row).slug
        mine += [out / ARRAYS / f"{slug}.npz", out / f"objects_{row['data']}_{row['network']}.png"]
    mine += [out / name for name in WRITTEN if rows]
    for path in mine:
        path.unlink(missing_ok=True)


def largest(rows: Sequence[Row]) -> list[Row]:
    """Of every data, network and breaking the row with the most pairs, of the first seed."""
    found: dict[tuple[str, str, str], Row] = {}
    for row in sorted(rows, key=lambda row: (-row["n"], row["seed"])):
        found.setdefault((row["data"], row["network"], row["breaking"]), row)
    return [row for row in rows if row is found[row["data"], row["network"], row["breaking"]]]


def _colors(rows: Sequence[Row]) -> dict[str, str]:
    """One of Matplotlib's colors for every breaking, whatever the network."""
    return {name: f"C{number}" for number, name in enumerate(dict.fromkeys(row["breaking"] for row in rows))}


def _grouped(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, int, str, str], list[Row]]]:
    """Rows that differ in their seed alone, in the order in which they were measured."""
    groups: dict[tuple[str, int, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["n"], row["network"], row["breaking"]), []).append(row)
    yield from sorted(groups.items(), key=lambda item: (item[0][0], item[0][1]))


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.inf if one else math.nan


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.4g}"
    spreads = len(values) > 1 and all(map(math.isfinite, values))
    return f"{mean} ± {statistics.stdev(values):.2g}" if spreads else mean


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (lines[0], ["---"] * len(lines[0]), *lines[1:])]


def _neighbors(feature: Callable[[Tensor], Tensor], y: Tensor, x: Tensor) -> Predict:
    """scikit-learn's regressor on the mean of the nearest neighbors, for targets of any shape and field."""
    flat = torch.view_as_real(x) if x.is_complex() else x
    fitted = KNeighborsRegressor(min(NEIGHBORS, len(x)), n_jobs=-1).fit(feature(y).flatten(1), flat.flatten(1))

    def predict(y: Tensor) -> Tensor:
        found = torch.from_numpy(fitted.predict(feature(y).flatten(1))).to(flat.dtype).reshape(len(y), *flat.shape[1:])
        return torch.view_as_complex(found) if x.is_complex() else found

    return predict


def _npz(arrays: Mapping[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items()})
    return buffer.getvalue()


def _arrays(out: Path, row: Row) -> dict[str, Tensor]:
    path = out / ARRAYS / f"{case_of(row).slug}.npz"
    if not path.exists():
        return {}
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _versions() -> dict[str, str]:
    modules = {"torch": torch, "lightning": lightning, "scikit-learn": sklearn}
    found = {name: str(module.__version__) for name, module in modules.items()}
    return {"torch_symbreak": __version__, "python": platform.python_version(), **found}


def _machine(hardware: Hardware) -> str:
    device = hardware.torch_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    count = f"{hardware.num_nodes} x {hardware.devices} " if hardware.num_nodes * hardware.devices > 1 else ""
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{count}{name}, {threads}, {platform.system()} {platform.machine()}, {hardware.precision}"
