"""A report contradicts neither itself nor its data, and its line runs as it is printed."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

pytest.importorskip("sklearn")
pytest.importorskip("typer")

from experiments import symbreak

import torch_symbreak
from torch_symbreak import FarField, ScrambledDataset, SymmetryBrokenDataset, canonical
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics import diagnose
from torch_symbreak.forward import ElementwiseSquare, ForwardModel, Mask, Measured

MODEL, REAL = FarField(2), FarField(2, field="real")
FIX = MODEL.canonicalizer()
NAMES = ("translation", "conjugate_flip", "global_phase")
RAW = torch.stack(list(ScrambledDataset(BraggCrystals(30, frame=(10, 10)).objects(torch.arange(30)), MODEL.symmetries)))
X = RAW[:12]


def warned(report: Any) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in report["warnings"]}


def plain(x: Tensor) -> Tensor:
    return torch.fft.fft2(x, s=(20, 20)).abs()


def half_wrong() -> Tensor:
    """Return broken targets of which one item turns, and another one is flipped."""
    x = FIX(RAW)
    x[0] = x[0] * 1j
    x[1] = FIX.symmetry.act(FIX.symmetry.sample(x[1:2], generator=torch.Generator().manual_seed(1)), x[1:2])[0]
    return x


@pytest.mark.parametrize("state", ["raw", "exact", "literal", "half wrong"])
@pytest.mark.parametrize("n", [8, 30])
def test_sentence_flags_and_table_agree(state: str, n: int) -> None:
    make = {"raw": lambda: RAW, "exact": lambda: FIX(RAW), "literal": lambda: LiteralAlgorithm2()(RAW)}
    x = make.get(state, half_wrong)()
    report = diagnose(x, MODEL, n=n)
    verdict, flags = report["verdict"], torch.stack([report["findings"][name]["flags"] for name in NAMES])
    if "no violations" in verdict:
        assert not flags.any()
    if "violate it" in verdict:
        assert f"{float(flags.any(0).double().mean()):.1%}" in verdict
    if report["rule"] in (None, "literal"):
        assert ("No rule helps" in verdict) == (report["advice"] == "none") == ("falls from" not in verdict)
    if report["line"]:
        exec(report["line"], {"SymmetryBrokenDataset": SymmetryBrokenDataset, "dataset": x, "model": MODEL})


def test_a_symmetry_that_f_lacks_is_named() -> None:
    class Lying(ForwardModel):
        symmetries = MODEL.symmetries

        def canonicalizer(self) -> FarFieldCanonicalizer:
            return FarFieldCanonicalizer(2)

        def forward(self, x: Tensor) -> Tensor:
            return x.abs()

    report = diagnose(X, Lying())
    assert report["symmetries"]["translation"]["holds"] is False
    assert "f is not invariant to translation and conjugate flip" in report["verdict"]


@pytest.mark.parametrize("keys", [None, "my x"])
def test_the_line_of_a_plain_function_and_of_keys_runs(keys: str | None) -> None:
    samples = RAW if keys is None else [{"my x": x} for x in RAW]
    for forward, options in ((plain, {"event_dims": 2}), (MODEL, {})):
        report = diagnose(samples, forward, keys=keys, n=20, **options)
        names = {**vars(torch_symbreak), **vars(canonical), "dataset": samples, "model": forward}
        exec(report["line"], names)
        assert isinstance(names["dataset"], SymmetryBrokenDataset)
        assert len(list(names["dataset"])) == len(RAW)


def test_the_printed_line_of_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("my <script>'s.npz", **{"an x": RAW.numpy(), "other": RAW.numpy()})
    assert symbreak(monkeypatch, "diagnose", "my <script>'s.npz", "--key", "an x", "--out", "new") == 0
    (printed,) = re.findall(r"^Type: (symbreak .*)$", capsys.readouterr().out, re.MULTILINE)
    words = subprocess.run(
        ["bash", "-c", "symbreak() { printf '%s\\n' \"$@\"; }\n" + printed], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for command in (words[: words.index("break")], words[words.index("break") :]):
        assert symbreak(monkeypatch, *command) == 0
    assert Path("my <script>'s_broken.npz").exists()
    assert "<script" not in Path("new/report.html").read_text()
    Path("other/report.html").mkdir(parents=True)
    assert symbreak(monkeypatch, "diagnose", "my <script>'s.npz", "--key", "an x", "--out", "other", "--overwrite") == 2
    assert "is a folder" in capsys.readouterr().err


def test_zero_targets_are_named_and_change_no_other_number() -> None:
    x = torch.cat((torch.zeros(8, 10, 10, dtype=torch.complex64), RAW))
    report, without = diagnose(x, MODEL), diagnose(RAW, MODEL)
    assert report["looked"] == len(RAW)
    assert "21.1% of the targets are zero" in warned(report)["zero"]["text"]
    for name in NAMES[1:]:
        row = report["symmetries"][name]
        assert row["distance"] == pytest.approx(without["symmetries"][name]["distance"], abs=0.1)
        assert row["status"] == "unbroken"
    assert all(math.isfinite(value) for each in report["neighbors"].values() for value in each)
    assert "zero" not in warned(without)
    with pytest.raises(ValueError, match="8 targets that are not zero, but got 4 of 12"):
        diagnose(torch.cat((x[:8], RAW[:4])), MODEL)


Y = MODEL(X)
HOLE = torch.ones(20, 20, dtype=torch.bool).index_fill(0, torch.tensor([0]), False)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (Y * math.nan, "not finite where f(x) is"),
        (torch.where(HOLE, Y, math.nan), "not finite where f(x) is"),
        (Y * 0, "They are zero"),
        (Y[:, None], "Here f(x) has shape (20, 20), and they have (1, 20, 20)"),
        (Y > 1, "differ from f(x)"),
        (3 * Y.numpy(), "a multiple of f(x)"),
        ([*Y[:6], *Y[6:, 1:]], "and they have others"),
    ],
)
def test_stored_measurements_of_any_kind(y: Any, says: str) -> None:
    report = diagnose(list(zip(y, X, strict=True)), MODEL)
    assert says in warned(report)["measurements"]["text"]
    assert report["findings"]["measurements"]["flags"].all()


def test_dead_pixels_of_the_model_are_no_disagreement() -> None:
    model = Measured(MODEL, [Mask(HOLE)])
    assert "measurements" not in warned(diagnose(TensorDataset(model(X), X), model))


def test_other_warnings() -> None:
    assert warned(diagnose(RAW.abs().half(), REAL))["dtype"]["line"] == "x = x.float()"
    assert "view_as_complex" in warned(diagnose(torch.view_as_real(RAW), REAL, n=20))["channels"]["line"]
    assert "30 targets are few" in warned(diagnose(RAW, MODEL, n=20))["few"]["text"]
    assert diagnose(X, MODEL, test=X[3:4])["duplicates"]["test pairs"].tolist() == [[0, 3]]


def test_noise_of_a_model_without_motions() -> None:
    numbers = torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
    report = diagnose(numbers, ElementwiseSquare(), noise=2.0)
    assert report["noise"]["exact"]["targets elsewhere"] > 0


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        return iter(X)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: diagnose(Stream(), MODEL), TypeError, "itertools.islice"),
        (lambda: diagnose(DataLoader(X), MODEL), TypeError, "loader.dataset"),
        (lambda: diagnose("x.npy", MODEL), TypeError, "symbreak diagnose FILE"),
        (lambda: diagnose(X[:1], MODEL), ValueError, "at least 8 targets, but got 1"),
        (lambda: diagnose([(x, 1) for x in X], MODEL), TypeError, "pass keys=0"),
        (lambda: diagnose([{"a": {"x": x}} for x in X], MODEL, keys="a"), TypeError, "that are not nested"),
        (lambda: diagnose([*X, *X.abs()], MODEL), TypeError, "one dtype, but got torch.complex64 and torch.float32"),
        (lambda: diagnose(X, MODEL, test=X[:, 1:]), ValueError, r"shaped like the training targets, (10, 10)"),
        (lambda: diagnose(X, MODEL, test=X * math.nan), ValueError, "the test targets"),
        (lambda: diagnose(X, MODEL, noise="a"), TypeError, "a number as noise"),  # type: ignore[arg-type]
        (lambda: diagnose(X, MODEL, noise=True), TypeError, "a number as noise"),
        (lambda: diagnose(X, MODEL, seed=2**70), ValueError, "seed in ["),
        (lambda: diagnose(X, plain, event_dims="2"), TypeError, "an int as event_dims"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=re.escape(says)):
        call()
