"""Time the public operations of two checkouts in turn: python -m benchmarks.side_by_side OLD [--quick] [--out FILE].

OLD is a folder with another checkout of this repository, say the commit before a refactor:

    git worktree add /tmp/old COMMIT
    python -m benchmarks.side_by_side /tmp/old

One process imports torch_symbreak from OLD, another from this checkout. They take turns: while one computes, the other
waits. Every round times both and gives one ratio, new/old. The table has the median and the quartiles of these ratios.
Every operation is timed twice: with Numba, and plain, without it.

On a machine with other work, set OMP_NUM_THREADS=1: threads that have to wait for one another make the times noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from benchmarks.measure import installed, machine, repeats, spread, versions

NEW = Path(__file__).resolve().parents[1]
PATHS = {"Numba": {"NUMBA_DISABLE_JIT": "0"}, "plain": {"NUMBA_DISABLE_JIT": "1"}}
#: Seconds before each sample, in which the threads of the other process stop spinning and leave it the cores.
_PAUSE = 0.02
_LEAST_ROUNDS = 5


class Worker:
    """A process that imports torch_symbreak from one checkout and times its operations on request."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self.checkout = checkout
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(NEW / "benchmarks" / "operations.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment | {"PYTHONPATH": str(checkout)},
            text=True,
        )

    def hello(self) -> list[str]:
        """Return the names of the operations, once the process has imported its checkout and no other."""
        words = self._answer()
        if not Path(words["imported"]).resolve().is_relative_to(self.checkout):
            raise SystemExit(f"The process for {self.checkout} imported torch_symbreak from {words['imported']}.")
        return words["operations"]

    def ask(self, **request: Any) -> float:
        """Send a request and return the seconds that it answers."""
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The process for {self.checkout} ended. Its error stands above.")
        return json.loads(line)


@contextmanager
def _worker(checkout: Path, environment: dict[str, str]) -> Iterator[Worker]:
    worker = Worker(checkout, environment)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.communicate()


def compare(old: Worker, new: Worker, name: str, rounds: int, budget: float) -> dict[str, Any]:
    """Time one operation in both processes, in turn, and return its row."""
    calls = repeats(min(worker.ask(prepare=name) for worker in (old, new)))
    seconds: dict[Worker, list[float]] = {old: [], new: []}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
        for worker in (old, new) if done % 2 else (new, old):  # the first of a round may have it better
            time.sleep(_PAUSE)
            seconds[worker].append(worker.ask(repeats=calls))
    return {
        "operation": name,
        "rounds": len(seconds[old]),
        "seconds": {"old": spread(seconds[old]), "new": spread(seconds[new])},
        "ratio": spread([b / a for a, b in zip(seconds[old], seconds[new], strict=True)]),
    }


def commit(checkout: Path) -> str:
    """Return the commit of a checkout, with "-dirty" if files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    lines = [
        f"old: {result['old']['commit']}, new: {result['new']['commit']}; {result['machine']}; "
        f"{', '.join(map(' '.join, result['versions'].items()))}; load at the start {result['load']:.1f}.",
        "",
        "| path | operation | old, ms | new, ms | new/old | quartiles |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        ratio = row["ratio"]
        times = " | ".join(f"{1e3 * row['seconds'][key]['median']:.3g}" for key in ("old", "new"))
        quartiles = f"{ratio['low']:.3f} to {ratio['high']:.3f}"
        lines.append(f"| {row['path']} | {row['operation']} | {times} | {ratio['median']:.3f} | {quartiles} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of the other checkout")
    parser.add_argument("--quick", action="store_true", help="3 rounds: shows that everything runs, not how fast")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as JSON. Default: only the table")
    options = parser.parse_args(arguments)
    checkouts = {"old": options.old.resolve(), "new": NEW}
    if not (checkouts["old"] / "torch_symbreak" / "__init__.py").exists():
        parser.error(f"OLD must be a checkout with the folder torch_symbreak, but {options.old} has none.")
    if options.out and not options.out.absolute().parent.is_dir():
        parser.error(f"--out needs an existing folder, but {options.out.absolute().parent} is none.")
    paths = PATHS if installed("numba") else {"plain": PATHS["plain"]}
    rounds, budget = (3, 0.0) if options.quick else (41, 3.0)
    load, rows = os.getloadavg()[0], []
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for path, environment in paths.items():
            task = progress.add_task(f"{path}: starting", total=None)
            with ExitStack() as stack:
                workers = [stack.enter_context(_worker(checkout, environment)) for checkout in checkouts.values()]
                names, _ = [worker.hello() for worker in workers]
                progress.update(task, total=len(names))
                for name in names:
                    progress.update(task, description=f"{path}: {name}")
                    rows.append({"path": path, **compare(*workers, name, rounds, budget)})
                    progress.advance(task)
                progress.update(task, description=path)
    result = {
        **{key: {"folder": str(folder), "commit": commit(folder)} for key, folder in checkouts.items()},
        "quick": options.quick,
        "machine": machine(),
        "load": load,
        "versions": versions("numpy", "numba"),
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
