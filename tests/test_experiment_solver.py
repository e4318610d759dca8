"""Solvers that start from networks: rows, resumption without training, noise, and errors in the arguments."""

import shutil

import pytest
import torch

pytest.importorskip("lightning")
from experiments import CPU, symbreak

from torch_symbreak import FarField, relative_error
from torch_symbreak.experiments import (
    FarFieldPhaseRetrieval,
    Grid,
    Refining,
    predictors,
    read_refined,
    read_rows,
    refine_answers,
    remove_results,
    write_refined,
)
from torch_symbreak.experiments import refining as module
from torch_symbreak.metrics import measurement_residual
from torch_symbreak.solvers import solve
from torch_symbreak.training import Training

EXPERIMENT = FarFieldPhaseRetrieval(frame=(8, 8), width=2, test_samples=30)
GRIDS = [Grid(data=("crystals",), networks=("unet", "knn"), breaking=("none", "template"), samples=(20,))]
SHORT = Training(max_epochs=2, batch_size=16)
PLAN = Refining(iterations=(20, 40), photons=(1e5,), objects=12)
CLOCK = ("seconds", "cpu_seconds", "machine", "versions")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return a folder with rows of all starts, and the rows."""
    out = tmp_path_factory.mktemp("refined")
    EXPERIMENT.run(GRIDS, out, training=SHORT, hardware=CPU, keep=True)
    return out, refine_answers(EXPERIMENT, GRIDS, out, PLAN, training=SHORT, hardware=CPU)


def _row(rows, network, breaking, photons, iterations):
    (row,) = (
        row
        for row in rows
        if (row["network"], row["breaking"], row["photons"], row["iterations"])
        == (network, breaking, photons, iterations)
    )
    return row


def test_rows_are_those_of_the_plan(measured):
    out, rows = measured
    assert read_refined(out) == rows
    starts = [("random", None), ("unet", "none"), ("unet", "template"), ("unet + turns", "template")]
    wanted = [
        (network, breaking, photons, k)
        for photons in (None, 1e5)
        for network, breaking in starts
        for k in ((20, 40) if network == "random" else (0, 20, 40))
    ]
    assert [(row["network"], row["breaking"], row["photons"], row["iterations"]) for row in rows] == wanted
    assert all(row["objects"] == 12 and row["seconds"] > 0 and row["parameters"]["width"] == 2 for row in rows)


@pytest.mark.parametrize("iterations", [0, 20])
def test_numbers_are_those_of_the_network_and_solve(measured, iterations, monkeypatch):
    out, rows = measured
    case = next(case for case in GRIDS[0].cases() if (case.network, case.breaking) == ("unet", "template"))
    y, x = EXPERIMENT.pairs("crystals", 12, 1, train=False)
    model = FarField(2, centered=True)
    found = EXPERIMENT.restored(out, case, SHORT).predict(y)
    if iterations:
        found = torch.cat(
            [
                solve(part, model=model, start=start, starts=1, iterations=20, generator=seed, progress=False).object
                for part, start, seed in (
                    (y[i : i + 10], found[i : i + 10], torch.Generator().manual_seed(i)) for i in (0, 10)
                )
            ]
        )
    torus = [torch.zeros(12, 16, 16, dtype=x.dtype) for _ in range(2)]
    for wide, z in zip(torus, (found, x), strict=True):
        wide[:, :8, :8] = z
    error = relative_error(*torus, FarField(2, oversampling=1).symmetries, reduction="none")
    row = _row(rows, "unet", "template", None, iterations)
    assert row["error"] == pytest.approx(error.mean().item(), rel=1e-4)
    assert row["solved"] == pytest.approx((error < 0.1).float().mean().item())
    assert row["residual"] == pytest.approx(float(measurement_residual(found, y, model)), rel=1e-4)


def test_the_row_of_a_network_is_that_of_the_experiment(measured):
    """The network that is restored answers as the one that was trained."""
    out, _ = measured
    row = next(r for r in read_rows(out) if (r["network"], r["breaking"]) == ("unet", "template"))
    case = next(case for case in GRIDS[0].cases() if (case.network, case.breaking) == ("unet", "template"))
    split = EXPERIMENT.split("crystals", "template", 20, 0)
    answer = EXPERIMENT.restored(out, case, SHORT).predict(split.test[0])
    assert EXPERIMENT.errors("crystals", answer, split.test[1])["mse"] == pytest.approx(row["test_mse"], rel=1e-5)


def test_restored_is_the_last_stage(tmp_path):
    grid = Grid(data=("crystals",), networks=("unet",), breaking=("template-orbit",), samples=(20,))
    row = EXPERIMENT.run(grid, tmp_path, training=SHORT, hardware=CPU, keep=True)[1]
    case = list(grid.cases())[1]
    y, x = EXPERIMENT.split("crystals", "template-orbit", 20, 0).test
    answer = EXPERIMENT.restored(tmp_path, case, SHORT).predict(y)
    assert EXPERIMENT.errors("crystals", answer, x)["mse"] == pytest.approx(row["test_mse"], rel=1e-5)


def test_more_iterations_and_photons_train_nothing(measured, monkeypatch):
    out, rows = measured
    monkeypatch.setattr(predictors, "fit", lambda *args, **options: pytest.fail("a network was trained"))
    monkeypatch.setattr(module, "solve", lambda y, **options: pytest.fail("a row was measured again"))
    plan = Refining(iterations=(40,), objects=12)
    EXPERIMENT.run(GRIDS, out, training=SHORT, hardware=CPU, resume=True, keep=True)
    assert refine_answers(EXPERIMENT, GRIDS, out, plan, training=SHORT, hardware=CPU) == rows
    monkeypatch.setattr(module, "solve", solve)
    try:
        plan = Refining(iterations=(10,), photons=(1e4,), objects=12)
        more = refine_answers(EXPERIMENT, GRIDS, out, plan, training=SHORT, hardware=CPU)
        assert more[: len(rows)] == rows
        assert {(row["iterations"], row["photons"]) for row in more[len(rows) :]} == {(10, None), (10, 1e4), (0, 1e4)}
    finally:
        module.write_file(out / "solver.jsonl", b"".join(b"%s\n" % module.json.dumps(row).encode() for row in rows))


def test_all_starts_see_the_same_counts(measured, monkeypatch):
    seen = []

    def solved(y, **options):
        seen.append(y)
        return solve(y, **options)

    monkeypatch.setattr(module, "solve", solved)
    out, _ = measured
    (out / "solver.jsonl").rename(out / "kept")
    try:
        plan = Refining(iterations=(1,), photons=(1e5,), objects=10)
        refine_answers(EXPERIMENT, GRIDS, out, plan, training=SHORT, hardware=CPU)
    finally:
        (out / "kept").rename(out / "solver.jsonl")
    noisy = seen[len(seen) // 2 :]
    assert len(noisy) == 4
    assert all(torch.equal(y, noisy[0]) for y in noisy)
    scale = 1e5 / seen[0].sum((1, 2), keepdim=True)
    counts = noisy[0] * scale  # Poisson counts of a mean of 1e5 in all
    assert torch.allclose(counts, counts.round(), atol=0.05)
    assert ((counts.sum((1, 2)) - 1e5).abs() < 5 * 1e5**0.5).all()


def test_page_and_figure(measured):
    out, rows = measured
    assert [path.name for path in write_refined(out)] == ["solver.jsonl", "solver.md", "solver.png"]
    page = (out / "solver.md").read_text()
    row = _row(rows, "unet + turns", "template", 1e5, 40)
    lines = [line for line in page.splitlines() if "| 1e+05 photons | 12 | 20 | unet + turns | template |" in line]
    wanted = [f"{100 * row['solved']:.0f} %", f"{row['error']:.4g}", f"{row['residual']:.4g}"]
    assert [line.removesuffix(" |").split(" | ")[9] for line in lines[:3]] == wanted
    assert (out / "solver.png").read_bytes().startswith(b"\x89PNG")


def test_volumes(tmp_path):
    experiment = FarFieldPhaseRetrieval(frame=(8, 8, 8), width=2, test_samples=3)
    grid = Grid(data=("crystals",), networks=("unet",), breaking=("template",), samples=(20,))
    training = Training(max_epochs=1)
    experiment.run(grid, tmp_path, training=training, hardware=CPU, keep=True)
    rows = refine_answers(experiment, [grid], tmp_path, Refining(iterations=(30,)), training=training, hardware=CPU)
    assert [(row["network"], row["iterations"], row["objects"]) for row in rows] == [
        ("random", 30, 3), ("unet", 0, 3), ("unet", 30, 3)
    ]  # fmt: skip
    assert rows[2]["residual"] < rows[1]["residual"]


def test_half_at_is_the_fewest_iterations():
    def rows(*solved):
        same = {"data": "a", "network": "unet", "breaking": "exact", "n": 20, "seed": 0, "method": "hio"}
        return [
            {**same, "photons": None, "objects": 4, "iterations": 10 * k, "solved": s} for k, s in enumerate(solved)
        ]

    for solved, half in (((0.0, 0.5, 1.0), "10"), ((0.0, 0.4, 0.6), "20"), ((0.0, 0.4), "> 10"), ((0.5, 0.0), "0")):
        header, line = module.shares(rows(*solved))
        assert (header[-1], line[-1]) == ("half at", half)


def test_results_are_removed(tmp_path):
    grid = Grid(data=("crystals",), networks=("unet",), breaking=("exact",), samples=(20,))
    EXPERIMENT.run(grid, tmp_path, training=SHORT, hardware=CPU, keep=True)
    refine_answers(EXPERIMENT, [grid], tmp_path, Refining(iterations=(1,), objects=1), training=SHORT, hardware=CPU)
    write_refined(tmp_path)
    remove_results(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_command(tmp_path, monkeypatch, capsys):
    command = (
        "reproduce",
        "farfield",
        "--frame",
        "8,8",
        "--width",
        2,
        "--samples",
        20,
        "--epochs",
        1,
        "--device",
        "cpu",
    )
    command = (*command, "--breaking", "exact", "--out", tmp_path)
    rest = ("--solver", "rrr", "--iterations", "2,3", "--photons", "1e4")
    assert symbreak(monkeypatch, *command, *rest) in (0, None)
    rows = read_refined(tmp_path)
    assert {(row["method"], row["photons"], row["iterations"]) for row in rows} == {
        ("rrr", photons, k) for photons in (None, 1e4) for k in (0, 2, 3)
    }
    printed = capsys.readouterr().out
    assert "rrr: crystals, random starts, 1e+04 photons" in printed
    assert "solver.png" in printed.replace("\n", "")
    shutil.rmtree(tmp_path / "checkpoints")  # as a run without --solver leaves it
    assert symbreak(monkeypatch, *command, "--resume", "--solver", "hio") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "best.ckpt is missing or damaged" in message
    assert "Networks are kept only by runs that start a solver" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("farfield --solver hoi", "got 'hoi'. Did you mean 'hio'?"),
        ("farfield --solver hio --iterations 100,0", "iterations needs whole numbers of at least 1, but got 0"),
        ("farfield --solver hio --iterations 1.5", "--iterations needs whole numbers"),
        ("farfield --solver hio --iterations ,", "iterations needs at least one number"),
        ("farfield --solver hio --photons 0", "photons needs finite numbers above 0, but got 0.0"),
        ("farfield --solver hio --photons many", "--photons needs numbers, comma-separated, but got 'many'"),
        ("farfield --iterations 100", "--iterations and --photons are for solvers. Add --solver hio"),
        ("farfield --photons 1e4", "--iterations and --photons are for solvers. Add --solver hio"),
        ("square --solver hio", "--solver is for the objects of farfield, but the experiment is square"),
        ("gaussian --solver hio", "--solver is for the objects of farfield, but the experiment is gaussian"),
        ("farfield --networks knn --solver hio", "Solvers start from trained networks, but the networks have none"),
    ],
)
def test_bad_options(arguments, message, tmp_path, monkeypatch, capsys):
    assert symbreak(monkeypatch, "reproduce", *arguments.split(), "--out", tmp_path / "out") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"), [("{", "Line 1 of .* is no row"), ("[]", "lacks breaking"), ("{}", "lacks breaking")]
)
def test_lines_that_are_no_rows(line, message, tmp_path):
    (tmp_path / "solver.jsonl").write_text(line)
    with pytest.raises(ValueError, match=message):
        read_refined(tmp_path)
