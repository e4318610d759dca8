"""The laws of signed permutations on drawn rows, and their alignment against a search through all of them."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch
from draws import REAL
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import AlignToTemplate, OrbitMinLoss, align
from torch_symbreak.symmetries import FixSignedPermutation, Product, Sign, SignedPermutation
from torch_symbreak.symmetries.signed_permutation import Rows
from torch_symbreak.testing import check_canonicalizer, deviation


def gram(x: Tensor) -> Tensor:
    """Return the sum of the outer products of the rows with themselves, which no signed permutation changes."""
    return torch.einsum("...ca,...cb->...ab", x, x)


@st.composite
def items(draw: st.DrawFn) -> tuple[Tensor, dict[str, int]]:
    """Draw 40 items (*channels, r, *rest) with at most 4 rows of at least 3 entries, and their dimensions."""
    channels, rest = draw(st.sampled_from([(), (2,)])), draw(st.sampled_from([(3,), (8,), (2, 3)]))
    shape = (40, *channels, draw(st.integers(1, 4)), *rest)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(shape, dtype=draw(st.sampled_from(REAL)), generator=generator)
    return x, {"event_dims": 1 + len(rest), "channel_dims": len(channels)}


@given(items(), st.booleans())
def test_laws(drawn: tuple[Tensor, dict[str, int]], template: bool) -> None:
    x, dims = drawn
    group = SignedPermutation(**dims)
    fix = AlignToTemplate(torch.randn_like(x[0]), group) if template else FixSignedPermutation(**dims)
    check_canonicalizer(fix, x, lambda z: gram(z.flatten(group.channel_dims + 2)))


def unsorted(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-2], device=x.device).expand(x.shape[:-1])


def by_sums(x: Tensor, scores: Tensor, row_of_sign: Tensor) -> Rows:
    return Rows(scores.argsort(-1, descending=True), torch.where(x.sum(-1) < 0, -1, 1).gather(-1, row_of_sign))


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        (SignedPermutation, "inverse", lambda _, g: Rows(g.order.argsort(-1), g.sign)),
        (SignedPermutation, "compose", lambda _, g2, g1: Rows(g1.order.gather(-1, g2.order), g2.sign * g1.sign)),
        (FixSignedPermutation, "element", lambda _, x: by_sums(x, x.sum(-1), x.sum(-1).argsort(-1, descending=True))),
        (FixSignedPermutation, "element", lambda _, x: by_sums(x, x.sum(-1).abs(), unsorted(x))),
        (SignedPermutation, "candidates", lambda _, x, r: [Rows(unsorted(x), torch.where((x * r).sum(-1) < 0, -1, 1))]),
    ],
)
def test_the_laws_find_mistakes(owner: object, name: str, mistake: object, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(40, 3, 5)
    rule, template = FixSignedPermutation(), AlignToTemplate(torch.randn(3, 5), SignedPermutation())
    fix = template if name == "candidates" else rule
    check_canonicalizer(fix, x)
    monkeypatch.setattr(owner, name, mistake)
    with pytest.raises(AssertionError, match=r"group|identity|batch|invariant"):
        check_canonicalizer(fix, x)


def all_of(x: Tensor) -> Tensor:
    """Return the items (B, r, D) under all signed permutations, (2^r r!, B, r, D)."""
    count = x.shape[1]
    signs = [torch.tensor(s)[:, None] for s in itertools.product((1.0, -1.0), repeat=count)]
    return torch.stack([s * x[:, list(p)] for p in itertools.permutations(range(count)) for s in signs])


@given(st.integers(1, 4), st.integers(0, 2**31))
def test_the_nearest_element_and_its_lead_are_those_of_an_exhaustive_search(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, r = torch.randn(2, 6, count, 3, dtype=torch.float64, generator=generator)
    gains = (all_of(x) * r).sum((-2, -1)).sort(0, descending=True).values
    found, group = align(x, r, SignedPermutation()), SignedPermutation()
    torch.testing.assert_close((found.aligned * r).sum((-2, -1)), gains[0])
    torch.testing.assert_close(group.act(found.element.others[0], x), found.aligned)
    torch.testing.assert_close(group.gap(x, r), gains[0] - gains[1])


def test_rows_of_one_entry_are_matched_by_size() -> None:
    x, r = torch.randn(2, 50, 6)
    ranks = r.abs().argsort(-1).argsort(-1)
    matched = x.abs().sort(-1).values.gather(-1, ranks) * r.sign()  # the rearrangement inequality
    torch.testing.assert_close(align(x, r, SignedPermutation(1)).aligned, matched)
    torch.testing.assert_close(FixSignedPermutation(1)(x), x.abs().sort(-1, descending=True).values)


def test_all_elements_are_drawn_alike() -> None:
    g = SignedPermutation().sample(torch.zeros(8000, 2, 3))
    _, counts = torch.cat([g.order, g.sign], -1).unique(dim=0, return_counts=True)
    assert counts.shape == (8,)
    assert counts.sub(1000).abs().max() < 150  # five standard deviations


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().mean(-1)


def up_to_sign(one: Tensor, other: Tensor) -> Tensor:
    return torch.minimum(mean_square(one, other), mean_square(one, -other))


@given(st.integers(2, 4), st.integers(0, 2**31))
def test_the_orbit_min_loss_is_permutation_invariant_training(count: int, seed: int) -> None:
    pit = pytest.importorskip("torchmetrics.functional.audio").permutation_invariant_training
    generator = torch.Generator().manual_seed(seed)
    x, r = torch.randn(2, 8, count, 5, dtype=torch.float64, generator=generator)
    loss = OrbitMinLoss(SignedPermutation())
    ours, theirs = loss(x.requires_grad_(), r), pit(x, r, up_to_sign, eval_func="min")[0].mean()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, x), torch.autograd.grad(theirs, x))
    # Products of positive rows are positive, so that no sign helps, and the common loss without signs is the same.
    x, r = x.detach().abs(), r.abs()
    torch.testing.assert_close(loss(x, r), pit(x, r, mean_square, eval_func="min")[0].mean())


#: torch.compile of 2.6 cannot make the Product that an alignment makes.
OLDEST = torch.__version__.startswith("2.6.")


def test_compilers_and_function_transforms_find_the_same() -> None:
    x, r = torch.randn(2, 6, 3, 4)
    loss, fix = OrbitMinLoss(SignedPermutation()), AlignToTemplate(r[0], SignedPermutation())
    for function in (fix, fix.margin) if OLDEST else (fix, fix.margin, lambda z: loss(z, r)):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), function(x))
        torch.compiler.reset()
    for function in (fix, fix.margin):
        torch.testing.assert_close(torch.func.vmap(function)(x), function(x))
    torch.testing.assert_close(torch.func.vmap(loss, (1, 0))(x.transpose(0, 1), r).mean(), loss(x, r))
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(torch.func.grad(loss)(x, r), torch.autograd.grad(loss(leaf, r), leaf)[0])
    assert fix(x.to("meta")).shape == x.shape


def test_ties_are_told() -> None:
    x = torch.randn(5, 3, 4)
    x[0, 1] = 0  # a row of zeros
    x[1, 2] = x[1, 0]  # two equal rows
    x[2, 1] = -x[2, 0]
    x[3] = torch.nan
    fix = FixSignedPermutation()
    margin = fix.margin(x)
    assert margin[:3].tolist() == [0, 0, 0]
    assert margin[3].isnan()
    assert margin[4] > 0
    assert fix.tied(x).tolist() == [True, True, True, False, False]
    assert fix(x)[[0, 1, 2, 4]].isfinite().all()
    assert fix(x)[3].isnan().all()
    for bad in x[:3]:
        with pytest.raises(ValueError, match=r"SignedPermutation\(.* has another element that does"):
            AlignToTemplate(bad, SignedPermutation())
    aligned = AlignToTemplate(torch.randn(3, 4), SignedPermutation())
    assert aligned.margin(x)[0] < 1e-9
    assert aligned(x)[3].isnan().all()
    assert aligned(x)[[0, 1, 2, 4]].isfinite().all()
    assert align(x, x.roll(1, 1), SignedPermutation()).aligned[4].isfinite().all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_changes_nothing(scale: float) -> None:
    x, fix = torch.randn(20, 3, 4), AlignToTemplate(torch.randn(3, 4), SignedPermutation())
    for each in (fix, FixSignedPermutation()):
        assert deviation(each(scale * x), scale * each(x), 2).max() < 1e-6
        torch.testing.assert_close(each.margin(scale * x), each.margin(x))


def test_an_empty_batch_stays_empty() -> None:
    x, group = torch.zeros(0, 3, 4), SignedPermutation()
    (found,) = group.candidates(x, x)
    assert found.order.shape == found.sign.shape == (0, 3)
    assert group.gap(x, x).shape == (0,)


def test_other_targets_and_elements_are_refused() -> None:
    group = SignedPermutation()
    with pytest.raises(TypeError, match=r"pass torch\.view_as_real"):
        FixSignedPermutation()(torch.zeros(3, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match="an element for 3 rows, but the target has 2"):
        group.act(group.sample(torch.zeros(5, 3, 4)), torch.zeros(5, 2, 4))
    with pytest.raises(ValueError, match="One element is needed per item"):
        group.act(group.sample(torch.zeros(5, 3, 4)), torch.zeros(6, 3, 4))
    with pytest.raises(ValueError, match="SignedPermutation commutes"):
        Product([group, Sign(2)])


def test_without_scipy_the_rule_works_and_an_alignment_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    x = torch.randn(4, 3, 5)
    assert FixSignedPermutation()(x).shape == x.shape
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        align(x, x, SignedPermutation())
