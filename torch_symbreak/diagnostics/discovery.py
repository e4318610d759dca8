"""Find the symmetries of a measurement, and the canonicalizer that breaks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import (
    check_callable,
    check_dims,
    check_finite,
    check_generator,
    check_target,
    describe,
)
from torch_symbreak._content import Wrap
from torch_symbreak._items import batch_shape, peak, per_item
from torch_symbreak._random import uniform
from torch_symbreak.diagnostics.findings import Finding, SymmetryReport
from torch_symbreak.diagnostics.probe import Probe
from torch_symbreak.symmetries import (
    Canonicalizer,
    ConjugateFlip,
    GlobalPhase,
    Motion,
    PhaseRamp,
    Scale,
    Sign,
    Symmetry,
    Translation,
)
from torch_symbreak.testing.measure import random_like

_FULL = "content fills the frame, so that no shift keeps it inside: pad x with zeros, or raise threshold"
_OWN_TWIN = "every item is its own twin: take items that are not symmetric"
_STILL = "no drawn element moves any item"


def symmetries_of(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    event_dims: int,
    channel_dims: int = 0,
    threshold: float = 1e-4,
    symmetries: Symmetry | Sequence[Symmetry] = (),
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> SymmetryReport:
    """Return which symmetries a measurement has, by trying the library's and your own on the items of ``x``.

    Elements g are drawn for every item. The error is ``||f(g x) - f(x)|| / ||f(x') - f(x)||``, x' a random change of x
    with ``||x' - x|| = ||g x - x||``, so that neither a large constant in f nor a constant f passes for a symmetry. At
    0 a symmetry is exact. At 1, g changes f as much as the random change does.

    These are tested, by name:

    - "Translation": whole steps that keep content inside the frame. Along axes where f is periodic, steps around the
      frame are tested, too, and the finding's ``symmetry.wrap`` says so.
    - "ConjugateFlip" about the content's own center.
    - "ConjugateFlip(center=...)", unless translations hold: about the centers of the entries that f looks at, of all
      content, and of the frame.
    - "GlobalPhase" (complex x) or "Sign" (real x), and "GlobalPhase(0)" or "Sign(0)" of every entry by itself.
    - "Scale", and "PhaseRamp" (complex x).
    - Your own ``symmetries``, by the names of their classes, or as they print where a name is taken.

    With ``event_dims=0`` only the symmetries of numbers are tested: "GlobalPhase" or "Sign", and "Scale".

    The answer is about these items. A symmetry is unknown if it cannot be tested, as a translation where content fills
    the frame, or if the noise of f hides its error. Repeating f(x) measures that noise. If f is constant, all are
    unknown. Entries that are not finite in f(x) and f(g x) alike, such as dead pixels, do not count.

    Shape: x (*batch, *channels, *event); f(x) (*batch, ...), of any dtype.

    Args:
        forward: Any function from a batch to a batch of measurements: a model, a deepinv physics, or your own.
        x: Items to test on, like your targets. Some tens are enough.
        event_dims: Trailing dimensions of one item.
        channel_dims: Dimensions before the event that share one element. Default 0.
        threshold: Pixels below this fraction of the peak count as background. Raise it for noisy data. Default 1e-4.
        symmetries: Further symmetries to test, such as your own. Default: none.
        generator: Draws elements and changes. Default: torch's global generator.
        tolerance: Largest error of a symmetry that holds. Default: 1e-4 in single precision, 1e-8 in double, 1e-2 for
            whole numbers, by the dtypes of x and f(x). Up to .1 a symmetry is approximate.

    Raises:
        TypeError: If ``forward`` is no function, x no floating-point or complex tensor, f(x) no tensor, or an entry of
            ``symmetries`` no symmetry.
        ValueError: If x has no batch, is empty or not finite, f(x) does not begin with the batch of x, an entry of
            ``symmetries`` has larger items, or ``tolerance`` is not between 0 and 1.

    Warns:
        UserWarning: If f(x) of an item depends on the other items of the batch, or changes from call to call by more
            than its noise. The report is not about single items then.

    Example: a beam stop, behind which intensities are not measured, keeps the symmetries. A mask before the transform
    does not.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model, stop = FarField(2), torch.rand(32, 32) < 0.9
        >>> x = torch.nn.functional.pad(torch.randn(8, 9, 9, dtype=torch.complex64), (3, 4, 5, 2))
        >>> list(symmetries_of(lambda x: stop * model(x), x, event_dims=2).holds)
        ['Translation', 'ConjugateFlip', 'GlobalPhase']
        >>> probe = torch.randn(16, 16, dtype=torch.complex64)
        >>> report = symmetries_of(lambda x: model(probe * x), x, event_dims=2)
        >>> list(report.holds), "Translation" in report.fails
        (['GlobalPhase'], True)
    """
    x = _checked("symmetries_of", forward, x, event_dims, channel_dims)
    further = _further(symmetries, event_dims + channel_dims)
    check_generator("symmetries_of", generator)
    if tolerance is not None and not (isinstance(tolerance, (int, float)) and 0 < tolerance < 1):
        raise ValueError(
            f"symmetries_of needs 0 < tolerance < 1, but got {tolerance!r}. A random change has an error of about 1. "
            "Leave it out for rounding errors."
        )
    probe = Probe(forward, x, event_dims + channel_dims, generator, tolerance)
    dims: dict[str, Any] = {"channel_dims": channel_dims}
    findings: dict[str, Finding] = {}
    if event_dims:
        options = {**dims, "threshold": threshold}
        findings["Translation"] = translation = _translation(probe, event_dims, options)
        wrap = translation.symmetry.wrap  # type: ignore[attr-defined]
        own = ConjugateFlip(event_dims, wrap=wrap, **options)
        findings["ConjugateFlip"] = probe.of_symmetry(own, _OWN_TWIN)
        if translation.verdict != "holds":  # or flips about all centers are one
            for center in _centers(probe, own):
                flip = ConjugateFlip(event_dims, center=center, **options)
                name = f"ConjugateFlip(center=({', '.join(f'{c:g}' for c in center)}{',' * (len(center) == 1)}))"
                findings[name] = probe.of_symmetry(flip, _OWN_TWIN)
    unit = GlobalPhase if x.is_complex() else Sign
    findings[unit.__name__] = probe.of_symmetry(unit(event_dims, **dims), _STILL)
    if event_dims + channel_dims:
        findings[f"{unit.__name__}(0)"] = probe.of_symmetry(unit(0), _STILL)
    findings["Scale"] = probe.of_symmetry(Scale(event_dims, **dims), _STILL)
    if event_dims and x.is_complex():
        findings["PhaseRamp"] = probe.of_symmetry(PhaseRamp(event_dims, **dims), _STILL)
    for symmetry in further:
        name = type(symmetry).__name__
        if name in findings and findings[name].symmetry != symmetry:
            name = repr(symmetry)
        findings[name] = probe.of_symmetry(symmetry, _STILL)
    probe.warn_of_company()
    return SymmetryReport(findings)


def canonicalizer_for(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    event_dims: int,
    channel_dims: int = 0,
    threshold: float = 1e-4,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> Canonicalizer[Any]:
    """Find the symmetries of a measurement by trying them, and return the canonicalizer that breaks them.

    If translation, flip and phase (or sign) hold, the result is the far field's canonicalizer. If only some of them
    hold, it breaks these. A flip about a fixed center is broken if it holds and translations do not. A phase or sign of
    every entry includes those of the item.

    Shape: x (*batch, *channels, *event); the canonicalizer maps such targets to the same.

    Args:
        forward, x, event_dims, channel_dims, threshold, generator, tolerance: As for :func:`symmetries_of`.

    Raises:
        TypeError: As :func:`symmetries_of`.
        ValueError: As :func:`symmetries_of`. Also if no symmetry that can be broken holds (the message has the report),
            or if phases or signs of every entry hold together with motions.

    Warns:
        UserWarning: If a symmetry holds that no canonicalizer breaks (``Scale``, ``PhaseRamp``), if one is approximate,
            or if one remains unknown though elements move the items.

    Example:
        >>> import torch
        >>> from torch_symbreak import FarField, GaussianIntensity
        >>> x = torch.nn.functional.pad(torch.randn(8, 9, 9), (3, 4, 5, 2))
        >>> canonicalizer_for(FarField(2, field="real"), x, event_dims=2)
        FarFieldCanonicalizer(event_dims=2, channel_dims=0, threshold=0.0001, wrap=False, field='real')
        >>> canonicalizer_for(GaussianIntensity.draw(32, 8), torch.randn(8, 8), event_dims=1)
        FixSign(event_dims=1, channel_dims=0, anchor='sum')
        >>> canonicalizer_for(lambda x: x.cumsum(-1), torch.randn(8, 8), event_dims=1)
        Traceback (most recent call last):
        ...
        ValueError: canonicalizer_for found no symmetry of forward that it can break. ...
    """
    report = symmetries_of(
        forward,
        x,
        event_dims=event_dims,
        channel_dims=channel_dims,
        threshold=threshold,
        generator=generator,
        tolerance=tolerance,
    )
    return report.broken(stacklevel=3)


def _checked(owner: str, forward: Any, x: Any, event_dims: int, channel_dims: int) -> Tensor:
    check_callable(owner, "forward", forward)
    check_dims(owner, event_dims, channel_dims, least=0)
    check_target(owner, x, event_dims, channel_dims)
    batch = batch_shape(x, event_dims + channel_dims)
    if not batch:
        raise ValueError(
            f"{owner} needs a batch of items, but got one item, {describe(x)} with event_dims={event_dims} and "
            f"channel_dims={channel_dims}. Pass x[None]."
        )
    if batch.numel() == 0:
        raise ValueError(f"{owner} needs at least one item, but got {describe(x)}.")
    return check_finite(x).detach()


def _further(symmetries: Any, item_dims: int) -> list[Symmetry]:
    """Return the symmetries to test besides those of the library, or raise unless they act on single items."""
    entries = list(symmetries) if isinstance(symmetries, Iterable) else [symmetries]
    for entry in entries:
        if not isinstance(entry, Symmetry):
            hint = " Pass its .symmetries." if hasattr(entry, "symmetries") else ""
            raise TypeError(f"symmetries_of needs symmetries (Sign(1), Translation(2), ...), but got {entry!r}.{hint}")
        if entry.item_dims > item_dims:
            raise ValueError(
                f"symmetries_of has items of {item_dims} dimensions, event_dims + channel_dims, but got {entry}, whose "
                f"items have {entry.item_dims}. Give both the same."
            )
    return entries


def _translation(probe: Probe, event_dims: int, options: dict[str, Any]) -> Finding:
    """Test shifts inside the frame, then around it axis by axis, and at last all that hold together."""
    inside = Translation(event_dims, **options)
    finding = probe.of_symmetry(inside, _FULL)
    event = probe.x.shape[probe.x.dim() - event_dims :]
    full = (inside.box(probe.x).length == torch.tensor(event, device=probe.x.device)).flatten(0, -2).all(0).tolist()
    if finding.verdict == "holds" or not finding.moved:
        around = [_holds_around(probe, inside, axis) for axis in range(event_dims)]
        if any(around):
            # A detector of the frame's size along periodic axes, and of any other along the rest.
            wrap: Wrap = all(around) or tuple(n if turns else 2 * n for n, turns in zip(event, around, strict=True))
            finding = probe.of_symmetry(Translation(event_dims, wrap=wrap, **options), _FULL)
            full = [filled and not turns for filled, turns in zip(full, around, strict=True)]
    untested = [str(axis - event_dims) for axis, filled in enumerate(full) if filled]
    if finding.moved and untested:
        note = f"not tested along axis {', '.join(untested)}, where content fills the frame"
        reason = f"{finding.reason}; {note}" if finding.reason else note
        return Finding(finding.symmetry, finding.verdict, finding.error, finding.noise, finding.moved, reason)
    return finding


def _holds_around(probe: Probe, inside: Translation, axis: int) -> bool:
    """Return whether f keeps its value when content moves around the frame along an axis."""
    box, x = inside.box(probe.x), probe.x
    size, length = x.shape[x.dim() - inside.event_dims + axis], box.length[..., axis]

    def draw() -> Tensor:
        # The content's first line goes where its last one no longer fits.
        at = (uniform(tuple(length.shape), x.device, probe.generator) * (length - 1)).long() + size - length + 1
        shift = torch.zeros_like(box.lo)
        shift[..., axis] = torch.where(length > 1, at - box.lo[..., axis], 0)
        return inside.act(Motion(torch.zeros_like(length, dtype=torch.bool), shift), x)

    return probe.of_moves(inside, draw, "").verdict == "holds"


def _centers(probe: Probe, own: ConjugateFlip) -> list[tuple[float, ...]]:
    """Return the centers to try: of the entries that f looks at, of the content of all items, and of the frame."""
    x, d = probe.x, own.event_dims
    event = x.shape[x.dim() - d :]
    box = ConjugateFlip(d, channel_dims=own.channel_dims, threshold=own.threshold).box(x)
    lo, hi = (box.lo.flatten(0, -2).amin(0), (box.lo + box.length - 1).flatten(0, -2).amax(0))
    seen = [_seen_lines(probe, own, axis) for axis in range(d)]
    centers = [tuple(ends / 2 for ends in (lo + hi).tolist()), tuple((n - 1) / 2 for n in event)]
    if all(seen):
        centers.insert(0, tuple((lines[0] + lines[-1]) / 2 for lines in seen))
    return list(dict.fromkeys(centers))


def _seen_lines(probe: Probe, own: ConjugateFlip, axis: int) -> list[int]:
    """Return the lines along an axis that f looks at: it changes if they change in the first item."""
    item = probe.x.shape[probe.x.dim() - own.item_dims :]
    slots = batch_shape(probe.x, own.item_dims).numel()  # f may take batches of this size alone: a line in every slot
    at = len(item) - own.event_dims + axis + 1
    first = probe.x.reshape(slots, *item)[:1]
    direction = random_like(first, probe.generator) * per_item(peak(first, item_dims=len(item)), len(item))
    same = first.expand(slots, *item).contiguous()
    y, changes = probe.measure(same.reshape(probe.x.shape)), torch.zeros(item[at - 1])
    for start in range(0, len(changes), slots):
        z = same.clone()
        for slot, line in enumerate(range(start, min(start + slots, len(changes)))):
            z[slot : slot + 1].select(at, line).add_(direction.select(at, line))
        change = (probe.measure(z.reshape(probe.x.shape)) - y).abs().nan_to_num(0, 0, 0).amax(-1).cpu()
        changes[start : start + slots] = change[: len(changes) - start]
    return (changes > 1e-3 * changes.max()).nonzero().flatten().tolist()
