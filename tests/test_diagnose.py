"""A report tells how a data set was made, and finds what was planted in it."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from torch_symbreak import ElementwiseSquare, FarField, FixGlobalPhase, GaussianIntensity, ScrambledDataset
from torch_symbreak.baselines import LiteralAlgorithm2, nearest_neighbors, nearest_others
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics import Report, _elements, _gains, diagnose
from torch_symbreak.diagnostics._elements import Orientations, uniformity
from torch_symbreak.experiments.farfield import DATA
from torch_symbreak.forward import Measured, PoissonCounts

pytest.importorskip("sklearn")

MODEL = FarField(2)
FIX = MODEL.canonicalizer()
FRAME, COUNT = (20, 20), 300
NAMES = ("translation", "conjugate_flip", "global_phase")


@functools.cache
def objects(name: str) -> Tensor:
    return DATA[name](FRAME, COUNT, 0, True)


@functools.cache
def scrambled(name: str = "crystals") -> Tensor:
    return torch.stack(list(ScrambledDataset(objects(name), MODEL.symmetries, seed=3)))


@functools.cache
def report_of(state: str, name: str = "crystals") -> Report:
    x = scrambled(name)
    made = {
        "natural": lambda: objects(name),
        "scrambled": lambda: x,
        "exact": lambda: FIX(x),
        "literal": lambda: LiteralAlgorithm2()(x),
        "template": lambda: MODEL.fit_canonicalizer(x, progress=False)(x),
        "phase alone": lambda: FixGlobalPhase()(x),
    }
    return diagnose(made[state](), MODEL, n=150)


def statuses(report: Report) -> list[str]:
    return [report["symmetries"][name]["status"] for name in NAMES]


def violations(report: Report) -> list[float]:
    return [report["symmetries"][name]["violations"] for name in NAMES]


# -------------------------------------------------------------------------------------------- how it was made


def test_scrambled_targets_are_unbroken_in_all() -> None:
    report = report_of("scrambled")
    assert statuses(report) == ["unbroken"] * 3
    assert [report["symmetries"][name]["holds"] for name in NAMES] == [True] * 3
    assert report["rule"] is None
    assert report["advice"] == "template"
    assert "suffer" in report["verdict"]
    assert report["line"] == "dataset = SymmetryBrokenDataset(dataset, model.fit_canonicalizer(dataset))"


@pytest.mark.parametrize("rule", ["exact", "template"])
@pytest.mark.parametrize("name", ["crystals", "digits"])
def test_broken_targets_name_their_rule(rule: str, name: str) -> None:
    report = report_of(rule, name)
    assert report["rule"] == rule
    assert statuses(report) == ["broken"] * 3
    assert violations(report) == [0, 0, 0]
    assert not any(report["findings"][each]["flag"] for each in NAMES)
    assert "no violations" in report["verdict"]


def test_literal_targets_leave_the_flip() -> None:
    """By hand: the literal rule gives x and its twin different targets, and equal ones to all other points."""
    report, x = report_of("literal"), scrambled()
    assert report["rule"] == "literal"
    assert statuses(report) == ["broken", "not properly broken", "broken"]
    literal = LiteralAlgorithm2()
    z = literal(x)
    box = FIX.symmetry.rearrangement.box(z)
    around = (2 * box.lo + box.length - torch.tensor(FRAME)).tolist()
    twins = torch.stack([item.conj().flip((0, 1)).roll(by, (0, 1)) for item, by in zip(z, around, strict=True)])
    apart = torch.linalg.vector_norm(literal(twins) - literal(z), dim=(1, 2)) > 1e-2
    assert (
        report["doubled"]["orbits"]
        == report["symmetries"]["conjugate_flip"]["violations"]
        == float(apart.double().mean())
    )
    assert 0 < report["doubled"]["opposite orientations"] < 1


def test_natural_orientation() -> None:
    digits, photographs = report_of("natural", "digits"), report_of("natural", "photographs")
    assert statuses(digits) == ["naturally oriented"] * 3
    assert digits["verdict"].startswith("These targets have some order")
    assert photographs["symmetries"]["global_phase"]["status"] == "naturally oriented"
    assert photographs["symmetries"]["conjugate_flip"]["status"] == "unbroken"


def test_one_symmetry_broken_alone() -> None:
    report = report_of("phase alone")
    assert report["rule"] is None
    assert statuses(report)[1:] == ["unbroken", "broken"]
    assert report["symmetries"]["global_phase"]["rule"] == "exact"


def test_planted_violations_are_found() -> None:
    x = FIX(scrambled()).clone()
    x[[5, 17]] = x[[5, 17]].roll(1, -1)
    x[40] *= 1j
    report = diagnose(x, MODEL, n=60)
    assert report["rule"] == "exact"
    assert violations(report) == pytest.approx([2 / COUNT, 0, 1 / COUNT])
    found = report["findings"]["translation"]
    assert sorted(found["worst"].tolist()) == [5, 17]
    assert found["score"] == pytest.approx(1 - 2 / COUNT)
    assert found["scores"][5] < found["scores"][6] == 1
    assert report["line"] == "dataset = SymmetryBrokenDataset(dataset, model.canonicalizer())"


def test_the_test_for_uniform_elements_is_honest() -> None:
    """Of scrambled sets, at most a tenth has a p-value below .1: at most, as it is corrected for the two axes."""
    sets, size = 80, 60
    x = objects("digits")[:size].repeat(sets, 1, 1)
    group = FIX.symmetry
    x = group.act(group.sample(x, generator=torch.Generator().manual_seed(0)), x)
    for found in _elements.orientations_of(FIX, x).values():
        assert found.uniform is not None
        parts = zip(*(each.split(size) for each in found[:3]), found.uniform.split(size), strict=True)
        below = sum(uniformity(Orientations(*part, found.unit)).p < 0.1 for part in parts)
        # Above 19 with a chance of 3e-4. A test that never says so is none.
        assert 1 <= below <= 19


@pytest.mark.parametrize("unit", ["flipped", "rad"])
def test_concentrated_elements_are_not_uniform(unit: str) -> None:
    values = (torch.arange(200) % 10 == 0).double()[:, None] if unit == "flipped" else torch.rand(200, 1).double() / 3
    found = uniformity(Orientations(values[:, 0] > 0, values[:, 0], values, values, unit))
    assert found.p < 1e-6
    assert found.distance == pytest.approx(0.4 if unit == "flipped" else 2 / 3, abs=0.05)


# --------------------------------------------------------------------------------------------------- its numbers


def test_neighbors_by_hand() -> None:
    y, x = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60.0).reshape(30, 2)
    distances, indices = nearest_others(y, 3)
    predicted = _gains.left_out_neighbors(x, indices)
    for i in range(30):
        rest = [j for j in range(30) if j != i]
        assert torch.allclose(nearest_neighbors(y[rest], x[rest], k=3)(y[i : i + 1])[0], predicted[i], atol=1e-4)
        assert distances[i, 0] == pytest.approx(float((y[rest] - y[i]).norm(dim=1).min()), rel=1e-4)
        assert torch.allclose(_gains.left_out_mean(x)[i], x[rest].mean(0))


def test_gains_are_ordered() -> None:
    report = report_of("scrambled")
    distance = {name: value[0] for name, value in report["neighbors"].items()}
    assert distance["up to symmetry"] < distance["template"] < distance["exact"] < distance["raw"]
    error = {name: each["5-NN"]["raw"][0] for name, each in report["proxy"].items()}
    assert error["template"] < error["exact"] < error["raw"]
    for each in report["proxy"].values():
        for predictor in each.values():
            assert predictor["aligned"][0] <= predictor["raw"][0]
            assert predictor["raw"][1] <= predictor["raw"][0] <= predictor["raw"][2]
    assert report["still to gain"] == pytest.approx(1 - report["proxy"]["exact"]["5-NN"]["aligned"][0] / error["exact"])


def test_margins_and_noise() -> None:
    x = scrambled()
    report = diagnose(x, MODEL, n=100, noise=0.05)
    for name, margin in FIX.deciding_margins(x).items():
        assert torch.allclose(report["margins"]["exact"][name]["values"], margin.double())
        assert report["margins"]["exact"][name]["near_ties"] == float((margin < 1e-3).double().mean())
    assert set(report["margins"]["template"]) == {"conjugate_flip", "global_phase"}
    smallest = torch.stack(list(FIX.deciding_margins(x).values())).amin(0)
    assert report["findings"]["near_ties"]["flags"].tolist() == (smallest < 1e-3).tolist()
    assert 0 < report["noise"]["exact"]["flips"] < 0.5
    assert diagnose(x, MODEL, n=100, noise=1e-6)["noise"]["exact"]["targets elsewhere"] == 0


def test_duplicates_within_and_across() -> None:
    x, group = scrambled().clone(), FIX.symmetry
    generator = torch.Generator().manual_seed(1)
    x[7] = group.act(group.sample(x[11:12], generator=generator), x[11:12])[0]
    test = torch.cat(
        [group.act(group.sample(x[2:4], generator=generator), x[2:4]), DATA["crystals"](FRAME, 10, 9, False)]
    )
    report = diagnose(x, MODEL, test=test)
    assert sorted(report["duplicates"]["pairs"].tolist()) == [[7, 11], [11, 7]]
    assert sorted(report["duplicates"]["test pairs"].tolist()) == [[0, 2], [1, 3]]
    assert report["duplicates"]["test share"] == pytest.approx(2 / 12)
    assert report["findings"]["duplicates"]["items"][report["findings"]["duplicates"]["flags"]].tolist() == [7, 11]
    assert "7 and 11" in str(report)


# ------------------------------------------------------------------------------------------------------ warnings


def named(report: Report) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in report["warnings"]}


def test_a_good_set_has_no_warnings() -> None:
    assert report_of("scrambled")["warnings"] == []


def distance_of(clean: Tensor, noisy: Tensor, threshold: float) -> float:
    """Return the mean distance of clean targets, moved as their noisy copies are, from the clean rule's."""
    fix, target = MODEL.canonicalizer(threshold=threshold), FIX(clean)
    moved = fix.symmetry.act(fix.element(noisy.to(clean.dtype)), clean)
    return float(
        (torch.linalg.vector_norm(moved - target, dim=(1, 2)) / torch.linalg.vector_norm(target, dim=(1, 2))).mean()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("std", "dtype", "hot"),
    [
        (0.01, np.complex64, 0),
        (0.01, np.complex128, 0),
        (0.05, np.complex64, 0),
        (0.05, np.complex128, 0),
        (0.01, np.complex64, 10),
    ],
)
def test_noisy_sets(std: float, dtype: Any, hot: float) -> None:
    """Frames of 64 x 64. In frames of 32 x 32 with 5 % noise no threshold reaches .1."""
    clean = BraggCrystals(60, frame=(64, 64)).objects(torch.arange(60))
    noise = np.random.default_rng(0).normal(size=(2, *clean.shape)) * std / math.sqrt(2)
    noisy = torch.from_numpy((clean.numpy() + noise[0] + 1j * noise[1]).astype(dtype))
    if hot:
        noisy[::50, 3, 5] = hot
    report = diagnose(noisy, MODEL, n=20)
    assert "background" in named(report)["frame"]["text"]
    line = named(report)["frame"]["line"]
    threshold = report["threshold"]
    assert line == f"model.canonicalizer(threshold={threshold:g})"
    assert distance_of(clean, noisy, threshold) < 0.1
    assert f"threshold={threshold:g}" in report["line"]
    assert distance_of(clean, noisy, 1e-4) > 0.3


class Stored(Dataset[Any]):
    """Hold pairs (y, x)."""

    def __init__(self, y: Tensor, x: Tensor) -> None:
        self.y, self.x = y, x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.y[index], self.x[index]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda y: torch.fft.fftshift(y, (1, 2)), "zero frequency in the middle"),
        (lambda y: y.sqrt(), "the root of f(x)"),
        (lambda y: 3 * y, "a multiple of f(x)"),
        (lambda y: y[:, 1:], "has shape (40, 40)"),
        (lambda y: y.roll(1, 0), "differ from f(x)"),
    ],
)
def test_measurements_that_disagree(change: Any, says: str) -> None:
    x = scrambled()[:20]
    y = MODEL(x)
    report = diagnose(Stored(change(y), x), MODEL)
    assert says in named(report)["measurements"]["text"]
    assert report["findings"]["measurements"]["flags"].all()
    assert "measurements" not in named(diagnose(TensorDataset(y * 1.01, x), MODEL))


def test_other_warnings() -> None:
    x = scrambled()[:30]
    small = named(diagnose(x, FarField(2, oversampling=1.2), n=20))
    assert "below 2 N - 1" in small["forward"]["text"]
    real = FarField(2, field="real")
    channels = named(diagnose(torch.view_as_real(x).movedim(-1, 1).contiguous(), real, n=20))
    assert "two channels" in channels["channels"]["text"]
    assert named(diagnose(x.abs() + 0j, MODEL, n=20))["field"]["line"].startswith('FarField(..., field="real")')
    assert "float16" in named(diagnose(x.abs().half(), real, n=20))["dtype"]["text"]
    full = torch.randn(30, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    frame = named(diagnose(full, MODEL, n=20))["frame"]
    assert frame["line"] == ""
    wave = torch.polar(torch.tensor(1.0), 2 * math.pi * torch.arange(8) / 8)
    mean_free = torch.nn.functional.pad(full.abs()[:, :, :1] * wave, (2, 3, 4, 1))
    assert "sum near zero" in named(diagnose(mean_free, MODEL, n=20))["anchor"]["text"]


# --------------------------------------------------------------------------------------------- other models, errors


def test_other_models_and_functions() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 5, generator=generator)
    report = diagnose(vectors, GaussianIntensity.draw(20, 5, generator=generator))
    assert report["symmetries"]["sign"]["status"] == "unbroken"
    broken = diagnose(vectors * vectors[:, -1:].sign(), GaussianIntensity.draw(20, 5, generator=generator))
    assert (broken["rule"], broken["symmetries"]["sign"]["violations"]) == ("exact", 0)
    numbers = diagnose(torch.randn(60, generator=generator), ElementwiseSquare())
    assert numbers["symmetries"]["sign"]["status"] == "unbroken"
    assert str(numbers)
    assert numbers.to_html()
    mine = diagnose(scrambled()[:60], lambda x: torch.fft.fft2(x, s=(40, 40)).abs(), event_dims=2, n=40)
    assert statuses(mine) == ["unbroken"] * 3
    assert diagnose(vectors, torch.abs, event_dims=0)["symmetries"]["sign"]["status"] == "unbroken"
    noisy = diagnose(scrambled()[:40], Measured(MODEL, [PoissonCounts(generator=generator)], photons=1e3))
    assert noisy["symmetries"]["conjugate_flip"]["holds"] is None
    assert "Whether f has the conjugate flip is unknown: cannot tell below the noise of f" in " ".join(
        str(noisy).split()
    )
    with pytest.raises(ValueError, match="event_dims=0"):
        diagnose(vectors, torch.abs, event_dims=1)


def test_keys_and_bad_arguments() -> None:
    x = scrambled()[:20]
    samples = [{"object": item, "label": i} for i, item in enumerate(x)]
    assert diagnose(samples, MODEL, keys="object")["targets"] == 20
    for call, error, says in (
        (lambda: diagnose(samples, MODEL), TypeError, "Say where the targets are"),
        (lambda: diagnose((MODEL(x), x), MODEL), TypeError, "TensorDataset"),
        (lambda: diagnose(x[:5], MODEL), ValueError, "at least 8"),
        (lambda: diagnose(x, MODEL, n=2), ValueError, "n >= 8"),
        (lambda: diagnose(x, MODEL, noise=-1.0), ValueError, "positive noise"),
        (lambda: diagnose(x, MODEL, event_dims=3), ValueError, "Leave it out"),
        (lambda: diagnose(x, torch.abs), ValueError, "needs event_dims"),
        (lambda: diagnose(x.real, MODEL), TypeError, "field='complex'"),
        (lambda: diagnose(x, MODEL, keys=("a", "b")), ValueError, "one key"),
        (lambda: diagnose([x[0], x[1][:5]] * 8, MODEL), ValueError, "one shape"),
        (lambda: diagnose(torch.full_like(x, torch.nan), MODEL), ValueError, "NaN"),
    ):
        with pytest.raises(error, match=re.escape(says)):
            call()
