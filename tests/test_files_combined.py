"""Files: axes, companions, names, and several runs together."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak.io import Targets, canonical, find, fit_template, inspect, open_file, plan
from torch_symbreak.io.formats.base import Array
from torch_symbreak.io.formats.npy import Npy

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")

GENERATOR = np.random.default_rng(0)
PLAIN = {"event_dims": 2, "batch_axis": 0}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 4000)


def objects(count: int = 7) -> np.ndarray:
    x = np.zeros((count, 10, 10), np.complex64)
    x[:, 1:6, 2:8] = GENERATOR.normal(size=(count, 5, 6)) + 1j * GENERATOR.normal(size=(count, 5, 6))
    return x


def save(path: Path, arrays: dict[str, np.ndarray], chunked: bool = False) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                chunks = tuple(min(size, 3 + number) for number, size in enumerate(array.shape))
                options = {"chunks": chunks, "compression": "gzip"} if chunked else {}
                file.create_dataset(name, data=array, **options)
    elif path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w")
        for name, array in arrays.items():
            group.create_array(name, data=array, chunks=tuple(min(size, 4) for size in array.shape))
    else:
        np.savez(path, **arrays)


def load(path: Path) -> dict[str, np.ndarray]:
    file = open_file(path)
    return {name: file.read(name, tuple(slice(0, size) for size in array.shape)) for name, array in file.arrays.items()}


def same(path: Path, other: Path) -> bool:
    """Return whether two files hold the same arrays, but for the provenance and the last digits of complex numbers."""
    a, b = ({name: array for name, array in load(each).items() if name != "symbreak"} for each in (path, other))
    return a.keys() == b.keys() and all(
        np.allclose(a[name], b[name], atol=1e-5) if b[name].dtype.kind in "cf" else np.array_equal(a[name], b[name])
        for name in b
    )


# ------------------------------------------------------------------------------------------------ axes that are found


@given(
    shape=st.lists(st.sampled_from([1, 2, 3, 4, 8, 10, 16, 32]), min_size=1, max_size=5),
    dtype=st.sampled_from(["float32", "complex64"]),
    layout=st.sampled_from([None, "plain", "channels"]),
    event_dims=st.sampled_from([None, 1, 2, 3]),
    batch_axis=st.sampled_from([None, 0, 1, -1]),
    real=st.booleans(),
)
def test_a_question_about_axes_offers_what_is_accepted(
    shape: list[int], dtype: str, layout: str | None, event_dims: int | None, batch_axis: int | None, real: bool
) -> None:
    """Each line that is offered is accepted, and gives the targets that it promises."""
    file = Npy.__new__(Npy)
    file.path, file.arrays = Path("x.npy"), {"array": Array(tuple(shape), np.dtype(dtype), (1,) * len(shape))}
    try:
        find(file, layout=layout, event_dims=event_dims, batch_axis=batch_axis, real=real)
    except (TypeError, ValueError) as error:
        for axes, count, kind, event in re.findall(r"axes='(\S+)' for (\d+) (\w+) targets? of ([\d x]+\d)", str(error)):
            found, _ = find(file, axes=axes, real=real)
            assert (math.prod(found.batch), " x ".join(map(str, found.event))) == (int(count), event)
            assert found.dtype.is_complex == (kind == "complex")


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((16, 16, 2, 3), {"event_dims": 2, "batch_axis": -1}),
        ((4, 2, 10, 8), {"event_dims": 3, "layout": "channels"}),
        ((2, 16, 16, 20), {"event_dims": 2, "layout": "channels"}),
        ((5, 2, 9, 9), {"event_dims": 2, "layout": "channels"}),
    ],
)
def test_unbreak_finds_the_axes_that_break_found(
    shape: tuple[int, ...], options: dict[str, int | str], tmp_path: Path
) -> None:
    """The provenance kept what had been said, which did not settle axes that the shape had settled."""
    src, out, back = (tmp_path / name for name in ("in.h5", "out.h5", "back.h5"))
    save(src, {"x": GENERATOR.normal(size=shape).astype(np.float32)})
    planned = plan("scramble", src, out, Targets(**options), elements=True, seed=1)  # type: ignore[arg-type]
    planned.run()
    assert plan("unbreak", out, back).layout == planned.layout
    plan("unbreak", out, back).run()
    assert not same(out, src)
    assert same(back, src)


def test_real_targets_ask_for_nothing_that_a_complex_array_cannot_be(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", objects(10))
    found = inspect(tmp_path / "x.npy", Targets("square"))
    assert isinstance(found.error, TypeError)
    assert "complex, but the targets of this model are real" in found.choice


# ------------------------------------------------------------------------------------------------ axes and companions


def stored(x: np.ndarray, axes: str) -> np.ndarray:
    """Targets (n, y, x) with these axes, written down without the library."""
    letters = [letter for word in axes.split(",") for letter in word]
    if "r" not in letters:
        return x.transpose(["nyx".index(letter) for letter in letters])
    parts = np.stack([x.real, x.imag], -1).transpose(["nyxr".index(letter) for letter in letters])
    sizes = iter(parts.shape)
    return parts.reshape([math.prod(next(sizes) for _ in word) for word in axes.split(",")])


@pytest.mark.parametrize("axes", ["n,y,x,r", "r,n,y,x", "nr,y,x", "rn,y,x", "y,x,n", "y,x,nr", "y,n,x,r"])
@pytest.mark.parametrize(("suffix", "chunked"), [(".h5", False), (".h5", True), (".zarr", True), (".npz", False)])
def test_companions_go_with_targets_of_any_axes(axes: str, suffix: str, chunked: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{name}{suffix}" for name in ("in", "out", "back"))
    x = objects()
    alone = ",".join(word.replace("r", "") for word in axes.split(",") if word != "r")
    save(src, {"x": stored(x, axes), "size": stored(np.abs(x), alone), "other": np.arange(3.0)}, chunked)
    plan("break", src, out, Targets(key="x", axes=axes), elements=True, also=["size", "/size"]).run()
    want = Targets().fix(torch.complex64)(torch.from_numpy(x)).numpy()
    assert np.allclose(load(out)["x"], stored(want, axes), atol=1e-5)
    # Magnitudes move as their targets do, by an oracle that needs no element.
    assert np.allclose(load(out)["size"], stored(np.abs(want), alone), atol=1e-5)
    plan("unbreak", out, back).run()
    assert same(back, src)


def test_info_fails_where_break_would_for_a_companion(tmp_path: Path) -> None:
    src = tmp_path / "in.npz"
    save(src, {"x": objects(), "support": np.ones((7, 9, 9), bool)})
    for also in (["support"], ["nothing"]):
        with pytest.raises((KeyError, ValueError)) as error:
            plan("break", src, tmp_path / "out.npz", Targets(key="x", **PLAIN), also=also)  # type: ignore[arg-type]
        found = inspect(src, Targets(key="x", **PLAIN), also=also)  # type: ignore[arg-type]
        assert found.error is not None
        assert found.error.args == error.value.args


# ------------------------------------------------------------------------------------------------------ several runs


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".npz"])
def test_runs_that_share_a_companion_are_undone_one_after_the_other(suffix: str, tmp_path: Path) -> None:
    """The second run dropped the first one's elements, although it could be undone itself."""
    src, one, both, less, none = (tmp_path / f"{name}{suffix}" for name in ("in", "one", "both", "less", "none"))
    save(src, {"a": objects(), "b": objects(), "mask": GENERATOR.integers(0, 99, (7, 10, 10))})
    plan("break", src, one, Targets(key="a", **PLAIN), elements=True, also=["mask"]).run()  # type: ignore[arg-type]
    plan("scramble", one, both, Targets(key="b", **PLAIN), elements=True, also=["mask"]).run()  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="has no elements of 'a' to undo"):
        plan("unbreak", both, less, Targets(key="a"))
    plan("unbreak", both, less).run()
    assert same(less, one)
    plan("unbreak", less, none).run()
    assert same(none, src)
    with pytest.raises(ValueError, match="no group elements to undo"):
        plan("unbreak", none, tmp_path / f"more{suffix}")


@pytest.mark.parametrize("name", ["in.h5", "in.npy"])
def test_elements_that_a_later_run_replaced_are_not_promised(name: str, tmp_path: Path) -> None:
    files = [tmp_path / str(number) / name for number in range(4)]
    for path in files:
        path.parent.mkdir()
    src, one, two, undone = files
    np.save(src, objects()) if src.suffix == ".npy" else save(src, {"x": objects()})
    plan("scramble", src, one, Targets(axes="n,y,x"), elements=True).run()
    plan("break", one, two, Targets(axes="n,y,x"), elements=True).run()
    plan("unbreak", two, undone).run()
    assert same(undone, one) or name == "in.h5"
    with pytest.raises(ValueError, match="no group elements to undo"):
        plan("unbreak", undone, tmp_path / name)


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["x,y", "x[1]", "x*", "two words", "a/b,c"])
def test_any_name_can_be_named(name: str, tmp_path: Path) -> None:
    src, out, back = (tmp_path / each for each in ("in.h5", "out.h5", "back.h5"))
    save(src, {name: objects(), "z": np.zeros((7, 10))})
    for key in (None, name):
        plan("break", src, out, Targets(key=key, **PLAIN), elements=True, overwrite=True).run()  # type: ignore[arg-type]
        plan("unbreak", out, back, Targets(key=key), overwrite=True).run()
        assert same(back, src)
        with pytest.raises(KeyError) as error:
            plan("unbreak", out, back, Targets(key="no"), overwrite=True)
        offered = shlex.split(str(error.value.args[0]).partition("those of: key=")[2].rstrip("."))
        assert offered == [name]


# ---------------------------------------------------------------------------------------------------------- templates


def test_a_template_is_fitted_to_targets_with_several_batch_axes(tmp_path: Path) -> None:
    """A block of leading axes was counted without those behind them."""
    x = GENERATOR.normal(size=(3, 4, 8, 8)).astype(np.float32)
    for name, array in {"two": x, "one": x.reshape(12, 8, 8)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    fits = [
        fit_template(tmp_path / f"{name}.npy", tmp_path / f"{name}.npz", Targets(axes=axes), progress=False)
        for name, axes in {"two": "n,n,y,x", "one": "n,y,x"}.items()
    ]
    assert [fix.seen for fix in fits] == [12, 12]
    assert torch.equal(fits[0].template, fits[1].template)


def test_a_lost_companion_is_named(tmp_path: Path) -> None:
    src, out = tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(src, objects())
    plan("break", src, out, Targets(axes="n,y,x"), elements=True).run()
    (tmp_path / "out.npy.symbreak.npz").rename(tmp_path / "away.npz")
    with pytest.raises(ValueError, match=r"They would be in .*out\.npy\.symbreak\.npz: put it beside the file"):
        plan("unbreak", out, tmp_path / "again.npy")
