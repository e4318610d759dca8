"""The ``symbreak`` command itself: help, choices, typos, and packages that are missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from processes import python

from torch_symbreak import cli
from torch_symbreak._checks import DEVICES
from torch_symbreak.cli._run import as_typed
from torch_symbreak.forward import NAMES, canonicalizer_of, event_dims_of
from torch_symbreak.io.layouts import Kind

pytest.importorskip("typer")

COMMANDS = ("compare", "break", "diagnose", "fit", "scramble", "unbreak", "info", "solve", "reproduce")


def symbreak(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["symbreak", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def plain(text: str) -> str:
    """Remove boxes and line breaks, which depend on the terminal."""
    return re.sub(r"[\s│─╭╮╰╯]+", " ", text)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_ends_with_two_examples(command: str | None, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert symbreak(monkeypatch, *([command] if command else []), "--help") == 0
    _, heading, end = capsys.readouterr().out.rpartition("Examples:")
    assert heading
    lines = [line.strip() for line in end.splitlines() if line.strip()]
    assert len(lines) == 2
    assert all(line.startswith(f"symbreak {command or ''}".rstrip()) for line in lines)


@pytest.mark.parametrize("line", ["scramble in out", "diagnose in", "fit in out", "solve in out", "reproduce square"])
def test_a_seed_is_no_negative_number(line: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert symbreak(monkeypatch, *line.split(), "--seed", "-1") == 2
    assert "--seed needs a number from 0 to 2^63 - 1, but got -1." in plain(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "option", "choices"),
    [
        *((command, "--forward", NAMES) for command in ("compare", "break", "scramble", "info")),
        *((command, "--layout", get_args(Kind)) for command in ("break", "scramble", "info")),
        ("solve", "--method", ("hio", "er", "raar", "dm", "rrr")),
        ("reproduce", "EXPERIMENT", ("square", "factorization", "gaussian", "separation", "deconvolution", "farfield")),
        ("reproduce", "--preset", ("quick", "cpu", "paper")),
        ("reproduce", "--device", ("auto", "cpu", "cuda")),
        ("solve", "--device", ("auto", "cpu", "cuda")),
        ("reproduce", "--precision", ("32-true", "bf16-mixed", "16-mixed", "64-true")),
    ],
)
def test_help_lists_choices(command: str, option: str, choices: tuple[str, ...], monkeypatch, capsys) -> None:
    assert symbreak(monkeypatch, command, "--help") == 0
    listed = re.search(rf"{option}\b.*?One of ([^.]*)\.", plain(capsys.readouterr().out))
    assert listed
    assert listed[1] == ", ".join(choices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compaer a.npy b.npy", "No such command 'compaer'. Did you mean 'compare'?"),
        ("break in.npy out.npy --element", "--elements"),
        ("break in.npy out.npy --forward farfeild", "got 'farfeild'. Did you mean 'farfield'?"),
        ("compare in.npy in.npy --forward sqare", "got 'sqare'. Did you mean 'square'?"),
        ("scramble in.npy out.npy --layout channel", "got 'channel'. Did you mean 'channels'?"),
        ("info in.npy --layout Polar", "got 'Polar'. Did you mean 'polar'?"),
        ("solve in.npy out.npz --method hoi", "got 'hoi'. Did you mean 'hio'?"),
        ("reproduce gausian", "got 'gausian'. Did you mean 'gaussian'?"),
        ("reproduce square --preset quik", "got 'quik'. Did you mean 'quick'?"),
        ("reproduce square --device cuda:0", "got 'cuda:0'. Did you mean 'cuda'?"),
        ("reproduce square --precision 16-mix", "got '16-mix'. Did you mean '16-mixed'?"),
        ("info in.npy --forward x", "--forward needs to be one of farfield, gaussian, square, but got 'x'."),
    ],
)
def test_typos_get_a_suggestion(arguments: str, message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert symbreak(monkeypatch, *arguments.split()) == 2
    error = plain(capsys.readouterr().err)
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_choices_are_those_of_the_library() -> None:
    """The command lists some of them again so that --help need not import Lightning."""
    experiments = pytest.importorskip("torch_symbreak.experiments")
    training = pytest.importorskip("torch_symbreak.training")
    from torch_symbreak.cli import reproduce

    assert set(experiments.PRESETS) == set(reproduce.EXPERIMENTS)
    assert all(tuple(presets) == reproduce.PRESETS for presets in experiments.PRESETS.values())
    assert reproduce.PRECISIONS == training._PRECISIONS
    for device in DEVICES:
        if device != "cuda" or torch.cuda.is_available():
            training.Hardware(device=device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_by_its_name(name: str, dtype: torch.dtype) -> None:
    fix = canonicalizer_of(name, dtype, event_dims=3)
    assert fix.symmetry.event_dims == event_dims_of(name, 3) == {"farfield": 3, "gaussian": 1, "square": 0}[name]


@pytest.mark.parametrize("ask", [event_dims_of, canonicalizer_of])
def test_an_unknown_model_is_named(ask) -> None:
    with pytest.raises(ValueError, match=r"one of farfield, gaussian, square, but got 'squared'. Did you mean 'squ"):
        ask("squared", 2 if ask is event_dims_of else torch.float32)


# ---------------------------------------------------------------------------------------------- other processes


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from torch_symbreak.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'lightning', 'matplotlib', 'h5py', 'sklearn', 'skimage', 'kornia'} & set(sys.modules)))"
    )
    ended = python(code, "--help")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("missing", "arguments", "requirement"),
    [
        ("typer", "--help", '"torch_symbreak[cli]"'),
        ("typer", "break in.npy out.npy", '"torch_symbreak[cli]"'),
        ("typer", "reproduce square", '"torch_symbreak[experiments]"'),
        ("rich", "info in.npy", '"torch_symbreak[cli]"'),
        ("lightning", "reproduce square", '"torch_symbreak[experiments]"'),
        ("matplotlib", "reproduce square", '"torch_symbreak[experiments]"'),
        ("matplotlib", "compare in.npy in.npy", "matplotlib"),
        ("matplotlib", "solve in.npy out.npz", "matplotlib, or type --no-pictures"),
        ("h5py", "info in.h5", '"torch_symbreak[io]"'),
    ],
)
def test_a_missing_package_is_named(missing: str, arguments: str, requirement: str, tmp_path: Path) -> None:
    (tmp_path / "in.h5").touch()
    np.save(tmp_path / "in.npy", np.ones((8, 8)))
    code = f"import sys; sys.modules[{missing!r}] = None; from torch_symbreak.cli import main; main()"
    ended = python(code, *arguments.split(), folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == f"symbreak needs the package {missing}. Install it with: pip install {requirement}\n"


@pytest.mark.parametrize("module", ["torch_symbreak.cli", "torch_symbreak.cli.__main__"])
def test_it_runs_as_a_module(module: str) -> None:
    code = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    ended = python(code, "--version")
    assert (ended.returncode, ended.stdout.startswith("symbreak ")) == (0, True)


@pytest.mark.parametrize("threshold", ["12", "1", "-0.1", "nan"])
@pytest.mark.parametrize("command", ["info", "break", "fit"])
def test_a_threshold_is_a_fraction_of_the_peak(
    command: str, threshold: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 8, 8)))
    out = {"info": [], "break": [tmp_path / "y.npy"], "fit": [tmp_path / "t.npz"]}[command]
    arguments = map(str, [tmp_path / "x.npy", *out])
    assert symbreak(monkeypatch, command, *arguments, "--threshold", threshold) == 2
    assert f"--threshold {threshold} is no fraction of the peak" in capsys.readouterr().err


def test_names_of_files_are_not_taken_for_arguments() -> None:
    assert as_typed("/data/key=1/x.npy has no array 'y'.") == "/data/key=1/x.npy has no array 'y'."
