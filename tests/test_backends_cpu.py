"""The canonicalizer's fast ways on a CPU decide as its reference does, and give it what they cannot decide."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from draws import Drawn, cases
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from torch_symbreak import FarField, FarFieldCanonicalizer
from torch_symbreak.forward import _cpu, far_field
from torch_symbreak.forward.far_field import Way
from torch_symbreak.testing import assert_invariant, assert_representative, off_ties

NUMBA_RUNS = far_field._numba_runs.__wrapped__


@pytest.fixture(scope="module", autouse=True, params=["numba", "cpu"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numba":
            numba_way()
        else:
            patch.setattr(far_field, "_numba_runs", lambda dtype: False)
        yield request.param


def numba_way() -> Any:
    return pytest.importorskip("torch_symbreak.forward._numba", reason="needs Numba", exc_type=ImportError)


def fixer(case: Drawn, threshold: float) -> FarFieldCanonicalizer:
    return FarField(case.event_dims, field=case.field).canonicalizer(threshold=threshold)


@given(cases(), st.sampled_from([0.0, 1e-4, 0.3, 0.8]), st.sampled_from([0.0, 1e-9, 1e-4, 0.2]), st.integers(-30, 30))
def test_decides_as_the_reference(case: Drawn, threshold: float, background: float, exponent: int) -> None:
    fix, x = fixer(case, threshold), case.make()
    x = (
        x + background * x.abs().max() * torch.randn(x.shape, dtype=x.dtype, generator=case.generator)
    ) * 10.0**exponent
    found, reference = fix.element(x), fix._element(x)
    assert torch.equal(found.flipped, reference.flipped)
    assert torch.equal(found.shift, reference.shift)
    assert (found.scalar.shape, found.scalar.dtype) == (reference.scalar.shape, reference.scalar.dtype)
    steep = torch.finfo(x.dtype).eps / fix.margins(x)[["sign", "global_phase"][x.is_complex()]].clamp(min=1e-6)
    assert ((found.scalar - reference.scalar).abs() <= 1e2 * steep).all()
    wanted = fix.symmetry.act(found, x)
    assert torch.allclose(fix(x), wanted, rtol=1e-5, atol=1e-5 * float(x.abs().max()))


@given(cases())
def test_laws(case: Drawn) -> None:
    fix, x = fixer(case, 1e-4), case.make()
    assert_representative(fix, x)
    assert_invariant(fix, off_ties(fix, x), generator=case.generator)


def test_the_way_is_taken(way: Way) -> None:
    fix = FarField(2).canonicalizer()
    assert fix._way(torch.ones(1, 2, 2, dtype=torch.complex64)) == way
    assert fix._way(torch.ones(1, 2, 2, dtype=torch.float16)) is None


@given(cases(dims=(2,)))
def test_what_the_first_score_cannot_tell_others_do(case: Drawn) -> None:
    x = case.make().reshape(-1, *case.frame)
    content = x[:, *(slice(p, p + n) for p, n in zip(case.position, case.content, strict=True))]
    own_twins = case.place(content + content.flip((-1, -2)).conj())
    by_the_first_axis = case.place(content + content.flip(-1).conj())
    fix = fixer(case, 1e-4)
    for x in (own_twins, by_the_first_axis):
        with mock.patch.object(_cpu, "flip_scores", wraps=_cpu.flip_scores) as asked:
            found = _cpu.decide(x, 1e-4)
        # None is decided by the first score: all frequencies are asked of it, or the reference.
        assert sum(len(call.args[0]) for call in asked.call_args_list) == found.certain.sum()
        assert torch.equal(fix.element(x).flipped, fix._element(x).flipped)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float64])
@pytest.mark.parametrize("size", [20, 70, 127])
@pytest.mark.parametrize("alone", [True, False])
def test_large_items_are_moved_as_by_act(dtype: torch.dtype, size: int, alone: bool) -> None:
    # Boxes alone are copied if they are small and there is nothing else; all of 128 x 128 entries otherwise.
    generator = torch.Generator().manual_seed(size)
    x = torch.zeros(90, 128, 128, dtype=dtype)
    x[:, 1 : 1 + size, 1 : 1 + size] = torch.rand(90, size, size, dtype=dtype, generator=generator)
    x[3, 1 : 1 + size, 1 : 1 + size] = 1  # its own twin
    if not alone:
        x[:, 0, 0] = 1e-9
    fix = FarField(2, field="complex" if dtype.is_complex else "real").canonicalizer()
    found = _cpu.decide(x, 1e-4)
    assert _cpu.boxes_alone(x, found) == (alone and size <= 90)
    assert not found.flipped[3]
    assert found.certain.mean() > 0.9
    assert found.flipped.any()
    assert not found.flipped.all()
    assert torch.allclose(fix(x), fix.symmetry.act(fix._element(x), x), rtol=1e-5, atol=1e-6)


def test_bad_values_stay_in_their_items(way: Way) -> None:
    x = torch.rand(6, 64, 64, dtype=torch.complex64)
    x[1, 2, 3], x[2, 3, 4], x[3] = torch.nan, torch.inf, 0
    fix = FarField(2).canonicalizer()
    certain = numba_way().decide(x, 1e-4)[-1] if way == "numba" else _cpu.decide(x, 1e-4).certain
    assert certain.tolist() == [True, False, False, False, True, True]
    assert torch.allclose(fix(x)[[0, 3, 4, 5]], fix(x[[0, 3, 4, 5]]))
    assert torch.equal(fix(x)[3], x[3])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_divide_a_batch(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fix, x = FarField(2).canonicalizer(), torch.rand(count, 12, 11, dtype=torch.complex64)
    wanted = fix(x)
    monkeypatch.setattr(numba_way(), "_AT_ONCE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(fix(x), wanted)


def test_numba_that_does_not_run_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no place to keep it")

    monkeypatch.setattr(numba_way(), "decide", broken)
    with pytest.warns(UserWarning, match=r"Numba does not run \(RuntimeError: no place"):
        assert not NUMBA_RUNS(torch.float32)
    monkeypatch.setattr(numba_way(), "COMPILES", False)
    assert not NUMBA_RUNS(torch.float32)


def test_another_default_device_and_traces() -> None:
    x, fix = torch.rand(3, 8, 8, dtype=torch.complex64), FarField(2).canonicalizer()
    with torch.device("meta"):
        assert torch.equal(fix(x), fix(x.cpu()))
    graph = make_fx(fix, tracing_mode="real")(x)
    assert torch.allclose(graph(1j * x.flip(1)), fix(1j * x.flip(1)), atol=1e-6)


@pytest.mark.parametrize("exponent", [-320, -161, -130, 130, 150])
def test_double_precision_where_products_leave_its_range(exponent: int) -> None:
    fix, x = FarField(1).canonicalizer(), torch.randn(500, 16, dtype=torch.complex128)
    scaled = x * 10.0**exponent
    assert torch.equal(fix.element(scaled).flipped, fix._element(scaled).flipped)


@pytest.mark.parametrize(("shape", "event_dims"), [((2**15, 128), 1), ((2**20, 4), 1), ((2**18, 4, 4), 2)])
def test_memory_of_many_small_items(shape: tuple[int, ...], event_dims: int) -> None:
    # Peak memory of what NumPy makes: whole batches of double precision sums would be several times the input.
    fix, x = FarField(event_dims).canonicalizer(), torch.rand(shape, dtype=torch.complex64)
    tracemalloc.start()
    fix.element(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 12 * 2**23 + 0.5 * x.numel() * x.element_size()


def test_the_input_is_not_changed() -> None:
    x = torch.rand(6, 64, 64, dtype=torch.complex64)
    before = x.clone()
    FarField(2).canonicalizer()(x)
    assert torch.equal(x, before)


@given(cases(), st.sampled_from([None, 1, 2]))
def test_measure_and_break_is_both(case: Drawn, chunk: int | None) -> None:
    model = FarField(case.event_dims, oversampling=case.oversampling, field=case.field, chunk_size=chunk)
    x = case.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the torus
        y, broken = model.measure_and_break(x)
        wanted = model(x)
    assert torch.allclose(y, wanted, rtol=1e-5, atol=1e-5 * float(wanted.max()))
    assert torch.allclose(broken, model.canonicalizer()(x), rtol=1e-5, atol=1e-5)


def test_measure_and_break_takes_what_models_take() -> None:
    model = FarField(2)
    y, broken = model.measure_and_break(torch.zeros(0, 2, 8, 6, dtype=torch.complex64))
    assert (y.shape, broken.shape) == ((0, 2, 16, 12), (0, 2, 8, 6))
    with pytest.raises(TypeError, match="field"):
        model.measure_and_break(torch.zeros(2, 8, 6))
    x = torch.rand(3, 8, 6, dtype=torch.complex64, requires_grad=True)
    sum(part.abs().sum() for part in model.measure_and_break(x)).backward()
    assert x.grad is not None
    assert torch.isfinite(torch.view_as_real(x.grad)).all()
