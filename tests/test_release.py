"""The version and the citation agree in all places that cannot read them from one."""

import re
from pathlib import Path

from torch_symbreak import __version__

ROOT = Path(__file__).parents[1]


def test_one_version() -> None:
    changes, citation = ((ROOT / name).read_text() for name in ("CHANGELOG.md", "CITATION.cff"))
    version, date = re.search(r"^## (\S+) \((\S+)\)$", changes, re.MULTILINE).groups()
    assert version == __version__
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation


def test_the_oldest_torch_is_the_one_that_setup_allows() -> None:
    least = re.search(r"^ +torch>=(.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[1]
    assert f"torch=={least}.*\n" in (ROOT / ".ci" / "oldest.txt").read_text()
