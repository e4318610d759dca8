"""The examples run, and do what they say."""

import importlib.util
from pathlib import Path


def test_own_dataset() -> None:
    path = Path(__file__).parents[1] / "examples" / "own_dataset.py"
    spec = importlib.util.spec_from_file_location("own_dataset", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main(epochs=3) < example.main(epochs=1)
