"""A progress bar on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(label: str, total: int, *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr if rich is installed, and yield the function that advances it."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        wanted = False
    if not wanted:
        yield lambda count: None
        return
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=total)
        yield lambda count: shown.advance(task, count)
