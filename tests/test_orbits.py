"""No orbit has two representatives: 10,000 drawn pairs per setting. The literal reading fails this."""

from __future__ import annotations

import pytest
import torch

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, RandomSymmetry
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.testing import deviation

pytestmark = pytest.mark.slow

PAIRS = 10_000
SETTINGS = [
    pytest.param(frame, dtype, wrap, id=f"{'x'.join(map(str, frame))}-{str(dtype)[6:]}-{'torus' if wrap else 'padded'}")
    for frame in ((17,), (16, 16), (13, 18), (6, 7, 8))
    for dtype in (torch.complex64, torch.complex128, torch.float32, torch.float64)
    for wrap in (False, True)
]


def objects(
    count: int, frame: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator, *, gap: int = 0
) -> torch.Tensor:
    """Draw content in a box of its own for every object; ``gap`` entries of the frame stay free along each axis."""
    x = torch.randn(count, *frame, dtype=dtype, generator=generator)
    for axis, size in enumerate(frame):
        length = torch.randint((size + 1) // 2, size + 1 - gap, (count, 1), generator=generator)
        start = (torch.rand(count, 1, generator=generator) * (size - length + 1)).long()
        index = torch.arange(size)
        inside = (index >= start) & (index < start + length)
        x = x * inside.reshape(count, *[size if a == axis else 1 for a in range(len(frame))])
    return x


@pytest.mark.filterwarnings("ignore:FarField measures")
@pytest.mark.parametrize(("frame", "dtype", "wrap"), SETTINGS)
def test_no_orbit_has_two_representatives(frame: tuple[int, ...], dtype: torch.dtype, wrap: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    model = FarField(
        len(frame), field="complex" if dtype.is_complex else "real", oversampling=1.0 if wrap else 2.0, chunk_size=2000
    )
    fix = model.canonicalizer()
    # A few more, for the items near a tie that are left out (up to 5 %).
    x = objects(PAIRS + PAIRS // 20, frame, dtype, generator, gap=int(wrap))  # a full torus is a tie
    clear = fix.margin(x) > 1e-4
    assert clear.double().mean() > 0.95
    x = x[clear][:PAIRS]
    assert len(x) == PAIRS
    moved = RandomSymmetry(model.symmetries, generator=generator)(x)
    error = deviation(fix(moved), fix(x), len(frame))
    limit = 2e-5 if dtype in (torch.complex64, torch.float32) else 1e-10
    print(f"{int((error > limit).sum())} failures in {len(x)} pairs, largest relative error {float(error.max()):.1e}")
    assert (error <= limit).all()


def test_the_literal_reading_fails() -> None:
    generator = torch.Generator().manual_seed(1)
    model = FarField(2)
    x = objects(PAIRS, (16, 16), torch.complex64, generator)
    x = x[model.canonicalizer().margin(x) > 1e-4]
    moved = RandomSymmetry(model.symmetries, generator=generator)(x)
    literal = LiteralAlgorithm2()
    share = (deviation(literal(moved), literal(x), 2) > 2e-5).double().mean()
    print(f"the literal reading fails in {share:.1%} of {len(x)} pairs")
    assert share > 0.3


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float32])
def test_the_composition_as_the_readme_has_it(dtype: torch.dtype) -> None:
    from torchvision.transforms import Compose
    from torchvision.transforms.v2 import Compose as Compose2

    from torch_symbreak.transforms import FixSign

    scalar = FixGlobalPhase() if dtype.is_complex else FixSign(2)
    model = FarField(2, field="complex" if dtype.is_complex else "real")
    x = objects(500, (16, 16), dtype, torch.Generator().manual_seed(2))
    for compose in (Compose, Compose2, lambda parts: torch.nn.Sequential(*parts)):
        together = compose([CenterContent(), scalar, FixConjugateFlip()])
        clear = model.canonicalizer().margin(x) > 1e-4
        assert deviation(together(x), model.canonicalizer()(x), 2)[clear].max() < 1e-5
