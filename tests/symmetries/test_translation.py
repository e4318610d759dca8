"""The laws of translations, on drawn items with padding and on the torus."""

from draws import Drawn, cases
from hypothesis import given

from torch_symbreak import CenterContent
from torch_symbreak.testing import check_canonicalizer


@given(cases(channel_dims=1, few_ties=True))
def test_laws(case: Drawn) -> None:
    fix = CenterContent(case.event_dims, channel_dims=1, wrap=case.wrap)
    check_canonicalizer(fix, case.make(), case.pattern, generator=case.generator)
