"""Everything beside the targets of a file comes out of ``break`` as it was, and ``unbreak`` gives the targets back.

Each row of the table "What is carried over" in docs/files.md is a test here.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from torch_symbreak.io import Targets, canonical, open_file, plan
from torch_symbreak.io.formats.base import Array, new_npy, npy_region

h5py = pytest.importorskip("h5py")
hdf5plugin = pytest.importorskip("hdf5plugin")
zarr = pytest.importorskip("zarr")
tifffile = pytest.importorskip("tifffile")
scipy_io = pytest.importorskip("scipy.io")
safetensors = pytest.importorskip("safetensors.torch")


def objects(count: int = 7) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, 6, dtype=torch.complex64, generator=generator)
    return torch.nn.functional.pad(x, (1, 5, 3, 0)).numpy()


X = objects()


def right(broken: np.ndarray, x: np.ndarray = X) -> bool:
    targets = torch.from_numpy(np.ascontiguousarray(x))
    return np.allclose(broken, Targets().fix(targets.dtype)(targets).numpy(), atol=1e-5)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "BLOCK", 2000)


@pytest.fixture(params=[False, True], ids=["plain", "elements"])
def elements(request: pytest.FixtureRequest) -> bool:
    return request.param


def refused(path: Path, match: str, **options: Any) -> str:
    """``break`` does nothing but say so in one line."""
    before = sorted(path.parent.iterdir())
    with pytest.raises((ValueError, KeyError, ModuleNotFoundError), match=match) as error:
        plan("break", path, path.with_name(f"out{path.suffix}"), Targets(**options))
    assert "\n" not in str(error.value)
    assert sorted(path.parent.iterdir()) == before
    return str(error.value)


# ------------------------------------------------------------------------------------------------------------ HDF5


def comparable(value: Any, file: Any) -> Any:
    """A value in which references are names, and which ``==`` compares to the bit."""
    if isinstance(value, h5py.RegionReference):
        space = h5py.h5r.get_region(value, file.id)
        return file[value].name, space.get_select_bounds(), space.get_select_npoints()
    if isinstance(value, h5py.Reference):
        return file[value].name if value else None
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return value.shape, [comparable(each, file) for each in value.reshape(-1)]
    if isinstance(value, np.void) and value.dtype.names:
        return [comparable(value[name], file) for name in value.dtype.names]
    if isinstance(value, (np.ndarray, np.generic)):
        return str(value.dtype), value.shape, value.tobytes()
    return value if isinstance(value, (str, bytes, type(None))) else repr(value)


def walk(path: Path, targets: tuple[str, ...], folder: Path | None = None) -> Iterator[tuple[object, ...]]:
    """Everything in a file but the values of targets and what is ours, each with its place."""
    with h5py.File(path) as file:
        yield "userblock", path.read_bytes()[: file.userblock_size]
        seen = {}
        todo = [("/", file["/"])]
        while todo:
            name, found = todo.pop()
            address = h5py.h5o.get_info(found.id).addr
            yield "object", name, type(found).__name__, seen.setdefault(address, name)
            if seen[address] != name:
                continue
            for number in range(h5py.h5a.get_num_attrs(found.id)):
                attribute = h5py.h5a.open(found.id, index=number)
                if attribute.name != b"symbreak":
                    dtype = attribute.get_type()
                    value = found.attrs[h5py.Group._d(found, attribute.name)]
                    yield "attribute", name, attribute.name, dtype.encode(), comparable(value, file)
            if isinstance(found, h5py.Datatype):
                yield "type", name, found.id.encode()
            elif isinstance(found, h5py.Dataset):
                made = found.id.get_create_plist()
                filters = [made.get_filter(number) for number in range(made.get_nfilters())]
                fill = found.fillvalue if found.shape is not None and not found.dtype.hasobject else None
                layout = (made.get_layout(), found.chunks, found.maxshape, found.external, repr(fill))
                yield "dataset", name, found.id.get_type().encode(), found.shape, filters, layout
                if found.shape is None:
                    continue
                if name not in targets and found.id.get_type().get_class() != h5py.h5t.BITFIELD:
                    yield "values", name, comparable(found[()], file)
                if found.ndim:
                    scales = [[(key, scale.name) for key, scale in axis.items()] for axis in found.dims]
                    yield "scales", name, [axis.label for axis in found.dims], scales
            else:
                names = [each for each in found.id if not each.startswith(b"symbreak_")]
                yield "links", name, names
                for each in names:
                    info = found.id.links.get_info(each)
                    if info.type == h5py.h5l.TYPE_HARD:
                        todo.append((f"{name.rstrip('/')}/{each.decode('latin1')}", found[each]))
                        continue
                    value = found.id.links.get_val(each)
                    if info.type == h5py.h5l.TYPE_EXTERNAL:
                        value = (os.path.realpath(path.parent / os.fsdecode(value[0])), value[1])
                        yield "behind", name, each, found[each][()].tobytes()
                    yield "link", name, each, info.type, value


def rich(path: Path, x: np.ndarray, libver: str | None, **storage: Any) -> None:
    """An HDF5 file with everything that a copy could lose, beside the target entry/x."""
    with h5py.File(path.with_name("beside.h5"), "w") as file:
        file["there"] = np.arange(5)
    with h5py.File(path, "w", libver=libver, userblock_size=512, track_order=True) as file:
        entry = file.create_group("entry", track_order=True)
        file["z_first"], file["a_second"] = 1, 2
        target = entry.create_dataset("x", data=x, **storage)
        target.attrs["unit"] = "m"
        entry["axis"] = np.arange(len(x))
        entry["axis"].make_scale("time")
        target.dims[0].attach_scale(entry["axis"])
        target.dims[1].label = "rows"
        file["alias"], file["soft"], file["entry/itself"] = target, h5py.SoftLink("/entry/x"), entry
        file["external"] = h5py.ExternalLink("beside.h5", "/there")
        file["after"] = 3
        references = file.create_dataset("references", (3,), h5py.ref_dtype)
        references[0], references[1] = target.ref, entry.ref
        regions = file.create_dataset("regions", (1,), h5py.regionref_dtype)
        regions[0] = target.regionref[2:4, :, 1:3]
        entry.attrs["default"] = target.ref
        entry.attrs.create("all", np.array([target.ref, entry.ref], object), dtype=h5py.ref_dtype)
        entry.attrs.create("ragged", np.array([np.arange(2), np.arange(5)], object), dtype=h5py.vlen_dtype(np.int32))
        named = np.array([(3, "über")], [("number", "i4"), ("text", h5py.string_dtype())])
        entry.attrs.create("named", named)
        if libver == "latest":
            entry.attrs["large"] = np.arange(20_000.0)
        ascii_text = file.create_dataset("ascii", (2,), h5py.string_dtype("ascii"))
        ascii_text[:] = [b"caf\xe9", b"plain"]
        file["Größe".encode("latin1")] = np.arange(3)
        file.create_group("Gr\xf6\xdfen".encode("latin1"))[b"\xe4"] = x[:2]
        part = np.dtype([("real", "f8"), ("imaginary", "f8")])
        file["compound"] = np.zeros((2, 3, 3), part)
        file.create_dataset("pairs", (2, 3), np.dtype([("a", "f4", (2,))]))
        kind = h5py.h5t.array_create(h5py.h5t.NATIVE_FLOAT, (2,))
        h5py.h5d.create(file.id, b"two_floats", kind, h5py.h5s.create_simple((3, 4)))
        h5py.h5d.create(file.id, b"bits", h5py.h5t.STD_B8LE, h5py.h5s.create_simple((3,)))
        file["nothing"] = h5py.Empty("f4")
        file["opaque"] = np.void(b"\0\1\2")
        file["type"] = np.dtype("i2")
        file.create_dataset("of_type", (3,), file["type"])
        file["mask"] = np.array([True, False])
        file.create_dataset("colors", data=[0, 1], dtype=h5py.enum_dtype({"red": 0, "green": 1}, basetype="i1"))
        file.create_dataset("cut", data=np.arange(60.0).reshape(6, 10), chunks=(2, 10), scaleoffset=2)
        file.create_dataset("grown", (4, 4), "i4", maxshape=(None, 4), chunks=(2, 2), fillvalue=7)[0] = 1
        layout = h5py.VirtualLayout((5,), "i8")
        layout[:3] = h5py.VirtualSource(".", "cut", (6, 10), "f8")[0, :3]
        file.create_virtual_dataset("inside", layout)
        file.attrs["beamline"] = "P06"
    with path.open("r+b") as file:
        file.write(b"text in front")


STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "gzip": {"chunks": (2, 4, 12), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (3, 8, 5), "compression": "lzf", "maxshape": (None, 8, 12)},
    "blosc": {"chunks": (1, 8, 12), **hdf5plugin.Blosc()},
    "zstd": {"chunks": (7, 8, 12), **hdf5plugin.Zstd()},
    "bitshuffle": {"chunks": (2, 8, 12), **hdf5plugin.Bitshuffle()},
    "unfiltered": {"chunks": (2, 8, 12)},
}


HDF5S = [
    *((storage, None, True) for storage in STORAGE),
    *((storage, "latest", False) for storage in ("contiguous", "gzip")),
]


@pytest.mark.parametrize(("storage", "libver", "elements"), HDF5S)
def test_hdf5(storage: str, libver: str | None, elements: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    src, out, back = tmp_path / "in.h5", tmp_path / "elsewhere" / "out.h5", tmp_path / "back.h5"
    rich(src, X, libver, **STORAGE[storage])
    before = [*walk(src, ("/entry/x", "/alias"))]
    assert len(before) > 90
    plan("break", src, out, Targets(key="entry/x"), elements=elements).run()
    assert [*walk(out, ("/entry/x", "/alias"))] == before
    with h5py.File(out) as file:
        assert right(file["entry/x"][:])
        assert file["alias"] == file["entry/x"]
        assert any(str(name).startswith("symbreak_") for name in file) == elements
    if elements:
        plan("unbreak", out, back).run()
        assert [*walk(back, ("/entry/x", "/alias"))] == before
        with h5py.File(back) as file:
            assert np.allclose(file["entry/x"], X, atol=1e-5)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_hdf5_of_arrays_of_two_floats(compression: str | None, tmp_path: Path) -> None:
    """Their last axis is real and imaginary part."""
    src, out = tmp_path / "in.h5", tmp_path / "out.h5"
    with h5py.File(src, "w") as file:
        kind = h5py.h5t.array_create(h5py.h5t.IEEE_F32LE, (2,))
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if compression:
            made.set_chunk((2, 8, 12))
            made.set_deflate(4)
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple(X.shape), made)
        file["x"][...] = X.view("f4").reshape(*X.shape, 2)
    assert open_file(src).arrays["x"].shape == (*X.shape, 2)
    planned = open_file(src)
    planned.prepare(tmp_path, ["x"])
    (sink,) = planned.sinks(tmp_path, ["x"])
    sink((slice(1, 3), slice(0, 8), slice(0, 12), slice(0, 2)), np.ones((2, 8, 12, 2), "f4"))
    planned.finish(tmp_path, ["x"], "{}", {})
    (tmp_path / "part").rename(out)
    wanted = X.view("f4").reshape(*X.shape, 2).copy()
    wanted[:] = wanted if not compression else 0
    wanted[1:3] = 1
    with h5py.File(out) as file:
        assert np.array_equal(file["x"][1:3], wanted[1:3])
        assert file["x"].id.get_type() == kind


def test_hdf5_names_in_latin_1(tmp_path: Path) -> None:
    src, out = tmp_path / "in.H5", tmp_path / "out.h5"
    with h5py.File(src, "w") as file:
        file.create_group("Gr\xf6\xdfe".encode("latin1"))[b"\xe4"] = X
    plan("break", src, out, Targets(key="Größe/ä"), elements=True).run()
    with h5py.File(out) as file:
        assert right(file["Gr\xf6\xdfe/\xe4".encode("latin1")][:])


def test_hdf5_stored_in_other_files(tmp_path: Path) -> None:
    src = tmp_path / "in.h5"
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["x"] = X
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource("source.h5", "x", X.shape)
    with h5py.File(src, "w") as file:
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", X.shape, X.dtype, external=[(str(tmp_path / "raw.bin"), 0, X.nbytes)])[:] = X
        file["linked"] = h5py.ExternalLink("source.h5", "/x")
        file["inside"] = X
    refused(src, "virtual of .*in.h5 is stored in other files, which are not changed: source.h5", key="virtual")
    refused(src, "raw of .* is stored in other files.*raw.bin", key="raw")
    refused(src, rf"linked of .* is a link to /x of source.h5.*Name it instead: {tmp_path}/source.h5", key="linked")
    # A virtual dataset is carried over only to where it finds its sources.
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match=r"virtual of .* is a virtual dataset of source.h5, which a copy .* not find"):
        plan("break", src, tmp_path / "elsewhere" / "out.h5", Targets(key="inside"))
    plan("break", src, tmp_path / "out.h5", Targets(key="inside")).run()
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["virtual"], X)
        assert np.array_equal(file["linked"], X)
    # HDF5 itself reads zeros.
    (tmp_path / "source.h5").unlink()
    with pytest.raises(ValueError, match=r"virtual dataset of source.h5, which is not there"):
        open_file(src).read("virtual", (slice(0, 1), slice(0, 8), slice(0, 12)))
    refused(src, "virtual of .* is stored in other files.* source.h5", key="virtual")


def test_hdf5_that_is_but_links(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["entry/data"] = h5py.ExternalLink("source.h5", "/x")
    refused(tmp_path / "in.h5", r"entry/data of .* is a link to /x of source.h5")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"dtype": "f4", "scaleoffset": 2}, "scaleoffset"),
        ({"dtype": "f4", **hdf5plugin.Zfp(rate=8)}, "zfp"),
        ({"dtype": "f4", **hdf5plugin.SZ3(absolute=0.1)}, "SZ3"),
        ({"dtype": "f4", **hdf5plugin.Blosc2(filters=hdf5plugin.Blosc2.TRUNC_PREC)}, "blosc2"),
    ],
    ids=["scaleoffset", "zfp", "sz3", "blosc2"],
)
def test_hdf5_filters_that_change_values(
    options: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("x", data=X.real, chunks=(1, 8, 12), **options)
    error = refused(tmp_path / "in.h5", f"(?i)x of .* is stored by a filter that may change values: .*{name}")
    # The remedy works.
    monkeypatch.chdir(tmp_path)
    code = re.search(r'python -c "(.*)"$', error)[1]
    subprocess.run([sys.executable, "-c", code], check=True)
    plan("break", "whole.h5", "out.h5").run()
    assert right(h5py.File("out.h5")["x"][:], h5py.File("in.h5")["x"][:])


def test_hdf5_filter_that_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("x", data=X, compression="gzip")
    monkeypatch.setattr(h5py.h5z, "get_filter_info", lambda code: h5py.h5z.FILTER_CONFIG_DECODE_ENABLED)
    refused(tmp_path / "in.h5", "by a filter that cannot write here: deflate")


def test_hdf5_companions_of_other_types(tmp_path: Path) -> None:
    """Enumerations and bits, chunked and contiguous, stay what they are; so does a native complex number."""
    values = {"enum": np.ones((7, 3), "i1"), "bits": np.full((7, 3), 2, "u1"), "bool": np.ones((7, 3), bool)}
    with h5py.File(tmp_path / "in.h5", "w") as file:
        for chunks in (None, (2, 3)):
            enum = h5py.enum_dtype({"off": 0, "on": 1}, basetype="i1")
            file.create_dataset(f"enum{chunks}", (7, 3), enum, chunks=chunks)
            made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            if chunks:
                made.set_chunk(chunks)
            space = h5py.h5s.create_simple((7, 3))
            h5py.h5d.create(file.id, f"bits{chunks}".encode(), h5py.h5t.STD_B8LE, space, made)
            file.create_dataset(f"bool{chunks}", (7, 3), bool, chunks=chunks)
        types = {name: found.id.get_type() for name, found in file.items()}
    file = open_file(tmp_path / "in.h5")
    keys = [*types]
    file.check(keys, tmp_path)
    file.prepare(tmp_path, keys)
    for key, sink in zip(keys, file.sinks(tmp_path, keys), strict=True):
        sink((slice(0, 7), slice(0, 3)), values[key[:4]])
    file.finish(tmp_path, keys, "{}", {})
    with h5py.File(tmp_path / "part") as out:
        assert all(np.array_equal(out[key][()], values[key[:4]]) for key in keys)
        assert {name: found.id.get_type() for name, found in out.items()} == types


@pytest.mark.skipif(not hasattr(h5py.h5t, "COMPLEX_IEEE_F32LE"), reason="HDF5 before 2.0 has no complex numbers")
def test_hdf5_native_complex(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.COMPLEX_IEEE_F32LE, h5py.h5s.create_simple(X.shape))
        file["x"][...] = X
    plan("break", tmp_path / "in.h5", tmp_path / "out.h5").run()
    with h5py.File(tmp_path / "out.h5") as file:
        assert right(file["x"][()])
        assert file["x"].id.get_type() == h5py.h5t.COMPLEX_IEEE_F32LE


# ---------------------------------------------------------------------------------------------------------- MATLAB


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_matlab_7_3(compression: str | None, elements: bool, tmp_path: Path) -> None:
    """Axes are turned, complex numbers are compounds, cells are references to #refs#."""
    src, out, back = (tmp_path / f"{stem}.MAT" for stem in ("in", "out", "back"))
    part = np.dtype([("real", "f4"), ("imag", "f4")])
    with h5py.File(src, "w", userblock_size=512) as file:
        file.create_dataset("x", data=np.ascontiguousarray(X.T).view(part), compression=compression)
        file["x"].attrs["MATLAB_class"] = np.bytes_("single")
        file["#refs#/a"], file["#refs#/b"] = np.arange(3.0), np.ones((2, 2))
        cells = file.create_dataset("cells", (2, 1), h5py.ref_dtype)
        cells[:, 0] = [file["#refs#/a"].ref, file["#refs#/b"].ref]
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        fields = np.array([np.frombuffer(b"ab", "S1"), np.frombuffer(b"c", "S1")], object)
        file.create_group("s").attrs.create("MATLAB_fields", fields, dtype=h5py.vlen_dtype(np.dtype("S1")))
        file["#subsystem#/MCOS"] = np.arange(4)
    with src.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    before = [*walk(src, ("/x",))]
    plan("break", src, out, elements=elements).run()
    assert [*walk(out, ("/x",))] == before
    with h5py.File(out) as file:
        assert right(file["x"][()].view("c8").T)
    if elements:
        plan("unbreak", out, back).run()
        assert [*walk(back, ("/x",))] == before


def variable(name: bytes, content: bytes, kind: int, order: str, shape: tuple[int, ...] | None = (1, 1)) -> bytes:
    """An element as the description of the format has it, with a name of at most four letters in its tag."""

    def tagged(number: int, data: bytes) -> bytes:
        return struct.pack(f"{order}II", number, len(data)) + data + bytes(-len(data) % 8)

    short = struct.pack(f"{order}I", len(name) << 16 | 1) + name.ljust(4, b"\0")
    dims = b"" if shape is None else tagged(5, struct.pack(f"{order}{len(shape)}i", *shape))
    return tagged(14, tagged(6, struct.pack(f"{order}II", kind, 0)) + dims + short + content)


def save_mat(path: Path, order: str, *, packed: bool) -> list[bytes]:
    """A MATLAB file with what scipy cannot write. The elements beside the target x, which is the third."""
    text = struct.pack(f"{order}II", 16, 4) + b"MCOS" + bytes(4)
    numbers = np.arange(12, dtype="i2").astype(f"{order}i2")
    compact = struct.pack(f"{order}II", 3, 24) + numbers.tobytes()  # doubles, stored in two bytes each
    x = np.moveaxis(X, 0, -1)
    parts = [part.astype(f"{order}f4").tobytes("F") for part in (x.real, x.imag)]
    target = b"".join(struct.pack(f"{order}II", 7, len(part)) + part for part in parts)
    single = struct.pack(f"{order}II", 2, 4) + bytes([1, 2, 3, 4]) + bytes(4)  # whole numbers, complex single
    elements = [
        variable(b"s", text, 17, order, None),  # an opaque object
        variable(b"d", compact, 6, order, (3, 4)),
        variable(b"x", target, 7 | 0x800 | 0x400, order, x.shape),  # global
        variable(b"f", variable(b"", b"", 1, order, (0, 0)), 16, order),  # a function handle
        variable(b"e", struct.pack(f"{order}HHi", *((4, 5) if order == "<" else (5, 4)), 32)
                 + struct.pack(f"{order}II", 1, 0), 2, order),  # a struct without fields
        variable(b"c", single + single, 7 | 0x800, order, (2, 2)),
        variable(b"", struct.pack(f"{order}II", 2, 8) + bytes(range(8)), 9, order, (1, 8)),  # what objects refer to
        variable(b"l", struct.pack(f"{order}II", 2, 2) + b"\1\0" + bytes(6), 9 | 0x200, order, (1, 2)),
    ]  # fmt: skip
    if packed:
        packs = [zlib.compress(element) for element in elements]
        elements = [struct.pack(f"{order}II", 15, len(pack)) + pack for pack in packs]
    where = 128 + sum(map(len, elements[:6]))
    header = b"MATLAB 5.0 MAT-file, made by hand".ljust(116) + struct.pack(f"{order}QH", where, 0x100)
    path.write_bytes(header + (b"IM" if order == "<" else b"MI") + b"".join(elements))
    return elements


@pytest.mark.parametrize("packed", [False, True], ids=["", "compressed"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_matlab(order: str, packed: bool, elements: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.mat" for stem in ("in", "out", "back"))
    before = save_mat(src, order, packed=packed)
    assert scipy_io.loadmat(src, variable_names=["x"])["x"].dtype.kind == "c"
    plan("break", src, out, Targets(key="x", batch_axis=-1), elements=elements).run()
    if elements:
        plan("unbreak", out, back).run()
        assert np.allclose(scipy_io.loadmat(back, variable_names=["x"])["x"], np.moveaxis(X, 0, -1), atol=1e-5)
    for path in (out, *([back] if elements else [])):
        content = path.read_bytes()
        assert content[:116] == src.read_bytes()[:116]
        for each in (*before[:2], *before[3:]):
            assert content.count(each) == 1
        # The header still says where that begins which objects refer to.
        (where,) = struct.unpack(f"{order}Q", content[116:124])
        assert content[where:].startswith(before[6])
    read = open_file(out)
    assert right(np.moveaxis(scipy_io.loadmat(out, variable_names=["x"])["x"], -1, 0))
    assert (read.arrays["x"].dtype, read.arrays["c"].dtype, read.arrays["d"].dtype) == ("c8", "c8", "f8")
    assert read.arrays["l"].dtype == bool
    assert read.read("d", (slice(0, 3), slice(0, 4))).dtype == "f8"
    # Class, complex, global: those of the input.
    assert [each.flags for name, each in read._elements if name == "x"] == [7 | 0x800 | 0x400]
    assert scipy_io.loadmat(out, variable_names=["x"])["__globals__"] == ["x"]


def test_matlab_whole_numbers_as_targets(tmp_path: Path) -> None:
    """Doubles that MATLAB stores in a byte each."""
    src, out = tmp_path / "in.mat", tmp_path / "out.mat"
    x = np.zeros((5, 6, 4))
    x[1:3, 2:4] = np.random.default_rng(0).integers(1, 9, (2, 2, 4))
    content = struct.pack("<II", 2, x.size) + x.astype("u1").tobytes("F")
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    src.write_bytes(header + variable(b"x", content, 6, "<", x.shape))
    plan("break", src, out, Targets(batch_axis=-1)).run()
    assert right(np.moveaxis(scipy_io.loadmat(out)["x"], -1, 0), np.moveaxis(x, -1, 0).astype(float))


def test_matlab_complex_stays_complex(tmp_path: Path) -> None:
    scipy_io.savemat(tmp_path / "in.mat", {"x": X.round(), "y": np.ones((2, 2), "c8"), "z": np.ones((2, 2), "c16")})
    plan("break", tmp_path / "in.mat", tmp_path / "out.mat", Targets(key="x"), elements=True).run()
    content = scipy_io.loadmat(tmp_path / "out.mat")
    assert [content[key].dtype for key in "xyz"] == ["c8", "c8", "c16"]


def test_matlab_struct(tmp_path: Path) -> None:
    scipy_io.savemat(tmp_path / "in.mat", {"s": {"x": X}, "y": np.ones((4, 4))})
    refused(tmp_path / "in.mat", r"s of .* is a struct. .*targets = s.NAME; save\('in.mat', 'targets'", key="s.x")
    scipy_io.savemat(tmp_path / "in.mat", {"s": {"x": X}})
    refused(tmp_path / "in.mat", r"s of .* is a struct")


# ------------------------------------------------------------------------------------------------------------ TIFF


def tags(path: Path) -> list[list[tuple[int, object]]]:
    """All tags of all pages but the places and sizes of strips and tiles."""
    with tifffile.TiffFile(path) as file:
        return [
            [(tag.code, tag.value) for tag in page.tags.values() if tag.code not in (273, 279, 324, 325)]
            for page in file.pages
        ]


REAL = np.ascontiguousarray(X.real)
PAGES = np.pad(np.repeat(REAL, 3, axis=0)[:8], ((0, 0), (0, 32), (0, 40)))
TAGS = {"photometric": "minisblack", "resolution": (3.5, 2.5), "resolutionunit": "CENTIMETER"}
TIFFS: dict[str, Callable[[Path], object]] = {
    "contiguous": lambda path: tifffile.imwrite(path, X, **TAGS, description="a crystal", software="by hand"),
    "imagej": lambda path: tifffile.imwrite(path, REAL, imagej=True, metadata={"spacing": 2.5, "axes": "ZYX"}),
    "ome": lambda path: tifffile.imwrite(path, REAL, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1}),
    "zlib": lambda path: tifffile.imwrite(path, REAL, **TAGS, compression="zlib", description="a crystal"),
    "bigtiff": lambda path: tifffile.imwrite(path, X, **TAGS, compression="zlib", bigtiff=True, byteorder=">"),
    "lzma": lambda path: tifffile.imwrite(path, X, **TAGS, compression="lzma", rowsperstrip=3),
    "tiles": lambda path: tifffile.imwrite(path, PAGES, **TAGS, tile=(16, 32)),
    "zipped tiles": lambda path: tifffile.imwrite(path, PAGES, **TAGS, tile=(16, 32), compression="zlib"),
    "zipped ome": lambda path: tifffile.imwrite(path, REAL, ome=True, compression="zlib", metadata={"axes": "ZYX"}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiff(kind: str, elements: bool, tmp_path: Path) -> None:
    src, out, back = tmp_path / "in.TIF", tmp_path / "out.tif", tmp_path / "back.TIFF"
    TIFFS[kind](src)
    before, x = tags(src), tifffile.imread(src)
    plan("break", src, out, elements=elements).run()
    assert tags(out) == before
    assert right(tifffile.imread(out), x)
    if elements:
        plan("unbreak", out, back).run()
        assert tags(back) == before
        assert np.allclose(tifffile.imread(back), x, atol=1e-5)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_written_page_by_page(compression: str | None, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.tif" for stem in ("in", "out", "back"))
    with tifffile.TiffWriter(src) as file:
        for number, page in enumerate(REAL):
            file.write(page, **TAGS, compression=compression, description=f"page {number}")
    with tifffile.TiffFile(src) as file:
        assert len(file.series) == 7
    plan("break", src, out, elements=True).run()
    assert tags(out) == tags(src)
    assert right(np.stack([page.asarray() for page in tifffile.TiffFile(out).pages]), REAL)
    plan("unbreak", out, back).run()
    assert np.allclose(np.stack([page.asarray() for page in tifffile.TiffFile(back).pages]), REAL, atol=1e-5)


def test_tiff_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    src = tmp_path / "in.tif"
    with tifffile.TiffWriter(src) as file:
        file.write(REAL)
        file.write(REAL[:, :4])
    refused(src, "2 series of pages of different shapes, and not one stack")
    tifffile.imwrite(src, REAL, **TAGS, compression="zlib")
    content = bytearray(src.read_bytes())
    for code, name in ((5, "LZW"), (2, "CCITTRLE")):
        with tifffile.TiffFile(src) as file:
            for page in file.pages:
                where = page.aspage().tags[259].valueoffset
                content[where : where + 2] = struct.pack("<H", code)
        src.write_bytes(content)
        refused(src, f"compressed by {name}. To read it: pip install imagecodecs")


# ------------------------------------------------------------------------------------------------------ .npz and .npy


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz(compression: int, elements: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.npz" for stem in ("in", "out", "back"))
    beside = {"a": np.arange(4), "x": X, "text": np.array(["ä"]), "turned": np.asfortranarray(X.real)}
    with zipfile.ZipFile(src, "w", compression) as archive:
        for key, value in beside.items():
            with archive.open(zipfile.ZipInfo(f"{key}.npy", (2001, 2, 3, 4, 5, 6)), "w") as file:
                np.save(file, value)
        archive.writestr("read.me", b"by hand", zipfile.ZIP_DEFLATED)
        pickled = io.BytesIO()
        np.save(pickled, np.array([{"a": 3}]), allow_pickle=True)
        archive.writestr("pickled.npy", pickled.getvalue())

    def content(path: Path) -> list[tuple[object, ...]]:
        with zipfile.ZipFile(path) as archive:
            return [
                (each.filename, each.compress_type, each.date_time, each.filename == "x.npy" or archive.read(each))
                for each in archive.infolist()
                if not each.filename.startswith("symbreak")
            ]

    plan("break", src, out, Targets(key="x"), elements=elements).run()
    assert content(out) == content(src)
    assert right(np.load(out)["x"])
    if elements:
        plan("unbreak", out, back).run()
        assert content(back) == content(src)
        assert np.allclose(np.load(back)["x"], X, atol=1e-5)


def test_npy(tmp_path: Path) -> None:
    """The header too, whatever its version."""
    src, out = tmp_path / "in.NPY", tmp_path / "out.npy"
    with src.open("wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(X), version=(3, 0))
    plan("break", src, out).run()
    assert out.read_bytes()[: -X.nbytes] == src.read_bytes()[: -X.nbytes]
    assert right(np.load(out))


# ------------------------------------------------------------------------------------------------------------ zarr


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True], ids=["", "consolidated"])
def test_zarr(form: int, consolidated: bool, elements: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.zarr" for stem in ("in", "out", "back"))
    group = zarr.open_group(src, mode="w", zarr_format=form)
    x = group.create_array("g/x", shape=X.shape, chunks=(3, 8, 5), dtype=X.dtype, fill_value=0)
    x[:] = X
    x.attrs["unit"] = "m"
    group.create_array("y", data=np.arange(5))
    group["g"].attrs["beamline"] = "P06"
    (src / "g" / "read.me").write_text("by hand")
    (src / "g" / "x" / "read.me").write_text("by hand")
    if consolidated:
        zarr.consolidate_metadata(src)

    def content(path: Path) -> dict[str, object]:
        found = zarr.open_group(path, mode="r")
        values = {
            str(file.relative_to(path)): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file() and file.parent != path and "symbreak" not in str(file.relative_to(path))
        }
        values = {key: value for key, value in values.items() if not re.search(r"g/x/(c/)?\d", key)}
        return values | {key: dict(each.attrs) for key, each in found.members(max_depth=None) if "symbreak" not in key}

    plan("break", src, out, elements=elements).run()
    assert content(out) == content(src)
    assert right(zarr.open_group(out, mode="r")["g/x"][:])
    if elements:
        plan("unbreak", out, back).run()
        assert content(back) == content(src)
        assert np.allclose(zarr.open_group(back, mode="r")["g/x"][:], X, atol=1e-5)


def test_zarr_that_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "in.zarr", data=X.real.copy(), zarr_format=2,
                      filters=[__import__("numcodecs").Quantize(1, "f4")])  # fmt: skip
    refused(tmp_path / "in.zarr", "array of .* is stored by the codec quantize, which may change values")
    shutil.rmtree(tmp_path / "in.zarr")
    zarr.create_array(tmp_path / "in.zarr", data=X)
    (tmp_path / "in.zarr" / "passwd").symlink_to("/etc/passwd")
    refused(tmp_path / "in.zarr", r"in.zarr/passwd is a link. Copy the store: cp -rL in.zarr whole.zarr")
    (tmp_path / "x.zarr.zip").write_bytes(b"")
    refused(tmp_path / "x.zarr.zip", r"is zipped. Unzip it: python -m zipfile -e x.zarr.zip x.zarr")


# ----------------------------------------------------------------------------------------------------------- torch


def test_torch(elements: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.pt" for stem in ("in", "out", "back"))
    base = torch.arange(12.0)
    content = OrderedDict(
        n=3, x=torch.nn.Parameter(torch.from_numpy(X)), names=["a", "b"], size=torch.Size([2, 3]), brain=base.bfloat16()
    )
    content["a"], content["b"], content["sparse"] = base[:6], base[3:], torch.eye(3).to_sparse()
    content["nested"] = OrderedDict(deep=(torch.ones(2), "text"))
    torch.save(content, src)

    def same(path: Path) -> bool:
        read = torch.load(path)
        kept = {key: value for key, value in read.items() if not key.startswith("symbreak") and key != "x"}
        assert (type(read), type(read["nested"])) == (OrderedDict, OrderedDict)
        assert isinstance(read["x"], torch.nn.Parameter)
        assert read["a"].untyped_storage().data_ptr() == read["b"].untyped_storage().data_ptr()
        assert [*kept] == [key for key in content if key != "x"]
        assert torch.equal(kept["sparse"].to_dense(), torch.eye(3))
        wanted = {key: content[key] for key in kept}
        return all(str(kept[key]) == str(wanted[key]) for key in kept)

    plan("break", src, out, elements=elements).run()
    assert same(out)
    assert right(torch.load(out)["x"].detach().numpy())
    if elements:
        plan("unbreak", out, back).run()
        assert same(back)
        assert np.allclose(torch.load(back)["x"].detach(), X, atol=1e-5)


def test_torch_that_is_refused(tmp_path: Path) -> None:
    for content, message in [
        (
            {"x": X},
            r"other than tensors \(numpy.*torch.save\({'x': torch.from_numpy\(array\)}, 'in.pt'\)",
        ),
        (TensorDataset(torch.from_numpy(X)), r"TensorDataset\).*torch.save\({'x': tensor}, 'in.pt'\)"),
        ({"x": torch.zeros(3, 4, 4, dtype=torch.bfloat16)}, r"x of .* is bfloat16 .*'x': tensor.float\(\)"),
        ([torch.from_numpy(X)], r"holds a list.*torch.save\({'x': tensor}, 'in.pt'\)"),
    ]:
        torch.save(content, tmp_path / "in.pt")
        refused(tmp_path / "in.pt", message)
    torch.save({"x": torch.zeros(3, 4, 4, dtype=torch.bfloat16), "y": torch.ones(3)}, tmp_path / "in.pt")
    refused(tmp_path / "in.pt", "bfloat16", key="x")


# ------------------------------------------------------------------------------------------------------ safetensors


def test_safetensors(elements: bool, tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.safetensors" for stem in ("in", "out", "back"))
    beside = {
        "brain": torch.arange(3.0).bfloat16(),
        "eighth": torch.arange(5.0).to(torch.float8_e4m3fn),
        "flags": torch.tensor([True, False, True]),
        "ä/one": torch.tensor(3.0),
        "none": torch.zeros(0, 4, dtype=torch.float64),
    }
    metadata = {"format": "pt", "ä": "by hand"}
    safetensors.save_file({"x": torch.from_numpy(X), **beside}, src, metadata)

    def same(path: Path) -> bool:
        with safetensors.safe_open(path, "pt") as file:
            kept = {key: file.get_tensor(key) for key in file.keys() if not key.startswith("symbreak")}  # noqa: SIM118
            assert {key: value for key, value in file.metadata().items() if key != "symbreak"} == metadata
        assert kept.keys() == {"x", *beside}
        return all(torch.equal(kept[key].float(), value.float()) and kept[key].dtype == value.dtype
                   for key, value in beside.items())  # fmt: skip

    plan("break", src, out, elements=elements).run()
    assert same(out)
    assert right(safetensors.load_file(out)["x"].numpy())
    if elements:
        plan("unbreak", out, back).run()
        assert same(back)
        assert np.allclose(safetensors.load_file(back)["x"], X, atol=1e-5)


def test_safetensors_of_double_precision(tmp_path: Path) -> None:
    """Targets of two tensors are complex128, which the format has not. Their elements are there all the same."""
    src, out, back = (tmp_path / f"{stem}.safetensors" for stem in ("in", "out", "back"))
    x = torch.from_numpy(X).to(torch.complex128)
    safetensors.save_file({"re": x.real.contiguous(), "im": x.imag.contiguous()}, src)
    plan("break", src, out, elements=True).run()
    (scalar,) = (value for key, value in safetensors.load_file(out).items() if key.endswith("_scalar"))
    assert torch.equal(torch.view_as_complex(scalar), Targets().fix(x.dtype).element(x).scalar)
    plan("unbreak", out, back).run()
    again = safetensors.load_file(back)
    assert again.keys() == {"re", "im"}
    assert torch.allclose(torch.complex(again["re"], again["im"]), x, rtol=0, atol=1e-14)


def test_safetensors_that_is_refused(tmp_path: Path) -> None:
    x, path = torch.ones(3, 4, 4), tmp_path / "in.safetensors"
    for content, options in (({"x": x.bfloat16()}, {}), ({"x": x.bfloat16(), "y": x}, {"key": "x"})):
        safetensors.save_file(content, path)
        refused(path, r"x of .* is BF16, .* safetensors.torch.save_file\({'x': tensor.float\(\)}", **options)


def test_safetensors_with_slashes_around_a_name(tmp_path: Path) -> None:
    x = torch.from_numpy(X)
    src, out, back = (tmp_path / f"{stem}.safetensors" for stem in ("in", "out", "back"))
    safetensors.save_file({"x": x, "/x": x + 0, "/y/": x + 0}, src)
    for key in ("/x", "/y/"):
        plan("break", src, out, Targets(key=key), elements=True, overwrite=True).run()
        made = safetensors.load_file(out)
        assert [name for name in ("x", "/x", "/y/") if not torch.equal(made[name], x)] == [key]
        assert right(made[key].numpy())
        plan("unbreak", out, back, Targets(key=key), overwrite=True).run()
        torch.testing.assert_close(safetensors.load_file(back)[key], x)


def test_safetensors_whose_metadata_are_null(tmp_path: Path) -> None:
    header = f'{{"__metadata__":null,"x":{{"dtype":"C64","shape":{list(X.shape)},"data_offsets":[0,{X.nbytes}]}}}}'
    src, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    src.write_bytes(len(header).to_bytes(8, "little") + header.encode() + X.tobytes())
    plan("break", src, out).run()
    assert right(safetensors.load_file(out)["x"].numpy())


def test_elements_that_a_tool_has_converted_are_refused(tmp_path: Path) -> None:
    src, out, back = (tmp_path / f"{stem}.safetensors" for stem in ("in", "out", "back"))
    safetensors.save_file({"x": torch.from_numpy(X)}, src)
    plan("break", src, out, elements=True).run()
    with safetensors.safe_open(out, "pt") as file:
        note = file.metadata()
    made = safetensors.load_file(out)
    scalar, shift = (next(name for name in made if name.endswith(field)) for field in ("_scalar", "_shift"))
    for name, value in (
        (scalar, made[scalar].real),
        (scalar, torch.ones(len(X), 3, dtype=torch.float64)),
        (shift, made[shift].flatten()),
    ):
        safetensors.save_file(made | {name: value.contiguous()}, out, note)
        with pytest.raises(ValueError, match=rf"out.safetensors has .* as {name}, but .* is needed"):
            plan("unbreak", out, back)


# ----------------------------------------------------------------------------------------- what an earlier run left


def write(path: Path) -> None:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = X
    elif path.suffix == ".zarr":
        zarr.open_group(path, mode="w").create_array("x", data=X)
    elif path.suffix == ".npz":
        np.savez(path, x=X)
    elif path.suffix == ".mat":
        scipy_io.savemat(path, {"x": X})
    elif path.suffix == ".safetensors":
        safetensors.save_file({"x": torch.from_numpy(X)}, path)
    else:
        torch.save({"x": torch.from_numpy(X)}, path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".npz", ".mat", ".pt", ".safetensors"])
def test_elements_of_an_earlier_run(suffix: str, tmp_path: Path) -> None:
    """They are carried over unless they are replaced or dropped."""
    paths = [tmp_path / f"{number}{suffix}" for number in range(4)]
    write(paths[0])
    steps = [({"symbreak_a": 1.0, "symbreak_b": 2.0}, set()), ({"symbreak_b": 3.0}, set()), ({}, {"symbreak_a", "no"})]
    wanted = [{"symbreak_a": 1.0, "symbreak_b": 2.0}, {"symbreak_a": 1.0, "symbreak_b": 3.0}, {"symbreak_b": 3.0}]
    for number, ((new, drop), there) in enumerate(zip(steps, wanted, strict=True)):
        work = tmp_path / f"work{number}"
        work.mkdir()
        extra = {}
        for name, value in new.items():
            new_npy(work / f"{name}.npy", Array((2,), np.dtype("f8"), (1,)))
            extra[name] = npy_region(work / f"{name}.npy")
            extra[name].write((slice(0, 2),), np.full(2, value))
        file = open_file(paths[number])
        file.prepare(work, ["x"])
        (sink,) = file.sinks(work, ["x"])
        sink(tuple(slice(0, size) for size in X.shape), X)
        file.finish(work, ["x"], f'"{number}"', extra, drop)
        (work / "part").rename(paths[number + 1])
        after = open_file(paths[number + 1])
        assert after.note == f'"{number}"'
        found = {name: after.read(name, (slice(0, 2),) * len(array.shape)).ravel().tolist()
                 for name, array in after.arrays.items() if name.startswith("symbreak_")}  # fmt: skip
        assert found == {name: [value] * 2 for name, value in there.items()}
        assert np.array_equal(after.read("x", tuple(slice(0, size) for size in X.shape)), X)


# ---------------------------------------------------------------------------------------------------------- hostile


def test_hostile_files(tmp_path: Path) -> None:
    """One line each, without the memory they ask for."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<c8", "fortran_order": False, "shape": (1, 1 << 20, 1 << 20)}
    )
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    refused(tmp_path / "a.npy", "cut off")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
            archive.writestr("x.npy", header.getvalue())
        refused(tmp_path / "a.npz", "cut off")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (1, 1 << 20, 1 << 20), "c8", chunks=(1, 64, 64))
    refused(tmp_path / "a.h5", r"One target of .* takes 8.8e\+03 GB of memory, and this machine has")
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    root.create_array("x", shape=(1, 1 << 20, 1 << 20), chunks=(1, 64, 64), dtype="c8")
    refused(tmp_path / "a.zarr", "GB of memory")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", (1 << 30, 16, 16), "c8", chunks=(1 << 20, 16, 16), compression="gzip")
    assert open_file(tmp_path / "c.h5").check(["x"]) is None
    root.create_array("y", shape=(1 << 30, 16, 16), chunks=(1 << 30, 16, 16), dtype="c8")
    refused(tmp_path / "a.zarr", r"y of .* takes 2.2e\+03 GB of memory", key="y")
    # Names that lead out of the store.
    evil = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=2)
    evil.create_array("x", data=X)
    zarr.consolidate_metadata(tmp_path / "b.zarr")
    listed = json.loads((tmp_path / "b.zarr" / ".zmetadata").read_text())
    listed["metadata"]["../a.zarr/x/.zarray"] = listed["metadata"]["x/.zarray"]
    (tmp_path / "b.zarr" / ".zmetadata").write_text(json.dumps(listed))
    refused(tmp_path / "b.zarr", "b.zarr cannot be read as .zarr", key="../a.zarr/x")
    np.savez(tmp_path / "b.npz", x=np.array([{}, 3], object))
    refused(tmp_path / "b.npz", "no array that could be the targets")
    (tmp_path / "b.mat").write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
        + variable(b"x", b"", 6, "<", (1 << 20, 1 << 20, 1))
    )  # fmt: skip
    refused(tmp_path / "b.mat", "GB of memory|cut off|Say which axis")


def test_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that says truly how much it unpacks to is measured against the memory before it is unpacked."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((160, 32, 32)))
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    refused(tmp_path / "a.npz", "x of .* takes 0.00131 GB of memory, and this machine has 0.001 GB")
