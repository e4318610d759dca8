"""The laws of the conjugate flip, on drawn items with padding and on the torus."""

from draws import Drawn, cases
from hypothesis import given

from torch_symbreak import FixConjugateFlip
from torch_symbreak.testing import check_canonicalizer


@given(cases(channel_dims=1, few_ties=True))
def test_laws(case: Drawn) -> None:
    fix = FixConjugateFlip(case.event_dims, channel_dims=1, wrap=case.wrap)
    check_canonicalizer(fix, case.make(), case.pattern, generator=case.generator)
