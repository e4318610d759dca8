"""A symmetry or canonicalizer of the user's own: what it lacks is said at once, without a GPU."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_symbreak import FarField
from torch_symbreak.datasets.base import Pairs
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Sign, Symmetry
from torch_symbreak.symmetries.scalar import FixScalar
from torch_symbreak.testing import assert_device, check_canonicalizer, check_symmetry

MODEL = FarField(2)


class NoMargin(Canonicalizer[Sign]):
    def element(self, x: Tensor) -> Any:
        return self.symmetry.sample(x)


class NoElement(Canonicalizer[Sign]):
    def margin(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x))


class NoUnit(FixScalar[Sign]):
    pass


class OnlyForward(ForwardModel):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


class NoObjects(Pairs):
    pass


@pytest.mark.parametrize(
    ("make", "missing", "returned"),
    [
        (lambda: NoMargin(Sign(1)), "NoMargin", r"margin\(x\): Return how far .* in \[0, 1\]; 0 at a tie"),
        (lambda: NoElement(Sign(1)), "NoElement", r"element\(x\): Return the element, \(\*batch, \.\.\.\)"),
        (lambda: NoUnit(Sign(1), "sum"), "NoUnit", r"unit\(anchor\): Return the unit number"),
        (lambda: Canonicalizer(Sign(1)), "Canonicalizer", r"element\(x\): .*margin\(x\): "),
        (OnlyForward, "OnlyForward", r"canonicalizer\(\): Return the transform .*symmetries: Return the symmetries"),
        (lambda: NoObjects(3, MODEL, 0, None, None, "cpu"), "NoObjects", r"objects\(index\): Make the objects"),
    ],
)
def test_a_missing_method_is_named_at_construction(make: Any, missing: str, returned: str) -> None:
    with pytest.raises(TypeError, match=f"^{missing} does not implement {returned}"):
        make()


@pytest.mark.parametrize("wrong", [Sign, (Sign(1),), None])
def test_a_canonicalizer_needs_a_symmetry(wrong: Any) -> None:
    class Whole(NoMargin, NoElement):
        margin = NoElement.margin

    Whole(Sign(1))
    with pytest.raises(TypeError, match=r"Whole needs a symmetry.*Sign\(1\)"):
        Whole(wrong)


@dataclass(frozen=True)
class Swap(Symmetry):
    """Exchange of two rows; elements are bool, (*batch,)."""

    event_dims: int = 2
    commutes = True

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return (torch.rand(x.shape[:-2], generator=generator) < 0.5).to(x.device)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        return torch.where(g[..., None, None], x.flip(-2), x)

    def inverse(self, g: Tensor) -> Tensor:
        return g

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return g2 ^ g1

    def elements(self, x: Tensor) -> Any:
        yield from (torch.full(x.shape[:-2], swapped, device=x.device) for swapped in (False, True))


class SampleOnCPU(Swap):
    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(x.shape[:-2], generator=generator) < 0.5


class ActOnCPU(Swap):
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        return torch.where(g[..., None, None], x.flip(-2), x) * torch.ones(x.shape[-1])


class ElementsOnCPU(Swap):
    def elements(self, x: Tensor) -> Any:
        return [torch.full(x.shape[:-2], swapped) for swapped in (False, True)]


class IdentityOnCPU(Swap):
    def identity(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape[:-2], dtype=torch.bool)


class Reading(Swap):
    """Reads values, which the meta device does not have."""

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        assert float(x.sum()) < torch.inf
        return super().sample(x, generator=generator)


class SortRows(Canonicalizer[Swap]):
    def __init__(self, symmetry: Swap | None = None) -> None:
        super().__init__(Swap() if symmetry is None else symmetry)
        self.register_buffer("offset", torch.zeros(2))  # moves along with .to(device)

    def element(self, x: Tensor) -> Tensor:
        sums = x.sum(-1) + self.offset
        return sums[..., 0] < sums[..., 1]

    def margin(self, x: Tensor) -> Tensor:
        sums = x.sum(-1)
        return ((sums[..., 0] - sums[..., 1]).abs() / x.abs().sum((-2, -1))).clamp(max=1)


class MarginOnCPU(SortRows):
    def margin(self, x: Tensor) -> Tensor:
        return super().margin(x) * torch.ones(x.shape[:-2])


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (SampleOnCPU(), r"SampleOnCPU\.sample returns a tensor on cpu.*x\.device"),
        (ActOnCPU(), r"ActOnCPU\.act mixes tensors of two devices.*x\.device"),
        (ElementsOnCPU(), r"ElementsOnCPU\.elements returns a tensor on cpu"),
        (IdentityOnCPU(), r"IdentityOnCPU\.identity returns a tensor on cpu"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_symmetry_that_ignores_the_device_is_found_without_a_second_one(symmetry: Symmetry, message: str) -> None:
    x = torch.randn(40, 2, 7)
    with pytest.raises(AssertionError, match=f"^device: {message}"):
        assert_device(symmetry, x)
    for check in (lambda: check_symmetry(symmetry, x), lambda: check_canonicalizer(SortRows(symmetry), x)):
        with pytest.warns(UserWarning, match=f"^device: {message}.*It fails on a GPU") as warned:
            check()
        assert {warning.filename for warning in warned} == {__file__}


def test_devices_of_canonicalizers_and_of_what_reads_values() -> None:
    x = torch.randn(40, 2, 7)
    with pytest.warns(UserWarning, match=r"^device: MarginOnCPU\.margin mixes tensors of two devices"):
        check_canonicalizer(MarginOnCPU(), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_canonicalizer(SortRows(), x)
        check_symmetry(Reading(), x)
    state = torch.get_rng_state()
    assert_device(SortRows(), x)
    assert_device(Swap(), x)
    assert torch.equal(torch.get_rng_state(), state)
