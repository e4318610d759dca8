"""Refuse groups and templates that leave no unique nearest point, and say why."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_tensor, describe
from torch_symbreak._items import flat_parts, unit_scale, wide
from torch_symbreak.alignment.search import self_correlations
from torch_symbreak.symmetries import GlobalPhase, Product, Sign, Symmetry
from torch_symbreak.symmetries.base import enumerates, linear, proposes

#: A template that an element moves by less than this, relative to its norm, is fixed by the element.
_FIXED = 1e-4


def check_parts(group: Product) -> None:
    """Raise ``TypeError`` unless the best element of every symmetry is found exactly and keeps distances."""
    if group.scalar is not None and not isinstance(group.scalar, (Sign, GlobalPhase)):
        raise TypeError(
            f"AlignToTemplate knows the ties of Sign and GlobalPhase, but not those of {group.scalar}. Write a finite "
            "group of numbers as a Symmetry with elements(x)."
        )
    if group.scale is not None:
        raise TypeError(
            f"AlignToTemplate needs isometries, but {group.scale} changes distances: items with Re <g x, t> <= 0 for "
            "all other elements g would go to 0. Leave Scale out, and pass normalize=True to AlignToTemplate.fit."
        )
    for part in group.others:
        name = type(part).__name__
        if not part.exact:
            raise TypeError(
                f"AlignToTemplate needs symmetries whose best element is found exactly, but the candidates of {name} "
                "are a heuristic, and one orbit could get two targets. Leave it out."
            )
        if not linear(part):
            raise TypeError(
                f"AlignToTemplate needs linear symmetries, but {name} moves the origin, so that the norms of items "
                "change. For point clouds, center them first: "
                "FixRigidMotion(turn=AlignToTemplate(template, Orthogonal()))."
            )
        if not enumerates(part) and proposes(part) and len(group.symmetries) > 1:
            raise TypeError(
                f"AlignToTemplate cannot search {name} together with other symmetries: its candidates hold no optimum "
                "for all of them. Write one Symmetry for the whole group."
            )
        if not proposes(part):
            raise TypeError(
                f"AlignToTemplate cannot search {name}: it is neither a Rearrangement nor a Scalar, and does not "
                "enumerate its elements. If the group is finite, implement elements(x)."
            )


def check_template(template: Any, group: Product) -> None:
    """Raise unless the template is a finite item that only the identity leaves as it is. One on meta has no values."""
    check_tensor("AlignToTemplate", template, what="template")
    if template.dim() != group.item_dims or 0 in template.shape:
        raise ValueError(
            f"AlignToTemplate needs a template of one item, (*channels, *event) with channel_dims={group.channel_dims} "
            f"and event_dims={group.event_dims}, but got {describe(template)}."
        )
    group.check(template)
    if template.is_meta:  # values come with a state, and are checked then
        return
    if bad := int((~torch.isfinite(template.detach())).sum()):
        raise ValueError(
            f"AlignToTemplate needs a finite template, but {bad} of {template.numel()} entries are NaN or infinite."
        )
    if not bool(template.any()):
        raise ValueError(
            "AlignToTemplate needs a template that is not zero: all points of an orbit are equally far from zero. "
            "Pass an object."
        )
    fixing = _fixing(template.detach(), group)
    if fixing is not None:
        raise ValueError(
            f"AlignToTemplate needs a template that only the identity leaves as it is, but {fixing} has another "
            "element that does, so that every item is a tie. Take an object that is not symmetric as template, or as "
            "start= of AlignToTemplate.fit. If all objects are symmetric, take the exact rule."
        )


def _fixing(template: Tensor, group: Product) -> Symmetry | None:
    """Return a symmetry with an element, other than the identity, that fixes the template. None if no element does."""
    t = unit_scale(template.to(wide(template))[None], group.item_dims)
    # Items of a real template may be complex, unless a sign says that they are real.
    dtype = t.dtype if isinstance(group.scalar, Sign) else torch.promote_types(t.dtype, torch.complex64)
    anything = torch.randn(t.shape, dtype=dtype, generator=torch.Generator().manual_seed(0)).to(t.device)
    energy = flat_parts(t, group.item_dims).square().sum(-1)
    for part in group.others:
        if not enumerates(part):  # it stands alone
            return part if bool(part.gap(t, t) <= energy * _FIXED**2 / 2) else None
    for others in itertools.product(*(part.elements(t) for part in group.others)):
        moved, guilty = t, None
        for part, h in zip(group.others, others, strict=True):
            moved = part.act(h, moved)
            if not torch.allclose(part.act(h, anything), anything):
                guilty = part
        for turned, correlation in enumerate(self_correlations(t, group, of=moved)):
            c = correlation if t.is_complex() else correlation.real
            value = c.real if group.scalar is None else (group.scalar.best(c) * c).real
            value = value.flatten() / energy
            if guilty is None and not turned:
                value[0] = -torch.inf  # the identity
            place = int(value.argmax())
            if value[place] >= 1 - _FIXED**2 / 2:
                if guilty is not None:
                    return guilty
                return next(part for part in group.symmetries if getattr(part, "flips" if turned else "shifts", False))
    return None
