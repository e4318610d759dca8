"""A user's program, checked by ``mypy --strict``: the types of the library are there, and say what is wrong."""

from typing import assert_type

import torch
from torch import Tensor

from torch_symbreak import AlignToTemplate, FarField, SymmetryBrokenDataset, sa_mse
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.io import Plan, Targets, plan
from torch_symbreak.symmetries import Element

model = FarField(2)
x = torch.rand(3, 16, 16, dtype=torch.complex64)

fix = model.canonicalizer()
assert_type(fix, FarFieldCanonicalizer)
assert_type(fix.element(x), Element)
assert_type(fix.margin(x), Tensor)
assert_type(fix.margins(x), dict[str, Tensor])
assert_type(model.canonicalizer(template=x[0]), AlignToTemplate)
assert_type(sa_mse(x, x, model.symmetries), Tensor)


def wrap(data: torch.utils.data.Dataset[Tensor]) -> SymmetryBrokenDataset:
    return SymmetryBrokenDataset(data, fix, forward=model)


def run() -> Plan:
    return plan("break", "in.h5", "out.h5", Targets("farfield"), elements=True)


def mistakes() -> None:
    """Never called. If mypy did not see these mistakes, it would say that the comments are unused."""
    FarField(2, oversampling="twice")  # type: ignore[arg-type]
    fix.margins(x)["translation"].no_such_method()  # type: ignore[attr-defined]
    plan("mend", "in.h5", "out.h5")  # type: ignore[arg-type]
