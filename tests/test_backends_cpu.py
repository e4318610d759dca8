"""Backends on a CPU decide as the reference does, and leave to it the items they cannot decide."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from torch_symbreak import FarField
from torch_symbreak.canonical import FarFieldCanonicalizer, _cpu, backends, using
from torch_symbreak.canonical.rule import Decision
from torch_symbreak.testing import check_canonicalizer


@pytest.fixture(scope="module", params=["numba", "cpu"])
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Run a test on one backend after the other; return its module."""
    pytest.importorskip("numba" if request.param == "numba" else "numpy")
    with using(request.param):
        yield backends.backend_for(torch.ones(1, 2), 0.0)


@pytest.fixture
def numba_backend() -> Any:
    """Return the module of the Numba backend."""
    return pytest.importorskip("torch_symbreak.canonical._numba", reason="needs Numba", exc_type=ImportError)


def fixer(case: Drawn, threshold: float = 1e-4) -> FarFieldCanonicalizer:
    return FarField(case.event_dims, field=case.field).canonicalizer(threshold=threshold)


@pytest.mark.usefixtures("backend")
@given(cases(), st.sampled_from([0.0, 1e-4, 0.3, 0.8]), st.sampled_from([0.0, 1e-9, 1e-4, 0.2]), st.integers(-30, 30))
def test_decides_as_the_reference(case: Drawn, threshold: float, background: float, exponent: int) -> None:
    fix, x = fixer(case, threshold), case.make()
    x = (
        x + background * x.abs().max() * torch.randn(x.shape, dtype=x.dtype, generator=case.generator)
    ) * 10.0**exponent
    found, reference = fix.element(x), fix._reference(x)
    assert torch.equal(found.flipped, reference.flipped)
    assert torch.equal(found.shift, reference.shift)
    assert (found.scalar.shape, found.scalar.dtype) == (reference.scalar.shape, reference.scalar.dtype)
    steep = torch.finfo(x.dtype).eps / fix.margins(x)[["sign", "global_phase"][x.is_complex()]].clamp(min=1e-6)
    assert ((found.scalar - reference.scalar).abs() <= 1e2 * steep).all()
    wanted = fix.symmetry.act(found, x)
    assert torch.allclose(fix(x), wanted, rtol=1e-5, atol=1e-5 * float(x.abs().max()))


@pytest.mark.usefixtures("backend")
@given(cases(few_ties=True))
def test_laws(case: Drawn) -> None:
    check_canonicalizer(fixer(case), case.make(), generator=case.generator)


@given(cases(dims=(2,)))
def test_scores_after_the_first_decide_alike(backend: Any, case: Drawn) -> None:
    x = case.make().reshape(-1, *case.frame)
    content = x[:, *(slice(p, p + n) for p, n in zip(case.position, case.content, strict=True))]
    own_twins = case.place(content + content.flip((-1, -2)).conj())
    by_the_first_axis = case.place(content + content.flip(-1).conj())
    fix = fixer(case)
    for x in (own_twins, by_the_first_axis):
        assert torch.equal(fix.element(x).flipped, fix._reference(x).flipped)
        if backend is _cpu:
            with mock.patch.object(_cpu, "low_frequencies", wraps=_cpu.low_frequencies) as asked:
                decision = _cpu.decide(x, 1e-4, None)
            # The first score decides no item: the backend asks all frequencies, or leaves the item to the reference.
            assert sum(len(call.args[0]) for call in asked.call_args_list) == decision.certain.sum()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float64])
@pytest.mark.parametrize("size", [20, 70, 127])
@pytest.mark.parametrize("alone", [True, False])
def test_large_items_are_moved_as_by_act(backend: Any, dtype: torch.dtype, size: int, alone: bool) -> None:
    # Small boxes with nothing around them are copied; otherwise all of 128 x 128 entries are moved.
    generator = torch.Generator().manual_seed(size)
    x = torch.zeros(90, 128, 128, dtype=dtype)
    x[:, 1 : 1 + size, 1 : 1 + size] = torch.rand(90, size, size, dtype=dtype, generator=generator)
    x[3, 1 : 1 + size, 1 : 1 + size] = 1  # its own twin
    if not alone:
        x[:, 0, 0] = 1e-9
    fix = FarField(2, field="complex" if dtype.is_complex else "real").canonicalizer()
    decision = backend.decide(x, 1e-4, None)
    if backend is _cpu:
        assert _cpu._boxes_alone(x, _cpu._decided(x, 1e-4)[1]) == (alone and size <= 90)
        assert not decision.flipped[3]
    assert decision.certain.double().mean() > 0.9
    assert decision.flipped.any()
    assert not decision.flipped.all()
    assert torch.allclose(fix(x), fix.symmetry.act(fix._reference(x), x), rtol=1e-5, atol=1e-6)


def test_bad_values_stay_in_their_items(backend: Any) -> None:
    x = torch.rand(6, 64, 64, dtype=torch.complex64)
    x[1, 2, 3], x[2, 3, 4], x[3] = torch.nan, torch.inf, 0
    fix = FarField(2).canonicalizer()
    assert backend.decide(x, 1e-4, None).certain.tolist() == [True, False, False, False, True, True]
    assert torch.allclose(fix(x)[[0, 3, 4, 5]], fix(x[[0, 3, 4, 5]]))
    assert torch.equal(fix(x)[3], x[3])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_divide_a_batch(count: int, numba_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fix, x = FarField(2).canonicalizer(), torch.rand(count, 12, 11, dtype=torch.complex64)
    with using("numba"):
        wanted = fix(x)
        monkeypatch.setattr(numba_backend, "_AT_ONCE", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        assert torch.equal(fix(x), wanted)


def test_numba_that_does_not_run_is_not_used(numba_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Decision:
        raise RuntimeError("no place to keep it")

    attempt = backends.numba_runs.__wrapped__  # past the cache
    monkeypatch.setattr(numba_backend, "decide", broken)
    with pytest.warns(UserWarning, match=r"Numba does not run \(RuntimeError: no place"):
        assert not attempt(torch.float32)
    monkeypatch.setattr(numba_backend, "COMPILES", False)
    assert not attempt(torch.float32)


@pytest.mark.usefixtures("backend")
def test_another_default_device_and_traces() -> None:
    x, fix = torch.rand(3, 8, 8, dtype=torch.complex64), FarField(2).canonicalizer()
    with torch.device("meta"):
        assert torch.equal(fix(x), fix(x.cpu()))
    graph = make_fx(fix, tracing_mode="real")(x)
    assert torch.allclose(graph(1j * x.flip(1)), fix(1j * x.flip(1)), atol=1e-6)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("exponent", [-320, -161, -130, 130, 150])
def test_double_precision_where_products_leave_its_range(exponent: int) -> None:
    fix, x = FarField(1).canonicalizer(), torch.randn(500, 16, dtype=torch.complex128)
    scaled = x * 10.0**exponent
    assert torch.equal(fix.element(scaled).flipped, fix._reference(scaled).flipped)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("shape", "event_dims"), [((2**15, 128), 1), ((2**20, 4), 1), ((2**18, 4, 4), 2)])
def test_memory_of_many_small_items(shape: tuple[int, ...], event_dims: int) -> None:
    # NumPy reports its allocations: sums of a whole batch in double precision would be several times the input.
    fix, x = FarField(event_dims).canonicalizer(), torch.rand(shape, dtype=torch.complex64)
    tracemalloc.start()
    fix.element(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 12 * 2**23 + 0.5 * x.numel() * x.element_size()
