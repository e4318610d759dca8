"""A report prints, is a dict, and writes JSON and one page of HTML. The command writes both."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("typer")

from browser import CHROMIUM
from experiments import symbreak
from test_diagnose import COUNT, report_of, scrambled

from torch_symbreak.diagnostics.report import WIDTH, Report


def test_it_prints_in_80_columns() -> None:
    lines = str(report_of("scrambled")).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for wanted in ("These targets suffer", "conjugate flip", "unbroken", "up to symmetry", "5-NN", "Near-ties"):
        assert any(wanted in line for line in lines), wanted


def test_the_line_to_type_is_printed_whole() -> None:
    line = f"symbreak break {'in' * 40}.npy {'out' * 20}.npy"
    assert f"Type: {line}" in str(Report(**{**report_of("scrambled"), "line": line})).splitlines()


def test_json_holds_every_score(tmp_path: Path) -> None:
    report = report_of("scrambled")
    read = json.loads(report.save_json(tmp_path / "report.json").read_text())
    assert read.keys() == report.keys()
    assert read["verdict"] == report["verdict"]
    assert len(read["findings"]["near_ties"]["scores"]) == COUNT
    assert read["proxy"]["exact"]["5-NN"]["raw"] == pytest.approx(report["proxy"]["exact"]["5-NN"]["raw"], rel=1e-5)


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    page = report_of("scrambled").save_html(tmp_path / "report.html").read_text()
    assert report_of("scrambled")["verdict"] in page
    assert 'name="viewport"' in page
    assert page.count('src="data:image/png;base64,') == 5
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert "http" not in page.replace("base64", "")[:3000]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(width: int, tmp_path: Path) -> None:
    """Chromium draws the page in a frame of a phone's width, and has nothing to say on its console."""
    page = report_of("scrambled").save_html(tmp_path / "report.html")
    frame = tmp_path / "frame.html"
    frame.write_text(f"<iframe src='{page.name}' style='width:{width}px;height:3000px'></iframe>")
    shot = tmp_path / "shot.png"
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={max(width, 500)},3000", f"--screenshot={shot}",
        frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 50_000


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", scrambled().numpy())
    np.save("test.npy", scrambled()[:9].numpy())
    arguments = ("diagnose", "x.npy", "--test", "test.npy", "-n", "100", "--out", "report")
    assert symbreak(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    assert "300 targets of 20 x 20" in said.err
    assert "symbreak fit x.npy template.npz &&" in re.sub(r"\s+", " ", said.out)
    assert Path("report/report.html").exists()
    assert json.loads(Path("report/report.json").read_text())["targets"] == 300
    assert symbreak(monkeypatch, *arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert symbreak(monkeypatch, "diagnose", "missing.npy") == 2
    np.save("v.npy", np.random.default_rng(0).normal(size=(50, 4)))
    assert symbreak(monkeypatch, "diagnose", "v.npy", "--forward", "gaussian") == 0
    assert "drawn for this report" in capsys.readouterr().err
