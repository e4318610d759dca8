"""Test a symmetry or a canonicalizer of your own: every law as an assertion, and all of them at once.

:func:`check_canonicalizer` runs every law that applies, as scikit-learn's ``check_estimator`` does;
:func:`check_symmetry` runs those of a group alone. Each law is also a function of its own, ``assert_*``.

All take what they test and a batch ``x`` of items. They raise ``AssertionError`` if the law does not hold, and return
the largest deviation relative to an item's largest magnitude. (:func:`assert_convex` takes two batches, and returns the
share of pairs that it dropped, too.) The message starts with the law's name and lists the
items, counted over the flattened batch. Random elements come from ``generator`` (default: torch's global one). The
default tolerance is 2e-5 in single and 1e-10 in double precision.

Canonicalization cannot be continuous: it is unique off a set of ties, and at a tie it is not. :func:`off_ties` leaves
out the items that are too close to one.

>>> import torch
>>> from torch_symbreak import FixSign
>>> x = off_ties(FixSign(1), torch.randn(100, 5))
>>> assert_invariant(FixSign(1), x) < 1e-6
True
"""

from torch_symbreak.testing.canonicalizers import (
    assert_batch_equivariant,
    assert_few_ties,
    assert_forward_invariant,
    assert_idempotent,
    assert_in_orbit,
    assert_invariant,
    assert_pure,
    assert_representative,
    assert_smallest,
)
from torch_symbreak.testing.convexity import Convexity, assert_convex
from torch_symbreak.testing.groups import assert_commutes, assert_device, assert_elements, assert_group, assert_identity
from torch_symbreak.testing.measure import deviation, off_ties
from torch_symbreak.testing.suite import check_canonicalizer, check_symmetry

__all__ = [
    "Convexity",
    "assert_batch_equivariant",
    "assert_commutes",
    "assert_convex",
    "assert_device",
    "assert_elements",
    "assert_few_ties",
    "assert_forward_invariant",
    "assert_group",
    "assert_idempotent",
    "assert_identity",
    "assert_in_orbit",
    "assert_invariant",
    "assert_pure",
    "assert_representative",
    "assert_smallest",
    "check_canonicalizer",
    "check_symmetry",
    "deviation",
    "off_ties",
]
