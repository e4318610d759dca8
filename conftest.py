"""The slow tier: ``pytest`` leaves out the tests marked slow and says so, ``pytest --slow`` runs all."""

import pytest

_REASON = "slow: add --slow"


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
