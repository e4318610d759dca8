"""Run a command that writes a changed copy of a file: break, scramble and unbreak."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch_symbreak.cli._run import failing, say
from torch_symbreak.io import Targets, plan
from torch_symbreak.io.canonical import Command
from torch_symbreak.io.runs import Progress


@contextmanager
def counted(label: str, *, wanted: bool = True) -> Iterator[Progress]:
    """Show a progress bar if stderr is a terminal. Yield a function of the number done and the total number."""
    from rich.console import Console
    from rich.progress import Progress as Shown

    console = Console(stderr=True)
    with Shown(console=console, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)


def change_file(
    command: Command,
    src: Path,
    dst: Path,
    targets: dict[str, Any],
    *,
    processes: int,
    scheduler: str | None,
    debug: bool,
    **options: Any,
) -> None:
    """Plan the call, then run it with a progress bar. Exit with status 2 if planning fails: the call is wrong then.

    Args:
        command: The command's name.
        src: The input.
        dst: The output.
        targets: Arguments of :class:`torch_symbreak.io.Targets`.
        processes: Number of processes.
        scheduler: Address of a dask scheduler, if any.
        debug: Print tracebacks.
        **options: Further arguments of :func:`torch_symbreak.io.plan`.
    """
    with failing(2, debug=debug):
        if processes < 1:
            raise ValueError(f"-j needs at least one process, but got {processes}.")
        planned = plan(command, src, dst, Targets(**targets), **options)
    say(planned.choice)
    messages: list[str] = []
    with failing(1, debug=debug, interrupted="To go on, type the same command."), counted(command) as progress:
        summary = planned.run(processes=processes, scheduler=scheduler, progress=progress, warn=messages.append)
    for message in messages:
        say(message)
    if summary is not None:
        say(str(summary))
    print(dst)
