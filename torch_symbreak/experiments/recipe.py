"""The abstract recipe of an experiment, and the run that measures its cases."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from torch_symbreak.experiments import predictors, results
from torch_symbreak.experiments import report as reports
from torch_symbreak.experiments.grid import CONSTANT, TEMPLATE, TEMPLATE_ORBIT, Case, Grid
from torch_symbreak.experiments.predictors import KNN, Predict, Split, fixed
from torch_symbreak.experiments.results import Row
from torch_symbreak.forward import ForwardModel
from torch_symbreak.io import write_file
from torch_symbreak.plots import png
from torch_symbreak.training import Change, Curves, Feature, Hardware, Regression, Training, main_process


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Describe one experiment: its data, its networks, its errors, and the talk's results.

    A subclass implements the abstract methods and sets the class attributes. Its fields are the parameters of the
    experiment: every row stores them, and all rows of one directory have the same. A field with
    ``metadata={"row": False}`` is not stored.

    Args:
        test_samples: Number of test pairs, the same pairs for all cases. Training errors are measured on as many
            training pairs. Default 500.

    Example:
        >>> from torch_symbreak.experiments import SquareRoot
        >>> experiment = SquareRoot(test_samples=100)
        >>> isinstance(experiment, Experiment), experiment.axes["data"]
        (True, ('uniform',))
    """

    name: ClassVar[str]
    #: Column of a row to heading of the table. The figures show the first one, and the talk reports it.
    metrics: ClassVar[Mapping[str, str]]
    #: The talk's first metric, (before, after), by (data, network, n).
    talk: ClassVar[reports.Talk] = {}
    #: True if the talk's errors have the units of the first metric, so that one figure can show both.
    talk_comparable: ClassVar[bool] = False
    #: Function of the measurements that networks get. Nearest neighbors have their own.
    feature: ClassVar[Feature]
    neighbor_feature: ClassVar[Feature] = "magnitude"

    test_samples: int = 500

    @property
    @abstractmethod
    def axes(self) -> dict[str, Sequence[str]]:
        """List the names that the axes "data", "networks" and "breaking" can take."""

    @abstractmethod
    def pairs(self, data: str, count: int, seed: int, *, train: bool) -> tuple[Tensor, Tensor]:
        """Make ``count`` pairs: measurements y (count, ...) and raw targets x (count, ...)."""

    @abstractmethod
    def model(self, data: str) -> ForwardModel:
        """Return the forward model of some data, the same for training and test."""

    def breaker(self, data: str, breaking: str, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the transform of raw targets. A template is fitted to ``x``, the raw training targets."""
        if breaking in (TEMPLATE, TEMPLATE_ORBIT):
            generator = torch.Generator().manual_seed(0)
            return self.model(data).fit_canonicalizer(x, generator=generator, progress=main_process())
        return self.model(data).canonicalizer() if breaking == "exact" else lambda raw: raw

    @abstractmethod
    def network(self, name: str, y: Tensor, x: Tensor) -> nn.Module:
        """Make a network for such pairs, with fresh weights."""

    @abstractmethod
    def errors(self, data: str, prediction: Tensor, truth: Tensor) -> dict[str, float]:
        """Measure predictions. Return the metrics by their columns, without ``train_`` and ``test_``."""

    def augment(self, data: str, breaking: str, fix: Callable[[Tensor], Tensor]) -> Change | None:
        """Return a function that changes the pairs of a training batch, whose targets ``fix`` made. None: no change."""
        return None

    def variants(self, data: str, breaking: str, predict: Predict) -> dict[str, Predict]:
        """Return further predictors made of a trained network, by what their rows add to its name."""
        return {}

    def keep(self, data: str, breaking: str, predict: Predict, split: Split) -> dict[str, Tensor]:
        """Return the arrays of a predictor that :meth:`figures` needs."""
        return {}

    def figures(self, rows: Sequence[Row], arrays: Callable[[Row], dict[str, Tensor]]) -> dict[str, Figure]:
        """Draw figures beside the errors and the learning curves, by name. ``arrays`` reads those of a row."""
        return {}

    # ------------------------------------------------------------------------------------------------------- run

    def parameters(self, training: Training) -> Row:
        """Return the parameters that all rows of one directory must have, as JSON stores them."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.metadata.get("row", True)}
        written: Row = json.loads(json.dumps({**own, "training": asdict(training)}))
        return written

    def check(self, grids: Iterable[Grid]) -> None:
        """Raise ``ValueError`` if an axis has a value that this experiment does not know, or a size is not positive."""
        for name in ("test_samples", "width"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{name} needs to be at least 1, but got {getattr(self, name)}.")
        for grid, (axis, known) in itertools.product(grids, self.axes.items()):
            for value in getattr(grid, axis):
                if value not in known and (axis, value) != ("networks", CONSTANT):
                    names = ", ".join(known[:9]) + (", ..." if len(known) > 9 else "")
                    raise ValueError(f"{axis} of {self.name} needs to be among {names}, but got {value!r}.")

    def split(self, data: str, breaking: str, n: int, seed: int) -> Split:
        """Make the pairs of a case. Training and test draw from different seeds. The test objects never change."""
        (y, x), (y_test, x_test) = (
            self.pairs(data, n, 2 * seed, train=True), self.pairs(data, self.test_samples, 1, train=False)
        )  # fmt: skip
        fix = self.breaker(data, breaking, x)
        return Split((y, fixed(fix, x)), (y_test, fixed(fix, x_test)), fix)

    def resumable(self, out: Path, training: Training, *, resume: bool) -> list[Row]:
        """Read the rows in ``out`` that :meth:`run` would continue. Raise the errors that it would raise."""
        return results.resumable_rows(out, self.name, self.parameters(training), resume=resume)

    def run(
        self,
        grids: Grid | Sequence[Grid],
        out: Path,
        *,
        training: Training | None = None,
        hardware: Hardware | None = None,
        resume: bool = False,
        keep: bool = False,
        report: Callable[[str], None] = lambda message: None,
    ) -> list[Row]:
        """Measure all cases of some grids. Write each row to ``out/results.jsonl`` as soon as it is measured.

        An interrupted run continues from its last whole epoch. On a CPU it gives the numbers of an undisturbed run.

        Args:
            grids: Cases to measure.
            out: Directory for rows, checkpoints, table and figures. Made if it does not exist.
            training: Optimizer and end of each training. Default ``Training()``.
            hardware: Device and precision. Default ``Hardware()``.
            resume: Continue the rows in ``out``. Default False: ``out`` must hold none.
            keep: Keep the checkpoints of trainings that have ended, for :meth:`restored`. Default False.
            report: Called with a message per case. Default: no-op.

        Returns:
            All rows of the file.

        Raises:
            ValueError: If an axis has an unknown value, or the rows in ``out`` have other parameters.
            FileExistsError: If there are rows in ``out`` and ``resume`` is False, or another run is at work there.
        """
        grids = [grids] if isinstance(grids, Grid) else list(grids)
        self.check(grids)
        training, hardware = training or Training(), hardware or Hardware()
        parameters = self.parameters(training)
        cases = list(dict.fromkeys(itertools.chain.from_iterable(grid.cases() for grid in grids)))
        with results.only_run(out):
            rows = self.resumable(out, training, resume=resume)
            done = {results.case_of(row) for row in rows}
            key, split = None, None
            for number, case in enumerate(cases, 1):
                if case in done:
                    continue
                if (case.data, case.breaking, case.n, case.seed) != key or split is None:
                    key = (case.data, case.breaking, case.n, case.seed)
                    split = self.split(*key)
                if case.network != CONSTANT and main_process():
                    report(f"[{number}/{len(cases)}] {case}")
                folder = self._checkpoints(out, case, training)
                numbers, arrays = self._measure(case, split, training, folder, hardware)
                rows += [
                    {
                        "experiment": self.name,
                        **asdict(case),
                        "network": network,
                        **row,
                        "parameters": parameters,
                        "versions": results.versions(),
                        "machine": results.machine(hardware),
                    }
                    for network, row in numbers.items()
                ]
                if main_process():
                    # Arrays first: a row on disk counts as done, and its arrays must be there.
                    if arrays:
                        results.write_arrays(out, case, arrays)
                    results.write_rows(out, rows)
                    if not keep:
                        shutil.rmtree(folder, ignore_errors=True)
        return rows

    def _checkpoints(self, out: Path, case: Case, training: Training) -> Path:
        # Hash the parameters into the folder name, so that two runs never share checkpoints.
        parameters = json.dumps(self.parameters(training), sort_keys=True)
        return out / results.CHECKPOINTS / f"{case.slug}-{hashlib.sha256(parameters.encode()).hexdigest()[:8]}"

    def restored(self, out: Path, case: Case, training: Training) -> Regression:
        """Return the trained network of a case that :meth:`run` has measured with ``keep=True``.

        Raises:
            FileNotFoundError: If its checkpoint is missing or damaged.
        """
        y, x = self.pairs(case.data, 1, 1, train=False)
        number = len(predictors.stages(case.breaking, self.model(case.data).symmetries)) - 1
        file = self._checkpoints(out, case, training) / str(number) / "best.ckpt"
        return predictors.restored(file, self.network(case.network, y, x), y, x, feature=self.feature)

    def _measure(
        self, case: Case, split: Split, training: Training, folder: Path, hardware: Hardware
    ) -> tuple[dict[str, Row], dict[str, Tensor]]:
        """Make the predictor of a case. Return its numbers by network, with variants, and arrays for the figures."""
        start = time.perf_counter()
        stages, variants = list[Curves](), dict[str, Predict]()
        if case.network == CONSTANT:
            predict = predictors.constant(split)
        elif case.network == KNN:
            predict = predictors.neighbors(split, self.neighbor_feature)
        else:
            predict, stages = predictors.trained(
                split,
                lambda y, x: self.network(case.network, y, x),
                feature=self.feature,
                stages=predictors.stages(case.breaking, self.model(case.data).symmetries),
                augment=self.augment(case.data, case.breaking, split.fix),
                training=training,
                seed=case.seed,
                folder=folder,
                hardware=hardware,
                label=str(case),
            )
            more = self.variants(case.data, case.breaking, predict)
            variants = {f"{case.network}{name}": function for name, function in more.items()}
        train, validation, clock = (
            [value for curves in stages for value in getattr(curves, name)]
            for name in ("train", "validation", "seconds")
        )
        # The clock of this run misses the epochs before an interruption, the curves have them.
        seconds = sum(clock) if clock else time.perf_counter() - start
        ended = any(len(curves.validation) == training.max_epochs for curves in stages)
        numbers: dict[str, Row] = {}
        for network, function in {case.network: predict, **variants}.items():
            row = numbers[network] = {}
            for part, (y, x) in zip(("test", "train"), (split.test, split.train), strict=True):
                y, x = y[: self.test_samples], x[: self.test_samples]
                row |= {f"{part}_{name}": value for name, value in self.errors(case.data, function(y), x).items()}
            row |= {"epochs": len(validation), "limited": ended, "seconds": round(seconds, 1)}
        kept = self.keep(case.data, case.breaking, predict, split)
        if validation:
            kept |= {"train_curve": torch.tensor(train), "validation_curve": torch.tensor(validation)}
        return numbers, kept

    # ---------------------------------------------------------------------------------------------------- report

    def table(self, rows: Sequence[Row]) -> list[list[str]]:
        """Return the table of errors that ``CAPTION`` describes: header and lines."""
        return reports.table(rows, self.metrics)

    def ratios(self, rows: Sequence[Row]) -> list[list[str]]:
        """Return the table of errors on raw targets divided by those on canonical targets: header and lines."""
        return reports.ratios(rows, self.metrics, self.talk)

    def markdown(self, rows: Sequence[Row]) -> str:
        """Return both tables as a page in Markdown."""
        return reports.markdown(self.name, self.table(rows), self.ratios(rows), reports.limited(rows))

    def write(self, out: Path) -> list[Path]:
        """Write table.md and the figures of the rows in ``out``. Return the paths of all results."""
        rows = results.read_rows(out)

        def arrays(row: Row) -> dict[str, Tensor]:
            return results.read_arrays(out, row)

        talk = self.talk if self.talk_comparable else {}
        figures = {"errors": reports.plot_errors(rows, self.metrics, talk)}
        curves = reports.plot_curves(rows, arrays)
        figures |= ({} if curves is None else {"curves": curves}) | self.figures(rows, arrays)
        files = {"table.md": self.markdown(rows).encode()}
        files |= {f"{name}.png": png(figure) for name, figure in figures.items()}
        return [out / results.RESULTS, *(write_file(out / name, content) for name, content in files.items())]
