"""What a run says about its targets, what moves along with them, and elements of several runs in one file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_symbreak import FarField, RandomSymmetry, suggest_threshold
from torch_symbreak.io import Targets, canonical, inspect, open_file, plan
from torch_symbreak.io.inspection import summarize

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
scipy_io = pytest.importorskip("scipy.io")
safetensors = pytest.importorskip("safetensors.numpy")
pytest.importorskip("typer")
pytest.importorskip("skimage")
from torch_symbreak import cli  # noqa: E402

FIX = FarField().canonicalizer()
SUFFIXES = [".h5", ".npz", ".mat", ".zarr", ".pt", ".safetensors"]


def objects(count: int = 9, seed: int = 0) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, 6, dtype=torch.complex64, generator=generator)
    return torch.nn.functional.pad(x, (1, 5, 3, 0)).numpy()


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                file[key] = value
    elif path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w")
        for rows, (key, value) in enumerate(arrays.items(), 2):  # no two arrays have the same chunks
            group.create_array(key, shape=value.shape, chunks=(rows, *value.shape[1:]), dtype=value.dtype)[:] = value
    elif path.suffix == ".pt":
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, path)
    elif path.suffix == ".mat":
        scipy_io.savemat(path, arrays)
    elif path.suffix == ".safetensors":
        safetensors.save_file(arrays, path)
    else:
        np.savez(path, **arrays)


def load(path: Path) -> dict[str, np.ndarray]:
    file = open_file(path)
    return {
        key: file.read(key, tuple(slice(0, n) for n in array.shape))
        for key, array in file.arrays.items()
        if key != "symbreak"
    }


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


# ------------------------------------------------------------------------------------------------ companions


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_companions_move_with_their_targets_and_back(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 2000)  # two targets
    x = objects()
    draw = np.random.default_rng(0)
    arrays = {
        "x": x,
        "mask": x != 0,
        "counts": draw.integers(0, 255, x.shape).astype("u1"),
        "large": draw.integers(2**60, 2**62, x.shape),
        "weight": draw.random(x.shape),
        "label": np.arange(len(x)).reshape(-1, 1),
    }
    src, out, back = (tmp_path / f"{stem}{suffix}" for stem in ("in", "out", "back"))
    save(src, arrays)
    moved = ("mask", "counts", "large", "weight")
    options = [word for key in moved for word in ("--also", key)]
    assert run(monkeypatch, "break", src, out, "--key", "x", "--axes", "n,y,x", "--elements", *options) == 0
    after, before = load(out), load(src)
    assert np.array_equal(after["mask"], after["x"] != 0)
    assert not np.array_equal(after["mask"], before["mask"])
    g = FIX.element(torch.from_numpy(x))
    for key in moved:
        assert after[key].dtype == before[key].dtype
        for item, flipped, shift, old in zip(after[key], g.flipped, g.shift.tolist(), arrays[key], strict=True):
            turned = np.roll(old[::-1, ::-1], (1, 1), (0, 1)) if flipped else old  # about the first entry
            assert np.array_equal(item, np.roll(turned, shift, (0, 1)))
    assert np.array_equal(after["label"], before["label"])
    assert list(inspect(out).note["also"]) == list(moved)
    assert run(monkeypatch, "unbreak", out, back) == 0
    again = load(back)
    assert again.keys() == before.keys()
    assert all(np.array_equal(again[key], before[key]) for key in before if key != "x")
    assert np.allclose(again["x"], before["x"], atol=1e-5)
    capsys.readouterr()


def test_companions_of_other_axes_and_of_channels(tmp_path: Path) -> None:
    x = objects()
    np.savez(tmp_path / "a.npz", x=np.moveaxis(x, 0, -1), mask=np.moveaxis(x != 0, 0, -1))
    plan("break", tmp_path / "a.npz", tmp_path / "b.npz", Targets(event_dims=2, batch_axis=-1), also=["mask"]).run()
    out = np.load(tmp_path / "b.npz")
    assert np.array_equal(out["mask"], out["x"] != 0)
    np.savez(tmp_path / "c.npz", x=np.stack([x.real, x.imag], 1), mask=x != 0)
    plan("break", tmp_path / "c.npz", tmp_path / "d.npz", Targets(event_dims=2, layout="channels"), also=["mask"]).run()
    out = np.load(tmp_path / "d.npz")
    assert np.array_equal(out["mask"], (out["x"] != 0).any(1))
    assert np.array_equal(out["mask"], FIX(torch.from_numpy(x)).numpy() != 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--also", "none"], "--also none is no array of numbers"),
        (["--also", "mosk"], "Type --also mask, or --also weight."),
        (["--also", "/weights"], "Type --also weight, or --also mask."),
        (["--also", "x"], "--also x is one of the targets"),
        (["--also", "y"], "has dtype complex64 and shape (9, 8, 12) in"),
        (["--also", "one"], "shape (8, 12) in"),
        (["--also", "y"], "It needs bool, integers or floats of shape (9, 8, 12). Type --also mask"),
        (["--also", "mask", "--forward", "gaussian"], "moves pixels, which --forward gaussian does not"),
    ],
)
def test_companions_that_do_not_fit(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    x = objects()
    np.savez(tmp_path / "in.npz", x=x, y=x, one=x[0].real, mask=x != 0, weight=x.real)
    assert run(monkeypatch, "break", tmp_path / "in.npz", tmp_path / "out.npz", "--key", "x", *options) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


# ------------------------------------------------------------------------------------------------ elements


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keys", [("x", "y"), ("y", "x")])
def test_runs_on_two_keys_are_undone_in_any_order(suffix: str, keys: tuple[str, str], tmp_path: Path) -> None:
    arrays = {"x": objects(), "y": objects(5, 1), "n": np.arange(6).reshape(2, 3)}
    one, two, three, four, five = (tmp_path / f"{number}{suffix}" for number in range(5))
    save(one, arrays)
    plan("break", one, two, Targets(key="x", event_dims=2, batch_axis=0), elements=True).run()
    plan("scramble", two, three, Targets(key="y", event_dims=2, batch_axis=0), elements=True, seed=1).run()
    before, broken = load(one), load(three)
    assert len(broken) == len(before) + 6
    plan("unbreak", three, four, Targets(key=keys[0])).run()
    middle = load(four)
    assert np.allclose(middle[keys[0]], before[keys[0]], atol=1e-5)
    assert np.array_equal(middle[keys[1]], broken[keys[1]])
    assert len(middle) == len(before) + 3
    plan("unbreak", four, five).run()
    after = load(five)
    assert after.keys() == before.keys()
    assert np.array_equal(after["n"], before["n"])
    assert all(np.allclose(after[key], before[key], atol=1e-5) for key in keys)
    note, chain = inspect(five).note, []
    while note is not None:
        chain.append((note["command"], note["keys"]))
        note = note["before"]
    assert chain == [("unbreak", [keys[1]]), ("unbreak", [keys[0]]), ("scramble", ["y"]), ("break", ["x"])]
    with pytest.raises(ValueError, match="no group elements"):
        plan("unbreak", five, tmp_path / f"six{suffix}")


def test_without_a_key_the_latest_run_is_undone(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", {"x": objects(), "y": objects(5, 1)})
    plan("break", tmp_path / "a.npz", tmp_path / "b.npz", Targets(key="y"), elements=True).run()
    plan("break", tmp_path / "b.npz", tmp_path / "c.npz", Targets(key="x"), elements=True).run()
    assert plan("unbreak", tmp_path / "c.npz", tmp_path / "d.npz").layout.keys == ("x",)
    with pytest.raises(KeyError, match=r"no elements of 'z' to undo. It has those of: key='x' or key='y'"):
        plan("unbreak", tmp_path / "c.npz", tmp_path / "d.npz", Targets(key="z"))


def test_elements_of_targets_that_a_later_run_changed_undo_nothing(tmp_path: Path) -> None:
    """They would move the targets to a place where they never were."""
    save(tmp_path / "a.npz", {"x": objects(), "mask": objects() != 0})
    plan("break", tmp_path / "a.npz", tmp_path / "b.npz", Targets(), elements=True, also=["mask"]).run()
    plan("scramble", tmp_path / "b.npz", tmp_path / "c.npz").run()
    assert not [key for key in load(tmp_path / "c.npz") if key.startswith("symbreak_")]
    with pytest.raises(ValueError, match="no group elements"):
        plan("unbreak", tmp_path / "c.npz", tmp_path / "d.npz")


def test_a_file_of_an_older_version_is_undone(tmp_path: Path) -> None:
    x = objects()
    save(tmp_path / "a.npz", {"x": x, "y": objects(5, 1)})
    plan("break", tmp_path / "a.npz", tmp_path / "new.npz", Targets(key="x"), elements=True).run()
    content = dict(np.load(tmp_path / "new.npz"))
    note = json.loads(str(content.pop("symbreak")))
    prefix = note.pop("prefix")
    del note["also"]
    content = {key.replace(prefix, "symbreak"): value for key, value in content.items()}
    assert {"symbreak_flipped", "symbreak_shift", "symbreak_scalar"} < content.keys()
    np.savez(tmp_path / "old.npz", **content, symbreak=np.array(json.dumps(note)))
    plan("break", tmp_path / "old.npz", tmp_path / "both.npz", Targets(key="y"), elements=True).run()
    for name in ("old", "both"):
        plan("unbreak", tmp_path / f"{name}.npz", tmp_path / "back.npz", Targets(key="x"), overwrite=True).run()
        again = load(tmp_path / "back.npz")
        assert np.allclose(again["x"], x, atol=1e-5)
        assert "symbreak_flipped" not in again


# ------------------------------------------------------------------------------------------------ the summary


def test_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A third is canonical, a third moved, and a third flipped about its center, where it stays."""
    monkeypatch.setattr(canonical, "BLOCK", 4000)
    x = FIX(torch.from_numpy(objects(12)))
    x[4:8] = x[4:8].roll((1, -2), (1, 2))
    box = FIX.symmetry.symmetries[0].box(x)  # type: ignore[attr-defined]
    for i in range(8, 12):
        (a, b), (n, m) = box.lo[i].tolist(), box.length[i].tolist()
        x[i, a : a + n, b : b + m] = x[i, a : a + n, b : b + m].flip(0, 1).conj()
    np.save(tmp_path / "x.npy", x.numpy())
    summary = plan("break", tmp_path / "x.npy", tmp_path / "y.npy").run()
    assert summary is not None
    counts = (summary.looked, summary.flipped, summary.moved, summary.canonical, summary.ties, summary.filled)
    assert counts == (12, 4, 4, 4, 0, 0)
    small = {name: int((margin < 1e-3).sum()) for name, margin in FIX.margins(x).items()}
    assert summary.small == small
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "z.npy") == 0
    assert "12 targets looked at: 4 flipped, 4 moved, 4 already canonical" in capsys.readouterr().err
    assert plan("scramble", tmp_path / "x.npy", tmp_path / "s.npy").run() is None


def test_small_margins_are_told_by_symmetry(tmp_path: Path) -> None:
    x = FIX(torch.from_numpy(objects(6)))
    x[1:3] = x[1:3] + x[1:3].flip(1, 2).conj().roll((1, 1), (1, 2))  # their own twins, about the frame's first entry
    np.save(tmp_path / "x.npy", x.numpy())
    with pytest.warns(UserWarning, match="2 of 6 targets looked at"):
        summary = plan("break", tmp_path / "x.npy", tmp_path / "y.npy").run()
    assert summary is not None
    assert summary.small["conjugate_flip"] == summary.ties == 2
    assert "2 by conjugate flip" in str(summary)


def noisy_file(path: Path, noise: float = 0.01) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    clean = torch.nn.functional.pad(torch.randn(60, 9, 8, dtype=torch.complex64, generator=generator), (3, 5, 4, 3))
    clean = RandomSymmetry(FarField().symmetries, generator=generator)(clean)
    peak = clean.abs().amax((1, 2), keepdim=True)
    np.save(path, (clean + noise * peak * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)).numpy())
    return clean


def test_a_background_that_counts_as_content_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    clean = noisy_file(tmp_path / "x.npy")
    told = "The content fills the frame in 60 of 60 targets looked at"
    assert run(monkeypatch, "info", tmp_path / "x.npy") == 0
    printed = capsys.readouterr().err
    assert told in printed
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "y.npy") == 0
    error = " ".join(capsys.readouterr().err.split())
    assert error.count(told) == 1
    remedy = error.partition("type ")[2].partition(". symbreak")[0]
    assert remedy in printed
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "z.npy", *remedy.split()) == 0
    assert told not in capsys.readouterr().err
    truth = FIX(clean)
    norm = torch.linalg.vector_norm
    distances = [
        float(
            (
                norm(torch.from_numpy(np.load(tmp_path / f"{name}.npy")) - truth, dim=(1, 2)) / norm(truth, dim=(1, 2))
            ).mean()
        )
        for name in "yz"
    ]
    assert distances[0] > 0.5
    assert distances[1] < 0.1


@pytest.mark.parametrize("noise", [0.001, 0.05, 0.15, 0.3, 0.6])
def test_every_background_is_told_with_a_line_to_type(
    noise: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Above .1 it is nearly as bright as the objects: nothing was said but the last words of the summary."""
    noisy_file(tmp_path / "x.npy", noise)
    told = "The content fills the frame in 60 of 60 targets looked at"
    for command in (["info"], ["break", tmp_path / "y.npy"]):
        assert run(monkeypatch, command[0], tmp_path / "x.npy", *command[1:]) == 0
        error = capsys.readouterr().err
        assert told in error
        threshold = float(error.partition("--threshold ")[2].split()[0].rstrip(".,"))
        assert 1e-4 < threshold < 1
    suggested = suggest_threshold(torch.from_numpy(np.load(tmp_path / "x.npy")))
    assert threshold == suggested or (suggested == 1e-4 and "nearly as bright as they are" in error)
    assert run(monkeypatch, "info", tmp_path / "x.npy", "--threshold", threshold) == 0
    assert told not in capsys.readouterr().err


def test_content_that_fills_its_frame_may_be_right(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 8, 8)))
    with pytest.warns(UserWarning, match="If the objects fill their frames, nothing is wrong"):
        summary = plan("break", tmp_path / "x.npy", tmp_path / "y.npy").run()
    assert summary is not None
    assert (summary.filled, summary.clear) == (20, False)
    np.save(tmp_path / "x.npy", np.ones((20, 8, 8)))
    assert "raise threshold= above it" in str(inspect(tmp_path / "x.npy").content)


def test_a_resumed_run_says_what_an_undisturbed_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 4000)
    np.save(tmp_path / "x.npy", objects(40))
    whole = plan("break", tmp_path / "x.npy", tmp_path / "whole.npy").run()

    def stop(done: int, count: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    planned = plan("break", tmp_path / "x.npy", tmp_path / "y.npy")
    with pytest.raises(KeyboardInterrupt):
        planned.run(progress=stop)
    assert planned.resumable()
    resumed = plan("break", tmp_path / "x.npy", tmp_path / "y.npy").run()
    assert whole is not None
    assert whole.looked == 40
    assert resumed == whole


def test_without_scikit_image_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy_file(tmp_path / "x.npy")
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert 'pip install "torch_symbreak[io]"' in str(inspect(tmp_path / "x.npy").content)


def test_a_summary_of_nothing() -> None:
    assert str(summarize([])) == (
        "0 targets looked at: 0 flipped, 0 moved, 0 already canonical; margin below 0.001: none"
    )


@pytest.mark.parametrize("count", [30, 700, 3000])
def test_the_sample_is_taken_evenly_from_the_whole_file(count: int, tmp_path: Path) -> None:
    """Of a block, only the first targets were looked at."""
    x = np.repeat(FIX(torch.from_numpy(objects(1))).numpy(), count, 0)
    x[count // 2 :] = np.roll(x[count // 2 :], 1, 1)
    np.save(tmp_path / "x.npy", x)
    summary = plan("break", tmp_path / "x.npy", tmp_path / "y.npy").run()
    assert summary is not None
    assert min(count, 500) <= summary.looked <= 1000
    assert abs(summary.moved / summary.looked - 0.5) < 0.02
    assert summary.moved + summary.canonical == summary.looked
