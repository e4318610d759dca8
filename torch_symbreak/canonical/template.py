"""The canonical point nearest to a template: ``C(x) = argmin over g of ||g . x - t||²``.

The group acts by isometries, so that this is ``argmax Re<g . x, t>``. The points that no element takes nearer to t are
an intersection of half-spaces, a convex cone: the Dirichlet fundamental domain of the group. It meets every orbit, and
only once except at ties. No rule has to be invented for it.

On a padded frame only shifts that keep the content inside the frame compete. All points of an orbit have the same
admissible orbit, so C is invariant. Gains are those of ``act``, modulo the frame. An admissible shift wraps no content,
so the correlation is circular on the frame itself. It takes one Fourier transform, and an inverse one per orientation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak._content import box_margin
from torch_symbreak._items import (
    batch_shape,
    divided,
    eager,
    flat_items,
    flat_parts,
    join_elements,
    margins_of,
    peak,
    per_item,
    resolved,
    some_elements,
    tangible,
    typed_like,
    unit_scale,
    wide,
)
from torch_symbreak._samples import Keys
from torch_symbreak.alignment.places import pieces
from torch_symbreak.alignment.search import Choice, best_motions, nearest_inside
from torch_symbreak.canonical._fitting import (
    Fit,
    best_of_drawn,
    check_options,
    check_start,
    gather,
    iterate,
    mean_of_rule,
    normalized,
)
from torch_symbreak.canonical._template_checks import check_parts, check_template
from torch_symbreak.symmetries import Canonicalizer, Element, Product, Symmetry
from torch_symbreak.symmetries.base import enumerates, snake_case
from torch_symbreak.symmetries.motion import order_of_motion, take


class AlignToTemplate(Canonicalizer[Product]):
    """Move every item to the point of its orbit that is nearest to a template.

    The template is a buffer. ``state_dict`` and pickle save it. ``.to(device)`` moves it, and its dtype stays. A call
    casts it to the device and precision of the items. Fit one to your training targets with :meth:`fit`.

    Ties: if two elements have the same gain ``Re<g . x, t>``, one of them is taken. :meth:`margins` says how far an
    item is from a tie, as a gap in gain over ``||x|| ||t||`` for every symmetry:

    - "conjugate_flip": the gap between the best gains of both orientations.
    - "translation": the gap to the next best shift of the chosen orientation, at most the margin of the content box
      along padded axes. Neighboring shifts of smooth objects gain nearly as much, and little is lost there.
    - "global_phase" or "sign": the gain itself.
    - Every other group: its own gap, under its own name.

    :meth:`margin` is the smallest of them.

    Convexity: the mean of canonical points is canonical. This holds always on periodic axes and for a flip about a
    fixed center, and along padded axes if the content box of the mean contains theirs. It need not hold for a flip
    about the item's own box without translations.

    Shape: (*batch, *channels, *event) to the same; :meth:`element` an :class:`Element`; :meth:`margin` (*batch,).

    Args:
        template: (*channels, *event), finite and not zero; shape () for ``Sign(0)``.
        symmetries: As for :class:`Product`: translations, flips, phases, signs and finite groups. A group with exact
            ``candidates`` and ``gap`` is accepted by itself.

    Raises:
        TypeError: If a symmetry is no isometry (``Scale``) or its best element is not found exactly (``PhaseRamp``), or
            if the template is complex and the targets are real.
        ValueError: If the template has another shape than the items, or an element other than the identity leaves it as
            it is.

    NaN entries give NaN targets.

    Attributes:
        template: The template.
        history: Mean ``||C(x) - t||²`` of every round of a fit. Empty for a template that was not fitted.
        explained: Share of the objects' mean squared norm that the template explains, ``||t||² / mean ||x||²``, in
            [0, 1]. Templates of noise explain less than .1. NaN for a template that was not fitted.
        seen: Number of objects that it was fitted to. 0 for a template that was not fitted.

    Example: every point of an orbit goes to one.
        >>> import torch
        >>> from torch_symbreak import FarField, RandomSymmetry
        >>> _, model = torch.manual_seed(0), FarField(2)
        >>> fix = AlignToTemplate(torch.randn(8, 8, dtype=torch.complex64), model.symmetries)
        >>> x = torch.nn.functional.pad(torch.randn(3, 4, 5, dtype=torch.complex64), (1, 2, 2, 2))
        >>> torch.allclose(fix(RandomSymmetry(model.symmetries)(x)), fix(x), atol=1e-5)
        True

    References: Ju Sun's talk (Jan 23, 2024), "What are good fundamental domains?"; Dirichlet domains: Ratcliffe,
        Foundations of Hyperbolic Manifolds, section 6.6.
    """

    template: Tensor

    def __init__(self, template: Tensor, symmetries: Symmetry | Sequence[Symmetry]) -> None:
        super().__init__(Product(symmetries))
        check_parts(self.symmetry)
        check_template(template, self.symmetry)
        motions = self.symmetry.rearrangement
        self.convex = self.symmetry.shifts or motions is None or motions.fixed
        self.register_buffer("template", resolved(template.detach()).clone(memory_format=torch.contiguous_format))
        self.history: list[float] = []
        self.explained = math.nan
        self.seen = 0

    @classmethod
    def fit(
        cls,
        objects: Any,
        symmetries: Symmetry | Sequence[Symmetry],
        *,
        start: Tensor | Callable[[Tensor], Tensor] | None = None,
        rounds: int = 30,
        tolerance: float = 1e-6,
        restarts: int = 1,
        normalize: bool = False,
        max_objects: int | None = None,
        keys: Keys = None,
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> AlignToTemplate:
        """Fit a template to objects: align all to it, take their mean as the next template, and repeat.

        The mean squared distance of the aligned objects from the template never rises. All objects are kept in memory,
        so that every round sees the same ones: a shuffled or augmented loader is read once.

        Args:
            objects: The training targets: a tensor (n, *channels, *event), a map-style data set or a loader of x, (x,)
                or (y, x).
            symmetries: As for the class.
            start: The first template, (*channels, *event), or a canonicalizer, whose mean target is the first template.
                Default: the far field's exact rule for its symmetries, else the best of 8 drawn objects.
            rounds: Largest number of rounds. Default 30.
            tolerance: Stop when a round lowers the mean squared distance by less than this, relatively. Default 1e-6.
            restarts: Number of fits: the first from ``start``, the others from drawn objects. The best is kept. Default
                1.
            normalize: Divide objects by their norms, so that large ones have no more weight. Default False.
            max_objects: Largest number of objects to fit to, drawn at random (from a loader, the first). Default: all.
            keys: Key of the targets in a sample, as for ``SymmetryBrokenDataset``.
            generator: Source of randomness. Default: torch's global generator.
            progress: Show a progress bar on stderr, if rich is installed. Default True.

        Returns:
            The canonicalizer, with ``history``, ``explained`` and ``seen``.

        Raises:
            TypeError: As for the class, if a sample needs ``keys``, or if ``start`` is complex and objects are real.
            ValueError: If there are fewer than 2 objects, one is not finite, their shapes differ, the mean canonical
                target is zero, ``rounds`` or ``restarts`` is no int >= 1, ``tolerance`` is negative, or ``keys`` has
                several entries.
            KeyError: If a sample lacks the key.

        Example: objects that are alike up to their symmetries.
            >>> import torch
            >>> from torch_symbreak import FarField, RandomSymmetry
            >>> from torch_symbreak.datasets import BraggCrystals
            >>> model = FarField(2)
            >>> x = BraggCrystals(50, frame=(16, 16)).objects(torch.arange(50))
            >>> fix = AlignToTemplate.fit(RandomSymmetry(model.symmetries)(x), model.symmetries)
            >>> fix.history[-1] <= fix.history[0], fix.seen
            (True, 50)

        References: generalized Procrustes analysis: Gower, Psychometrika 40, 33 (1975).
        """
        group = Product(symmetries)
        check_parts(group)
        check_options(start, rounds, tolerance, restarts, generator)
        x = gather(objects, group.item_dims, keys, max_objects, generator)
        group.check(x)
        # To one scale, at which squares neither under- nor overflow.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        unit = peak(x, item_dims=x.dim())
        x = normalized(x, group.item_dims) if normalize else divided(x, unit)
        if normalize:
            unit = torch.ones_like(unit)
        if isinstance(start, Tensor):
            check_start(start, x)
            start = divided(start.to(x.device, torch.promote_types(start.dtype, x.dtype)), unit)
        fits: list[Fit] = []

        def align_to(template: Tensor) -> AlignToTemplate:
            return cls(template, group)

        for number in range(restarts):
            first = mean_of_rule(x, group, start) if number == 0 else None
            first = best_of_drawn(x, group.item_dims, align_to, generator) if first is None else first
            fits.append(iterate(x, first, align_to, group.item_dims, rounds, tolerance, progress))
        best = max(fits, key=lambda fit: fit.explained)
        fix = cls(best.template * unit, group)
        fix.history = [distance * float(unit) * float(unit) for distance in best.history]  # 1e200 ** 2 would raise
        fix.explained, fix.seen = best.explained, len(x)
        return fix

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        before = self.template
        module = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.template.dtype != before.dtype:
            # It is cast to the items. ``network.to(torch.float64)`` would drop the imaginary part, and
            # ``network.half()`` take a small template to zero and a large one to infinity.
            self.template = before.to(self.template.device)
        return module

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: bool, missing: Any, unexpected: Any, errors: Any
    ) -> None:
        template = state_dict.get(f"{prefix}template")
        try:
            if template is not None:
                if isinstance(template, Tensor):
                    if template.is_complex() and not self.template.is_complex():
                        raise TypeError(
                            f"AlignToTemplate has a real template, but the state has {describe(template)}. Make it "
                            "from a complex one first: AlignToTemplate(template, symmetries)."
                        )
                    template = template.to(self.template.dtype)  # whose range it may leave
                check_template(template, self.symmetry)
        except (TypeError, ValueError) as error:
            errors.append(str(error))
            return
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    def check(self, x: Any) -> None:
        super().check(x)
        self.symmetry.check(x)
        if x.shape[x.dim() - self.symmetry.item_dims :] != self.template.shape:
            raise ValueError(
                f"AlignToTemplate has a template of shape {tuple(self.template.shape)} and needs targets of shape "
                f"(*batch, *{tuple(self.template.shape)}), but got {tuple(x.shape)}. Fit one to these targets: "
                "AlignToTemplate.fit(objects, symmetries)."
            )
        if self.template.is_complex() and not x.is_complex():
            raise TypeError(
                f"AlignToTemplate has a complex template, but got {describe(x)}. Fit a real one to real targets."
            )

    def element(self, x: Tensor) -> Element:
        self.check(x)
        if x.numel() == 0:
            return self.symmetry.identity(x)
        parts = self._in_pieces(x, lambda choice, _, scalar: Element(*choice.motion, scalar, choice.others))
        element: Element = join_elements(parts, batch_shape(x, self._dims))
        return element

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if x.numel() == 0:
            return x.clone()
        if not eager(x):
            moved: Tensor = join_elements(self._in_pieces(x, self._scaled_by), batch_shape(x, self._dims))
            return typed_like(moved, x)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        places = iter(self._pieces(out))
        self._in_pieces(x, lambda _, moved, scalar: torch.mul(moved, per_item(scalar, self._dims), out=next(places)))
        return out

    def margins(self, x: Tensor) -> dict[str, Tensor]:
        """Return each symmetry's margin by name, (*batch,) in [0, 1]; 0 at a tie, NaN for items not finite."""
        self.check(x)
        batch = batch_shape(x, self.symmetry.item_dims)
        if x.numel() == 0:
            return {name: x.real.new_zeros(batch) for name in self._margin_names()}
        values = join_elements([self._margins(part) for part in self._pieces(x.detach())], batch)
        return dict(zip(self._margin_names(), margins_of(x, torch.stack(values), self._dims), strict=True))

    def margin(self, x: Tensor) -> Tensor:
        return torch.stack(list(self.margins(x).values())).amin(0)

    def deciding_margins(self, x: Tensor) -> dict[str, Tensor]:
        # Neighboring shifts of a smooth object gain nearly as much, and little is lost where they are mistaken.
        return {name: margin for name, margin in self.margins(x).items() if name != "translation"}

    def extra_repr(self) -> str:
        return f"template=<{describe(self.template)}>, {list(self.symmetry.symmetries)!r}"

    def _pieces(self, x: Tensor) -> Sequence[Tensor]:
        """Divide x, (*batch, *item), into batches (B, *item) that a cache holds."""
        flat = x.reshape(-1, *self.template.shape)
        return flat.split(pieces(flat))

    def _in_pieces(self, x: Tensor, function: Callable[[Choice, Tensor, Tensor], Any]) -> list[Any]:
        """Apply a function to the choice, the items moved by all but the scalar, and the scalar, piece by piece."""
        flat = x.reshape(-1, *self.template.shape)
        with torch.no_grad():
            choice = nearest_inside(flat.detach(), self._reference(x), self.symmetry)
        size = pieces(flat)
        parts = [slice(start, start + size) for start in range(0, len(flat), size)]
        like = self.symmetry.rearrangement
        order = () if like is None else order_of_motion(choice.motion, x.shape[x.dim() - like.event_dims :])
        return [function(*self._rearranged(flat[part], *some_elements((choice, order), part))) for part in parts]

    def _reference(self, x: Tensor) -> Tensor:
        """Return the template as a batch of one, in the dtype of x and to its own scale, so that products have room."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return unit_scale(self.template.to(x.device, torch.promote_types(dtype, self.template.dtype))[None], self._dims)

    @property
    def _dims(self) -> int:
        return self.symmetry.item_dims

    def _scaled(self, x: Tensor) -> Tensor:
        """Return x with each item to its own scale, in at least single precision."""
        return unit_scale(x.detach().to(torch.promote_types(x.dtype, torch.float32)), self._dims)

    def _rearranged(self, x: Tensor, choice: Choice, order: Any) -> tuple[Choice, Tensor, Tensor]:
        """Return the choice for x, (B, *item), x moved by all but the scalar, and the best scalar then, (B,)."""
        group = self.symmetry
        for part, h in zip(group.others, choice.others, strict=True):
            x = part.act(h, x)
        if group.rearrangement is not None:
            x = take(x, order)
        if group.scalar is None:
            return choice, x, torch.ones(len(x), dtype=x.dtype, device=x.device)
        top = self._correlation(x)
        if tangible(x) and not bool(top.isfinite().all()):  # a sum of entries near the largest number overflows
            top = torch.where(top.isfinite(), top, self._correlation(self._scaled(x)))
        return choice, x, resolved(group.scalar.best(top).to(x.dtype))

    def _correlation(self, x: Tensor) -> Tensor:
        """Return ``<x, t>`` of (B, *item), in double precision."""
        terms = x * self._reference(x).conj()
        # Lines in single precision, their sums in double: a sum in double from the start would first copy all terms.
        lines = terms.sum(-1) if self._dims else terms
        return flat_items(lines, max(self._dims - 1, 0)).sum(-1, dtype=wide(terms))

    def _scaled_by(self, choice: Choice, moved: Tensor, scalar: Tensor) -> Tensor:
        return moved if self.symmetry.scalar is None else self.symmetry.scalar.act(scalar, moved)

    # ---------------------------------------------------------------------------------------------------- margins

    def _margin_names(self) -> list[str]:
        group = self.symmetry
        parts = [part for part in group.symmetries if part not in group.others]
        names = [snake_case(part) for part in (*parts, *group.others)]
        return [name if name not in names[:i] else f"{name}_{i + 1}" for i, name in enumerate(names)]

    def _margins(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the margins of (B, *item), in the order of their names."""
        group = self.symmetry
        double = wide(x)
        x, reference = self._scaled(x).to(double), self._reference(x).to(double)
        norms = _norm(x, self._dims) * _norm(reference, self._dims)

        def share(gap: Tensor) -> Tensor:
            ratio = gap / torch.where(norms > 0, norms, 1)
            return torch.where(norms > 0, ratio, 0).clamp(0, 1)

        for part in group.others:
            if not enumerates(part):  # it stands alone
                return (share(part.gap(x, reference.expand_as(x))),)
        proposals = [list(enumerate(part.elements(x))) for part in group.others]
        choices = [self._gains(x, [h for _, h in others], reference) for others in itertools.product(*proposals)]
        numbers = torch.tensor(
            [[number for number, _ in others] for others in itertools.product(*proposals)], device=x.device
        )
        columns = [torch.stack(column) for column in zip(*choices, strict=True)]  # (K, B) each
        gains, best = columns[0], columns[0].argmax(0)
        top, flip_gap, shift_gap = (column.gather(0, best[None])[0] for column in columns)
        box = torch.ones_like(top)
        if group.rearrangement is not None and not group.rearrangement.fixed:
            like = group.rearrangement
            # Where all shifts around a torus compete, the box decides nothing.
            where = (like.event_dims, like.channel_dims, like.threshold, like.wrap)
            box = box_margin(x, *where, padded_only=group.shifts).to(top.dtype)

        shifted, turned = torch.minimum(share(shift_gap), box), share(flip_gap)
        if not group.shifts:  # a flip alone is about the content's own box
            turned = torch.minimum(turned, box)
        values = []
        for part in group.symmetries:
            if part not in group.others:
                moves = [shifted] if getattr(part, "shifts", False) else []
                moves += [turned] if getattr(part, "flips", False) else []
                values.append(torch.stack(moves).amin(0) if moves else share(top))
        for place in range(len(group.others)):
            same = numbers[:, place, None] == numbers[best, place]
            values.append(share(top - gains.masked_fill(same, -torch.inf).amax(0)))
        return tuple(values)

    def _gains(self, x: Tensor, others: Sequence[Any], reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best gain after the others' elements, its gap to the other orientation, and to other shifts."""
        group = self.symmetry
        for part, h in zip(group.others, others, strict=True):
            x = part.act(h, x)
        orientations = best_motions(x, reference, group, self._value)
        tops = torch.stack([self._value(motion.top) for motion in orientations])
        seconds = torch.stack([motion.second for motion in orientations])
        top, best = tops.max(0)
        flip_gap = (tops[0] - tops[-1]).abs() if len(tops) > 1 else torch.full_like(top, torch.inf)
        return top, flip_gap, top - seconds.gather(0, best[None])[0]

    def _value(self, correlation: Tensor) -> Tensor:
        """Return the largest ``Re(u c)`` itself: a scalar's ``gain`` may be a power of it."""
        scalar = self.symmetry.scalar
        return correlation.real if scalar is None else (scalar.best(correlation) * correlation).real


def _norm(x: Tensor, item_dims: int) -> Tensor:
    return torch.linalg.vector_norm(flat_parts(x, item_dims), dim=-1)
