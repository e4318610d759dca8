"""Far-field phase retrieval (plane-wave coherent diffraction imaging): ``Y = |F X|²``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor

from torch_symbreak._checks import Field, check_choice, check_dims, check_field, check_target
from torch_symbreak._content import Wrap
from torch_symbreak._fourier import detector_shape, diffraction
from torch_symbreak._items import batch_shape, eager, power
from torch_symbreak.canonical import AlignToTemplate, FarFieldCanonicalizer
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Sign, Translation

#: Bytes of spectra at once: about what a core's caches hold, and on a GPU enough to be busy.
_SPECTRA, _SPECTRA_ON_GPU = 2**23, 2**28


class FarField(ForwardModel):
    """Measure the far-field diffraction intensity ``Y = |F X|²``, F the oversampled discrete Fourier transform.

    The object is zero-padded at its end to the detector's shape. Padding elsewhere gives the same Y. The symmetries are
    translation inside the frame, the conjugate flip, and a global phase (real objects: a sign). Where the detector
    has the shape of the frame, M = N, the model is periodic, and so are its translations.

    Convention: ``torch.fft``, unnormalized unless ``norm`` says otherwise; zero frequency at index 0 unless
    ``centered``; ``oversampling`` counts pixels along one axis. The diffraction literature often means the ratio of
    all pixels, which is its d-th power.

    Shape: (*batch, *event) to (*batch, M_1, ..., M_d), real, in the squared units of the object.

    Args:
        event_dims: Dimensions d of one object: 1 signals, 2 images, 3 volumes. Default 2.
        oversampling: Detector pixels per object pixel along each axis, s >= 1: M = ceil(s N - 1e-9). Default 2.
        shape: Detector shape (M_1, ..., M_d), which replaces oversampling. Default: from oversampling.
        field: "complex" (default) or "real" objects; real ones take the cheaper real transform.
        norm: "backward" (default), "ortho" or "forward", as in ``torch.fft``.
        centered: Put the zero frequency in the middle, index M // 2. Default False.
        chunk_size: Objects per Fourier transform, to bound memory. Default: as many as fit a CPU's cache or 256 MB of a
            GPU.

    Raises:
        TypeError: If the dtype of the object does not fit ``field``.
        ValueError: If ``oversampling < 1``, or the detector is smaller than the frame.

    Warns:
        UserWarning: If M < 2 N - 1 along an axis: recovery is then not unique, even up to the symmetries.

    Example: a shifted, flipped and rotated object has the same diffraction pattern.
        >>> import torch
        >>> model = FarField(1)
        >>> x = torch.tensor([1.0, 2.0 + 1.0j, 3.0, 0.0])
        >>> twin = 1j * torch.tensor([0.0, 3.0, 2.0 - 1.0j, 1.0])
        >>> torch.allclose(model(x), model(twin), atol=1e-4)
        True

    References: Zhang et al., arXiv 2403.15448; the talk, "A realistic example: far-field phase retrieval".
    """

    def __init__(
        self,
        event_dims: int = 2,
        *,
        oversampling: float = 2.0,
        shape: Sequence[int] | None = None,
        field: Field = "complex",
        norm: str = "backward",
        centered: bool = False,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        check_dims("FarField", event_dims, 0, least=1)
        if not isinstance(oversampling, (int, float)) or not 1 <= oversampling < math.inf:
            raise ValueError(
                f"FarField needs oversampling >= 1, but got {oversampling!r}. It is linear, M = s N along each axis; "
                "2.0 makes recovery unique up to the symmetries, 1.0 is the periodic model."
            )
        if shape is not None and (
            not isinstance(shape, (tuple, list, torch.Size))
            or len(shape) != event_dims
            or not all(isinstance(m, int) for m in shape)
        ):
            raise ValueError(f"FarField needs a shape of {event_dims} ints, but got {shape!r}.")
        check_choice("field", field, ("complex", "real"))
        check_choice("norm", norm, ("backward", "ortho", "forward"))
        if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
            raise ValueError(f"FarField needs chunk_size >= 1 or None, but got {chunk_size}.")
        self.event_dims = event_dims
        self.oversampling = oversampling
        self.shape = None if shape is None else tuple(shape)
        self.field: Field = field
        self.norm = norm
        self.centered = centered
        self.chunk_size = chunk_size

    @property
    def wrap(self) -> Wrap:
        """Return True if all axes are periodic, False if none is, or a detector shape whose axes with M = N are."""
        return self.shape if self.shape is not None else self.oversampling == 1

    @property
    def symmetries(self) -> tuple[Translation, ConjugateFlip, GlobalPhase | Sign]:
        d = self.event_dims
        scalar = GlobalPhase(d) if self.field == "complex" else Sign(d)
        return Translation(d, wrap=self.wrap), ConjugateFlip(d, wrap=self.wrap), scalar

    @overload
    def canonicalizer(self, *, channel_dims: int = 0, threshold: float = 1e-4) -> FarFieldCanonicalizer: ...

    @overload
    def canonicalizer(self, *, channel_dims: int = 0, threshold: float = 1e-4, template: Tensor) -> AlignToTemplate: ...

    def canonicalizer(
        self, *, channel_dims: int = 0, threshold: float = 1e-4, template: Tensor | None = None
    ) -> FarFieldCanonicalizer | AlignToTemplate:
        """Return the transform that breaks all symmetries at once, by the exact rule or by a template.

        Args:
            channel_dims: Dimensions before the event that share one element. Default 0.
            template: Move targets to the point of their orbit nearest to it, (*channels, *event). Default: the exact
                rule.
            threshold: Pixels below this fraction of the peak count as background. Raise it for noisy data. Default
                1e-4.

        Raises:
            TypeError, ValueError: If :class:`AlignToTemplate` does not accept the template.
        """
        fix = FarFieldCanonicalizer(
            self.event_dims, channel_dims=channel_dims, threshold=threshold, wrap=self.wrap, field=self.field
        )
        return fix if template is None else AlignToTemplate(template, fix.symmetry)

    def fit_canonicalizer(
        self, objects: Any, *, channel_dims: int = 0, threshold: float = 1e-4, **options: Any
    ) -> AlignToTemplate:
        """Return the canonicalizer that moves targets nearest to a template fitted to ``objects``.

        Args:
            objects: The training targets, as for :meth:`AlignToTemplate.fit`.
            channel_dims: Dimensions before the event that share one element. Default 0.
            threshold: Pixels below this fraction of the peak count as background. Default 1e-4.
            **options: Further arguments of :meth:`AlignToTemplate.fit`.
        """
        fix = self.canonicalizer(channel_dims=channel_dims, threshold=threshold)
        return AlignToTemplate.fit(objects, fix.symmetry, **options)

    def detector_shape(self, frame: Sequence[int]) -> tuple[int, ...]:
        """Return the detector's shape (M_1, ..., M_d) for objects in a frame (N_1, ..., N_d)."""
        frame = tuple(frame)
        shape = self.shape if self.shape is not None else detector_shape(frame, self.oversampling)
        if any(m < n for m, n in zip(shape, frame, strict=True)):
            raise ValueError(f"FarField needs a detector of at least the frame's shape {frame}, but got {shape}.")
        if any(m < 2 * n - 1 for m, n in zip(shape, frame, strict=True)) and not torch.compiler.is_compiling():
            warnings.warn(
                f"FarField measures a frame of shape {frame} on a detector of shape {shape}: below 2 N - 1 along an "
                "axis recovery is not unique, even up to the symmetries. Use oversampling=2.",
                stacklevel=3,
            )
        return shape

    def forward(self, x: Tensor) -> Tensor:
        check_target("FarField", x, self.event_dims, least=1)
        check_field("FarField", x, self.field, self.event_dims)
        frame = x.shape[x.dim() - self.event_dims :]
        shape = self.detector_shape(frame)
        batch = batch_shape(x, self.event_dims)
        items = x.reshape(math.prod(batch), *frame)
        if len(items) == 0:  # not every transform takes an empty batch; the sum is 0, with a gradient
            return x.real.new_zeros(*batch, *shape) + power(items).sum()
        step = self._at_once(items, shape) if eager(items) else self.chunk_size or len(items)
        measured = [self._intensity(chunk, shape) for chunk in items.split(step)]
        return (measured[0] if len(measured) == 1 else torch.cat(measured)).reshape(*batch, *shape)

    def _at_once(self, items: Tensor, shape: Sequence[int]) -> int:
        limit = _SPECTRA if items.device.type == "cpu" else _SPECTRA_ON_GPU
        return self.chunk_size or max(1, limit // (math.prod(shape) * items.element_size()))

    def _intensity(self, items: Tensor, shape: Sequence[int]) -> Tensor:
        if items.dtype in (torch.float16, torch.bfloat16):
            items = items.float()  # half-precision transforms fail on CPU and for sizes that are no powers of two
        return diffraction(items, shape, self.norm, self.centered)

    def extra_repr(self) -> str:
        return (
            f"event_dims={self.event_dims}, oversampling={self.oversampling}, shape={self.shape}, "
            f"field={self.field!r}, norm={self.norm!r}, centered={self.centered}, chunk_size={self.chunk_size}"
        )
