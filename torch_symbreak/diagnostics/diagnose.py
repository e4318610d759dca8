"""Diagnose a data set: does it suffer from the symmetries of its model, and is it cured?"""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_callable, check_dims, check_whole
from torch_symbreak._items import flat_items
from torch_symbreak._samples import Keys
from torch_symbreak.diagnostics import _data, _verdict, _warnings
from torch_symbreak.diagnostics._work import Rule, Work
from torch_symbreak.diagnostics.discovery import canonicalizer_for, symmetries_of
from torch_symbreak.diagnostics.report import Report, finding
from torch_symbreak.forward import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Product
from torch_symbreak.symmetries.base import snake_case

#: Items on which the model's symmetries are tested.
_TESTED = 32
#: Fewest targets of a report.
_LEAST = 8


def diagnose(
    dataset: Any,
    forward: ForwardModel | Callable[[Tensor], Tensor],
    *,
    test: Any = None,
    event_dims: int | None = None,
    keys: Keys = None,
    n: int = 2000,
    noise: float | None = None,
    seed: int = 0,
) -> Report:
    """Say whether a data set suffers from the symmetries of its model, which line to type, and what it gains.

    Print the report, read it as a dict, or write it with :meth:`Report.save_json` and :meth:`Report.save_html`.

    Violations, margins and warnings are computed on all targets. The template, neighbors and duplicates are computed on
    ``n`` targets, drawn at random. All targets are kept in memory. No network is trained. Instead, the
    targets of the five nearest measurements are averaged, with each pair left out once. The gains are those of this
    mean.

    Args:
        dataset: The training targets: a tensor (n, *item), or a map-style data set of x, (x,), (y, x), or samples with
            ``keys``. Stored measurements y are compared with f(x).
        forward: The model. A plain function of targets (B, *item) needs ``event_dims``; its symmetries are found by
            :func:`symmetries_of`.
        test: Test targets, in the same form. Duplicates across both are found. Default: none.
        event_dims: Trailing dimensions of one target, for a plain function. Default: the model's.
        keys: The key of the targets in a sample. Default: the sample itself, or the second part of a pair.
        n: Number of targets to fit a template to and to find neighbors among. Default 2000.
        noise: Standard deviation of the targets' noise, relative to their largest magnitude. The report then says how
            often such noise flips a target. Default: no flip rate.
        seed: Seed of all draws, an int in [-2^63, 2^64). Default 0.

    Returns:
        The report.

    Raises:
        TypeError: If the data set is not map-style, a sample needs ``keys``, or the targets' dtype is not the model's.
        ValueError: If fewer than 8 targets are not zero, one is not finite, shapes differ, ``event_dims`` is missing or
            not the model's, ``n`` is below 8, or no symmetry of a plain function holds.
        ModuleNotFoundError: If the extra is missing: ``pip install "torch_symbreak[diagnose]"``.

    Example: crystals as they are simulated, and after the exact rule.
        >>> import torch
        >>> from torch_symbreak import FarField, ScrambledDataset
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> model = FarField(2)
        >>> x = BraggCrystals(200, frame=(16, 16)).objects(torch.arange(200))
        >>> x = torch.stack(list(ScrambledDataset(x, model.symmetries)))
        >>> before, after = diagnose(x, model), diagnose(model.canonicalizer()(x), model)
        >>> before["symmetries"]["conjugate_flip"]["status"], after["symmetries"]["conjugate_flip"]["status"]
        ('unbroken', 'broken')
        >>> after["rule"], after["symmetries"]["conjugate_flip"]["violations"]
        ('exact', 0.0)
    """
    line = functools.partial(_verdict.python_line, keys=keys, plain=not hasattr(forward, "canonicalizer"))
    return run(dataset, forward, test, event_dims, keys, n, noise, seed, line)


def run(
    dataset: Any,
    forward: Any,
    test: Any,
    event_dims: int | None,
    keys: Keys,
    n: int,
    noise: float | None,
    seed: int,
    line: _verdict.LineOf,
) -> Report:
    """Run :func:`diagnose` with a function that returns the line to type."""
    check_callable("diagnose", "forward", forward)
    n = check_whole("diagnose", "n", n, least=_LEAST)
    seed = check_whole("diagnose", "seed", seed, least=-(2**63), most=2**64 - 1)
    if noise is not None and (isinstance(noise, bool) or not isinstance(noise, numbers.Real)):
        raise TypeError(f"diagnose needs a number as noise, but got {noise!r}.")
    if noise is not None and not 0 < noise < math.inf:
        raise ValueError(f"diagnose needs a positive noise, relative to the largest magnitude, but got {noise!r}.")
    dims = _dims_of(forward, event_dims)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = _data.read(dataset, forward, keys, dims)
        if len(data.x) < _LEAST:
            raise ValueError(f"diagnose needs at least {_LEAST} targets, but got {len(data.x)}.")
        index = torch.randperm(len(data.x), generator=torch.Generator().manual_seed(seed))
        index = index[flat_items(data.x, dims).ne(0).any(-1)[index]]  # nothing can be learned from a zero target
        if len(index) < _LEAST:
            raise ValueError(
                f"diagnose needs at least {_LEAST} targets that are not zero, but got {len(index)} of {len(data.x)}."
            )
        few = data.x[index[:_TESTED]]
        rule = _rule_of(forward, few, dims)
        fix = rule(few, None)
        if Product(fix.symmetry).item_dims != dims:
            raise ValueError(
                f"diagnose found that every entry of the targets has a symmetry of its own: {fix}. Pass event_dims=0 "
                "if the function measures every entry by itself."
            )
        fix.check(data.x)
        like = Product(fix.symmetry).rearrangement
        threshold = _warnings.threshold_for(fix, data.x)
        suited = rule(few, threshold) if like is not None and threshold > like.threshold else fix
        report = Report(symmetries=_tested(forward, suited, few, dims, seed))
    said = dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, UserWarning))
    report |= {"targets": len(data.x), "looked": min(n, len(index)), "threshold": None if like is None else threshold}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the model's own are in the report
        work = Work(forward, suited, data.x, index[:n].sort().values, seed)
        work.fill(report)
        if noise is not None:
            work.flip_rates(
                report, lambda noisy: fix if like is None else rule(few, _warnings.threshold_for(fix, noisy)), noise
            )
        if test is not None:
            of_test = None if isinstance(test, torch.Tensor) else keys
            work.across(report, _data.read(test, forward, of_test, dims, name="the test targets").x)
    found: list[_warnings.Warned | None] = [*_warnings.of_data(data, list(said), dims)]
    if like is not None and like.shifts:
        typed = f"model.canonicalizer(threshold={threshold:g})" if hasattr(forward, "canonicalizer") else repr(suited)
        found.append(_warnings.of_frame(_warnings.filled(fix, data.x), like.threshold, threshold, typed))
    found.append(_warnings.of_anchor(suited, data.x))
    for warned in found:
        if warned is not None:
            report["warnings"].append({"name": warned.name, "text": warned.text, "line": warned.line})
            if warned.flags is not None and warned.scores is not None:
                report["findings"][warned.name] = finding(warned.text, warned.scores, warned.flags)
    shown = threshold if like is not None and threshold > like.threshold else None
    report["verdict"], report["line"] = _verdict.of(report, lambda rule: line(rule, shown, suited))
    return report


def _dims_of(forward: Any, event_dims: int | None) -> int:
    """Return the dimensions of one target."""
    if hasattr(forward, "symmetries") and hasattr(forward, "canonicalizer"):
        own = Product(forward.symmetries).item_dims
        if event_dims is not None and event_dims != own:
            raise ValueError(f"diagnose got event_dims={event_dims}, but the model's targets have {own}. Leave it out.")
        return own
    if event_dims is None:
        raise ValueError("diagnose needs event_dims for a plain function: the dimensions of one target, such as 2.")
    check_dims("diagnose", event_dims, 0, 0)
    return event_dims


def _rule_of(forward: Any, few: Tensor, dims: int) -> Rule:
    """Return the function that makes the exact rule from items and a threshold. None is the rule's own threshold."""

    def found(x: Tensor, threshold: float | None) -> Canonicalizer[Any]:
        options: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
        return canonicalizer_for(forward, few, event_dims=dims, generator=torch.Generator().manual_seed(0), **options)

    def made(x: Tensor, threshold: float | None) -> Canonicalizer[Any]:
        return forward.canonicalizer() if threshold is None else forward.canonicalizer(threshold=threshold)

    return made if hasattr(forward, "canonicalizer") else found


def _tested(forward: Any, fix: Canonicalizer[Any], few: Tensor, dims: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return what :func:`symmetries_of` says of the rule's symmetries, and of all others that hold."""
    group = Product(fix.symmetry)
    threshold = {} if group.rearrangement is None else {"threshold": group.rearrangement.threshold}
    found = symmetries_of(
        forward,
        few,
        event_dims=dims - group.channel_dims,
        channel_dims=group.channel_dims,
        symmetries=group.others,
        generator=torch.Generator().manual_seed(seed),
        **threshold,
    )
    own = {type(part): part for part in group.symmetries}
    rows: dict[str, dict[str, Any]] = {snake_case(part): {"holds": None} for part in group.symmetries}
    for name, each in found.findings.items():
        mine = own.get(type(each.symmetry))
        if mine is not None and _same_action(mine, each.symmetry):
            key = snake_case(mine)
        elif each.verdict == "holds" and not (mine is not None and rows[snake_case(mine)]["holds"]):
            key = name
        else:
            continue
        holds = {"holds": True, "unknown": None}.get(each.verdict, False)
        rows[key] = {"holds": holds, "verdict": each.verdict, "error": each.error, "reason": each.reason}
    return rows


def _same_action(mine: Any, other: Any) -> bool:
    """Return whether two symmetries of one class act on the same dimensions, about the same center."""
    return all(
        getattr(mine, name, None) == getattr(other, name, None) for name in ("event_dims", "channel_dims", "center")
    )
