"""The laws of the scale, which has no canonicalizer, on drawn items."""

from draws import Drawn, cases
from hypothesis import given

from torch_symbreak.symmetries import Scale
from torch_symbreak.testing import check_symmetry


@given(cases(channel_dims=1))
def test_laws(case: Drawn) -> None:
    check_symmetry(Scale(case.event_dims, channel_dims=1), case.make(), generator=case.generator)
