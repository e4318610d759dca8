"""Hypothesis profiles and the slow tier.

Few examples are drawn by default, many with HYPOTHESIS_PROFILE=nightly. ``pytest`` leaves out the tests marked slow and
says so; ``pytest --slow`` runs all.
"""

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# Without a GPU the kernels run in Triton's interpreter: it is chosen when Triton is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("default", max_examples=10, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=500, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_REASON = "slow: add --slow"

# Two xdist workers on two cores: one thread each is fastest, and no test depends on the number.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on what ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """The command takes over Ctrl-C, which a shell's background job would ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=_REASON))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(isinstance(report.longrepr, tuple) and _REASON in report.longrepr[2] for report in skipped)
    if count:
        terminalreporter.write_line(f"{count} slow tests skipped: add --slow")
