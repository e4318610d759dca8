"""The laws must bite: every plausible mistake is caught by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torch_symbreak._content
from torch_symbreak import (
    CenterContent,
    ConjugateFlip,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    Motion,
    Product,
)
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.canonical import FarFieldCanonicalizer, _cpu, rule, using
from torch_symbreak.symmetries import conjugate_flip
from torch_symbreak.testing import (
    assert_batch_equivariant,
    assert_forward_invariant,
    assert_group,
    assert_idempotent,
    assert_invariant,
    assert_representative,
    assert_smallest,
    off_ties,
)


def objects(dtype: torch.dtype = torch.complex64) -> Tensor:
    """Content of 5 x 6 in a frame of 8 x 9: of odd and even length, off the frame's center."""
    values = torch.randn(64, 5, 6, dtype=dtype, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.pad(values, (1, 2, 0, 3))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def laws_hold(fix: Any, x: Tensor, **options: Any) -> None:
    assert_invariant(fix, x, generator=generator(), **options)
    assert_smallest(fix, x, generator=generator(), **options)
    assert_idempotent(fix, x)
    assert_representative(fix, x)
    assert_batch_equivariant(fix, x)


def test_the_laws_hold_without_a_mutation() -> None:
    fix = FarField().canonicalizer()
    laws_hold(fix, off_ties(fix, objects()))
    laws_hold(fix, off_ties(fix, objects()) * 1e-30)
    assert_forward_invariant(FarField(), objects(), generator=generator())


def test_literal_reading() -> None:
    group = Product(FarField().symmetries)
    for law in (assert_invariant, assert_smallest):
        with pytest.raises(AssertionError, match="violated by"):
            law(LiteralAlgorithm2(), objects(), group, generator=generator())


class FlipAboutTheFrame(FixConjugateFlip):
    def element(self, x: Tensor) -> Motion:
        g = super().element(x)
        ends = torch.tensor(x.shape[-2:]) - 1
        return Motion(g.flipped, torch.where(g.flipped[..., None], ends, 0))


def test_flip_about_the_center_of_the_frame() -> None:
    fix = torch.nn.Sequential(CenterContent(), FlipAboutTheFrame(), FixGlobalPhase())
    with pytest.raises(AssertionError, match="violated by"):
        assert_invariant(fix, objects(), Product(FarField().symmetries), generator=generator())
    with pytest.raises(AssertionError, match="violated by"):
        assert_invariant(FlipAboutTheFrame(), objects(), generator=generator())


class FlipWithoutConjugation(ConjugateFlip):
    def act(self, g: Motion, x: Tensor) -> Tensor:
        moved = super().act(g, x)
        return torch.where(g.flipped[..., None, None], moved.conj(), moved).resolve_conj()


def test_flip_without_conjugation() -> None:
    fix = FixConjugateFlip()
    fix.symmetry = FlipWithoutConjugation()
    with pytest.raises(AssertionError, match=r"f\(C\(x\)\)"):
        assert_forward_invariant(FarField(), objects(), fix, generator=generator())
    # A group it is, and consistent in itself: only against the measurement, or the score, is it wrong.
    assert_group(fix.symmetry, objects(), generator=generator())
    with pytest.raises(AssertionError):
        assert_idempotent(fix, objects())


@pytest.fixture
def reference() -> Iterator[None]:
    with using("reference"):
        yield


@pytest.mark.usefixtures("reference")
def test_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = conjugate_flip.box_ends
    monkeypatch.setattr(conjugate_flip, "box_ends", lambda box: exact(box) + 1)
    with pytest.raises(AssertionError):
        laws_hold(FarField().canonicalizer(), objects())


class PhaseOverTheBatch(FixGlobalPhase):
    def element(self, x: Tensor) -> Tensor:
        return torch.sgn(x.sum()).conj().expand(x.shape[:-2])


def test_phase_over_the_batch() -> None:
    with pytest.raises(AssertionError, match="item by item"):
        assert_batch_equivariant(PhaseOverTheBatch(), objects())
    with pytest.raises(AssertionError, match="violated by"):
        assert_invariant(PhaseOverTheBatch(), objects(), generator=generator())


class SgnOfZero(FixGlobalPhase):
    def element(self, x: Tensor) -> Tensor:
        return torch.sgn(x.sum((-2, -1))).conj().resolve_conj()


def test_sgn_of_zero() -> None:
    x = torch.tensor([[[1.0 + 0j, -1.0], [2.0, -2.0]]])
    assert_representative(FixGlobalPhase(), x)
    with pytest.raises(AssertionError, match="element"):
        assert_representative(SgnOfZero(), x)


@pytest.mark.usefixtures("reference")
def test_squares_without_normalizing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (torch_symbreak._content, conjugate_flip):
        monkeypatch.setattr(module, "unit_scale", lambda x, item_dims: x)
    fix = FarField().canonicalizer()
    assert_invariant(fix, off_ties(fix, objects()), generator=generator())
    with pytest.raises(AssertionError):
        assert_invariant(fix, objects() * 1e-30, generator=generator())


@pytest.mark.usefixtures("reference")
def test_score_about_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that looks at where the content lies."""
    exact = conjugate_flip.flip_scores
    monkeypatch.setattr(
        rule, "flip_scores", lambda x, box, d, k: exact(x, box._replace(lo=torch.zeros_like(box.lo)), d, k)
    )
    with pytest.raises(AssertionError):
        assert_invariant(FarField().canonicalizer(), objects(), generator=generator())


def test_phase_not_conjugated_by_the_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = FarFieldCanonicalizer.element

    def mutant(self: FarFieldCanonicalizer, x: Tensor) -> Any:
        g = exact(self, x)
        return g._replace(scalar=torch.where(g.flipped, g.scalar.conj(), g.scalar).resolve_conj())

    monkeypatch.setattr(FarFieldCanonicalizer, "element", mutant)
    with pytest.raises(AssertionError):
        laws_hold(FarField().canonicalizer(), objects())


def test_composition_without_turning_the_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_symbreak.symmetries import product

    monkeypatch.setattr(product, "compose_motions", lambda g2, g1: Motion(g2.flipped ^ g1.flipped, g2.shift + g1.shift))
    with pytest.raises(AssertionError, match="g2 g1"):
        assert_group(Product(FarField().symmetries), objects(), generator=generator())


@pytest.mark.filterwarnings("ignore:FarField measures")
def test_wrapping_shifts_with_padding() -> None:
    """A shift that wraps is a symmetry of the periodic model only."""
    padded = FarField(2)
    periodic = FarField(2, oversampling=1.0)
    group = Product(periodic.symmetries)
    moved = group.act(group.sample(objects(), generator=generator()), objects())
    assert torch.allclose(periodic(moved), periodic(objects()), rtol=1e-3, atol=1e-3)
    change = (padded(moved) - padded(objects())).norm() / padded(objects()).norm()
    assert change > 0.1


def _cpu_mutants() -> dict[str, Any]:
    extent, decided, read = _cpu._extent, _cpu._decided, _cpu._read

    def last_line_lost(content: Any) -> Any:
        lo, hi = extent(content)
        return lo, hi - 1

    def phase_not_conjugated(x: Tensor, threshold: float) -> Any:
        found, boxes = decided(x, threshold)
        scalar = torch.where(found.flipped, found.scalar.conj(), found.scalar).resolve_conj()
        return found._replace(scalar=scalar), boxes

    def sums_over_the_batch(x: Tensor) -> Any:
        lines, columns, sums, total = read(x)
        return lines, columns, np.broadcast_to(sums.sum(0), sums.shape), total

    return {
        "_extent": last_line_lost,
        "_decided": phase_not_conjugated,
        "_read": sums_over_the_batch,
        "_move_boxes": lambda x, found, boxes, out: out.zero_(),
    }


@pytest.mark.parametrize("name", _cpu_mutants())
def test_mutants_of_the_way_on_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fix, x = FarField().canonicalizer(), torch.nn.functional.pad(objects(), (0, 40, 0, 40))  # large enough for boxes
    with using("cpu"):
        laws_hold(fix, off_ties(fix, x))
        monkeypatch.setattr(_cpu, name, _cpu_mutants()[name])
        with pytest.raises(AssertionError):
            laws_hold(fix, x)


def _numba_mutants(_numba: Any) -> dict[str, Any]:
    read, box, fill, turn, move = (
        getattr(_numba, name).py_func for name in ("_read", "_box", "_fill", "_turn", "_move")
    )

    def from_the_corner(profile: Any, event: Any, floor: float, lo: Any, hi: Any) -> bool:
        same: bool = box(profile, event, floor, lo, hi)
        lo[:] = 0
        return same or floor > 0

    def sums_over_the_batch(parts: Any, bits: Any, mask: Any, lines: Any, columns: Any, sums: Any) -> float:
        before = np.nan_to_num(sums)
        total: float = read(parts, bits, mask, lines, columns, sums)
        sums += before
        return total

    return {
        "_box": from_the_corner,
        "_read": sums_over_the_batch,
        "_fill": lambda turns, lo, hi: fill(turns, 0, hi - lo),
        "_turn": lambda source, goal, flipped, scalar: turn(
            np.conj(source) if flipped else source, goal, flipped, scalar
        ),
        "_move": lambda x, out, event, flipped, shift, *rest: move(x, out, event, flipped, shift + 1, *rest),
    }


@pytest.mark.parametrize("name", [None, "_box", "_read", "_fill", "_turn", "_move"])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_mutants_of_the_way_with_numba(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python: what is compiled calls the functions that it was compiled with."""
    _numba = pytest.importorskip("torch_symbreak.canonical._numba", reason="needs Numba", exc_type=ImportError)
    mutants, fix, x = _numba_mutants(_numba), FarField().canonicalizer(), objects()[:16]
    x = off_ties(fix, x)
    for caller in ("_canonicalize", "_move"):
        monkeypatch.setattr(_numba, caller, getattr(_numba, caller).py_func)
    if name is None:
        laws_hold(fix, x)
        return
    monkeypatch.setattr(_numba, name, mutants[name])
    with pytest.raises(AssertionError):
        laws_hold(fix, x)
