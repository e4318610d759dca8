"""Transforms as parts of PyTorch programs: compile, vmap, autograd, workers, pickles, odd tensors."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
import torch
from processes import python
from torch.utils.data import DataLoader

import torch_symbreak
from torch_symbreak import (
    CenterContent,
    ElementwiseSquare,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    FromChannels,
    OnKeys,
    OnRealImag,
    RandomSymmetry,
    ScrambledDataset,
    ToChannels,
)
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Sign, Translation

CANONICALIZERS = [
    CenterContent(),
    CenterContent(wrap=True, threshold=0.01),
    CenterContent(1, channel_dims=1),
    FixConjugateFlip(),
    FixConjugateFlip(3),
    FixConjugateFlip(wrap=(8, 16), channel_dims=1),
    FixGlobalPhase(),
    FixGlobalPhase(1, anchor=-1, channel_dims=1),
    FixGlobalPhase(2, anchor=(0, 3)),
    FarField().canonicalizer(),
    FarField(3, oversampling=1.0).canonicalizer(channel_dims=1, threshold=0.1),
]
REAL_ONLY = [FixSign(0), FixSign(2), FixSign(1, anchor=2), FarField(2, field="real").canonicalizer()]
EVERY = [pytest.param(fix, id=repr(fix)) for fix in CANONICALIZERS + REAL_ONLY]

#: All names that a repr may use.
NAMES = vars(torch_symbreak) | vars(torch_symbreak.symmetries) | vars(torch_symbreak.canonical)


def objects(fix: torch.nn.Module, *, batch: int = 3, dtype: torch.dtype | None = None) -> torch.Tensor:
    if dtype is None:
        dtype = torch.float32 if any(fix is one for one in REAL_ONLY) else torch.complex64
    x = torch.zeros(batch, 2, 8, 9, 7, dtype=dtype)
    x[:, :, 1:6, 2:8, 2:6] = torch.randn(batch, 2, 5, 6, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return x


@pytest.mark.parametrize("fix", EVERY)
def test_compiles_as_one_graph(fix: Any) -> None:
    x = objects(fix)
    compiled = torch.compile(fix, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), fix(x), atol=1e-6)
    margin = torch.compile(fix.margin, fullgraph=True, backend="eager")
    assert torch.allclose(margin(x), fix.margin(x), atol=1e-6)
    torch.compiler.reset()


@pytest.mark.parametrize("fix", EVERY)
def test_vmap(fix: Any) -> None:
    x = objects(fix)
    assert torch.allclose(torch.func.vmap(fix)(x), fix(x), atol=1e-6)


@pytest.mark.parametrize("fix", EVERY)
def test_odd_tensors(fix: Any) -> None:
    x = objects(fix)
    expected = fix(x)
    assert torch.equal(fix(x.transpose(0, 1).contiguous().transpose(0, 1)), expected)  # not contiguous
    assert torch.equal(fix(x.expand(x.shape)), expected)
    lazy = x.conj().resolve_conj().conj()  # the same values, conj bit set
    assert torch.equal(fix(lazy), expected)
    assert not fix(lazy).is_conj()
    imaginary = x.to(torch.complex64).conj().imag  # neg bit set
    if not x.is_complex():
        assert torch.isfinite(fix(imaginary)).all()
    assert torch.equal(fix(x[:0]), expected[:0])
    assert fix.margin(x[:0]).numel() == 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fix(x), expected)
    with torch.inference_mode():
        assert torch.equal(fix(x), expected)
    assert torch.allclose(fix(torch.nn.Parameter(x)).detach(), expected, atol=1e-6)  # by other operations


@pytest.mark.parametrize("fix", EVERY)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_stays_in_its_item(fix: Any, bad: float) -> None:
    x = objects(fix)
    broken = x.clone()
    broken[1, 0, 3, 3, 3] = bad
    kept = [0, 2]
    assert torch.equal(fix(broken)[kept], fix(x)[kept])
    assert not torch.isfinite(torch.view_as_real(fix(broken)) if x.is_complex() else fix(broken)).all()


@pytest.mark.parametrize("fix", EVERY)
def test_pickle_repr_and_state(fix: Any) -> None:
    x = objects(fix)
    expected = fix(x)
    assert torch.equal(pickle.loads(pickle.dumps(fix))(x), expected)
    file = io.BytesIO()
    torch.save(fix, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    again = eval(repr(fix), NAMES)
    assert repr(again) == repr(fix)
    assert torch.equal(again(x), expected)
    assert list(fix.parameters()) == list(fix.buffers()) == []
    assert fix.state_dict() == {}


@pytest.mark.parametrize(
    "thing",
    [
        Sign(0),
        Sign(1, channel_dims=2),
        GlobalPhase(),
        Translation(1, wrap=True, threshold=0.5),
        ConjugateFlip(3, wrap=(2, 3, 4)),
        Product([Translation(), ConjugateFlip(), GlobalPhase()]),
        FarFieldCanonicalizer(1, channel_dims=1, threshold=0.5, wrap=(4,), field="real"),
        FarField(3, oversampling=1.5, field="real", norm="ortho", centered=True, chunk_size=7),
        FarField(2, shape=(9, 10)),
        ElementwiseSquare(),
        RandomSymmetry([Sign(1)]),
        OnKeys(FixSign(1), ["x", "z"]),
        OnKeys(FixSign(1), 1),
        ToChannels(),
        FromChannels(3),
        OnRealImag(ToChannels(1)),
    ],
    ids=repr,
)
def test_repr_builds_it_again(thing: object) -> None:
    again = eval(repr(thing), NAMES)
    assert type(again) is type(thing)
    assert repr(again) == repr(thing)


def test_gradients() -> None:
    x = torch.zeros(2, 6, 7, dtype=torch.complex128)
    x[:, 1:5, 2:6] = torch.randn(2, 4, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    for fix in (FixGlobalPhase(), FixGlobalPhase(anchor=(2, 3)), FarField().canonicalizer(), FixConjugateFlip()):
        assert torch.autograd.gradcheck(fix, x, eps=1e-7)
    real = x.detach().real.clone().requires_grad_()
    for fix in (FixSign(0), FixSign(2), FarField(field="real").canonicalizer(), CenterContent()):
        keep = real.detach() != 0  # at 0 the sign per entry is a tie
        inside = (real[keep]).detach().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda v, fix=fix, keep=keep: fix(real.detach().masked_scatter(keep, v)), inside
        )
    # Ties have a finite gradient too.
    for tie in (torch.zeros(1, 4, 4, dtype=torch.complex64), torch.ones(1, 4, 4, dtype=torch.complex64)):
        tie.requires_grad_()
        FarField().canonicalizer()(tie).abs().square().sum().backward()
        assert torch.isfinite(torch.view_as_real(tie.grad)).all()


def test_the_phase_is_differentiated_and_choices_are_constants() -> None:
    x = torch.randn(3, 5, dtype=torch.complex64, requires_grad=True)
    assert FixGlobalPhase(1).element(x).requires_grad
    g = FarField(1).canonicalizer().element(x)
    assert not g.shift.requires_grad
    assert not g.flipped.requires_grad


def test_half_precision_signs() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.tensor([[1.0, -3.0], [2.0, 1.0]], dtype=dtype)
        assert torch.equal(FixSign(1)(x), torch.tensor([[-1.0, 3.0], [2.0, 1.0]], dtype=dtype))


def items(count: int) -> torch.Tensor:
    x = torch.zeros(count, 6, 6, dtype=torch.complex64)
    x[:, :4, :3] = torch.randn(count, 4, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    return x


class Transformed(torch.utils.data.Dataset):
    def __init__(self, transform: Any) -> None:
        self.x = items(12)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.x[index])


@pytest.mark.parametrize("workers", [0, 1])
def test_dataloader(workers: int) -> None:
    fix = FarField().canonicalizer()
    loaded = torch.cat(list(DataLoader(Transformed(fix), batch_size=5, num_workers=workers)))
    assert torch.allclose(loaded, fix(items(12)), atol=1e-6)
    scrambled = ScrambledDataset(items(12), FarField().symmetries, seed=3)
    loaded = torch.cat(list(DataLoader(scrambled, batch_size=5, num_workers=workers)))
    assert torch.equal(loaded, torch.stack(list(scrambled)))


def test_a_generator_in_a_worker_is_refused() -> None:
    with_generator = RandomSymmetry(FarField().symmetries, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="ScrambledDataset"):
        list(DataLoader(Transformed(with_generator), num_workers=1))
    without = RandomSymmetry(FarField().symmetries)
    assert len(list(DataLoader(Transformed(without), num_workers=1))) == 12


def test_random_symmetry_compiles_for_every_batch() -> None:
    scramble = RandomSymmetry(FarField().symmetries)
    compiled = torch.compile(scramble, fullgraph=True, backend="eager")
    for count in (6, 3, 5):
        assert compiled(items(count)).shape == (count, 6, 6)
    torch.compiler.reset()
    with pytest.raises(TypeError, match="manual_seed"):
        RandomSymmetry(FarField().symmetries, generator=5)  # type: ignore[arg-type]


def test_subnormal_anchors() -> None:
    x = torch.tensor([[1 + 2j, 3 - 1j]], dtype=torch.complex128) * 1e-310
    for anchor in (0, 1, "sum"):
        assert torch.isfinite(torch.view_as_real(FixGlobalPhase(1, anchor=anchor)(x))).all()


def test_random_symmetry_draws_per_item_and_by_the_generator() -> None:
    x = items(1).expand(64, 6, 6)
    draw = [RandomSymmetry(FarField().symmetries, generator=torch.Generator().manual_seed(7))(x) for _ in range(2)]
    assert torch.equal(draw[0], draw[1])
    assert len({tuple(torch.view_as_real(one).flatten().tolist()) for one in draw[0]}) == 64
    # Every place inside the frame and both orientations are reached.
    g = Product(FarField().symmetries).sample(items(1).expand(2000, 6, 6), generator=torch.Generator().manual_seed(1))
    placed = {(bool(f), *s) for f, s in zip(g.flipped.tolist(), g.shift.tolist(), strict=True)}
    assert placed == {(False, a, b) for a in range(3) for b in range(4)} | {
        (True, a, b) for a in range(3, 6) for b in range(2, 6)
    }
    assert abs(float(g.scalar.mean().abs())) < 0.1


def test_import_is_light() -> None:
    heavy = ["torchvision", "kornia", "matplotlib", "lightning", "sklearn", "typer", "rich", "torchmetrics", "deepinv"]
    code = f"import sys, torch_symbreak, torch_symbreak.testing; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "extra"), [("deepinv", "deepinv"), ("lightning", "lightning"), ("torchmetrics", "metrics")]
)
def test_a_missing_package_says_what_to_install(name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{name!r}] = None; import torch_symbreak.interop.{name}"
    done = python(code)
    assert done.returncode == 1
    assert f'pip install "torch_symbreak[{extra}]"' in done.stderr.splitlines()[-1]


def test_inventory_of_public_names() -> None:
    assert sorted(torch_symbreak.__all__) == torch_symbreak.__all__
    for name in torch_symbreak.__all__:
        thing = getattr(torch_symbreak, name)
        if name != "__version__":
            assert thing.__doc__, name
    assert torch_symbreak.transforms.CenterContent is torch_symbreak.CenterContent
