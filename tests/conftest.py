"""Hypothesis profiles: few examples by default, many with HYPOTHESIS_PROFILE=nightly."""

import os

import pytest
import torch
from hypothesis import settings

# Without a GPU the kernels run in Triton's interpreter: it is chosen when Triton is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=500, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Two xdist workers on two cores: one thread each is fastest, and no test depends on the number.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on what ran before it."""
    torch.manual_seed(0)
