"""Run code in an interpreter of its own, which has torch already. To import it anew takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["torch"])


class Ended(NamedTuple):
    """How a process ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def _work(code: str, arguments: tuple[str, ...], folder: Path | None, printed: tuple[Path, Path]) -> None:
    for number, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    if folder is not None:
        os.chdir(folder)
    os.environ["COLUMNS"] = "200"
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def python(code: str, *arguments: object, folder: Path | None = None) -> Ended:
    """Run code as ``python -c`` does, in a folder, and wait for its end."""
    with tempfile.TemporaryDirectory() as place:
        printed = (Path(place, "stdout"), Path(place, "stderr"))
        process = _SERVER.Process(target=_work, args=(code, tuple(map(str, arguments)), folder, printed))
        process.start()
        process.join(120)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{code} did not end in 120 s.")
        return Ended(process.exitcode or 0, *(path.read_text() for path in printed))
