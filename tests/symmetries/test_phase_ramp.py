"""The laws of the phase ramp, which has no canonicalizer, on drawn complex items."""

from draws import COMPLEX, Drawn, cases
from hypothesis import given

from torch_symbreak.symmetries import PhaseRamp
from torch_symbreak.testing import check_symmetry


@given(cases(COMPLEX, channel_dims=1))
def test_laws(case: Drawn) -> None:
    check_symmetry(PhaseRamp(case.event_dims, channel_dims=1), case.make(), generator=case.generator)
