"""Triton's kernels decide and move as the reference does: on a GPU, or without one in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from draws import Drawn, cases
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_symbreak import FarField
from torch_symbreak._frequencies import low_frequencies
from torch_symbreak.canonical import FarFieldCanonicalizer, backends, using
from torch_symbreak.symmetries.conjugate_flip import flip_scores
from torch_symbreak.testing import check_canonicalizer

kernels = pytest.importorskip("torch_symbreak.canonical._triton", reason="needs Triton", exc_type=ImportError)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SINGLE = (torch.complex64, torch.float32)
FEW = settings(max_examples=settings().max_examples // 5)  # the interpreter is slow


@pytest.fixture(scope="module", params=["together", "apart"])
def steps(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take all steps in one kernel, or each in its own, with items divided among several programs."""
    with pytest.MonkeyPatch.context() as patch, using("triton"):
        if request.param == "apart":
            patch.setattr(kernels, "SMALL", 0)
            patch.setattr(kernels, "APART", kernels.Tiles(32, 1, 3))
            patch.setattr(kernels, "BLOCKS", 3)
        yield


def fixer(case: Drawn, **options: Any) -> FarFieldCanonicalizer:
    return FarFieldCanonicalizer(case.event_dims, field=case.field, **options)


@pytest.mark.usefixtures("steps")
@FEW
@given(cases(SINGLE), st.sampled_from([0.0, 1e-4, 0.3]), st.sampled_from([0.0, 1e-9, 1e-4]), st.integers(-30, 30))
def test_decides_and_moves_as_the_reference(case: Drawn, threshold: float, background: float, exponent: int) -> None:
    fix, x = fixer(case, threshold=threshold), case.make().to(DEVICE)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=case.generator).to(DEVICE)
    x = (x + background * x.abs().max() * noise) * 10.0**exponent
    clear, found, reference = fix.margin(x) > 1e-5, fix.element(x), fix._reference(x)
    assert torch.equal(found.flipped[clear], reference.flipped[clear])
    assert torch.equal(found.shift[clear], reference.shift[clear])
    assert found.scalar.dtype == reference.scalar.dtype
    assert ((found.scalar - reference.scalar).abs()[clear] < 1e-2).all()
    moved, wanted = fix(x), fix.symmetry.act(found, x)
    assert ((moved - wanted).abs() <= 1e-5 * wanted.abs() + 1e-37).all()  # entries below the threshold move too


@pytest.mark.slow  # in the interpreter
@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize(("frame", "dtype"), [((7, 9), torch.complex64), ((5, 4, 6), torch.float32)])
def test_laws(frame: tuple[int, ...], dtype: torch.dtype) -> None:
    content = tuple(n - 2 for n in frame)
    batch = (3 if DEVICE == "cpu" else 400,)
    case = Drawn(frame, content, (1,) * len(frame), batch, (), dtype, wrap=False, seed=1, mean=1.0)
    check_canonicalizer(fixer(case), case.make().to(DEVICE), generator=case.generator)


@pytest.mark.usefixtures("steps")
@FEW
@given(cases(SINGLE), st.sampled_from(["its own twin", "mirrored in the last axis", "of sum zero"]))
def test_near_ties_the_other_frequencies_decide(case: Drawn, kind: str) -> None:
    x = case.make().reshape(-1, *case.frame)
    content = x[:, *(slice(p, p + n) for p, n in zip(case.position, case.content, strict=True))]
    axes = tuple(range(1, x.dim()))
    if kind == "its own twin":
        content = content + content.flip(axes).conj()
    elif kind == "mirrored in the last axis":
        content = content + content.flip(-1)
    else:
        content = content - content.mean(axes, keepdim=True)
    x = case.place(content).to(DEVICE)
    fix = fixer(case)
    found, reference = fix.element(x), fix._reference(x)
    # A score at the threshold of ties may be rounded to either side of it.
    low = low_frequencies(x, fix.symmetry.symmetries[0].box(x), case.event_dims, 0)
    scores = flip_scores(low, case.event_dims).abs()
    certain = ((scores < 5e-7) | (scores > 2e-6)).all(-1)
    assert torch.equal(found.flipped[certain], reference.flipped[certain])
    if kind == "of sum zero":
        phase = list(fix.margins(x).values())[-1]
        certain &= phase > 1e-4
        assert certain.double().mean() > 0.5
        assert ((found.scalar - reference.scalar).abs()[certain] < 1e-4).all()


@pytest.mark.usefixtures("steps")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_values_stay_in_their_items() -> None:
    x = torch.rand(4, 5, 7, dtype=torch.complex64, device=DEVICE)
    x[1, 2, 3], x[2, 3, 4], x[3] = torch.nan, torch.inf, 0
    fix = FarFieldCanonicalizer(2)
    moved = fix(x)
    assert torch.allclose(moved[::3], fix(x[::3]))
    assert torch.equal(moved[3], x[3])
    found, reference = fix.element(x), fix._reference(x)
    assert torch.equal(found.flipped, reference.flipped)
    assert torch.equal(found.shift, reference.shift)


def test_triton_that_does_not_run_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = backends.triton_runs.__wrapped__  # past the cache

    def broken(*_: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(kernels, "decide", broken)
    with pytest.warns(UserWarning, match=r"Triton does not run on .*no compiler"):
        assert not attempt(torch.device(DEVICE))

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(kernels, "decide", full)
    with pytest.raises(torch.OutOfMemoryError):
        attempt(torch.device(DEVICE))


@pytest.mark.parametrize(
    ("shape", "options", "dtype", "taken"),
    [
        ((1024, 1024), {}, torch.complex64, True),
        ((1024, 1025), {}, torch.complex64, False),
        ((2**21,), {"event_dims": 1}, torch.complex64, False),
        ((8, 8), {"threshold": 0.9999}, torch.complex64, False),
        ((8, 8), {"wrap": True}, torch.complex64, False),
        ((8, 8), {}, torch.complex128, False),
        ((2, 2, 2, 2), {"event_dims": 4}, torch.complex64, False),
        ((3, 8, 8), {"channel_dims": 1}, torch.complex64, False),
    ],
)
def test_items_that_kernels_take(
    shape: tuple[int, ...], options: dict[str, Any], dtype: torch.dtype, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "triton_runs", lambda device: True)  # there need not be a GPU
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(1, *shape, dtype=dtype, device="cuda")
    assert FarFieldCanonicalizer(**options)._backend(x) is (kernels if taken else None)


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no CUDA device")
def test_no_wait_for_the_device_and_graphs() -> None:
    fix, x = FarFieldCanonicalizer(2), torch.rand(8, 16, 16, dtype=torch.complex64, device=DEVICE)
    assert fix._backend(x) is kernels
    wanted = fix(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        fix(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        moved = fix(x)
    graph.replay()
    assert torch.equal(moved, wanted)


@pytest.mark.skipif(DEVICE == "cpu", reason="there is no CUDA device")
@given(cases())
def test_a_gpu_decides_as_the_cpu(case: Drawn) -> None:
    fix, x = FarField(case.event_dims, field=case.field).canonicalizer(), case.make()
    here, there, clear = fix.element(x), fix.element(x.to(DEVICE)), fix.margin(x) > 1e-4
    assert torch.equal(here.flipped[clear], there.flipped.cpu()[clear])
    assert torch.equal(here.shift[clear], there.shift.cpu()[clear])
