"""Which arrays and axes are taken as targets: doubts end in a question, and whatever it offers is right."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak.io import Targets, find, inspect, open_file, plan
from torch_symbreak.io.formats.base import Array
from torch_symbreak.io.layouts import blocks

h5py = pytest.importorskip("h5py")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("typer")
from torch_symbreak import cli  # noqa: E402
from torch_symbreak.cli._run import as_typed  # noqa: E402


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["symbreak", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def drawn(shape: tuple[int, ...], dtype: str = "c8") -> np.ndarray:
    """Return random numbers, zero at the beginning of every long axis, so that content can move."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=shape) + (1j * draw.normal(size=shape) if dtype[0] == "c" else 0)
    for axis, size in enumerate(shape):
        if size >= 8:
            x[(slice(None),) * axis + (slice(0, 2),)] = 0
    return x.astype(dtype)


def offered(error: str, option: str = "axes") -> list[str]:
    """Return what follows an option wherever a message offers it."""
    words = shlex.split(as_typed(error).replace(". Say", " Say").rstrip().rstrip("."))
    return [word.rstrip(",;") for before, word in itertools.pairwise(words) if before == f"--{option}"]


def joined(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    return re + 1j * im


Reading = Callable[[np.ndarray], np.ndarray]

#: By shape and dtype: every reading that is offered, and what it means, the last dimensions being the event.
DOUBTS: dict[tuple[str, tuple[int, ...]], dict[str, tuple[int, Reading]]] = {
    ("f4", (3, 10, 9, 2)): {
        "n,y,x,r": (2, lambda a: joined(a[..., 0], a[..., 1])),
        "n,n,y,x": (2, lambda a: a),
        "n,y,x,n": (2, lambda a: a.transpose(0, 3, 1, 2)),
    },
    ("f4", (3, 10, 9, 1)): {"n,y,x,n": (2, lambda a: a[..., 0]), "n,n,y,x": (2, lambda a: a)},
    ("f4", (3, 10, 9, 3)): {"n,y,x,n": (2, lambda a: a.transpose(0, 3, 1, 2)), "n,n,y,x": (2, lambda a: a)},
    ("f4", (3, 10, 9, 4)): {
        "n,n,y,x": (2, lambda a: a),
        "n,y,x,n": (2, lambda a: a.transpose(0, 3, 1, 2)),
        "n,y,x,nr": (2, lambda a: joined(a[..., 0::2], a[..., 1::2]).transpose(0, 3, 1, 2)),
        "n,y,x,rn": (2, lambda a: joined(a[..., :2], a[..., 2:]).transpose(0, 3, 1, 2)),
    },
    ("f4", (10, 9, 3)): {"y,x,n": (2, lambda a: a.transpose(2, 0, 1)), "n,y,x": (2, lambda a: a)},
    ("f4", (10, 9, 2)): {
        "y,x,r": (2, lambda a: joined(a[..., 0], a[..., 1])),
        "n,y,x": (2, lambda a: a),
        "y,x,n": (2, lambda a: a.transpose(2, 0, 1)),
    },
    ("f4", (2, 3, 8, 9)): {"r,n,y,x": (2, lambda a: joined(a[0], a[1])), "n,n,y,x": (2, lambda a: a)},
    ("f4", (2, 8, 9)): {"r,y,x": (2, lambda a: joined(a[0], a[1])), "n,y,x": (2, lambda a: a)},
    ("f4", (3, 2, 8, 9)): {"n,r,y,x": (2, lambda a: joined(a[:, 0], a[:, 1])), "n,n,y,x": (2, lambda a: a)},
    ("f8", (3, 2, 1, 8, 9)): {
        "n,r,n,y,x": (2, lambda a: joined(a[:, 0, 0], a[:, 1, 0])),
        "n,n,n,y,x": (2, lambda a: a),
    },
    ("f4", (3, 6, 8, 9)): {
        "n,n,y,x": (2, lambda a: a),
        "n,nr,y,x": (2, lambda a: joined(a[:, 0::2], a[:, 1::2])),
        "n,rn,y,x": (2, lambda a: joined(a[:, :3], a[:, 3:])),
    },
    ("f4", (3, 2, 30)): {
        "y,r,x": (2, lambda a: joined(a[:, 0], a[:, 1])),
        "n,r,x": (1, lambda a: joined(a[:, 0], a[:, 1])),
        "n,y,x": (2, lambda a: a),
    },
    ("f4", (30, 2)): {
        "x,r": (1, lambda a: joined(a[:, 0], a[:, 1])),
        "y,x": (2, lambda a: a),
        "n,x": (1, lambda a: a),
    },
    ("c8", (9, 9, 5)): {"y,x,n": (2, lambda a: a.transpose(2, 0, 1)), "n,y,x": (2, lambda a: a)},
    ("f4", (8, 8, 30)): {"y,x,n": (2, lambda a: a.transpose(2, 0, 1)), "n,y,x": (2, lambda a: a)},
    ("c8", (10, 9, 9)): {"z,y,x": (3, lambda a: a), "n,y,x": (2, lambda a: a)},
    ("c16", (3, 9, 10, 9)): {"n,z,y,x": (3, lambda a: a), "n,n,y,x": (2, lambda a: a)},
    ("c8", (9, 9, 9, 2)): {
        "z,y,x,n": (3, lambda a: a.transpose(3, 0, 1, 2)),
        "n,y,x,n": (2, lambda a: a.transpose(0, 3, 1, 2)),
        "n,n,y,x": (2, lambda a: a),
    },
    ("c8", (60, 9)): {"n,x": (1, lambda a: a), "y,x": (2, lambda a: a)},
    ("c8", (20,)): {"x": (1, lambda a: a)},
}


def intensities(x: np.ndarray, dims: int) -> np.ndarray:
    axes = range(x.ndim - dims, x.ndim)
    return np.abs(np.fft.fftn(x, [2 * x.shape[axis] for axis in axes], [*axes])) ** 2


@pytest.mark.parametrize(
    ("suffix", "dtype", "shape"),
    [*((".npy", *case) for case in DOUBTS), (".h5", "f4", (3, 10, 9, 2)), (".tif", "f4", (10, 9, 3))],
)
def test_each_doubtful_shape_is_asked_about_and_each_offer_is_right(
    suffix: str, dtype: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    x = drawn(shape, dtype)
    src, out, back = (tmp_path / f"{stem}{suffix}" for stem in ("in", "out", "back"))
    save(src, x)
    for command in ("break", "scramble", "info"):
        assert run(monkeypatch, command, src, *([] if command == "info" else [out])) == 2
        printed, error = capsys.readouterr()
        assert str(src) in error
        assert str(shape) in error
    assert not out.exists()
    readings = DOUBTS[dtype, shape]
    offers = offered(printed)  # info lists all
    assert sorted(offers) == sorted(readings)
    assert offered(error) == offers[:3]
    assert ("more, which symbreak info lists" in error) is (len(offers) > 3)
    for axes in offers:
        dims, reading = readings[axes]
        assert run(monkeypatch, "info", src, "--axes", axes) == 0
        said = capsys.readouterr().out.partition("targets: ")[2].splitlines()[0]
        assert run(monkeypatch, "break", src, out, "--axes", axes, "--elements", "--overwrite") == 0
        assert capsys.readouterr().err.startswith(f"symbreak: {said}")  # the same line before the work
        before, after = reading(x), reading(load(out))
        count, event = before.shape[: before.ndim - dims], before.shape[before.ndim - dims :]
        kind = f"{'complex' if np.iscomplexobj(before) else 'float'}{before.dtype.itemsize * 8}"
        number = np.prod(count, dtype=int)
        targets = f"{number} target{'' if number == 1 else 's'}"
        assert said.startswith(f"{targets} of {' x '.join(map(str, event))}, {kind}, ")
        was, now = intensities(before, dims), intensities(after, dims)
        assert np.allclose(was, now, rtol=1e-4, atol=1e-4 * was.max())
        assert not np.allclose(before, after, atol=1e-2)
        assert run(monkeypatch, "unbreak", out, back, "--overwrite") == 0
        assert np.allclose(load(back), x, atol=1e-5)
        assert load(back).dtype == x.dtype
        capsys.readouterr()


def save(path: Path, x: np.ndarray) -> None:
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = x
    else:
        tifffile.imwrite(path, x, photometric="rgb" if x.shape[-1] == 3 else "minisblack")


def load(path: Path) -> np.ndarray:
    if path.suffix == ".tif":
        return tifffile.imread(path)
    if path.suffix == ".npy":
        return np.load(path)
    with h5py.File(path) as file:
        return file["x"][()]


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "count", "event"),
    [
        ((1000, 8, 8), "c8", {}, 1000, (8, 8)),
        ((1000, 64, 64), "f4", {}, 1000, (64, 64)),
        ((5, 64, 64), "c8", {}, 5, (64, 64)),
        ((5, 12, 64, 64), "c8", {}, 60, (64, 64)),
        ((64, 64), "c8", {}, 1, (64, 64)),
        ((64, 200), "f4", {}, 1, (64, 200)),
        ((9, 9, 9), "c8", {"event_dims": 2}, 9, (9, 9)),
        ((9, 9, 9), "c8", {"event_dims": 3}, 1, (9, 9, 9)),
        ((9, 9, 9), "c8", {"batch_axis": 0}, 9, (9, 9)),
        ((9, 9, 5), "c8", {"batch_axis": -1}, 5, (9, 9)),
        ((9, 9, 5), "c8", {"batch_axis": 0}, 9, (9, 5)),
        ((5, 2, 9, 8), "f4", {"layout": "channels"}, 5, (9, 8)),
        ((5, 2, 9, 8), "f4", {"layout": "plain"}, 10, (9, 8)),
        ((5, 6, 9, 8), "f4", {"layout": "plain"}, 30, (9, 8)),
        ((2, 9, 8), "f4", {"layout": "channels", "batch_axis": 0, "event_dims": 2}, 1, (9, 8)),
        ((2, 9, 8, 5), "f4", {"layout": "channels", "batch_axis": -1}, 5, (9, 8)),
        ((60, 9), "c8", {"event_dims": 1}, 60, (9,)),
        ((5, 9, 9, 3), "f4", {"layout": "plain", "batch_axis": 0, "event_dims": 2}, 45, (9, 3)),
        ((60, 30), "f4", {"forward": "gaussian"}, 60, (30,)),
        ((60, 2), "f4", {"forward": "square"}, 120, ()),
    ],
)
def test_what_is_clear_or_was_said_is_not_asked(
    shape: tuple[int, ...], dtype: str, options: dict[str, Any], count: int, event: tuple[int, ...], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype))
    layout, _ = Targets(**options).find(open_file(tmp_path / "x.npy"))
    assert (int(np.prod(layout.batch)), layout.event) == (count, event)


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ("n,y", {}, r"shape \(3, 2, 8, 9\), whose axes cannot be n,y\."),
        ("n,c,y,x", {}, "one word per axis, as in n,y,x,r"),
        ("n,y,y,x", {}, "one word per axis"),
        ("r,r,y,x", {}, "one word per axis"),
        ("r,n,y,x", {}, "axes cannot be r,n,y,x"),
        ("nr,n,y,x", {}, "axes cannot be nr,n,y,x"),
        ("n,r,y,x", {"layout": "plain"}, "contradict each other. Leave out layout"),
        ("n,n,y,x", {"batch_axis": 0}, "Leave out batch_axis"),
        ("n,n,y,x", {"event_dims": 3}, "targets of 2 dimensions, not 3"),
        ("n,n,y,x", {"forward": "gaussian"}, "targets of 2 dimensions, not 1"),
    ],
)
def test_axes_that_cannot_be(axes: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", drawn((3, 2, 8, 9), "f4"))
    with pytest.raises(ValueError, match=message):
        Targets(axes=axes, **options).find(open_file(tmp_path / "x.npy"))


def test_a_complex_array_has_no_axis_of_parts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", drawn((3, 2, 8, 9)))
    with pytest.raises(TypeError, match="need a real one"):
        Targets(axes="n,r,y,x").find(open_file(tmp_path / "x.npy"))


def by_hand(a: np.ndarray, words: tuple[str, ...]) -> np.ndarray:
    """Return the targets (batch, *event), entry by entry."""
    sizes = {(axis, "n"): size // len(word) for axis, (word, size) in enumerate(zip(words, a.shape, strict=True))}
    batch = [sizes[axis, "n"] for axis, word in enumerate(words) if "n" in word]
    event = [size for word, size in zip(words, a.shape, strict=True) if word in "xyzuvw"]
    x = np.zeros((int(np.prod(batch)), *event), np.complex64 if "r" in "".join(words) else np.float32)
    for index in np.ndindex(a.shape):
        number, part, place = 0, 0, []
        for axis, (word, i) in enumerate(zip(words, index, strict=True)):
            if word == "r":
                part = i
            elif word == "nr":
                number, part = number * sizes[axis, "n"] + i // 2, i % 2
            elif word == "rn":
                number, part = number * sizes[axis, "n"] + i % sizes[axis, "n"], i // sizes[axis, "n"]
            elif word == "n":
                number = number * sizes[axis, "n"] + i
            else:
                place.append(i)
        x[(number, *place)] += (1, 1j)[part] * a[index]
    return x


@given(
    st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 9, 16, 40, 64, 1000]), min_size=1, max_size=5).map(tuple),
    st.sampled_from(["f4", "c8"]),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, 0, -1]),
    st.sampled_from([".npy", ".mat"]),
)
def test_every_offer_settles(
    shape: tuple[int, ...], dtype: str, dims: int | None, batch_axis: int | None, suffix: str
) -> None:
    file: Any = SimpleNamespace(
        hidden=(), arrays={"x": Array(shape, np.dtype(dtype), (1,) * len(shape))}, path=Path(f"x{suffix}"), resolve=str
    )
    try:
        layout, _ = find(file, event_dims=dims, batch_axis=batch_axis)
        assert len(layout.event) == (dims or 2)
        return
    except (ValueError, KeyError) as error:
        message, notes = str(error), getattr(error, "__notes__", [])
    if "cannot be" in message:  # too few axes
        assert len(shape) < (dims or 2)
        return
    offers = [axes for note in notes for axes in offered(note)]
    assert offers
    assert offers[:3] == offered(message)
    assert len(set(offers)) == len(offers)
    for axes in offers:
        layout, _ = find(file, axes=axes)
        assert np.prod(layout.batch) * np.prod(layout.event) * (1 + ("r" in axes)) == np.prod(shape)
        assert dims in (None, len(layout.event))
        assert batch_axis is None or "n" in layout.axes[batch_axis]


@st.composite
def words_and_shapes(draw: st.DrawFn) -> tuple[tuple[str, ...], tuple[int, ...]]:
    event = ["y", "x"][: draw(st.integers(1, 2))]
    parts = draw(st.sampled_from([[], ["r"], ["nr"], ["rn"]]))
    words = draw(st.permutations([*event, *parts, *["n"] * draw(st.integers(0, 2))]))
    sizes = {"r": st.just(2), "nr": st.sampled_from([2, 4, 6]), "rn": st.sampled_from([2, 4, 6])}
    return tuple(words), tuple(draw(sizes.get(word, st.integers(1, 4))) for word in words)


@given(words_and_shapes(), st.integers(1, 400), st.booleans())
def test_any_axes_are_read_and_written_as_by_hand(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[tuple[str, ...], tuple[int, ...]], most: int, turned: bool
) -> None:
    words, shape = case
    path = tmp_path_factory.mktemp("axes") / "x.npy"
    a = np.random.default_rng(0).normal(size=shape).astype("f4")
    np.save(path, np.asfortranarray(a) if turned else a)
    file = open_file(path)
    layout, _ = find(file, axes=",".join(words))
    wanted = torch.from_numpy(by_hand(a, words))
    parts = blocks(layout, most)
    assert torch.equal(torch.cat([layout.read(file, part) for part in parts]), wanted)

    written = np.zeros_like(a)

    def into(index: tuple[slice, ...], values: np.ndarray) -> None:
        assert not written[index].any()  # no two blocks share an entry
        written[index] = values

    for part in parts:
        layout.write([into], layout.read(file, part), part)
    assert np.array_equal(written, a)


# ------------------------------------------------------------------------------------------------ which arrays

X = drawn((3, 8, 9))


@pytest.mark.parametrize(
    ("arrays", "offers"),
    [
        ({"object": X.real, "F": X}, ["object", "F"]),
        ({"density": X.real, "y": X}, ["density", "y"]),
        ({"fourier": X, "x": X.real}, ["x", "fourier"]),
        ({"x_fft": X}, ["x_fft"]),
        ({"intensity": np.abs(X)}, ["intensity"]),
        ({"entry_1/data_1/data": np.abs(X)}, ["entry_1/data_1/data"]),
        ({"entry/data": np.abs(X)}, ["entry/data"]),
        ({"detector_1/real": X.real, "detector_1/imag": X.imag}, ["detector_1/real,detector_1/imag"]),
        ({"a b": X, "c": X}, ["a b", "c"]),
    ],
)
def test_names_of_measurements_are_asked_about(
    arrays: dict[str, np.ndarray], offers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    src, out = tmp_path / "x.h5", tmp_path / "y.h5"
    with h5py.File(src, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    assert run(monkeypatch, "break", src, out) == 2
    error = capsys.readouterr().err
    assert str(src) in error
    found = offered(error, "key")
    assert found[: len(offers)] == offers
    for key in found:
        assert run(monkeypatch, "break", src, out, "--key", key, "--overwrite") == 0
        assert f": {key.replace(',', ', ')} (the key names it)" in capsys.readouterr().err
        with h5py.File(src) as a, h5py.File(out) as b:
            changed = {name for name in arrays if not np.array_equal(a[name], b[name])}
            assert changed == set(key.split(","))


@pytest.mark.parametrize(
    "arrays",
    [
        {"object": X, "intensity": np.abs(X)},
        {"entry_1/image_1/data": X, "entry_1/data_1/data": np.abs(X)},
        {"entry/data": X, "mask": X.real},
        {"amplitude": np.abs(X), "phase": np.angle(X), "diffraction": np.abs(X)},
    ],
)
def test_names_of_targets_are_not(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for key, value in arrays.items():
            file[key] = value
    assert next(iter(arrays)) in inspect(tmp_path / "x.h5").choice


SCANS = drawn((12, 8, 9))


def save_scans(path: Path, **members: np.ndarray) -> None:
    """Write arrays of 12 items as 12 groups, scan_2 before scan_10."""
    with h5py.File(path, "w") as file:
        for name, values in members.items():
            for number, value in enumerate(values):
                file[f"scan_{number}/{name}"] = value
        file["energy"] = np.arange(12)


def load_scans(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return np.stack([file[f"scan_{number}/{name}"] for number in range(12)])


def test_many_arrays_are_one_set_of_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    src, out, back = (tmp_path / f"{stem}.h5" for stem in ("in", "out", "back"))
    save_scans(src, object=SCANS, mask=SCANS.real > 0)
    np.save(tmp_path / "stack.npy", SCANS)
    assert run(monkeypatch, "info", src) == 2
    printed = capsys.readouterr()
    assert "scan_0/object ... scan_11/object: 12 arrays of complex64, (8, 9)" in printed.out
    assert printed.out.count("\n") == 3 + 13
    assert len(printed.err) < 400
    pattern, *single = offered(printed.err, "key")
    assert (pattern, single) == ("scan_*/object", ["scan_0/object", "scan_1/object"])
    assert "and 10 more, which symbreak info lists" in printed.err
    assert offered(printed.out, "key") == [pattern, *(f"scan_{number}/object" for number in range(12))]
    for key in single:
        assert run(monkeypatch, "info", src, "--key", key) == 0
        assert "targets: 1 target of 8 x 9" in capsys.readouterr().out
    monkeypatch.setattr("torch_symbreak.io.canonical.BLOCK", 2000)
    for command in ("break", "scramble"):
        assert run(monkeypatch, command, src, out, "--key", pattern, "--elements", "--overwrite") == 0
        assert (
            "12 targets of 8 x 9, complex64, from one array: scan_0/object ... scan_11/object (the key names them)"
            in (capsys.readouterr().err)
        )
        plan(command, tmp_path / "stack.npy", tmp_path / "wanted.npy", overwrite=True).run()
        assert np.allclose(load_scans(out, "object"), np.load(tmp_path / "wanted.npy"), atol=1e-5)
        assert np.array_equal(load_scans(out, "mask"), SCANS.real > 0)
        assert run(monkeypatch, "unbreak", out, back, "--overwrite") == 0
        assert np.allclose(load_scans(back, "object"), SCANS, atol=1e-5)


def test_many_pairs_a_group_and_batches(tmp_path: Path) -> None:
    save_scans(tmp_path / "pairs.h5", re=SCANS.real, im=SCANS.imag)
    file = open_file(tmp_path / "pairs.h5")
    layout, _ = find(file, key="scan_*/re,scan_*/im")
    assert (layout.kind, layout.batch) == ("parts", (12,))
    assert np.array_equal(layout.read(file, (slice(2, 11),)), SCANS[2:11])
    with pytest.raises(ValueError, match=r"key='scan_\*/re,scan_\*/im' for the pair"):
        find(file, key="scan_*/re")
    with h5py.File(tmp_path / "group.h5", "w") as group:
        for number in range(4):
            group[f"all/{number + 8}"] = SCANS[3 * number : 3 * number + 3]
        group["all/deeper/mask"] = np.ones(3)
    file = open_file(tmp_path / "group.h5")
    layout, _ = find(file, key="all")
    assert (layout.keys[:3], layout.batch) == (("all/8", "all/9", "all/10"), (4, 3))
    for most in (1, 1000, 10**9):
        parts = [layout.read(file, block) for block in blocks(layout, most)]
        assert np.array_equal(torch.cat(parts), SCANS)


def test_many_arrays_of_two_shapes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scan_1/object"], file["scan_2/object"] = SCANS[0], SCANS[0, :7]
    with pytest.raises(ValueError, match=r"not of one shape and dtype: scan_1/object: complex64, \(8, 9\); scan_2"):
        find(open_file(tmp_path / "x.h5"), key="scan_*/object")
    with pytest.raises(KeyError, match="has no array"):
        find(open_file(tmp_path / "x.h5"), key="scan_*/objects")


def test_info_takes_a_template_and_fails_where_break_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "t.npz", template=drawn((5, 5)))
    options = ["--template", tmp_path / "t.npz"]
    assert run(monkeypatch, "break", tmp_path / "x.npy", tmp_path / "y.npy", *options) == 2
    error = capsys.readouterr().err
    assert run(monkeypatch, "info", tmp_path / "x.npy", *options) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("array: complex64, (3, 8, 9)\n", error)


def test_fit_says_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    np.save(tmp_path / "x.npy", drawn((2, 9, 8, 5), "f4"))
    assert run(monkeypatch, "fit", tmp_path / "x.npy", tmp_path / "t.npz", "--axes", "r,y,x,n") == 0
    printed = capsys.readouterr()
    assert "5 targets of 9 x 8, complex64, from two channels, real and imaginary parts with axes r,y,x,n" in printed.err


def test_notes_of_older_versions_leave_no_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no axes, and wrong ones were taken: unbreak must take the same."""
    x = drawn((3, 10, 9, 3), "f4")
    np.savez(tmp_path / "x.npz", x=x)
    said = Targets(event_dims=2, batch_axis=0, layout="plain")
    plan("break", tmp_path / "x.npz", tmp_path / "y.npz", said, elements=True).run()
    with np.load(tmp_path / "y.npz") as file:
        content = dict(file)
    note = json.loads(str(content["symbreak"])) | {"batch_axis": 0}
    del note["axes"], note["key"]
    np.savez(tmp_path / "y.npz", **{**content, "symbreak": np.array(json.dumps(note))})
    plan("unbreak", tmp_path / "y.npz", tmp_path / "z.npz").run()
    with np.load(tmp_path / "z.npz") as file:
        assert np.allclose(file["x"], x, atol=1e-5)


def test_pages_of_matlab_are_asked_about(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "x.mat", {"x": drawn((8, 9, 5))})
    error = inspect(tmp_path / "x.mat").choice
    assert offered(error) == ["n,y,x", "y,x,n"]


def test_single_numbers_are_no_targets_and_structs_are_asked_about(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    objects = drawn((5, 9, 8), "c8")
    scipy_io.savemat(tmp_path / "one.mat", {"rec": {"obj": objects}, "t": 1.0})
    assert "no array that could be the targets" in str(inspect(tmp_path / "one.mat").error)
    scipy_io.savemat(tmp_path / "two.mat", {"rec": {"obj": objects}, "pixels": drawn((40, 50), "f4")})
    error = inspect(tmp_path / "two.mat").choice
    assert "rec may hold targets inside" in error
    assert offered(error, "key") == ["pixels"]
    scipy_io.savemat(tmp_path / "three.mat", {"x": objects, "wavelength": 1.0})
    assert "x (the only complex target" in inspect(tmp_path / "three.mat", Targets(event_dims=2, batch_axis=0)).choice


def test_arrays_of_two_shapes_are_not_offered_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", scan_0=drawn((9, 8), "c8"), scan_1=drawn((8, 9), "c8"))
    assert offered(inspect(tmp_path / "x.npz").choice, "key") == ["scan_0", "scan_1"]
