"""Factorization: the Gram matrix ``Y = X X^T`` of a factor, and the squared distances of a point cloud."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torch_symbreak._checks import check_target, describe
from torch_symbreak._items import autocast_type, resolved
from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.canonical._fitting import gather
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import FixOrthogonal, FixRigidMotion, Orthogonal, RigidMotion


class GramMatrix(ForwardModel):
    """Measure the inner products of the rows, ``Y = X X^T`` (complex: ``X X^H``).

    Y determines X up to its one symmetry, an orthogonal (complex: unitary) matrix: ``X Q`` has the same Y. So two
    factors have the same measurement if and only if they lie in one orbit. ``canonicalizer()`` makes factors lower
    trapezoidal with a positive diagonal.

    Shape: (*batch, n, r) to (*batch, n, n).

    Raises:
        TypeError, ValueError: If the target is no floating-point or complex tensor of matrices.

    Example:
        >>> import torch
        >>> model, x = GramMatrix(), torch.tensor([[3.0, 4.0], [1.0, 0.0]])
        >>> model(x)
        tensor([[25.,  3.],
                [ 3.,  1.]])
        >>> torch.allclose(model.canonicalizer()(x), torch.tensor([[5.0, 0.0], [0.6, 0.8]]), atol=1e-6)
        True
    """

    @property
    def symmetries(self) -> tuple[Orthogonal]:
        return (Orthogonal(),)

    def canonicalizer(self) -> FixOrthogonal:
        return FixOrthogonal()

    def forward(self, x: Tensor) -> Tensor:
        check_target("GramMatrix", x, 2, least=2)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        with torch.autocast(autocast_type(x), enabled=False):  # half precision is too coarse for a measurement
            return resolved(x @ x.mH)


class DistanceMatrix(ForwardModel):
    """Measure the squared distances of all pairs of points, ``Y_ij = ||x_i - x_j||²``.

    Y determines the point cloud X, whose rows are the points, up to its one symmetry, a rigid motion: a rotation or
    reflection and a translation. ``canonicalizer()`` centers clouds and turns the first point onto the first axis, the
    second one into the plane of the first two axes, and so on.

    Shape: (*batch, n, r), real, to (*batch, n, n).

    Raises:
        TypeError, ValueError: If the target is no real floating-point tensor of matrices.

    Example:
        >>> import torch
        >>> model, x = DistanceMatrix(), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> model(x)
        tensor([[ 0., 25.],
                [25.,  0.]])
    """

    @property
    def symmetries(self) -> tuple[RigidMotion]:
        return (RigidMotion(),)

    def canonicalizer(self) -> FixRigidMotion:
        return FixRigidMotion()

    def fit_canonicalizer(self, objects: Any, **options: Any) -> FixRigidMotion:
        """Return the canonicalizer that centers clouds and turns them nearest to a template fitted to ``objects``.

        Args:
            objects: The training targets, as for :meth:`AlignToTemplate.fit`.
            **options: Further arguments of :meth:`AlignToTemplate.fit`. A ``start`` needs no centering.
        """
        drawn = {name: options.pop(name, None) for name in ("keys", "max_objects")}
        x = gather(objects, 2, drawn["keys"], drawn["max_objects"], options.get("generator"))
        self._check(x)
        centered = x - x.mean(-2, keepdim=True)
        return FixRigidMotion(turn=AlignToTemplate.fit(centered, Orthogonal(), **options))

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        # By differences: inner products cancel where points are close, and may give less than 0.
        return (x[..., :, None, :] - x[..., None, :, :]).square().sum(-1)

    def _check(self, x: Any) -> None:
        check_target("DistanceMatrix", x, 2, least=2)
        if x.is_complex():
            raise TypeError(f"DistanceMatrix needs real points, but got {describe(x)}. Pass torch.view_as_real(x).")
