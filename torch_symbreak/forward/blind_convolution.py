"""Blind deconvolution: ``y = k * x``, both factors unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import check_tensor, describe
from torch_symbreak._fourier import spectrum
from torch_symbreak._items import batch_shape, divided, flat_parts, peak, per_item, root, wide
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import ConvolutionFactors, FixConvolutionFactors


class Deconvolved(NamedTuple):
    """The two parts of a target of :class:`BlindConvolution`.

    Example:
        >>> model = BlindConvolution((3, 3), (8, 8))
        >>> parts = model.split(model.join(torch.rand(3, 3), torch.rand(8, 8)))
        >>> parts.kernel.shape, parts.image.shape
        (torch.Size([3, 3]), torch.Size([8, 8]))
    """

    kernel: Tensor  #: (*batch, h, w)
    image: Tensor  #: (*batch, H, W)


class BlindConvolution(ForwardModel):
    """Measure the full linear convolution ``y = k * x`` of an unknown kernel and an unknown image.

    A target is one tensor (2, H, W): the kernel in the first (h, w) entries of channel 0, zeros behind it, and the
    image in channel 1. :meth:`join` makes it, and :meth:`split` takes it apart. Entries of channel 0 outside (h, w) are
    not measured. In two dimensions and more, nearly all pairs are determined up to :class:`ConvolutionFactors`:
    reciprocal scales, opposite shifts, and an exchange where the frames agree. ``join`` fixes the scale, the
    canonicalizer the rest. One-dimensional and periodic problems have far more solutions. No model here covers them.

    Shape: (*batch, 2, H, W) to (*batch, H + h - 1, W + w - 1), real or complex, in the target's dtype.

    Args:
        kernel: The kernel's frame (h, w), or one size per axis of a volume.
        frame: The image's frame (H, W), at least as large as the kernel's.
        threshold: Pixels below this fraction of a factor's peak count as background. Raise it for noisy data. Default
            1e-4.

    Raises:
        ValueError: If there are fewer than two axes, the kernel does not fit the frame, or a target has other sizes.

    Example: two solutions, and the one target that stands for both.
        >>> import torch
        >>> model = BlindConvolution((3, 3), (6, 6))
        >>> k, x = torch.zeros(3, 3), torch.zeros(6, 6)
        >>> k[:2, :2], x[1:4, 1:5] = torch.rand(2, 2), torch.rand(3, 4)
        >>> z = model.join(k, x)
        >>> other = model.join(-3 * k.roll(1, 0), x.roll(-1, 0))
        >>> torch.allclose(model(other) / -3, model(z) , atol=1e-6)
        True
        >>> fix = model.canonicalizer()
        >>> torch.allclose(fix(model.join(-k.roll(1, 0), -x.roll(-1, 0))), fix(z), atol=1e-6)
        True
    """

    def __init__(self, kernel: Sequence[int], frame: Sequence[int], *, threshold: float = 1e-4) -> None:
        super().__init__()
        for name, size in (("kernel", kernel), ("frame", frame)):
            if not isinstance(size, (tuple, list)):
                raise TypeError(
                    f"BlindConvolution needs a {name} of one int per axis, such as (8, 8), but got {size!r}."
                )
        self.frame = tuple(frame)
        self.kernel = tuple(kernel)
        self.threshold = threshold
        # Its message says why one dimension is too few.
        self._group = ConvolutionFactors(len(self.frame), kernel=self.kernel, threshold=threshold)
        if not all(type(n) is int and n >= k for n, k in zip(self.frame, self.kernel, strict=True)):
            raise ValueError(
                f"BlindConvolution needs a frame of ints that the kernel {self.kernel} fits in, but got {self.frame}."
            )

    @property
    def symmetries(self) -> tuple[ConvolutionFactors]:
        return (self._group,)

    def canonicalizer(self) -> FixConvolutionFactors:
        return FixConvolutionFactors(len(self.frame), kernel=self.kernel, threshold=self.threshold)

    @property
    def measured_shape(self) -> tuple[int, ...]:
        """Return the shape of one measurement, (H + h - 1, W + w - 1)."""
        return tuple(n + k - 1 for n, k in zip(self.frame, self.kernel, strict=True))

    def join(self, kernel: Tensor, image: Tensor) -> Tensor:
        """Return the target of a kernel and an image. Both are scaled to the geometric mean of their norms.

        This is where the open scale is fixed: ``(a k, x / a)`` gives one target for all a > 0, with the measurement of
        (k, x). The symmetries that are left keep distances, as a template needs. If one part is zero, so is the
        measurement, no scale makes the norms equal, and the other part stays as it is.

        Shape: (*batch, h, w) and (*batch, H, W), each real or complex, to (*batch, 2, H, W).

        Raises:
            TypeError: If a part is no floating-point or complex tensor.
            ValueError: If a part has another size, or the batches differ.
        """
        d = len(self.frame)
        for part, size, name in ((kernel, self.kernel, "kernel"), (image, self.frame, "image")):
            check_tensor("BlindConvolution.join", part, what=name, name=name)
            if tuple(part.shape[max(0, part.dim() - d) :]) != size:
                raise ValueError(
                    f"BlindConvolution.join needs a {name} of shape (*batch, {', '.join(map(str, size))}), but got "
                    f"{describe(part)}."
                )
        if batch_shape(kernel, d) != batch_shape(image, d):
            raise ValueError(
                f"BlindConvolution.join needs one image per kernel, but got {tuple(kernel.shape)} and "
                f"{tuple(image.shape)}."
            )
        # Roots of peak and norm one by one: their ratio may leave the range of numbers before the root.
        roots = []
        parts = kernel.to(wide(kernel)), image.to(wide(image))
        for part in parts:
            # The peak cancels, so that no gradient needs to pass through it.
            unit = peak(part.detach(), item_dims=d)
            norm = torch.linalg.vector_norm(flat_parts(divided(part, per_item(unit, d)), d), dim=-1)
            roots.append(root(norm) * root(unit))
        none = (roots[0] == 0) | (roots[1] == 0)
        scale = per_item(torch.where(none, 1, roots[1] / torch.where(none, 1, roots[0])), d)
        behind = [free for n, k in zip(self.frame[::-1], self.kernel[::-1], strict=True) for free in (0, n - k)]
        padded = torch.nn.functional.pad(parts[0] * scale, behind)
        dtype = torch.promote_types(kernel.dtype, image.dtype)
        return torch.stack([padded.to(dtype), (parts[1] / scale).to(dtype)], -d - 1)

    def split(self, x: Tensor) -> Deconvolved:
        """Return the kernel, (*batch, h, w), and the image, (*batch, H, W), of targets (*batch, 2, H, W).

        They share the memory of x.
        """
        self._check(x)
        d = len(self.frame)
        first: tuple[Any, ...] = (..., *(slice(n) for n in self.kernel))
        return Deconvolved(x.select(-d - 1, 0)[first], x.select(-d - 1, 1))

    def _check(self, x: Tensor) -> None:
        self._group.check(x)
        if tuple(x.shape[x.dim() - len(self.frame) :]) != self.frame:
            raise ValueError(
                f"BlindConvolution has a frame of {self.frame} and needs targets of shape "
                f"(*batch, 2, {', '.join(map(str, self.frame))}), but got {tuple(x.shape)}."
            )

    def forward(self, x: Tensor) -> Tensor:
        kernel, image = self.split(x)
        if x.dtype in (torch.float16, torch.bfloat16):
            kernel, image = kernel.float(), image.float()  # half-precision transforms fail on a CPU
        shape, dims = self.measured_shape, tuple(range(-len(self.frame), 0))
        if 0 in x.shape:  # an empty batch, which the transforms of some builds of torch refuse
            return image.sum(dims, keepdim=True).expand(*batch_shape(image, len(dims)), *shape)
        half = not x.is_complex()
        product = spectrum(kernel, shape, half=half) * spectrum(image, shape, half=half)
        inverse = torch.fft.irfftn if half else torch.fft.ifftn
        return inverse(product, s=shape, dim=dims)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, frame={self.frame}, threshold={self.threshold}"
