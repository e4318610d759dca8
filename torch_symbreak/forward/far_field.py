"""Far-field phase retrieval (plane-wave coherent diffraction imaging): ``Y = |F X|²``."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from torch_symbreak._checks import (
    Field,
    batch_shape,
    check_dims,
    check_field,
    check_target,
    eager,
    resolved,
    tangible,
    typed_like,
)
from torch_symbreak._content import Wrap, box_margin, content_box, wrapped_axes
from torch_symbreak._fourier import detector_shape, diffraction
from torch_symbreak.forward._cpu import (
    Decisions,
    boxes_alone,
    decide,
    items_within,
    move_boxes,
)
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import (
    Canonicalizer,
    ConjugateFlip,
    Element,
    FixGlobalPhase,
    FixSign,
    GlobalPhase,
    Product,
    Sign,
    Translation,
)
from torch_symbreak.symmetries.conjugate_flip import flip_decision, flip_scores
from torch_symbreak.symmetries.translation import centering_target

#: Bytes of spectra at once: about what a core's caches hold, and on a GPU enough to be busy.
_SPECTRA, _SPECTRA_ON_GPU = 2**23, 2**28


#: Bytes of items at once where whole operations treat them: enough to be long, few enough to bound memory.
_PIECE, _PIECE_ON_GPU = 2**23, 2**28

#: The reference, the CPU's own ways with and without Numba, or Triton's kernels.
Way = Literal["numba", "cpu", "kernels"] | None


#: What the kernels take: items of so many entries, which one program may have to go over by itself, below a threshold
#: that single precision tells from 1.
_KERNELS_LARGEST, _KERNELS_THRESHOLD = 2**20, 0.999


def _runs(attempt: Callable[[], object], otherwise: str) -> bool:
    """Whether an attempt at a way succeeds. If it fails though all is installed, warn that ``otherwise``."""
    try:
        attempt()
    except ImportError:
        return False
    except torch.OutOfMemoryError:  # this time, not for good
        raise
    except Exception as error:  # a GPU too old, no C compiler or no place for what is compiled: there is another way
        warnings.warn(otherwise.format(f"{type(error).__name__}: {error}"), stacklevel=3)
        return False
    return True


@functools.cache
def _numba_runs(dtype: torch.dtype) -> bool:
    """Whether Numba is installed and compiles, for items of this dtype."""

    def attempt() -> None:
        from torch_symbreak.forward import _numba

        if not _numba.COMPILES:
            raise ImportError
        _numba.decide(torch.ones(1, 2, dtype=dtype, device="cpu"), 0.0)

    return _runs(
        attempt,
        "Numba does not run ({}); canonicalizing on a CPU is slower. If what it has kept is damaged, delete the files "
        "*.nbi and *.nbc of torch_symbreak.",
    )


@functools.cache
def _kernels_run(device: torch.device) -> bool:
    """Whether Triton's kernels do."""

    def attempt() -> None:
        from torch_symbreak.forward import _kernels

        x = torch.ones(1, 2, 2, dtype=torch.complex64, device=device)
        _kernels.decide(x, 0.0, torch.empty_like(x))

    return _runs(attempt, f"Triton does not run on {device} ({{}}); canonicalizing there is slower.")


def _pieces(items: Tensor, way: Way) -> Sequence[Tensor]:
    """The items that are treated at once. A view takes microseconds: of a small batch's time much."""
    step = items_within(_PIECE if items.device.type == "cpu" else _PIECE_ON_GPU, items)
    return (items,) if way == "numba" or step >= len(items) else items.split(step)


class FarFieldCanonicalizer(Canonicalizer[Product]):
    """Break translation, conjugate flip and global phase (real objects: sign) at once.

    Equal to ``Compose([CenterContent(), FixConjugateFlip(), FixGlobalPhase()])`` in any order, but the content box is
    found once and all three are applied with one gather. Obtain it from :meth:`FarField.canonicalizer`.

    Ties: those of the three transforms; each leaves the item as it is in its own respect. :meth:`margins` gives the
    three margins by name, :meth:`margin` the smallest.

    Shape: (*batch, *channels, *event) to the same; :meth:`element` an :class:`Element` (flipped, shift, scalar).

    Args:
        event_dims: Trailing dimensions of one object. Default 2.
        channel_dims: Dimensions before the event that share one element. Default 0.
        threshold: Content exceeds this, relative to the item's largest magnitude. Default 1e-4.
        wrap: True for M = N, False with zero padding, or the detector's shape. Default False.
        field: "complex" (default) or "real" objects.

    Raises:
        TypeError: If the dtype of the target does not fit ``field``.

    Example: every point of an orbit goes to one.
        >>> import torch
        >>> from torch_symbreak import FarField, RandomSymmetry
        >>> _, model = torch.manual_seed(0), FarField(2)
        >>> fix = model.canonicalizer()
        >>> x = torch.nn.functional.pad(torch.randn(3, 4, 6, dtype=torch.complex64), (1, 1, 2, 2))
        >>> torch.allclose(fix(RandomSymmetry(model.symmetries)(x)), fix(x), atol=1e-5)
        True

    References: Zhang et al., arXiv 2403.15448, Algorithm 2, made exact.
    """

    def __init__(
        self,
        event_dims: int = 2,
        *,
        channel_dims: int = 0,
        threshold: float = 1e-4,
        wrap: Wrap = False,
        field: Field = "complex",
    ) -> None:
        if field not in ("complex", "real"):
            raise ValueError(f'FarFieldCanonicalizer needs field="complex" or field="real", but got {field!r}.')
        translation = Translation(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap)
        flip = ConjugateFlip(event_dims, channel_dims=channel_dims, threshold=threshold, wrap=wrap)
        fix_scalar: FixGlobalPhase | FixSign = (
            FixGlobalPhase(event_dims, channel_dims=channel_dims)
            if field == "complex"
            else FixSign(event_dims, channel_dims=channel_dims)
        )
        super().__init__(Product([translation, flip, fix_scalar.symmetry]))
        self.field: Field = field
        self._translation = translation
        self._fix_scalar = fix_scalar

    def check(self, x: Any) -> None:
        super().check(x)
        check_field(type(self).__name__, x, self.field)

    def _box_options(self) -> tuple[int, int, float, Wrap]:
        group = self._translation
        return group.event_dims, group.channel_dims, group.threshold, group.wrap

    def element(self, x: Tensor) -> Element:
        self.check(x)
        batch, items = self._items(x)
        way = None if items is None else self._way(items)
        if items is None or way is None:
            return self._element(x)
        found = [self._chunk(piece, way) for piece in _pieces(items, way)]
        flipped, shift, scalar = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Element(flipped.reshape(batch), shift.reshape(*batch, -1), scalar.reshape(batch))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        _, items = self._items(x)
        if items is None:
            return typed_like(self.symmetry.act(self._element(x), x), x)
        moved, way = torch.empty_like(items), self._way(items)
        for piece, to in zip(_pieces(items, way), _pieces(moved, way), strict=True):
            self._chunk(piece, way, to)
        return moved.reshape(x.shape)

    def _items(self, x: Tensor) -> tuple[torch.Size, Tensor | None]:
        """The batch shape, and (B, *item) where a batch may go through in chunks."""
        batch = batch_shape(x, self.symmetry.item_dims)
        if not eager(x) or x.numel() == 0:
            return batch, None
        return batch, resolved(x.detach()).reshape(-1, *x.shape[len(batch) :]).contiguous()

    def _way(self, items: Tensor) -> Way:
        """Which fast way there is for such items, if any."""
        event_dims, channel_dims, threshold, wrap = self._box_options()
        if channel_dims or any(wrapped_axes(wrap, items.shape[items.dim() - event_dims :])):
            return None
        if items.device.type == "cpu" and items.dtype.itemsize >= 4:
            return "numba" if _numba_runs(items.dtype) else "cpu"
        fit = event_dims <= 3 and math.prod(items.shape[1:]) <= _KERNELS_LARGEST and threshold <= _KERNELS_THRESHOLD
        single = items.dtype in (torch.float32, torch.complex64)
        return "kernels" if items.device.type == "cuda" and fit and single and _kernels_run(items.device) else None

    def _chunk(self, items: Tensor, way: Way, moved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The element of every item, (B, *item); with ``moved``, these moved by it, into it."""
        if way == "kernels":
            from torch_symbreak.forward import _kernels as kernels

            return kernels.decide(items, self._translation.threshold, moved)
        if way == "numba":
            from torch_symbreak.forward import _numba

            flipped, shift, scalar, clear = _numba.decide(items, self._translation.threshold, moved)
            self._complete((flipped, shift, scalar), clear, items, moved)
            return flipped, shift, scalar
        g, found = self._decided(items) if way == "cpu" else (self._element(items), None)
        if moved is not None:
            if found is not None and boxes_alone(items, found):
                move_boxes(items, found, moved)
            else:
                moved.copy_(self.symmetry.act(g, items))
        return g[:3]

    def _decided(self, items: Tensor) -> tuple[Element, Decisions]:
        """The element of every item, (B, *event), which the decisions share."""
        found = decide(items, self._translation.threshold)
        flipped, shift, scalar, certain = map(
            torch.from_numpy, (found.flipped, found.shift, found.scalar, found.certain)
        )
        self._complete((flipped, shift, scalar), certain, items)
        return Element(flipped, shift, scalar), found

    def _complete(self, found: Sequence[Tensor], certain: Tensor, items: Tensor, moved: Tensor | None = None) -> None:
        """Have the reference decide the items that are not certain, and move them into ``moved`` if that is given."""
        if bool(certain.all()):
            return
        for some in (~certain).nonzero().squeeze(-1).split(items_within(_PIECE, items)):
            exact = self._element(items[some])
            for one, reference in zip(found, exact[:3], strict=True):
                one[some] = reference
            if moved is not None:
                moved[some] = self.symmetry.act(exact, items[some])

    def _element(self, x: Tensor) -> Element:
        """The reference: the element on any device, by tensor operations alone."""
        event_dims, channel_dims = self.symmetry.event_dims, self.symmetry.channel_dims
        box = content_box(x, *self._box_options())
        flipped = flip_decision(flip_scores(x, box, event_dims, channel_dims))
        target = centering_target(box, x.shape[x.dim() - event_dims :])
        # The box [lo, hi] lands on [target, target + L): t = target - lo, or target + hi when flipped.
        shift = torch.where(flipped[..., None], target + box.lo + box.length - 1, target - box.lo)
        scalar = self._fix_scalar.element(x)
        return Element(flipped, shift, resolved(torch.where(flipped, scalar.conj(), scalar)))

    def margins(self, x: Tensor) -> dict[str, Tensor]:
        """Return the margin of each symmetry by name, (*batch,) each, in [0, 1]; 0 at a tie."""
        self.check(x)
        event_dims, channel_dims = self.symmetry.event_dims, self.symmetry.channel_dims
        scores = flip_scores(x, content_box(x, *self._box_options()), event_dims, channel_dims)
        box = box_margin(x, *self._box_options())
        return {
            "translation": box,
            "conjugate_flip": scores[..., 0].abs().to(box.dtype),
            "global_phase" if self.field == "complex" else "sign": self._fix_scalar.margin(x),
        }

    def margin(self, x: Tensor) -> Tensor:
        return torch.stack(list(self.margins(x).values())).amin(0)

    def __repr__(self) -> str:
        group = self._translation
        return (
            f"FarFieldCanonicalizer(event_dims={group.event_dims}, channel_dims={group.channel_dims}, "
            f"threshold={group.threshold!r}, wrap={group.wrap!r}, field={self.field!r})"
        )


class FarField(ForwardModel):
    """Measure the far-field diffraction intensity ``Y = |F X|²``, F the oversampled discrete Fourier transform.

    The object is zero-padded at its end to the detector's shape; ``|F|²`` does not depend on where. Its symmetries are
    translation inside the frame, the conjugate flip, and a global phase (real objects: a sign). Where the detector
    has the shape of the frame, M = N, the model is periodic, and so are its translations.

    Convention: ``torch.fft``, unnormalized unless ``norm`` says otherwise; zero frequency at index 0 unless
    ``centered``; ``oversampling`` is linear (the ratio that counts pixels, as the diffraction literature has it, is
    its d-th power).

    Shape: (*batch, *event) to (*batch, M_1, ..., M_d), real, in units of the object's squared.

    Args:
        event_dims: Dimensions d of one object: 1 signals, 2 images, 3 volumes. Default 2.
        oversampling: M = ceil(s N - 1e-9) along each axis, s >= 1. Default 2.
        shape: The detector's shape (M_1, ..., M_d) instead.
        field: "complex" (default) or "real" objects; real ones take the cheaper real transform.
        norm: "backward" (default), "ortho" or "forward", as in ``torch.fft``.
        centered: Put the zero frequency in the middle, index M // 2. Default False.
        chunk_size: Objects per Fourier transform, to bound memory. Default: what a CPU's cache holds, else all at once.

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
        if field not in ("complex", "real"):
            raise ValueError(f'FarField needs field="complex" or field="real", but got {field!r}.')
        if norm not in ("backward", "ortho", "forward"):
            raise ValueError(f'FarField needs norm="backward", "ortho" or "forward", but got {norm!r}.')
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
        """Which axes are periodic: all, none, or those where the given detector's M equals the frame's N."""
        return self.shape if self.shape is not None else self.oversampling == 1

    @property
    def symmetries(self) -> tuple[Translation, ConjugateFlip, GlobalPhase | Sign]:
        d = self.event_dims
        scalar = GlobalPhase(d) if self.field == "complex" else Sign(d)
        return Translation(d, wrap=self.wrap), ConjugateFlip(d, wrap=self.wrap), scalar

    def canonicalizer(self, *, channel_dims: int = 0, threshold: float = 1e-4) -> FarFieldCanonicalizer:
        """The transform that breaks all symmetries at once.

        Args:
            channel_dims: Dimensions before the event that share one element. Default 0.
            threshold: Content exceeds this, relative to the item's largest magnitude. Default 1e-4.
        """
        return FarFieldCanonicalizer(
            self.event_dims, channel_dims=channel_dims, threshold=threshold, wrap=self.wrap, field=self.field
        )

    def detector_shape(self, frame: Sequence[int]) -> tuple[int, ...]:
        """The shape (M_1, ..., M_d) on which objects in a frame (N_1, ..., N_d) are measured."""
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
        check_target("FarField", x, self.event_dims)
        check_field("FarField", x, self.field)
        frame = x.shape[x.dim() - self.event_dims :]
        shape = self.detector_shape(frame)
        batch = batch_shape(x, self.event_dims)
        items = x.reshape(math.prod(batch), *frame)
        if len(items) == 0:
            return x.real.new_zeros(*batch, *shape)
        step = self._at_once(items, shape) if tangible(items) else self.chunk_size or len(items)
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
