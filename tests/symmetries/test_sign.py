"""The laws of the sign, on drawn real items."""

from draws import REAL, Drawn, cases
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import FixSign
from torch_symbreak.testing import check_canonicalizer


@given(cases(REAL, channel_dims=1, few_ties=True), st.sampled_from(["sum", "first entry"]))
def test_laws(case: Drawn, anchor: str) -> None:
    fix = FixSign(case.event_dims, channel_dims=1, anchor="sum" if anchor == "sum" else (0, *case.position))
    check_canonicalizer(fix, case.make(), abs, generator=case.generator)


@given(cases(REAL, few_ties=True))
def test_laws_of_a_sign_per_entry(case: Drawn) -> None:
    x = case.make()
    check_canonicalizer(FixSign(0), x[x != 0][:40], abs, generator=case.generator)
