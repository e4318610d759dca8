"""Symmetry breaking as a kornia augmentation: images, masks, boxes and keypoints move together.

kornia takes no complex tensors: an image of C complex channels is (B, 2 C, H, W), re and im in turn.
"""

from __future__ import annotations

from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.geometry.keypoints import Keypoints
from torch import Tensor

from torch_symbreak._content import Wrap, wrapped_axes
from torch_symbreak.interop._channels import to_channels, to_complex
from torch_symbreak.symmetries import Canonicalizer, Element, Product, Sign
from torch_symbreak.symmetries.motion import move

__all__ = ["BreakSymmetry"]


class BreakSymmetry(GeometricAugmentationBase2D):
    """Canonicalize images in a kornia pipeline; masks, boxes and keypoints follow the shift and the orientation.

    One group element is found per image and shared by its channels. It goes to the augmentation's parameters, as
    "flipped", "shift" and "scalar", so that ``inverse`` undoes it and ``params=`` applies it to other images. A flip
    negates the imaginary channels of images; masks, boxes and keypoints only move.

    Convention: channels are (re_1, im_1, re_2, im_2, ...): ``ToChannels()(x).flatten(1, 2)`` of complex x (B, C, H, W).
    A mask wraps around the frame as the image does; boxes, and keypoints on axes that are not periodic, do not.

    Shape: images (B, 2 C, H, W) or (2 C, H, W), floating-point; masks (B, K, H, W); keypoints (B, N, 2) as (x, y).

    Args:
        canonicalizer: For complex images with ``channel_dims=1``: ``FarField().canonicalizer(channel_dims=1)``,
            ``CenterContent(channel_dims=1)``, ``FixConjugateFlip(channel_dims=1)``, ``FixGlobalPhase(channel_dims=1)``.
        p: The probability, per image, that it is applied. Default 1.
        keepdim: Give (2 C, H, W) for (2 C, H, W), not (1, 2 C, H, W). Default False.

    Raises:
        TypeError: If ``canonicalizer`` is none.
        ValueError: If it acts on other items or real ones, the number of channels is odd, or ``same_on_batch`` is set.

    Example: the twin of an image, and a keypoint on it.
        >>> import torch
        >>> from kornia.augmentation import AugmentationSequential
        >>> from torch_symbreak import FarField, RandomSymmetry, ToChannels
        >>> _, fix = torch.manual_seed(0), FarField().canonicalizer(channel_dims=1)
        >>> x = torch.nn.functional.pad(torch.randn(1, 1, 5, 4, dtype=torch.complex64), (1, 3, 3, 0))
        >>> twin, at = x.flip((-2, -1)).conj().resolve_conj(), torch.tensor([[[2.0, 4.0]]])
        >>> augment = AugmentationSequential(BreakSymmetry(fix), data_keys=["input", "keypoints"])
        >>> image, point = augment(ToChannels()(x).flatten(1, 2), at)
        >>> image_of_twin, point_of_twin = augment(ToChannels()(twin).flatten(1, 2), 7 - at)
        >>> torch.allclose(image, image_of_twin, atol=1e-5), torch.equal(point, point_of_twin)
        (True, True)
    """

    _compute_matrix_lazily = True  # images do not need it

    def __init__(self, canonicalizer: Canonicalizer[Any], *, p: float = 1.0, keepdim: bool = False) -> None:
        super().__init__(p=p, same_on_batch=False, keepdim=keepdim)
        if not isinstance(canonicalizer, Canonicalizer):
            raise TypeError(
                "BreakSymmetry needs a canonicalizer, such as FarField().canonicalizer(channel_dims=1), but got "
                f"{canonicalizer!r}."
            )
        group = canonicalizer.symmetry
        if (group.event_dims, group.channel_dims) != (2, 1):
            raise ValueError(
                "BreakSymmetry needs a canonicalizer of images whose channels share one element, event_dims=2 and "
                f"channel_dims=1, but got {canonicalizer!r}. Pass channel_dims=1 to it."
            )
        if isinstance(Product(group).scalar, Sign):
            raise ValueError(
                f"BreakSymmetry acts on complex images, but got {canonicalizer!r}, which is for real ones. Run that "
                "itself: it is a module that takes (B, C, H, W)."
            )
        self.canonicalizer = canonicalizer
        self.group = Product(group)
        self.wrap: Wrap = self.group.rearrangement.wrap if self.group.rearrangement else False

    def _element(self, params: dict[str, Tensor]) -> Element:
        return Element(params["flipped"], params["shift"], params["scalar"])

    def forward(self, input: Tensor, params: dict[str, Tensor] | None = None, **kwargs: Any) -> Tensor:
        if self.same_on_batch:
            raise ValueError(
                "BreakSymmetry finds an element per image and cannot have same_on_batch=True. Leave it out."
            )
        images = self.transform_tensor(input)
        if params is None:
            params = self.forward_parameters(images.shape)
        if "shift" not in params:  # else it is a replay; a container keeps this dict, for inverse and masks
            x = to_complex("BreakSymmetry", images, 2)
            g = self.group.lift(self.canonicalizer.symmetry, self.canonicalizer.element(x), x)
            params.update(flipped=g.flipped, shift=g.shift, scalar=g.scalar)
        return super().forward(input, params=params, **kwargs)

    def compute_transformation(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any]) -> Tensor:
        """The matrix that takes (x, y) of the input to that of the output: (B, 3, 3)."""
        sign = torch.where(params["flipped"], -1, 1).to(input)
        matrix = torch.eye(3).to(input).repeat(len(sign), 1, 1)
        matrix[:, 0, 0] = matrix[:, 1, 1] = sign
        matrix[:, :2, 2] = params["shift"].flip(-1).to(input)
        return matrix

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        return self._act(self._element(params), input)

    def _act(self, g: Element, images: Tensor) -> Tensor:
        x = to_complex("BreakSymmetry", images, 2)
        return to_channels(self.group.act(g, x), 2).to(images.dtype)

    def apply_transform_mask(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        return move(self._element(params).motion, input, 2, 1)

    def apply_transform_keypoint(
        self, input: Keypoints, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Keypoints:
        return self._on_torus(super().apply_transform_keypoint(input, params, flags, transform), params)

    def inverse_inputs(
        self,
        input: Tensor,
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        g = self.group.inverse(self._element(params))
        restored = move(g.motion, input, 2, 1) if flags.get("mask") else self._act(g, input)
        return self._blend_by_prob(restored, input, self._gate(params))

    def inverse_masks(
        self,
        input: Tensor,
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        return super().inverse_masks(input, params, {**flags, "mask": True}, transform, **kwargs)

    def inverse_keypoints(
        self,
        input: Keypoints,
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Keypoints:
        return self._on_torus(super().inverse_keypoints(input, params, flags, transform, **kwargs), params)

    def _on_torus(self, points: Keypoints, params: dict[str, Tensor]) -> Keypoints:
        """Take keypoints modulo the frame along its periodic axes, to within half an entry of a pixel."""
        frame = tuple(params["forward_input_shape"][-2:].tolist())
        points = points.clone()
        for axis, turns in enumerate(wrapped_axes(self.wrap, frame)):
            if turns:
                along = points.data[..., 1 - axis]  # (x, y) for axes (-1, -2)
                along.copy_((along + 0.5) % frame[axis] - 0.5)
        return points
