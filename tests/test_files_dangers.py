"""What would be wrong or lost in silence: overflows, outputs that appear meanwhile, arrays that share values."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.io import Targets, fit_template, plan


@pytest.fixture
def x() -> np.ndarray:
    return BraggCrystals(6, frame=(12, 12), seed=1).objects(torch.arange(6)).numpy()


@pytest.mark.parametrize(("dtype", "scale"), [("f2", 6e4), ("f4", 3e38)])
@pytest.mark.parametrize("command", ["break", "scramble"])
def test_a_phase_that_leaves_the_dtype_is_an_error(command: str, dtype: str, scale: float, tmp_path: Path) -> None:
    """Both parts of 1 + 1j are in range. Turned to the real axis it is not."""
    values = np.zeros((3, 2, 8, 8), dtype)
    values[:, :, 2:5, 2:6] = scale
    np.save(tmp_path / "in.npy", values)
    call = plan(command, tmp_path / "in.npy", tmp_path / "out.npy", Targets(axes="n,r,y,x"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Save it in a wider dtype"):
        call.run()
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]
    np.save(tmp_path / "half.npy", values / 2)
    plan(command, tmp_path / "half.npy", tmp_path / "out.npy", Targets(axes="n,r,y,x")).run(warn=str)  # type: ignore[arg-type]
    assert np.isfinite(np.load(tmp_path / "out.npy")).all()


@pytest.mark.parametrize("name", ["out.npy", "out.h5", "out.npz"])
def test_an_output_that_appears_meanwhile_is_kept(name: str, x: np.ndarray, tmp_path: Path) -> None:
    src, out = tmp_path / f"in{Path(name).suffix}", tmp_path / name
    if name == "out.npy":
        np.save(src, x)
    elif name == "out.npz":
        np.savez(src, x=x)
    else:
        with h5py.File(src, "w") as file:
            file["x"] = x

    def appears(done: int, count: int) -> None:
        out.write_text("mine")

    with pytest.raises(FileExistsError, match="overwrite=True"):
        plan("break", src, out).run(progress=appears)
    assert out.read_text() == "mine"
    out.unlink()
    plan("break", src, out).run()
    straight = tmp_path / f"straight{out.suffix}"
    plan("break", src, straight).run()
    assert straight.read_bytes() == out.read_bytes()


def test_the_template_is_not_replaced(x: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=x)
    template = tmp_path / "template.npz"
    fit_template(tmp_path / "in.npz", template, Targets(), progress=False)
    with pytest.raises(ValueError, match="is the template"):
        plan("break", tmp_path / "in.npz", template, Targets(template=str(template)), overwrite=True)


def test_one_array_is_no_pair(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((3, 8, 8)))
    with pytest.raises(KeyError, match="names one array twice"):
        plan("break", tmp_path / "in.npz", tmp_path / "out.npz", Targets(key="x,x", layout="parts"))


def test_a_tensor_under_two_keys_is_asked_about(x: np.ndarray, tmp_path: Path) -> None:
    both = torch.from_numpy(x)
    torch.save({"x": both, "y": both, "z": both.clone()}, tmp_path / "in.pt")
    with pytest.raises(ValueError, match=r"x and y of .* are one tensor.*content\['y'\].clone\(\)"):
        plan("break", tmp_path / "in.pt", tmp_path / "out.pt", Targets(key="x"))
    plan("break", tmp_path / "in.pt", tmp_path / "out.pt", Targets(key="z")).run()
    assert torch.equal(torch.load(tmp_path / "out.pt")["y"], both)


@pytest.mark.parametrize("factor", [2, np.nan])
def test_elements_that_were_changed_are_told(factor: float, x: np.ndarray, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["x"] = x
    plan("break", tmp_path / "in.h5", tmp_path / "out.h5", elements=True).run()
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        (name,) = (name for name in file if name.endswith("_scalar"))
        file[name][2] *= factor
    with pytest.raises(ValueError, match="not of magnitude 1"):
        plan("unbreak", tmp_path / "out.h5", tmp_path / "again.h5").run()
    assert not (tmp_path / "again.h5").exists()


@pytest.mark.parametrize("remove", [True, False])
def test_an_input_that_is_cut_or_removed_is_told(remove: bool, x: np.ndarray, tmp_path: Path) -> None:
    """Whatever the library that reads it makes of that."""
    src = tmp_path / "in.h5"
    with h5py.File(src, "w") as file:
        file.create_dataset("x", data=np.tile(x, (200, 1, 1)), chunks=(1, 12, 12), compression="gzip")
    call = plan("break", src, tmp_path / "out.h5")
    if remove:
        message = "was removed while it was read. Nothing is written"
    else:
        message = "changed while it was read. Nothing is written"

    def damage(done: int, count: int) -> None:
        if remove:
            src.unlink(missing_ok=True)
        else:
            src.write_bytes(src.read_bytes()[:2000])

    with pytest.raises(ValueError, match=message):
        call.run(progress=damage)
    assert [path.name for path in tmp_path.iterdir()] == ([] if remove else ["in.h5"])


def test_a_template_of_nothing_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.zeros((0, 8, 8), "c8"))
    with pytest.raises(ValueError, match=r"at least 2 targets, but .*in\.npy has 0"):
        fit_template(tmp_path / "in.npy", tmp_path / "t.npz", Targets())
