"""Convexity: means of canonical points are canonical, with the share of pairs for which nothing is claimed."""

from __future__ import annotations

import os

import pytest
import torch
from draws import COMPLEX, REAL, crystals, drawn
from finite_groups import ChannelTurns, Conjugation, QuarterTurns
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField, FixConjugateFlip, FixGlobalPhase, FixSign
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import Canonicalizer, ConjugateFlip, GlobalPhase, Sign, Symmetry, Translation
from torch_symbreak.testing import Convexity, assert_convex, check_canonicalizer, deviation

pytestmark = pytest.mark.filterwarnings("ignore:FarField measures")


def motions(frame: tuple[int, ...], periodic: tuple[bool, ...], threshold: float, channel_dims: int) -> list[Symmetry]:
    wrap = tuple(n if turns else 2 * n for n, turns in zip(frame, periodic, strict=True))
    options = {"channel_dims": channel_dims, "threshold": threshold, "wrap": wrap}
    return [Translation(len(frame), **options), ConjugateFlip(len(frame), **options)]


@given(
    st.sampled_from([(14,), (7, 8), (4, 5, 6)]),
    st.sampled_from(COMPLEX + REAL),
    st.sampled_from(["padded", "periodic", "mixed"]),
    st.sampled_from([1e-4, 0.05]),
    st.sampled_from(["none", "scalar", "channels"]),
    st.booleans(),
    st.integers(0, 2**31 - 1),
)
def test_templates_have_convex_sets(
    frame: tuple[int, ...], dtype: torch.dtype, axes: str, threshold: float, more: str, middle: bool, seed: int
) -> None:
    """Across boxes, in 1-D to 3-D, real and complex, padded and periodic, at the middle and between."""
    generator, d = torch.Generator().manual_seed(seed), len(frame)
    periodic = {"padded": (False,) * d, "periodic": (True,) * d, "mixed": (True, False, True)[:d]}[axes]
    channels = (3,) if more == "channels" else ()
    parts = motions(frame, periodic, threshold, len(channels))
    if more == "scalar":
        parts.append(GlobalPhase(d) if dtype.is_complex else Sign(d))
    if more == "channels":
        parts.append(ChannelTurns(d))
    fix = AlignToTemplate(torch.randn(*channels, *frame, dtype=dtype, generator=generator), parts)
    x1, x2 = (drawn(100, frame, dtype, 0, generator, channels) for _ in range(2))
    law = assert_convex(fix, x1, x2, 0.5 if middle else torch.rand(100, generator=generator))
    if all(periodic):
        assert law.cut == 0


@given(st.sampled_from(COMPLEX + REAL), st.integers(0, 2**31 - 1))
def test_groups_without_translations(dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 60, 3, 5, 5, dtype=dtype, generator=generator)
    scalar = (GlobalPhase if dtype.is_complex else Sign)(2, channel_dims=1)
    template = torch.randn(3, 5, 5, dtype=dtype, generator=generator)
    for parts in ([scalar], [QuarterTurns(channel_dims=1), ChannelTurns(2), scalar]):
        assert assert_convex(AlignToTemplate(template, parts), *x).cut == 0
    if dtype.is_complex:
        fix = AlignToTemplate(template, [Conjugation(2, channel_dims=1), ChannelTurns(2)])
        assert assert_convex(fix, *x).cut == 0


def pair() -> tuple[AlignToTemplate, Tensor, Tensor]:
    """Two items that fill the frame, so that no shift moves them, and whose first entries cancel in the middle."""
    fix = AlignToTemplate(torch.tensor([0.0, 3, 0, 0, 0, 1, 0]), Translation(1))
    return fix, torch.tensor([[1.0, 0, 2, 0, 0, 0, 0.5]]), torch.tensor([[-1.0, 0, 2, 0, 0, 0, 0.5]])


def test_pairs_whose_edge_lines_cancel_are_dropped() -> None:
    fix, x1, x2 = pair()
    middle = (x1 + x2) / 2
    assert torch.equal(fix(x1), x1)
    assert torch.equal(fix(x2), x2)
    assert torch.equal(fix(middle), middle.roll(-1, -1))  # the law does not hold here
    law = assert_convex(fix, torch.cat([x1, x1, x1]), torch.cat([x2, x1, x1]))
    assert law == Convexity(0.0, 2, cut=1 / 3, ties=0.0)
    assert law.dropped == law.cut
    # Off the middle the first entry stays.
    assert assert_convex(fix, x1, x2, 0.6) == Convexity(0.0, 1, cut=0.0, ties=0.0)


@pytest.mark.parametrize("weight", [2.0, -0.1, torch.tensor([0.5, 0.5])])
def test_bad_pairs_and_weights(weight: float | torch.Tensor) -> None:
    fix, x1, x2 = pair()
    with pytest.raises(ValueError, match="weights in"):
        assert_convex(fix, x1, x2, weight)
    with pytest.raises(ValueError, match="of one shape"):
        assert_convex(fix, x1, torch.cat([x2, x2]))


def test_dropping_too_many_pairs_is_no_pass() -> None:
    fix, x1, x2 = pair()
    with pytest.raises(
        AssertionError, match=r"^dropped: 1 of 1 pairs .* In 1 the mean's content box .*, 0 have a margin"
    ):
        assert_convex(fix, x1, x2)
    with pytest.raises(AssertionError, match=r"^dropped: 2 of 3 pairs .* at most 50% may"):
        assert_convex(fix, torch.cat([x1, x1, x1]), torch.cat([x2, x2, x1]))
    assert assert_convex(fix, torch.cat([x1, x1, x1]), torch.cat([x2, x2, x1]), most=0.7).pairs == 1
    with pytest.raises(AssertionError, match=r"^dropped: 1 of 1 pairs"):
        assert_convex(fix, x1, x2, most=1.0)
    with pytest.raises(AssertionError, match=r"^dropped: 0 of 0 pairs"):
        assert_convex(fix, x1[:0], x2[:0])
    with pytest.raises(AssertionError, match=r"^dropped: 1 of 1 pairs .* 1 have a margin of at most 1\."):
        assert_convex(fix, x1, x1, margin=1.0)
    assert assert_convex(fix, torch.cat([x1, 0 * x1]), torch.cat([x1, x1])).ties == 0.5  # zero is a tie


def test_a_faint_edge_line_is_an_edge_line() -> None:
    """The box decides, not the size of values: 1.3 thresholds are content, .65 are not."""
    group = Translation(1, threshold=0.1)
    fix = AlignToTemplate(torch.tensor([0.0, 0, 0, 3, 1, 0, 0.5, 0]), group)
    faint, long = torch.tensor([[0, 0, 0.13, 1, 0.5, 0, 0, 0]]), torch.tensor([[0, 0.9, 0.4, 1, 0.5, 0, 0, 0]])
    assert torch.equal(fix(faint), faint)
    short = torch.tensor([[0, 0, 0, 1, 0.5, 0, 0, 0]])
    with pytest.raises(AssertionError, match=r"^dropped: 1 of 1 "):
        assert_convex(fix, faint, short)
    assert assert_convex(fix, faint, long).cut == 0


@pytest.mark.parametrize("frame", [(5,), (6, 7), (3, 4, 4)])
@pytest.mark.parametrize("wrap", [False, True])
def test_the_exact_rule_is_not_convex_across_boxes(frame: tuple[int, ...], wrap: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    model = FarField(len(frame), oversampling=1.0 if wrap else 2.0)
    x1, x2 = (drawn(1000, frame, torch.complex128, int(wrap), generator) for _ in range(2))
    exact = model.canonicalizer()
    assert not exact.convex
    with pytest.raises(AssertionError, match=r"^convex: "):
        assert_convex(exact, x1, x2)
    fix = model.canonicalizer(template=torch.randn(frame, dtype=x1.dtype, generator=generator))
    assert fix.convex
    assert_convex(fix, x1, x2)


def test_a_flip_alone_makes_no_claim() -> None:
    """It flips about the item's own box, so that two boxes have two axes of symmetry."""
    generator = torch.Generator().manual_seed(1)
    x1, x2 = (drawn(200, (12,), torch.float64, 0, generator) for _ in range(2))
    fix = AlignToTemplate(torch.randn(12, dtype=torch.float64, generator=generator), ConjugateFlip(1))
    assert not fix.convex
    assert not FixConjugateFlip(1).convex
    with pytest.raises(AssertionError, match=r"^convex: "):
        assert_convex(fix, x1, x2)


def test_the_suite_runs_the_law_where_it_is_claimed() -> None:
    generator = torch.Generator().manual_seed(0)
    x = drawn(60, (9, 10), torch.complex64, 0, generator)
    template = torch.randn(9, 10, dtype=x.dtype, generator=generator)
    claims: dict[bool, list[Canonicalizer]] = {
        True: [FarField().canonicalizer(template=template), FixGlobalPhase()],
        False: [FarField().canonicalizer(), AlignToTemplate(template, ConjugateFlip())],
    }
    for claimed, those in claims.items():
        for fix in those:
            laws = check_canonicalizer(fix, x[fix.margin(x) > 1e-3], generator=generator)
            assert ({"dropped", "convex"} <= set(laws)) == claimed
    assert "convex" in check_canonicalizer(FixSign(2), x.real, generator=generator)


# ------------------------------------------------------------------------------------- the shares, for the docs

#: Pairs per row of the table in docs/choosing.md, whose command sets the profile.
PAIRS = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 400
FRAMES = {"1-D": (31,), "2-D": (12, 13), "3-D": (6, 7, 8)}
ITEMS = ["any boxes", "one box", "faint edges", "faint edges, one box"]


def items(kind: str, frame: tuple[int, ...], dtype: torch.dtype, gap: int, generator: torch.Generator) -> Tensor:
    """Draw random content, for one box of one size; faint edges have 1.3 thresholds of .05 on all edge lines."""
    x = drawn(2 * PAIRS, frame, dtype, gap, generator)
    if kind.endswith("one box"):
        inside = drawn(20, frame, dtype, gap, generator)[0] != 0
        x = torch.where(inside, torch.randn(x.shape, dtype=dtype, generator=generator), 0)
        x = x + 0.1 * torch.sgn(x)
    if kind.startswith("faint"):
        content = x != 0
        inner = content
        for axis in range(1, x.dim()):
            inner = inner & content.roll(1, axis) & content.roll(-1, axis)
        inner = inner & torch.nn.functional.pad(torch.ones([n - 2 for n in frame]), [1, 1] * len(frame)).bool()
        largest = torch.where(inner, x.abs(), 0).flatten(1).amax(1).reshape(-1, *[1] * len(frame))
        x = torch.where(content & ~inner, 1.3 * 0.05 * largest * torch.sgn(x), x)
    return x


def pairs(fix: AlignToTemplate, x: Tensor, one_box: bool) -> tuple[Tensor, Tensor]:
    """Pair items; with ``one_box`` those whose canonical points have the same box, which shifts may have moved."""
    if one_box:
        assert fix.symmetry.rearrangement is not None
        number = torch.cat(fix.symmetry.rearrangement.box(fix(x)), -1).unique(dim=0, return_inverse=True)[1]
        order = number.argsort(stable=True)
        x, number = x[order], number[order]
        same = number[::2] == number[1::2]
        return x[::2][same], x[1::2][same]
    return x[::2], x[1::2]


def report(name: str, fix: AlignToTemplate, x: Tensor, generator: torch.Generator) -> None:
    """Print a row: pairs tested, shares cut, tied, broken at the midpoint without cuts, and cut at a drawn weight."""
    x1, x2 = pairs(fix, x[torch.randperm(len(x), generator=generator)], name.endswith("one box"))
    middle = assert_convex(fix, x1, x2, most=1.0)
    between = assert_convex(fix, x1, x2, torch.rand(len(x1), generator=generator), most=1.0)
    points = [fix(x1), fix(x2), (fix(x1) + fix(x2)) / 2]
    clear = torch.stack([fix.margin(z) > 1e-4 for z in points]).all(0)
    broken = clear & (deviation(fix(points[-1]), points[-1], fix.symmetry.item_dims) > 2e-5)
    shares = (middle.cut, middle.ties, float(broken.double().mean()), between.cut)
    print(f"| {name} | {middle.pairs} of {len(x1)} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")


@pytest.mark.slow
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float64])
def test_shares_of_pairs_without_a_claim(frame: str, dtype: torch.dtype) -> None:
    """Print the rows of a table, with ``--slow -rP``. No pair that counts breaks the law."""
    shape, d, generator = FRAMES[frame], len(FRAMES[frame]), torch.Generator().manual_seed(1)
    field = "complex" if dtype.is_complex else "real"
    for oversampling in (2.0, 1.0):
        model = FarField(d, field=field, oversampling=oversampling)
        for kind in ITEMS:
            x = items(kind, shape, dtype, int(oversampling == 1), generator)
            for threshold in (0.05,) if kind.startswith("faint") else (1e-4, 0.05):
                template = torch.randn(shape, dtype=dtype, generator=generator)
                fix = model.canonicalizer(template=template, threshold=threshold)
                axes = "padded" if oversampling == 2 else "periodic"
                report(f"{frame} {field}, {axes}, threshold {threshold:g}, {kind}", fix, x, generator)


@pytest.mark.slow
def test_share_of_pairs_without_a_claim_among_crystals() -> None:
    generator = torch.Generator().manual_seed(1)
    model, x = crystals(2 * PAIRS)
    for threshold in (1e-4, 0.05):
        fix = AlignToTemplate.fit(x, model.canonicalizer(threshold=threshold).symmetry, rounds=5, progress=False)
        report(f"crystals 16x16, padded, threshold {threshold:g}", fix, x, generator)
