"""A progress bar on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(label: str, total: int, *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal and rich is installed. Yield the function that advances it."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        wanted = False
    if not wanted:
        yield lambda count: None
        return
    console = Console(stderr=True)
    # On other streams rich would print an empty line.
    with Progress(console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task(label, total=total)
        yield lambda count: shown.advance(task, count)
