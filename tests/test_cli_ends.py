"""How the command ends: Ctrl-C, output that cannot be printed, full disks, bad input. One line, and a status."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import python

pytest.importorskip("typer")
h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

from torch_symbreak import cli  # noqa: E402
from torch_symbreak.cli import _run  # noqa: E402
from torch_symbreak.io import canonical, find, open_file, plan  # noqa: E402

_GENERATOR = torch.Generator().manual_seed(0)
X = np.pad(torch.randn(6, 5, 6, dtype=torch.complex64, generator=_GENERATOR).numpy(), ((0, 0), (1, 2), (1, 1)))
MAGNITUDE, PHASE = np.abs(X), np.angle(X)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def started(*arguments: object, before: str = "", **options: object) -> subprocess.Popen[str]:
    """Start the command in another process, which prints "ready" first."""
    code = f"{before}\nprint('ready', flush=True)\nfrom torch_symbreak.cli import main\nmain()"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment} | options
    return subprocess.Popen(command, **options)  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------------------ Ctrl-C


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        *(("info x.npy", seconds) for seconds in (0.1, 0.5, 1.0, 2.0)),
        *(("compare x.npy x.npy", seconds) for seconds in (1.0, 2.0)),  # torch is imported first, for any command
        *(("reproduce farfield --preset paper", seconds) for seconds in (1.0, 2.0)),
    ],
)
def test_interrupted_early(command: str, seconds: float, tmp_path: Path) -> None:
    """While torch and the packages of the command are imported, or a little later."""
    np.save(tmp_path / "x.npy", X)
    with started(*command.split(), cwd=tmp_path) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    if process.returncode == 0:  # it was quicker
        assert seconds >= 1
        assert error == ""
        return
    assert process.returncode == 130
    assert error.startswith("symbreak: interrupted")
    assert error.count("\n") == 1


COMMANDS: dict[str, str] = {
    "info": "torch_symbreak.cli.info.inspect",
    "compare": "torch_symbreak.cli.compare.open_file",
    "break": "torch_symbreak.cli._files.plan",
    "scramble": "torch_symbreak.cli._files.plan",
    "unbreak": "torch_symbreak.io.canonical.Plan.run",
    "fit": "torch_symbreak.io.fit_template",
    "reproduce": "torch_symbreak.experiments.recipe.Experiment.run",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_interrupted_at_work(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    plan("break", "x.npy", "fixed.npy", elements=True).run()
    arguments = {
        "info": ["x.npy"],
        "compare": ["x.npy", "x.npy"],
        "unbreak": ["fixed.npy", "again.npy"],
        "reproduce": ["square", "--samples", 40, "--networks", "knn", "--device", "cpu", "--out", "results"],
    }
    if command == "reproduce":
        pytest.importorskip("lightning")

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    monkeypatch.setattr(COMMANDS[command], interrupted)
    assert (
        run(monkeypatch, command, *arguments.get(command, ["x.npy", "y.npz" if command == "fit" else "y.npy"])) == 130
    )
    error = capsys.readouterr().err
    taken, _, error = error.rpartition("symbreak: interrupted")
    assert taken.count("\n") == (command in ("unbreak", "fit"))  # what is taken as the targets
    assert error.count("\n") == 1
    if command == "reproduce":
        assert "--resume" in error
    if command == "unbreak":
        assert "type the same command" in error


def test_an_interruption_that_a_library_made_another_error_of(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Lightning makes a SystemExit(1) of it."""
    monkeypatch.setattr(_run._interrupt, "came", False)
    monkeypatch.setattr(_run._interrupt, "working", False)

    def library() -> None:
        try:
            _run._interrupt(signal.SIGINT, None)
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as end, _run.failing(1, interrupted="Go on."):
        library()
    assert end.value.code == 130
    assert capsys.readouterr().err == "symbreak: interrupted. Go on.\n"


def test_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """So nohup and a shell's background jobs have it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(monkeypatch, "--version") == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_command_starts_without_torch() -> None:
    """Else Ctrl-C in the first seconds would not find the command there to answer."""
    code = "import sys, torch_symbreak.cli; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_processes_are_interrupted_without_a_word(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile(X, (40_000, 1, 1)))
    arguments = ["break", "x.npy", "y.npy", "-j", "2"]
    with started(*arguments, cwd=tmp_path, start_new_session=True) as process:
        while not list(tmp_path.glob(".y.npy*/progress.json")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1.0)  # the others start
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error.splitlines()[1:] == ["symbreak: interrupted. To go on, type the same command."]


# ---------------------------------------------------------------------------------------------- full disks


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["info x.npy", "--help"])
def test_output_to_a_full_device(command: str, unbuffered: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "PYTHONUNBUFFERED": unbuffered}
    call = [sys.executable, "-m", "torch_symbreak.cli", *command.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    wanted = "symbreak: The results cannot be printed to the standard output: No space left on device.\n"
    assert done.stderr == wanted


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with started("--version", stdout=write, before="print = lambda *_, **__: None") as process:
        os.close(write)
        assert process.communicate()[1] == ""
    assert process.returncode == 1


@pytest.mark.parametrize("limit", [900, 5_000, 40_000, "last"])
@pytest.mark.parametrize("chunks", [None, (2, 8, 8)])
def test_hdf5_on_a_full_disk(limit: int | str, chunks: tuple[int, ...] | None, tmp_path: Path) -> None:
    """A limit on the size of files stands for it; at the end even closing the file fails."""
    src, out = tmp_path / "x.h5", tmp_path / "y.h5"
    with h5py.File(src, "w") as file:
        file.create_dataset("x", data=np.tile(X, (20, 1, 1)), chunks=chunks)
    plan("break", src, out, elements=True).run()
    size = out.stat().st_size - 3_000 if limit == "last" else int(limit)
    out.unlink()
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {resource.RLIM_INFINITY}))"
    ended = python(f"{limited}\nfrom torch_symbreak.cli import main\nmain()", "break", src, out, "--elements")
    assert ended.returncode == 1
    kept = chunks is not None and limit == "last"  # all is staged, and the end can be done again
    more = " 1 of 1 blocks are done and kept: the same command goes on from there." if kept else ""
    assert ended.stderr.splitlines()[1:] == [f"symbreak: [Errno 27] File too large. {out} is not written.{more}"]
    assert len([*tmp_path.iterdir()]) == 1 + kept
    assert not out.exists()
    plan("break", src, out, elements=True).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.h5", "y.h5"]


# ----------------------------------------------------------------------------------------------- bad input


def damaged_pt(path: Path, change: Callable[[bytes], bytes]) -> None:
    torch.save({"x": torch.from_numpy(X)}, path)
    path.write_bytes(change(path.read_bytes()))


class Own:
    pass


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("none.npy", X[:0])
    Path("empty.npy").touch()
    Path("empty.pt").touch()
    Path("empty.h5").touch()
    for suffix in (".h5", ".npy", ".pt", ".zarr", ".npz", ".safetensors"):
        os.mkfifo(f"pipe{suffix}")
    damaged_pt(Path("cut.pt"), lambda content: content[: len(content) // 2])
    damaged_pt(Path("hole.pt"), lambda content: content[:300] + bytes(200) + content[500:])
    Path("text.pt").write_text("hello" * 100)
    torch.save({"x": Own()}, "own.pt")
    np.savez("halves.npz", mag=MAGNITUDE, phase=PHASE)
    with h5py.File("halves.h5", "w") as file:
        file["p/mag"], file["p/phase"] = MAGNITUDE, PHASE
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("info cut.pt", "it is damaged"),
        ("info hole.pt", "it is damaged"),
        ("info text.pt", "it is damaged"),
        ("info own.pt", "Python objects other than tensors"),
        ("info empty.pt", "empty.pt is empty"),
        ("info empty.h5", "empty.h5 is empty"),
        ("break empty.npy y.npy", "empty.npy is empty"),
        ("info pipe.h5", "no regular file"),
        ("info pipe.zarr", "no regular file"),
        ("info pipe.safetensors", "no regular file"),
        ("break pipe.npy y.npy", "no regular file"),
        ("unbreak pipe.pt y.pt", "no regular file"),
        ("fit pipe.npy t.npz", "no regular file"),
        ("compare pipe.npy x.npy", "no regular file"),
        ("break x.npy y.npy --template pipe.npz", "no regular file"),
        ("compare empty.npy empty.npy", "empty.npy is empty"),
        ("compare none.npy none.npy", "none.npy has shape (0, 8, 8): no entries to compare"),
        ("compare x.npy x.npy --out ''", "name of a file is empty"),
        ("compare x.npy x.npy --out ..", "Name it ../comparison.png"),
        ("compare '' x.npy", "name of a file is empty"),
        ("break x.npy ''", "name of a file is empty"),
        ("break '' y.npy", "name of a file is empty"),
        ("break x.npy y.npy --template ''", "name of a file is empty"),
        ("fit x.npy ''", "name of a file is empty"),
        ("info ''", "name of a file is empty"),
        ("reproduce square --out ''", "name of a file is empty"),
        ("break halves.h5 y.h5 --key p/mag", "--key p/mag,p/phase for the pair, or --layout plain for p/mag alone"),
        ("break halves.npz y.npz --key phase", "phase alone would be changed"),
        ("fit halves.h5 t.npz --key p/phase", "p/phase alone would be changed"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str, message: str, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(bad.iterdir())
    assert run(monkeypatch, *(word.strip("'") for word in arguments.split())) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("symbreak: ")
    assert error.count("\n") == 1
    assert len(error) < 400
    assert sorted(bad.iterdir()) == before


@pytest.mark.parametrize("name", ["m$x^$.npy", "結果.npy", os.fsdecode(b"\xff\xe7.npy")])
def test_names_of_files_are_no_formulas_and_perhaps_no_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(name, X)
    out = Path(name).with_suffix(".png")
    assert run(monkeypatch, "compare", name, name, "--out", out) == 0
    assert capfd.readouterr().err == ""
    assert out.exists()
    assert run(monkeypatch, "break", name, f"new-{name}") == 0
    assert Path(f"new-{name}").exists()


def test_a_fault_of_ours_is_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr("torch_symbreak.cli.compare._sentences", lambda *_: 1 / 0)
    out = ["--out", tmp_path / "c.png"]
    assert run(monkeypatch, "compare", tmp_path / "x.npy", tmp_path / "x.npy", *out) == 1
    assert capsys.readouterr().err == "symbreak: division by zero\n"
    assert run(monkeypatch, "compare", tmp_path / "x.npy", tmp_path / "x.npy", *out, "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_metrics_need_no_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "torch_symbreak.plots", raising=False)
    monkeypatch.delattr("torch_symbreak.plots", raising=False)
    out = tmp_path / "c.png"
    assert run(monkeypatch, "compare", tmp_path / "x.npy", tmp_path / "x.npy", "--out", out) == 1
    printed = capsys.readouterr()
    assert "relative error" in printed.out
    assert "item 0: unchanged" in printed.out
    assert "pip install matplotlib" in printed.err
    assert printed.err.count("\n") == 1


def test_info_leaves_out_what_was_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    np.savez(tmp_path / "x.npz", X)
    plan("break", tmp_path / "x.npz", tmp_path / "y.npz").run()
    assert run(monkeypatch, "info", tmp_path / "y.npz") == 0
    printed = capsys.readouterr().out
    assert "made with command: break" in printed
    assert "None" not in printed


# ----------------------------------------------------------------------------------------- halves of a target

SAVE: dict[str, Callable[[Path, dict[str, np.ndarray]], object]] = {
    ".npz": lambda path, arrays: np.savez(path, **arrays),
    ".mat": lambda path, arrays: scipy_io.savemat(path, arrays),
}


def save_h5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


SAVE[".h5"] = save_h5


@pytest.mark.parametrize("suffix", SAVE)
@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("mag", "phase", "polar"),
        ("amp", "phase", "polar"),
        ("abs", "arg", "polar"),
        ("amplitude", "angle", "polar"),
        ("obj_modulus", "obj_phase", "polar"),
        ("real", "imag", "parts"),
        ("Re", "Im", "parts"),
        ("real_part", "imaginary_part", "parts"),
        ("psiRe", "psiIm", "parts"),
        ("r", "i", "parts"),
    ],
)
def test_half_of_a_target_is_asked_about(suffix: str, first: str, second: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    halves = (MAGNITUDE, PHASE) if kind == "polar" else (X.real, X.imag)
    SAVE[suffix](path, dict(zip((first, second), halves, strict=True)))
    file = open_file(path)
    for key in (first, second):
        with pytest.raises(
            ValueError, match=rf"key='{first},{second}' for the pair, or layout='plain' for {key} alone"
        ):
            find(file, key=key)
        assert find(file, key=key, layout="plain")[0].keys == (key,)
    assert find(file, key=f"{first},{second}")[0].kind == kind
    assert find(file)[0].keys == (first, second)


def test_halves_in_two_groups_or_of_another_dtype(tmp_path: Path) -> None:
    save_h5(tmp_path / "groups.h5", {"e/mag/data": MAGNITUDE, "e/phase/data": PHASE})
    save_h5(tmp_path / "whole.h5", {"mag": MAGNITUDE, "phase": (PHASE * 40).astype(np.int16)})
    with pytest.raises(ValueError, match="key='e/mag/data,e/phase/data' for the pair"):
        find(open_file(tmp_path / "groups.h5"), key="e/mag/data")
    for key in (None, "mag"):
        with pytest.raises(ValueError, match="mag alone would be changed"):
            find(open_file(tmp_path / "whole.h5"), key=key)


def test_names_that_are_no_halves(tmp_path: Path) -> None:
    save_h5(tmp_path / "x.h5", {"x_r": X.real, "x_i": X.real, "phase": PHASE[0], "realistic": X.real, "mag": MAGNITUDE})
    file = open_file(tmp_path / "x.h5")
    for key in ("x_r", "x_i", "realistic", "mag"):
        assert find(file, key=key)[0].kind == "plain"


def test_unbreak_of_one_half_needs_no_answer(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", re=X.real, im=X.imag)
    targets = canonical.Targets(key="re", layout="plain")
    plan("break", tmp_path / "x.npz", tmp_path / "y.npz", targets, elements=True).run()
    plan("unbreak", tmp_path / "y.npz", tmp_path / "z.npz").run()
    with np.load(tmp_path / "z.npz") as back:
        assert np.allclose(back["re"], X.real, atol=1e-6)
        assert np.array_equal(back["im"], X.imag)
