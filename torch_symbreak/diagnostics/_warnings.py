"""Find faults of a data set besides its symmetries, each with its remedy."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import flat_items
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.canonical.thresholds import DEFAULT, suggest_threshold
from torch_symbreak.diagnostics._data import Read
from torch_symbreak.diagnostics._elements import STEP
from torch_symbreak.diagnostics._verdict import percent
from torch_symbreak.symmetries import Canonicalizer, Product

#: Items that are looked at for a threshold.
_SOME = 500
#: Stored measurements may differ from f(x) by their noise, relative to their norm.
_APART = 0.1
#: A sum below this share of the sum of magnitudes is near zero.
_NO_SUM = 1e-3
#: Fewer targets than this show a natural orientation only if it is strong.
_FEW = 50


class Warned(NamedTuple):
    """A warning, with a score per item where it is about items."""

    name: str
    text: str
    line: str  # what to type; "" if nothing
    flags: Tensor | None = None  # (n,) bool
    scores: Tensor | None = None  # (n,) in [0, 1], 0 at worst


def filled(fix: Canonicalizer[Any], x: Tensor) -> Tensor:
    """Return in which items, (n,) bool, the content box fills a frame that has padding to leave free."""
    like = Product(fix.symmetry).rearrangement
    if like is None:
        return torch.zeros(len(x), dtype=torch.bool)
    return torch.cat([like.fills(part) for part in x.split(STEP)])


def threshold_for(fix: Canonicalizer[Any], x: Tensor) -> float:
    """Return the content threshold that suits the targets: the default unless content fills most frames."""
    like = Product(fix.symmetry).rearrangement
    if like is None:
        return DEFAULT
    some = x[:: -(-len(x) // _SOME)]
    if filled(fix, some).double().mean() <= 0.5:
        return like.threshold
    return max(like.threshold, suggest_threshold(some, like.event_dims, channel_dims=like.channel_dims))


def of_frame(full: Tensor, threshold: float, suggested: float, rule: str) -> Warned | None:
    """Warn if content fills the frame in more than 5 % of the targets. ``rule`` is the line with the threshold."""
    share = float(full.double().mean())
    if share <= 0.05:
        return None
    text = f"Content above {threshold:g} of the peak fills the frame in {percent(share)} of the targets"
    if suggested > threshold:
        text += f": a background. Above {suggested:g} only content is left. This report uses that threshold."
        line = rule
    else:
        text += ", so no shift is possible there. If that is a background, choose a threshold above it."
        line = ""
    return Warned("frame", text, line, full, 1 - full.double())


def of_data(read: Read, forward_warnings: list[str], item_dims: int) -> list[Warned]:
    """Warn of measurements that disagree, of the detector, of channels, the dtype, zeros and few targets."""
    found, x = list[Warned](), read.x
    if read.disagreement is not None:
        flags = read.disagreement > _APART
        share = float(flags.double().mean())
        if share > 0:
            text = f"{percent(share)} of the stored measurements differ from f(x) by more than {_APART:.0%}."
            text += f" {read.hint}" if read.hint else ""
            middle = "middle" in read.hint or "index 0" in read.hint
            line = f"FarField(..., centered={'middle' in read.hint})" if middle else ""
            scores = (1 - read.disagreement).clamp(0, 1)
            found.append(Warned("measurements", text, line, flags, scores))
    for message in forward_warnings:
        found.append(Warned("forward", message, "FarField(..., oversampling=2)" if "detector" in message else ""))
    if read.batched and read.batched[-1] == 2 and not x.is_complex():
        text = (
            "Samples have two channels, which were taken as a batch: each became a target of its own. If they are real "
            "and imaginary part, make them complex."
        )
        found.append(Warned("channels", text, "x = torch.complex(x[:, 0], x[:, 1])"))
    if read.batched and x.shape[-1] == 2 and not x.is_complex():
        text = (
            "Samples have a last axis of two, and axes before it were taken as a batch. If the last one holds real and "
            "imaginary part, make them complex."
        )
        found.append(Warned("channels", text, "x = torch.view_as_complex(x.contiguous())"))
    if x.dtype in (torch.float16, torch.bfloat16):
        found.append(Warned("dtype", f"Targets have dtype {x.dtype}, with 3 digits.", "x = x.float()"))
    if x.is_complex() and not bool(x.imag.any()):
        text = "Targets are complex, but their imaginary parts are zero: only the sign of a real target is free."
        found.append(Warned("field", text, 'FarField(..., field="real") and x = x.real'))
    empty = ~flat_items(x, item_dims).ne(0).any(-1)
    if empty.any():
        text = f"{percent(float(empty.double().mean()))} of the targets are zero everywhere, and no rule moves them."
        found.append(Warned("zero", text, "", empty, 1 - empty.double()))
    few = int((~empty).sum())
    if few < _FEW:
        text = f"{few} targets are few: a natural orientation can pass for chance, and the gains are rough."
        found.append(Warned("few", text, ""))
    return found


def of_anchor(fix: Canonicalizer[Any], x: Tensor) -> Warned | None:
    """Warn of targets with a sum near zero, which anchors no phase or sign."""
    if not isinstance(fix, FarFieldCanonicalizer):
        return None
    dims = fix.symmetry.item_dims
    items = flat_items(x, dims)
    total = items.abs().sum(-1, dtype=torch.float64)
    scores = items.sum(-1).abs().double() / torch.where(total > 0, total, 1)
    flags = (scores < _NO_SUM) & (total > 0)
    if flags.double().mean() <= 0.05:
        return None
    what = "phase" if x.is_complex() else "sign"
    share = percent(float(flags.double().mean()))
    text = (
        f"{share} of the targets have a sum near zero, on which the exact rule's {what} "
        "rests: there it is a tie, or another anchor decides. A template does not need the sum."
    )
    return Warned("anchor", text, "fix = model.fit_canonicalizer(x)", flags, scores.clamp(0, 1))
