"""Complex objects made of any image data set: one image is the magnitude, another the phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import check_finite, describe
from torch_symbreak._random import item_uniform
from torch_symbreak.datasets.base import Pairs, Transform, check_model
from torch_symbreak.forward import FarField


def _pixels(image: Any, stacked: bool) -> Tensor:
    """Return one image, or a stack of them, as a tensor (C, H, W) or (n, C, H, W)."""
    matrix = 2 + stacked
    if isinstance(image, Tensor):
        pixels = image.unsqueeze(-3) if image.dim() == matrix else image
    else:
        if getattr(image, "mode", None) in ("P", "CMYK", "YCbCr", "LAB", "HSV"):  # PIL: values that are no gray or RGB
            image = image.convert("RGB")
        array = np.array(image)
        if array.dtype == object or array.ndim not in (matrix, matrix + 1):
            raise TypeError(
                f"ComplexImages needs images (a tensor (C, H, W), an array (H, W, C) or a PIL image), but got "
                f"{describe(image)}. If samples are dicts, pass a data set of their images."
            )
        pixels = torch.from_numpy(array[..., None, :, :] if array.ndim == matrix else np.moveaxis(array, -1, -3))
    if pixels.dim() != matrix + 1 or pixels.is_complex():
        raise ValueError(f"ComplexImages needs real images of shape (H, W) or (C, H, W), but got {describe(pixels)}.")
    return pixels


def as_gray(image: Any, *, stacked: bool = False) -> Tensor:
    """Read one image as a float32 matrix in [0, 1]: a tensor (H, W) or (C, H, W), an array (H, W) or (H, W, C), or PIL.

    Bytes are divided by 255 and 16-bit unsigned integers by 65,535. Colors are averaged, and an alpha channel is
    dropped. With ``stacked`` many images are read at once: the tensor or array and the result then have one more
    dimension in front.
    """
    pixels = _pixels(image, stacked)
    if pixels.dtype == torch.bool:
        pixels = pixels.to(torch.uint8) * 255
    if not pixels.is_floating_point():
        if pixels.dtype not in (torch.uint8, torch.uint16):
            raise ValueError(
                f"ComplexImages needs images in [0, 1], or of uint8 or uint16, but got {describe(pixels)}, whose "
                "largest value is not known. Divide by it: images / 255."
            )
        pixels = pixels.double() / torch.iinfo(pixels.dtype).max
    colors = pixels.shape[-3] - (pixels.shape[-3] in (2, 4))
    gray = pixels[..., :colors, :, :].mean(-3).float()
    if gray.numel() and not (gray.min() >= -1e-3 and gray.max() <= 1 + 1e-3) and bool(torch.isfinite(gray).all()):
        raise ValueError(
            "ComplexImages needs images in [0, 1], or of uint8 or uint16, but got values from "
            f"{float(gray.min()):g} to {float(gray.max()):g}. Scale or clamp them first."
        )
    return gray


class ComplexImages(Pairs):
    """Draw pairs (y, x): far-field diffraction and a complex object made of two images of a data set.

    ``x = m exp(i (p - 1/2) phase)``. Here m, in [0, 1], is image i, and p is another image, drawn by (seed, i). If
    there is only one image, p is m. The object lies in the middle of its frame, at ``(N - L) // 2``, with zeros around
    it.

    Shape: y (M_1, M_2) float32, x (N_1, N_2) complex64.

    Args:
        images: A data set of images or (image, label) pairs, such as torchvision's, or an array or tensor of images:
            (n, H, W); (n, C, H, W) as a tensor; (n, H, W, C) as an array. Values in [0, 1], or of uint8 or
            uint16, which are scaled to [0, 1]. Colors are averaged.
        frame: The frame (N_1, N_2), at least as large as the images. Default: the size of image 0.
        forward: The model. Default ``FarField(2)``.
        phase: Range of the phase, in radians. Default pi: phases in [-pi/2, pi/2].
        seed: Seed of the draw that gives every image its phase. Default 0.
        transform: For y, per sample. Default: none.
        target_transform: For x, per sample; ``forward.canonicalizer()`` breaks the symmetry. Default: none.
        device: Device to which items are moved. Default "cpu".

    Raises:
        ValueError: If an image is larger than the frame, or not finite.
        TypeError: If an item is no image.

    Example:
        >>> import torch
        >>> pairs = ComplexImages(torch.rand(10, 8, 8), frame=(12, 12))
        >>> y, x = pairs[0]
        >>> y.shape, x.shape, len(pairs)
        (torch.Size([24, 24]), torch.Size([12, 12]), 10)
    """

    def __init__(
        self,
        images: Any,
        *,
        frame: Sequence[int] | None = None,
        forward: FarField | None = None,
        phase: float = math.pi,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            len(images), FarField(2) if forward is None else forward, seed, transform, target_transform, device
        )
        check_model("ComplexImages", self.forward_model, 2)
        if self.size == 0:
            raise ValueError("ComplexImages needs at least one image, but got an empty data set.")
        self.images = images
        self.phase = phase
        self.frame = tuple(self._image(0).shape) if frame is None else tuple(frame)
        if len(self.frame) != 2:
            raise ValueError(f"ComplexImages needs a frame (N1, N2), but got {self.frame}.")

    def _image(self, index: int) -> Tensor:
        sample = self.images[index]
        image = sample[0] if isinstance(sample, (tuple, list)) else sample
        return check_finite(as_gray(image), name=f"image {index}")

    def _images(self, indices: list[int]) -> list[Tensor] | Tensor:
        """Return many images, as one tensor (B, H, W) if they come from one array."""
        if isinstance(self.images, (Tensor, np.ndarray)):
            try:
                return check_finite(as_gray(self.images[indices], stacked=True))
            except (TypeError, ValueError):
                pass  # one by one the message names the image
        return [self._image(i) for i in indices]

    def _framed(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return images in the middle of their frames, and 1 where they are, (B, N_1, N_2) each."""
        images = self._images(indices)
        framed, where = torch.zeros(2, len(images), *self.frame, dtype=torch.float32).unbind(0)
        if isinstance(images, Tensor):
            framed, where, images = framed[None], where[None], images[None]
        for index, image, canvas, mask in zip(indices, images, framed, where, strict=False):
            size = image.shape[-2:]
            lo = [(n - m) // 2 for n, m in zip(self.frame, size, strict=True)]
            if min(lo) < 0:
                raise ValueError(
                    f"ComplexImages has image {index} of shape {tuple(size)} and a frame {self.frame}. "
                    "Resize or crop the images (torchvision.transforms.v2.Resize), or pass a larger frame."
                )
            inside = (..., *(slice(first, first + m) for first, m in zip(lo, size, strict=True)))
            canvas[inside], mask[inside] = image, 1
        return framed.reshape(-1, *self.frame), where.reshape(-1, *self.frame)

    def objects(self, index: Tensor) -> Tensor:
        # Any image but the item's own: a step of 1 to n - 1 from it.
        drawn = item_uniform(self.seed, index, ()) * (self.size - 1)
        partner = (index + 1 + drawn.long()) % self.size
        magnitude, _ = self._framed(index.tolist())
        phase, where = self._framed(partner.tolist())
        return torch.polar(magnitude, (phase - 0.5) * self.phase * where).to(self.device)
