"""The updates beside solvephase's, where it is installed. Twenty steps in double precision, support fixed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from torch_symbreak.solvers import (
    Magnitudes,
    Support,
    difference_map,
    error_reduction,
    hybrid_input_output,
    raar,
)

cdi = pytest.importorskip("solvephase.algorithms.cdi", reason="needs solvephase: pip install solvephase")

#: Our steps by solvephase's names. Its relaxed reflections reflect at the magnitudes first, ours at the constraint.
STEPS: dict[str, Any] = {
    "er": error_reduction,
    "hio": partial(hybrid_input_output, beta=0.9),
    "raar": partial(raar, beta=0.9),
    "dm": partial(difference_map, beta=1.0),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_twenty_steps_equal_solvephase(name: str, masked: bool) -> None:
    draw = torch.Generator().manual_seed(3)
    inside = torch.zeros(1, 12, 15, dtype=torch.bool)
    inside[:, 2:8, 3:9] = True
    truth = torch.randn(1, 12, 15, dtype=torch.complex128, generator=draw) * inside
    roots = torch.fft.fft2(truth, norm="ortho").abs()
    measured = torch.rand(1, 12, 15, generator=draw) > 0.1 if masked else torch.ones(1, 12, 15, dtype=torch.bool)
    start = torch.randn(1, 12, 15, dtype=torch.complex128, generator=draw)

    magnitudes, constraint, x = Magnitudes(roots, measured), Support(inside), start
    for _ in range(20):
        x = STEPS[name](x, magnitudes, constraint)
    expected = constraint(magnitudes(x) if name != "dm" else 2 * magnitudes(x) - x)

    def centered(z: torch.Tensor) -> Any:
        return np.fft.fftshift(z[0].numpy())

    beta = {"dm": 1.0, "er": None}.get(name, 0.9)
    found = cdi.cdi(
        centered(roots), centered(inside), schedule=[(name, 20, beta)], initial=centered(start),
        measured=centered(measured), precision="double", tol=0,
    )  # fmt: skip
    torch.testing.assert_close(torch.from_numpy(np.fft.ifftshift(found.object)), expected[0], rtol=1e-9, atol=1e-9)
