"""Several symmetries broken one after the other: for groups that have no rule of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from torch_symbreak._checks import describe
from torch_symbreak._items import margins_of
from torch_symbreak.symmetries import Canonicalizer, CenterContent, Element, FixConjugateFlip, Product
from torch_symbreak.symmetries.scalar import FixScalar

#: Each keeps what the ones before it have fixed, and sees an item that these have determined up to the later ones.
_ORDER = (CenterContent, FixConjugateFlip, FixScalar)


class FixInTurn(Canonicalizer[Product]):
    """Break a translation, a conjugate flip, and a phase or sign, or some of them, one after the other.

    The far field has all three, and :meth:`FarField.canonicalizer` breaks them in one pass. Use ``FixInTurn`` for
    measurements that have only some of these symmetries.

    The order makes it exact. The flip score does not depend on place and phase. The phase is fixed last, when place and
    orientation are.

    Ties: those of the parts. At a tie of one part, only its symmetry stays unbroken. :meth:`margins` gives the
    margins by name, :meth:`margin` the smallest.

    Shape: (*batch, *channels, *event) to the same; :meth:`element` an :class:`Element` of the product.

    Args:
        parts: Two or more of ``CenterContent``, ``FixConjugateFlip``, ``FixGlobalPhase`` or ``FixSign``, in this order,
            with the same dims, threshold and wrap.

    Raises:
        TypeError: If ``parts`` is no list.
        ValueError: If the parts are others, in another order, or do not act on the same items.

    Example: a flip and a phase, without translations.
        >>> import torch
        >>> from torch_symbreak import FixConjugateFlip, FixGlobalPhase
        >>> fix = FixInTurn([FixConjugateFlip(1, center=(1.5,)), FixGlobalPhase(1)])
        >>> x = torch.tensor([[1.0, 2.0, 3.0j, 0.0]])
        >>> twin = 1j * x.flip(-1).conj()
        >>> torch.allclose(fix(twin), fix(x))
        True
    """

    def __init__(self, parts: Sequence[Canonicalizer[Any]]) -> None:
        if not isinstance(parts, (list, tuple, nn.ModuleList)):
            raise TypeError(
                f"FixInTurn needs a list of canonicalizers, but got {describe(parts)}. Example: "
                "FixInTurn([CenterContent(2), FixGlobalPhase(2)])."
            )
        places = [next((i for i, kind in enumerate(_ORDER) if isinstance(part, kind)), -1) for part in parts]
        if len(places) < 2 or -1 in places or places != sorted(set(places)):
            raise ValueError(
                "FixInTurn needs two or more of CenterContent, FixConjugateFlip, FixGlobalPhase or FixSign, in this "
                f"order, but got {list(parts)!r}."
            )
        super().__init__(Product([part.symmetry for part in parts]))
        self.parts = nn.ModuleList(parts)

    @property
    def _chain(self) -> list[Canonicalizer[Any]]:
        return cast("list[Canonicalizer[Any]]", list(self.parts))

    def check(self, x: Any) -> None:
        for part in self._chain:
            part.check(x)

    def element(self, x: Tensor) -> Element:
        self.check(x)
        group, whole = self.symmetry, self.symmetry.identity(x)
        for part in self._chain:
            g = part.element(x)
            whole = group.compose(group.lift(part.symmetry, g, x), whole)
            x = part.symmetry.act(g, x)
        return whole

    def margins(self, x: Tensor) -> dict[str, Tensor]:
        """Return each symmetry's margin by name, (*batch,) in [0, 1]; 0 at a tie, NaN for items not finite."""
        margins: dict[str, Tensor] = {}
        for part in self._chain:
            margins |= part.deciding_margins(x)
            x = part(x)
        return margins

    def deciding_margins(self, x: Tensor) -> dict[str, Tensor]:
        return self.margins(x)

    def margin(self, x: Tensor) -> Tensor:
        self.check(x)
        return margins_of(x, torch.stack(list(self.margins(x).values())).amin(0), self.symmetry.item_dims)

    def extra_repr(self) -> str:
        return ""
