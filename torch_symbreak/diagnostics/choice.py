"""The canonicalizer that breaks given symmetries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_symbreak.canonical import FarFieldCanonicalizer, FixInTurn
from torch_symbreak.symmetries import (
    Canonicalizer,
    CenterContent,
    ConjugateFlip,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    GlobalPhase,
    PhaseRamp,
    Rearrangement,
    Scalar,
    Scale,
    Symmetry,
    Translation,
)


def parts_for(held: Mapping[str, Symmetry]) -> list[Canonicalizer[Any]]:
    """Return the canonicalizers of the symmetries that hold, by name, in the order in which they apply."""
    return [*_motions(held), *_scalars(held)]


def joined(parts: list[Canonicalizer[Any]]) -> Canonicalizer[Any]:
    """Return one canonicalizer for all of ``parts_for``, or raise ``ValueError``."""
    if len(parts) == 1:
        return parts[0]
    if parts[-1].symmetry.item_dims == 0:
        raise ValueError(
            "canonicalizer_for found motions and numbers of every entry, which no one canonicalizer breaks. Compose "
            f"them: torchvision.transforms.Compose({parts[::-1]!r})."
        )
    first, last = parts[0].symmetry, parts[-1]
    if [type(part) for part in parts[:2]] != [CenterContent, FixConjugateFlip] or len(parts) < 3:
        return FixInTurn(parts)
    return FarFieldCanonicalizer(
        first.event_dims,
        channel_dims=first.channel_dims,
        threshold=first.threshold,
        wrap=first.wrap,
        field="complex" if isinstance(last, FixGlobalPhase) else "real",
    )


def _motions(held: Mapping[str, Symmetry]) -> list[Canonicalizer[Any]]:
    shift, flips = held.get("Translation"), [flip for flip in held.values() if isinstance(flip, ConjugateFlip)]
    if shift is None:  # then a fixed center is safe; other items may have their content elsewhere
        flips.sort(key=lambda flip: not flip.fixed)
    fixes: list[Canonicalizer[Any]] = []
    if isinstance(shift, Translation):
        options: dict[str, Any] = {"channel_dims": shift.channel_dims, "threshold": shift.threshold}
        fixes.append(CenterContent(shift.event_dims, wrap=shift.wrap, **options))
    for flip in flips[:1]:
        options = {"channel_dims": flip.channel_dims, "threshold": flip.threshold, "center": flip.center}
        fixes.append(FixConjugateFlip(flip.event_dims, wrap=flip.wrap, **options))
    return fixes


def _scalars(held: Mapping[str, Symmetry]) -> list[Canonicalizer[Any]]:
    for name in ("GlobalPhase(0)", "Sign(0)", "GlobalPhase", "Sign"):
        if name in held:
            group = held[name]
            fix = FixGlobalPhase if isinstance(group, GlobalPhase) else FixSign
            return [fix(group.event_dims, channel_dims=group.channel_dims)]
    return []


def unbroken(held: Mapping[str, Symmetry]) -> list[str]:
    """Return the names of the symmetries that no canonicalizer breaks."""
    return [
        name
        for name, group in held.items()
        if isinstance(group, Scale)
        or (isinstance(group, PhaseRamp) and "GlobalPhase(0)" not in held)  # a ramp is a phase of every entry
        or of_the_users(group)
    ]


def of_the_users(group: Symmetry) -> bool:
    """Return whether a symmetry is none of those that :func:`~torch_symbreak.diagnostics.symmetries_of` tests."""
    return not isinstance(group, (Rearrangement, Scalar, PhaseRamp))
