"""Compute the entries of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._items import NEAR_TIE, peak, per_item
from torch_symbreak._random import item_seed
from torch_symbreak._samples import measured
from torch_symbreak.baselines import nearest_others
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.diagnostics import _elements, _gains
from torch_symbreak.diagnostics._data import relative
from torch_symbreak.diagnostics._duplicates import duplicates
from torch_symbreak.diagnostics._elements import STEP, Breaking, Orientations
from torch_symbreak.diagnostics.report import Report, finding
from torch_symbreak.metrics import relative_error
from torch_symbreak.symmetries import Canonicalizer, Product

#: Elements are not uniform if p is below the first (corrected for the number of tests) and their distribution function
#: is at least the second away from the uniform one.
CHANCE, FAR = 1e-3, 0.1
#: A rule broke the targets if at most this share of them violates it, and a single symmetry if at most that share does.
MOST, MOST_ALONE = 0.1, 0.01
#: A template has to be kept with the network. It is advised if it surely saves more than this share of the error.
LITTLE = 0.05
#: Worst items that are kept for pictures.
SHOWN = 8

Rule = Callable[[Tensor, float | None], Canonicalizer[Any]]


class Work:
    """Hold the targets, the rules and the measurements of some targets.

    Args:
        forward: The model.
        fix: The exact rule.
        x: All targets, (N, *item).
        index: Numbers of those for the template and the neighbors, in order.
        seed: Seed of all draws.
    """

    def __init__(
        self, forward: Callable[[Tensor], Tensor], fix: Canonicalizer[Any], x: Tensor, index: Tensor, seed: int
    ):
        self.forward, self.fix, self.x, self.seed = forward, fix, x, seed
        self.group = Product(fix.symmetry)
        self.index = index
        self.some = x[self.index]
        self.features = self._features(self.some)
        self.nearest = nearest_others(self.features, _gains.K)
        self.no_template = ""
        self.template: AlignToTemplate | None = None
        try:
            self.template = AlignToTemplate.fit(self.some, self.group, generator=self._generator(), progress=False)
        except (TypeError, ValueError) as error:  # no isometries, a mean of zero
            self.no_template = str(error)
        self.margins = _in_parts(fix.deciding_margins, x)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def _features(self, x: Tensor) -> Tensor:
        return _gains.features_of(torch.cat([measured(self.forward, part) for part in x.split(STEP)]))

    def fill(self, report: Report) -> None:
        """Fill a report whose "symmetries" have their "holds", except for the entries about test targets and noise."""
        found = _elements.orientations_of(self.fix, self.x, seed=self.seed)
        exact = _elements.broken_by_exact(self.fix, self.x, found)
        by_template = (
            {} if self.template is None else _elements.orientations_of(self.template, self.some, seed=self.seed)
        )
        rule = _elements.detect(self.fix, exact, self.x, least=1 - MOST, seed=self.seed)
        report["rule"] = None if rule is None else rule.rule
        for name, each in found.items():
            self._of_symmetry(report, name, each, by_template.get(name), exact, rule)
        if rule is not None and rule.doubled is not None and rule.turned is not None:
            report["doubled"] = {
                "orbits": float(rule.doubled.double().mean()),
                "opposite orientations": float(rule.turned.double().mean()),
            }
        self._gains(report)
        self._near_ties(report)
        twins = duplicates(self.features, self.some, self.group.symmetries, nearest=self.nearest)
        text = "targets that another target of the set equals up to the symmetries"
        pairs = torch.stack((self.index, self.index[twins.partners]), 1)[twins.flags]
        report["findings"]["duplicates"] = finding(text, twins.scores, twins.flags, index=self.index)
        report["duplicates"] = {"pairs": pairs, "share": float(twins.flags.double().mean())}

    def _of_symmetry(
        self,
        report: Report,
        name: str,
        found: Orientations,
        by_template: Orientations | None,
        exact: Breaking,
        rule: Breaking | None,
    ) -> None:
        """Judge one symmetry: unbroken, naturally oriented, or broken, and by which rule."""
        tests = [_elements.uniformity(each) for each in (found, by_template) if each is not None]
        row = report["symmetries"].setdefault(name, {"holds": None})
        by = exact if rule is None else rule
        violated = by.violations[name]
        share = float(violated.double().mean())
        row["p"] = min(1.0, len(tests) * min(test.p for test in tests))
        row["distance"] = max(test.distance for test in tests)
        far = any(len(tests) * test.p < CHANCE and test.distance >= FAR for test in tests)
        row["status"] = (
            "broken" if rule is not None or share <= MOST_ALONE else "naturally oriented" if far else "unbroken"
        )
        if rule is not None and rule.rule == "literal" and share > MOST:
            row["status"] = "not properly broken"
        row["rule"] = by.rule if row["status"] in ("broken", "not properly broken") else None
        row["violations"], row["flag"] = share, bool(violated.any())
        scores = torch.where(violated, found.scores.clamp(max=0.99), 1.0)
        report["findings"][name] = finding(f"targets that the {by.rule} rule would move", scores, violated)
        report["elements"][name] = {
            "unit": found.unit,
            "exact": found.values,
            "template": None if by_template is None else by_template.values,
        }

    def _gains(self, report: Report) -> None:
        """Measure the gain of breaking before any training."""
        choices = {"raw": self.some, "exact": _whole(self.fix, self.some)}
        if self.template is not None:
            choices["template"] = _whole(self.template, self.some)
        neighbors, item_dims = self.nearest[1], self.group.item_dims
        distances = {name: _gains.distances_of(x, neighbors, item_dims) for name, x in choices.items()}
        others = self.some[neighbors[:, 0]]
        parts = zip(others.split(STEP), self.some.split(STEP), strict=True)
        orbit = [relative_error(one, x, self.group.symmetries, reduction="none") for one, x in parts]
        distances["up to symmetry"] = torch.cat(orbit)
        report["neighbors"] = {name: _gains.bootstrap(each, seed=self.seed) for name, each in distances.items()}
        errors = _gains.cross_validated(choices, neighbors, self.group.symmetries, item_dims)
        report["proxy"] = {
            name: {
                predictor: {part: _gains.bootstrap(getattr(each, part), seed=self.seed) for part in each._fields}
                for predictor, each in of_choice.items()
            }
            for name, of_choice in errors.items()
        }
        mean = {name: each["5-NN"]["raw"][0] for name, each in report["proxy"].items()}
        aligned = report["proxy"]["exact"]["5-NN"]["aligned"][0]
        report["still to gain"] = 1 - aligned / mean["exact"] if mean["exact"] > 0 else 0.0
        report["advice"] = "exact"
        if "template" in mean:
            saved = errors["exact"]["5-NN"].raw - errors["template"]["5-NN"].raw
            less = _gains.bootstrap(saved, seed=self.seed)[1]
            report["advice"] = "template" if less > LITTLE * mean["exact"] else "exact"
        saved = errors["raw"]["5-NN"].raw - errors[report["advice"]]["5-NN"].raw
        if _gains.bootstrap(saved, seed=self.seed)[1] <= 0:
            report["advice"] = "none"

    def _near_ties(self, report: Report) -> None:
        """Put margins of the exact rule, on all targets, and of the template, on some, into the report."""
        report["margins"] = {"exact": self._summary(self.margins)}
        if self.template is not None:
            of_template = _in_parts(self.template.deciding_margins, self.some)
            report["margins"]["template"] = self._summary(of_template)
        smallest = torch.stack(list(self.margins.values())).amin(0).double()
        report["findings"]["near_ties"] = finding(
            "targets whose smallest margin is below 1e-3 under the exact rule",
            smallest.clamp(0, 1),
            smallest < NEAR_TIE,
        )
        worst = smallest.argsort()[:SHOWN]
        report.pictures = {"worst": (worst, self.x[worst])}
        few = self.some[:SHOWN]
        after = self.fix if self.template is None or report["advice"] != "template" else self.template
        report.pictures["before"], report.pictures["after"] = (
            (self.index[:SHOWN], few),
            (self.index[:SHOWN], after(few)),
        )

    @staticmethod
    def _summary(margins: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
        return {
            name: {"near_ties": float((each < NEAR_TIE).double().mean()), "values": each.double()}
            for name, each in margins.items()
        }

    def flip_rates(self, report: Report, rule: Callable[[Tensor], Canonicalizer[Any]], noise: float) -> None:
        """Put into the report how often noise changes the target, with a rule that suits the noisy targets."""
        size = per_item(noise * peak(self.some, item_dims=self.group.item_dims), self.group.item_dims)
        # Whoever drew the targets may have used the same seed, and the noise would be a copy of them.
        generator = torch.Generator().manual_seed(item_seed(self.seed, _elements.OWN))
        drawn = torch.randn(self.some.shape, dtype=self.some.dtype, generator=generator)
        noisy = self.some + size * drawn
        rules: dict[str, Canonicalizer[Any]] = {"exact": rule(noisy)}
        if self.template is not None:
            rules["template"] = AlignToTemplate(self.template.template, rules["exact"].symmetry)
        report["noise"] = {"std": noise}
        for name, fix in rules.items():
            g, h = _elements.elements_of(fix, self.some), _elements.elements_of(fix, noisy)
            group = Product(fix.symmetry)
            apart = relative(group.act(g, self.some), group.act(h, self.some))
            report["noise"][name] = {
                "flips": float((g.flipped != h.flipped).double().mean()),
                "targets elsewhere": float((apart > 0.1).double().mean()),
                "mean distance": float(apart.mean()),
            }

    def across(self, report: Report, test: Tensor) -> None:
        """Find test targets that equal a training target up to the symmetries."""
        chosen = torch.randperm(len(test), generator=self._generator())[: len(self.some)].sort().values
        others = test[chosen]
        if others.shape[1:] != self.x.shape[1:]:
            raise ValueError(
                f"diagnose needs test targets shaped like the training targets, {tuple(self.x.shape[1:])}, but got "
                f"{tuple(others.shape[1:])}. Pad them to one frame first."
            )
        leaks = duplicates(self._features(others), others, self.group.symmetries, among=(self.features, self.some))
        text = "test targets that a training target equals up to the symmetries"
        report["findings"]["leaks"] = finding(text, leaks.scores, leaks.flags, index=chosen)
        pairs = torch.stack((chosen, self.index[leaks.partners]), 1)[leaks.flags]
        report["duplicates"] |= {"test pairs": pairs, "test share": float(leaks.flags.double().mean())}


def _whole(fix: Canonicalizer[Any], x: Tensor) -> Tensor:
    return torch.cat([fix(part) for part in x.split(STEP)])


def _in_parts(function: Callable[[Tensor], dict[str, Tensor]], x: Tensor) -> dict[str, Tensor]:
    parts = [function(part) for part in x.split(STEP)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
