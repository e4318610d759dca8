"""Fitting a template: objects of any kind, at every scale, and never worse from round to round."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from draws import crystals
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from torch_symbreak import FarField, RandomSymmetry, SymmetryBrokenDataset
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import Sign
from torch_symbreak.testing import deviation


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"restarts": 2}, {"start": "object"}, {"start": "rule"}])
def test_fitting_never_makes_it_worse(options):
    model, x = crystals(80)
    if options.get("start") == "object":
        options = {"start": x[3]}
    elif options.get("start") == "rule":
        options = {"start": model.canonicalizer()}
    fix = AlignToTemplate.fit(x, model.symmetries, progress=False, tolerance=0.0, rounds=12, **options)
    history = fix.history
    assert len(history) > 1
    assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(history))
    assert 0 < fix.explained < 1
    assert fix.seen == 80
    if not options:
        exact = model.canonicalizer()(x)
        spread = [(z - z.mean(0)).abs().square().mean() for z in (exact, fix(x))]
        assert spread[1] < spread[0]


def check_rounds() -> None:
    """Every round aligns anew, and its mean is the next template; its distance is that from the template before."""
    model, x = crystals(40)
    before, history = x[3], []
    for rounds in (1, 2, 3):
        options = {"start": x[3], "rounds": rounds, "tolerance": 0.0, "progress": False}
        fix = AlignToTemplate.fit(x, model.symmetries, **options)
        aligned = AlignToTemplate(before, model.symmetries)(x)
        history.append(float((aligned - before).abs().square().sum((1, 2)).mean()))
        assert torch.allclose(fix.template, aligned.mean(0), atol=1e-5), f"round {rounds}"
        assert fix.history == pytest.approx(history, rel=1e-4), f"round {rounds}"
        before = fix.template


def test_every_round_is_the_mean_of_the_realigned():
    check_rounds()


def test_a_template_is_recovered():
    """Objects that are one shape up to symmetry and noise: the template is the shape."""
    generator = torch.Generator().manual_seed(0)
    model = FarField(2)
    shape = torch.nn.functional.pad(torch.randn(6, 5, dtype=torch.complex64, generator=generator), (3, 4, 2, 4))
    x = RandomSymmetry(model.symmetries, generator=generator)(shape.expand(60, -1, -1))
    fix = model.fit_canonicalizer(x, progress=False)
    assert fix.explained > 1 - 1e-5
    assert deviation(fix(x), fix.template.expand_as(x), 2).max() < 1e-4


@pytest.mark.parametrize("kind", ["tensor", "data set", "pairs", "loader", "broken data set"])
def test_objects_of_any_kind(kind):
    model, x = crystals(40)
    pairs = TensorDataset(model(x), x)
    objects = {
        "tensor": x,
        "data set": TensorDataset(x),
        "pairs": pairs,
        "loader": DataLoader(pairs, batch_size=7, shuffle=True),
        "broken data set": SymmetryBrokenDataset(x, model.canonicalizer(), forward=model),
    }[kind]
    fix = model.fit_canonicalizer(objects, progress=False, rounds=2)
    assert fix.seen == 40
    some = model.fit_canonicalizer(objects, progress=False, rounds=1, max_objects=10)
    assert some.seen == 10


def test_symmetries_without_a_rule_start_from_an_object():
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(8, generator=generator)
    signs = torch.randn(50, 1, generator=generator).sign()
    x = signs * (shape + 0.1 * torch.randn(50, 8, generator=generator))
    fix = AlignToTemplate.fit(x, Sign(1), progress=False, generator=generator)
    assert ((fix(x) * fix(x)[:1]).sum(-1) > 0).all()


def test_an_iterable_data_set_with_a_length():
    model, x = crystals(20)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(x)

        def __len__(self):
            return len(x)

    assert model.fit_canonicalizer(Stream(), progress=False, rounds=1).seen == 20


def test_starts_are_drawn_from_objects_that_are_not_zero():
    model, x = crystals(2)
    x = torch.cat([torch.zeros(100, *x.shape[1:], dtype=x.dtype), x])
    fix = model.fit_canonicalizer(x, progress=False, rounds=1, restarts=2)
    assert fix.seen == 102


@pytest.mark.parametrize("seed", range(6))
def test_objects_of_one_orbit_are_explained_to_the_last_bit(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 7, 7, dtype=torch.complex64, generator=generator).expand(3, -1, -1)
    fix = FarField(2).fit_canonicalizer(x, progress=False)
    assert 1 - 1e-6 < fix.explained <= 1
    assert all(distance >= 0 for distance in fix.history)


def test_squared_distances_may_leave_the_range():
    model, x = crystals(10)
    fix = model.fit_canonicalizer(x.to(torch.complex128) * 1e200, progress=False, rounds=2)
    assert fix.history == [math.inf] * 2
    assert 0 < fix.explained < 1


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e19, 1e30])
@pytest.mark.parametrize("normalize", [False, True])
def test_fitting_at_every_scale(scale, normalize):
    model, x = crystals(30)
    options = {"progress": False, "rounds": 3, "normalize": normalize}
    fix, scaled = (model.fit_canonicalizer(z, **options) for z in (x, x * scale))
    assert scaled.explained == pytest.approx(fix.explained, rel=1e-5)
    unit = 1 if normalize else scale
    assert scaled.history == pytest.approx([distance * unit**2 for distance in fix.history], rel=1e-4)
    assert torch.allclose(scaled.template / unit, fix.template, atol=1e-5)
