"""Answers cut out of the torus, and their verdicts."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak.solvers._choice import cut, verdicts


@given(seed=st.integers(0, 999))
def test_cut_finds_the_object_on_the_torus(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    frame, torus = (5, 4), (11, 8)
    x = torch.zeros(2, *torus)
    x[:, :5, :4] = torch.rand(2, 5, 4, generator=draw) + 0.1
    shift = torch.randint(0, 11, (2,), generator=draw).tolist()
    moved = x.roll(shift, (1, 2))
    inside, support = cut(moved, moved != 0, frame)
    assert torch.equal(inside, x[:, :5, :4])
    assert support.all()
    small = torch.zeros(1, *torus)
    small[0, 3, 7] = 1.0
    assert cut(small, small != 0, frame)[0][0].nonzero().tolist() in ([[2, 1]], [[2, 2]])  # in the middle


def test_verdicts() -> None:
    nan = float("nan")
    agreement = torch.tensor([0.01, 0.01, nan, nan, 0.5, 0.5, 0.29, 0.31, 0.5])
    residual = torch.tensor([0.01, 0.5, 0.01, 0.2, 0.001, 0.2, 0.2, 0.2, 0.001])
    unseen = torch.tensor([0.02, 0.5, 0.02, 0.2, 0.5, nan, 0.2, 0.2, nan])
    words = ["solved", "doubtful", "doubtful", *["not solved"] * 3, "doubtful", "not solved", "doubtful"]
    assert verdicts(agreement, residual, unseen, torch.zeros(9, dtype=torch.bool)) == words
    misplaced = verdicts(agreement, residual, unseen, torch.ones(9, dtype=torch.bool))
    assert misplaced == ["doubtful", *words[1:]]
