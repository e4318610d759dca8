"""docs/extending.md shows a file of the library and its test as they are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = ("torch_symbreak/symmetries/signed_permutation.py", "tests/symmetries/test_signed_permutation.py")


def test_the_page_shows_the_files() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/extending.md").read_text(), re.DOTALL | re.MULTILINE)
    for path, block in zip(SHOWN, blocks, strict=True):
        assert block == (ROOT / path).read_text(), f"docs/extending.md shows another text than {path}: paste the file."
