"""The laws of the global phase, on drawn complex items."""

from draws import COMPLEX, Drawn, cases
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import FixGlobalPhase
from torch_symbreak.testing import check_canonicalizer


@given(cases(COMPLEX, channel_dims=1, few_ties=True), st.sampled_from(["sum", "first entry"]))
def test_laws(case: Drawn, anchor: str) -> None:
    fix = FixGlobalPhase(case.event_dims, channel_dims=1, anchor="sum" if anchor == "sum" else (0, *case.position))
    check_canonicalizer(fix, case.make(), abs, generator=case.generator)
