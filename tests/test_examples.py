"""The examples run, and do what they say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_dataset() -> None:
    main = example("own_dataset").main
    assert main(epochs=3) < main(epochs=1)


@pytest.mark.slow
def test_own_experiment(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from torch_symbreak.experiments import read_rows

    example("own_experiment").main(tmp_path)
    error = {(row["network"], row["breaking"]): row["test_sa_mse"] for row in read_rows(tmp_path)}
    assert error["mlp", "exact"] < 0.7 * error["constant", "exact"]
    assert error["mlp", "exact"] < 0.5 * error["mlp", "none"]


@pytest.mark.slow
def test_deepinv_trainer() -> None:
    pytest.importorskip("deepinv")
    error = example("deepinv_trainer").main(size=400, epochs=4)
    assert error["after", "network"] < 0.8 * error["before", "network"]


@pytest.mark.slow
def test_deepinv_reconstruction() -> None:
    pytest.importorskip("deepinv")
    errors = example("deepinv_reconstruction").main(count=1, size=64, steps=5, epochs=1)
    assert len(errors) == 5
    assert all(0 < error < 10 for error in errors.values())


def test_matrices() -> None:
    pytest.importorskip("sklearn")
    before, after = example("matrices").main(samples=(2000,), matrices=2, tests=100)
    assert after < 0.5 * before


@pytest.mark.slow
def test_own_symmetry() -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("jinja2")
    report, errors = example("own_symmetry").main(epochs=10)
    assert report["symmetries"]["quarter_turns"]["holds"]
    assert report["symmetries"]["quarter_turns"]["status"] == "unbroken"
    assert errors["rule"] < errors["none"] / 1.5
    assert errors["template"] < errors["rule"] / 1.2
