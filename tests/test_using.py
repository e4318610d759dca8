"""Choosing a backend: names, nesting, exceptions, threads, and backends that do not run."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from torch_symbreak import FarField
from torch_symbreak.canonical import FarFieldCanonicalizer, _cpu, backends, using

SMALL = torch.ones(1, 8, 8, dtype=torch.complex64)


def name_of(backend: Any) -> str | None:
    return None if backend is None else backend.__name__.rpartition("._")[2]


@pytest.mark.parametrize("name", ["cpu", "numba", "reference"])
def test_using_chooses_the_backend(name: Any) -> None:
    if name == "numba":
        pytest.importorskip("numba")
    fix = FarField().canonicalizer()
    before = name_of(fix._backend(SMALL))
    with using(name):
        assert name_of(fix._backend(SMALL)) == (None if name == "reference" else name)
        # Other items go to the reference: half precision, channels, periodic axes.
        assert fix._backend(SMALL.real.half()) is None
        assert FarFieldCanonicalizer(1, channel_dims=1)._backend(SMALL) is None
        assert FarFieldCanonicalizer(wrap=True)._backend(SMALL) is None
    assert name_of(fix._backend(SMALL)) == before


def test_using_nests_and_survives_exceptions() -> None:
    fix = FarField().canonicalizer()
    with using("cpu"):
        with using("reference"):
            assert fix._backend(SMALL) is None
        assert fix._backend(SMALL) is _cpu
        with pytest.raises(KeyError), using("reference"):
            raise KeyError
        assert fix._backend(SMALL) is _cpu


def test_using_leaves_other_threads_alone() -> None:
    fix, seen = FarField().canonicalizer(), []
    before = fix._backend(SMALL)
    thread = threading.Thread(target=lambda: seen.append(fix._backend(SMALL)))
    with using("reference"):
        thread.start()
        thread.join()
    assert seen == [before]


@pytest.mark.parametrize(("name", "hint"), [("triton2", r"Did you mean 'triton'\?"), ("CPU!", "numba, triton, but")])
def test_using_suggests_a_name(name: Any, hint: str) -> None:
    with pytest.raises(ValueError, match=f"backend needs to be one of reference, cpu.*{hint}"), using(name):
        pass


@pytest.mark.parametrize(("name", "advice"), [("numba", "pip install"), ("triton", "needs a GPU")])
def test_using_a_backend_that_does_not_run(name: Any, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, f"{name}_runs", lambda _: False)
    with pytest.raises(RuntimeError, match=advice), using(name):
        pass
