"""Does the proxy order rules and data sets as trained networks do? Predictions first, networks after.

``python -m benchmarks.proxy predict`` writes docs/results/proxy/predictions.json: five nearest neighbors, each pair
left out once, on the training pairs of five cases. ``train CASE`` trains the two networks of a case into
docs/results/proxy/CASE. ``compare`` prints each prediction beside what the networks gave.

A pair "rule" asks whether the exact rule or the template has the lower test MSE in a case. A pair "gain" asks which of
two cases gains more from the template: one minus the template's MSE over the exact rule's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak import FarField
from torch_symbreak.baselines import nearest_others
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics._gains import K, cross_validated, features_of
from torch_symbreak.experiments import PRESETS, Grid
from torch_symbreak.experiments.farfield import DATA, FarFieldPhaseRetrieval
from torch_symbreak.experiments.predictors import fixed
from torch_symbreak.experiments.results import read_rows

FOLDER = Path("docs/results/proxy")
PREDICTIONS = FOLDER / "predictions.json"
RULES = ("exact", "template")


class Case(NamedTuple):
    """Name the data, the frame and the number of training pairs of two networks."""

    data: str
    frame: tuple[int, ...]
    n: int


def strained(frame: Sequence[int], count: int, seed: int, train: bool) -> Tensor:
    """Make crystals with one and a half times the strain of the others."""
    model = FarField(len(frame))
    return BraggCrystals(count, frame=frame, forward=model, strain=1.5, seed=seed).objects(torch.arange(count))


CASES = {
    "volumes": Case("crystals", (16, 16, 16), 500),
    "digits": Case("digits", (32, 32), 1000),
    "photographs": Case("photographs", (32, 32), 1500),
    "strained": Case("strained crystals", (32, 32), 500),
    "small-crystals": Case("crystals", (24, 24), 500),
}
PAIRS = (
    *(("rule", name) for name in CASES),
    ("gain", "volumes", "small-crystals"),
    ("gain", "digits", "photographs"),
    ("gain", "strained", "small-crystals"),
    ("gain", "volumes", "digits"),
    ("gain", "strained", "photographs"),
)


def experiment(case: Case) -> FarFieldPhaseRetrieval:
    return FarFieldPhaseRetrieval(frame=case.frame, objects={**DATA, "strained crystals": strained})


def neighbors_errors(case: Case) -> dict[str, dict[str, float]]:
    """Return the cross-validated errors per entry of 5-NN under each rule, raw and up to symmetry."""
    made = experiment(case)
    y, x = made.pairs(case.data, case.n, 0, train=True)
    targets = {rule: fixed(made.breaker(case.data, rule, x), x) for rule in RULES}
    _, neighbors = nearest_others(features_of(y), K)
    symmetries = made.model(case.data).symmetries
    errors = cross_validated(targets, neighbors, symmetries, len(case.frame))
    return {
        rule: {
            f"{name} {part}": float(getattr(found, part).mean())
            for name, found in of_rule.items()
            for part in ("raw", "aligned")
        }
        for rule, of_rule in errors.items()
    }


def gain(errors: dict[str, float]) -> float:
    return 1 - errors["template"] / errors["exact"]


def answer(pair: Sequence[str], errors: dict[str, dict[str, float]]) -> str:
    """Answer a pair by the MSE of each case (outer) and rule (inner)."""
    if pair[0] == "rule":
        return min(RULES, key=lambda rule: errors[pair[1]][rule])
    return max(pair[1:], key=lambda name: gain(errors[name]))


def predict() -> None:
    """Write the predictions."""
    measured = {name: neighbors_errors(case) for name, case in CASES.items()}
    mse = {name: {rule: measured[name][rule]["5-NN raw"] for rule in RULES} for name in CASES}
    written: dict[str, Any] = {
        "command": "python -m benchmarks.proxy predict",
        "predictions": [{"pair": list(pair), "answer": answer(pair, mse)} for pair in PAIRS],
        "cases": {
            name: {
                **case._asdict(),
                "gain": gain(mse[name]),
                "share that vanishes up to symmetry": 1
                - of_case["exact"]["5-NN aligned"] / of_case["exact"]["5-NN raw"],
                "errors": of_case,
            }
            for (name, case), of_case in zip(CASES.items(), measured.values(), strict=True)
        },
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    PREDICTIONS.write_text(json.dumps(written, indent=1) + "\n")
    for entry in written["predictions"]:
        print(*entry["pair"], "->", entry["answer"])


def train(name: str) -> None:
    """Train the networks of a case, under both rules."""
    case = CASES[name]
    grid = Grid(data=(case.data,), networks=("unet",), breaking=RULES, samples=(case.n,))
    training = PRESETS["farfield"]["cpu"].training
    experiment(case).run(grid, FOLDER / name, training=training, resume=True, report=print)


def trained(case: Case) -> dict[str, float] | None:
    """Return the test MSE of a case's networks by rule, or None where one is missing.

    Only networks with the same parameters and seed are compared: a width of 4 with a width of 8 would say nothing.
    """
    found: dict[tuple[str, int], dict[str, float]] = {}
    for path in FOLDER.parent.glob("**/results.jsonl"):
        for row in read_rows(path.parent):
            same = (row["data"], row["n"], tuple(row["parameters"].get("frame", ()))) == (
                case.data, case.n, case.frame
            )  # fmt: skip
            if same and row["experiment"] == "farfield" and row["network"] == "unet" and row["breaking"] in RULES:
                alike = json.dumps(row["parameters"], sort_keys=True), row["seed"]
                found.setdefault(alike, {})[row["breaking"]] = row["test_mse"]
    pairs = [errors for errors in found.values() if len(errors) == len(RULES)]
    return {rule: sum(errors[rule] for errors in pairs) / len(pairs) for rule in RULES} if pairs else None


def compare() -> None:
    """Print every prediction beside the networks' answer."""
    networks = {name: errors for name, case in CASES.items() if (errors := trained(case)) is not None}
    for name, errors in networks.items():
        print(f"{name}: exact {errors['exact']:.4f}, template {errors['template']:.4f}, gain {gain(errors):.1%}")
    right = known = 0
    for entry in json.loads(PREDICTIONS.read_text())["predictions"]:
        pair, predicted = entry["pair"], entry["answer"]
        if not set(pair[1:]) <= set(networks):
            print(*pair, "->", predicted, "(not trained)")
            continue
        given = answer(pair, networks)
        known, right = known + 1, right + (given == predicted)
        print(*pair, "->", predicted, "as trained" if given == predicted else f"but trained: {given}")
    print(f"{right} of {known} pairs agree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("predict", "train", "compare"))
    parser.add_argument("case", nargs="*", choices=(*CASES, []), help="Cases to train. Default: all.")
    given = parser.parse_args()
    if given.step == "train":
        for name in given.case or CASES:
            train(name)
    else:
        {"predict": predict, "compare": compare}[given.step]()


if __name__ == "__main__":
    main()
