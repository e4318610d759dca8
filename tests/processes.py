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


class Started:
    """A process at work, as :class:`subprocess.Popen`."""

    def __init__(self, code: str, *arguments: object, folder: Path | None = None) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._printed = (Path(self._place.name, "stdout"), Path(self._place.name, "stderr"))
        task = (code, tuple(map(str, arguments)), folder, self._printed)
        self._process = _SERVER.Process(target=_work, args=task)
        self._process.start()
        self.pid = self._process.pid

    def ended(self) -> Ended:
        """Wait for the end."""
        with self._place:
            self._process.join(120)
            if self._process.is_alive():
                self._process.kill()
                raise TimeoutError("The process did not end in 120 s.")
            return Ended(self._process.exitcode or 0, *(path.read_text() for path in self._printed))


def python(code: str, *arguments: object, folder: Path | None = None) -> Ended:
    """Run code as ``python -c`` does, in a folder, and wait for its end."""
    return Started(code, *arguments, folder=folder).ended()
