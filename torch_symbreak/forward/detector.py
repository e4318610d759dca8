"""Real detectors: photon counts, background, read-out noise and missing pixels behind any measurement model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from torch_symbreak._checks import check_generator, check_tensor, describe, masked
from torch_symbreak._fourier import frequencies
from torch_symbreak._items import flat_items, per_item
from torch_symbreak.forward.base import ForwardModel
from torch_symbreak.symmetries import Canonicalizer, Product, Symmetry

#: Above this rate counts come from the normal law (skewness 0, not 1e-4): on CUDA torch counts in 32 bits.
_MANY = 1e8


class _Part(nn.Module):
    """A map of intensities y, any shape, to intensities in single precision or better."""

    def forward(self, y: Tensor) -> Tensor:
        owner = type(self).__name__
        check_tensor(owner, y, what="tensor of intensities", name="y")
        if y.is_complex():
            raise TypeError(f"{owner} needs real intensities y, but got {describe(y)}. Pass y.abs().square().")
        return self.measure(y.to(torch.promote_types(y.dtype, torch.float32)))

    def measure(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class _Random(_Part):
    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        check_generator(type(self).__name__, generator)
        self.generator = generator

    def forward(self, y: Tensor) -> Tensor:
        if self.generator is not None and get_worker_info() is not None:
            raise RuntimeError(
                f"{type(self).__name__} got a generator in a DataLoader worker, where every worker has a copy of it "
                "and draws the same numbers. Leave generator=None there."
            )
        return super().forward(y)

    def normal(self, y: Tensor) -> Tensor:
        device = y.device if self.generator is None else self.generator.device
        return torch.randn(y.shape, dtype=y.dtype, device=device, generator=self.generator).to(y.device)


class PoissonCounts(_Random):
    """Replace intensities, in photons, by Poisson counts: whole numbers whose mean and variance are the intensity.

    It removes no symmetry: the distribution of the counts depends on the intensity alone. Negative intensities count as
    zero. Pixels that are not finite become NaN. Above 1e8 photons, counts follow a normal distribution of that
    mean and variance.

    Shape: any real tensor to the same shape.

    Args:
        generator: Source of random numbers, on any device. Default: torch's global generator.

    Raises:
        RuntimeError: If y requires a gradient, which counts do not have, or in a ``DataLoader`` worker with a
            generator.
        TypeError: If y is complex.

    Example: the variance is the mean.
        >>> import torch
        >>> count = PoissonCounts(generator=torch.Generator().manual_seed(0))
        >>> y = count(torch.full((100_000,), 7.0))
        >>> round(y.mean().item(), 1), round(y.var().item(), 1)
        (7.0, 7.0)
    """

    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator)

    def measure(self, y: Tensor) -> Tensor:
        if y.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(
                "PoissonCounts has no gradient, but y requires one. Measure under torch.no_grad(). In losses use the "
                "model without noise."
            )
        known = y.isfinite()
        rate = torch.where(known, y, 0).clamp(min=0)
        many = rate > _MANY
        device = y.device if self.generator is None else self.generator.device
        counts = torch.poisson(torch.where(many, 0, rate).to(device), generator=self.generator).to(y.device)
        counts = torch.where(many, (rate + rate.sqrt() * self.normal(y)).round(), counts)
        return torch.where(known, counts, torch.nan)


class ReadoutNoise(_Random):
    """Add independent normal noise of mean 0 to every pixel. Dark pixels may become negative.

    It removes no symmetry: the noise does not depend on the object.

    Shape: any real tensor to the same shape.

    Args:
        std: Standard deviation in photons, >= 0.
        generator: Source of random numbers, on any device. Default: torch's global generator.

    Raises:
        RuntimeError: In a ``DataLoader`` worker with a generator.
        TypeError: If y is complex.
        ValueError: If std is negative or not finite.

    Example:
        >>> import torch
        >>> y = ReadoutNoise(2.0, generator=torch.Generator().manual_seed(0))(torch.zeros(100_000))
        >>> round(y.std().item(), 1)
        2.0
    """

    def __init__(self, std: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__(generator)
        self.std = _number("ReadoutNoise", "std", std)

    def measure(self, y: Tensor) -> Tensor:
        return y + self.std * self.normal(y)

    def extra_repr(self) -> str:
        return f"std={self.std}"


class Background(_Part):
    """Add a known background to every pixel. Put it before :class:`PoissonCounts` if its photons are counted.

    It removes no symmetry: the background does not depend on the object. Subtract it before you solve.

    Shape: any real tensor to the same shape.

    Args:
        level: Photons per pixel, >= 0.

    Raises:
        TypeError: If y is complex.
        ValueError: If level is negative or not finite.

    Example:
        >>> import torch
        >>> Background(5.0)(torch.tensor([0.0, 1.0]))
        tensor([5., 6.])
    """

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = _number("Background", "level", level)

    def measure(self, y: Tensor) -> Tensor:
        return y + self.level

    def extra_repr(self) -> str:
        return f"level={self.level}"


class Mask(_Part):
    """Set pixels that are not measured to NaN, which losses, metrics and ``solve(..., mask=)`` leave out.

    It removes no symmetry, because it looks at the detector alone. Missing pixels let more objects fit: for example,
    without the zero frequency the sum of the object is not measured. For a network, fill them: ``y.nan_to_num(0)``.

    Shape: (*batch, *M) to the same, M the shape of the mask.

    Args:
        mask: Bool, True where measured, with the shape of y's last dimensions. See :func:`beam_stop`.

    Raises:
        TypeError: If y is complex, or the mask is not bool.
        ValueError: If y has other last dimensions.

    Example:
        >>> import torch
        >>> Mask(torch.tensor([False, True]))(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[nan, 2.],
                [nan, 4.]])
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.as_tensor(mask), persistent=False)

    def measure(self, y: Tensor) -> Tensor:
        return masked("Mask", y, self.mask)


def beam_stop(shape: Sequence[int], radius: float, *, centered: bool = False) -> Tensor:
    """Return the mask of a round beam stop, bool of ``shape``: False within ``radius`` pixels of zero frequency.

    Args:
        shape: Detector shape (M_1, ..., M_d), as ``FarField.detector_shape(frame)`` returns it.
        radius: Radius in detector pixels, >= 0. A radius of 0 hides the zero frequency alone.
        centered: Put zero frequency at M // 2, as ``FarField(centered=True)`` does. Default False: at index 0.

    Raises:
        ValueError: If the radius is negative or not finite, or the stop hides the whole detector.

    Example:
        >>> beam_stop((5,), 1), beam_stop((5,), 1, centered=True)
        (tensor([False, False,  True,  True, False]), tensor([ True, False, False, False,  True]))
    """
    radius = _number("beam_stop", "radius", radius)
    axes = torch.meshgrid(*(frequencies(m, torch.device("cpu")) for m in shape), indexing="ij")
    mask = torch.stack([axis.square() for axis in axes]).sum(0) > radius**2
    if not bool(mask.any()):
        raise ValueError(f"beam_stop of radius {radius} hides the whole detector {tuple(shape)}. Use a smaller radius.")
    return torch.fft.fftshift(mask) if centered else mask


class Measured(ForwardModel):
    """Measure with a real detector: a model's intensities, passed through parts in their order.

    Symmetries and canonicalizer are the model's, because a part sees the intensity alone, and all objects of an orbit
    have the same intensity. With random parts, their measurements have the same distribution.

    Parts work in photons. With ``photons``, every pattern is scaled to that expected total (before background and mask)
    and scaled back after the last part, to the units of the model. So losses, residuals and solved objects compare with
    those without noise, and the scale of the object stays measured: ``var(y) = f(x) sum(f(x)) / photons`` for Poisson
    counts. A pattern of zeros is not scaled.

    Shape: (*batch, *event) to that of the model.

    Args:
        model: The model without noise. Pass it to losses, as ``measured.model``. ``solve(model=measured)`` takes it
            from here, with the masks.
        parts: :class:`PoissonCounts`, :class:`ReadoutNoise`, :class:`Background`, :class:`Mask`, or modules of your own
            that map intensities to intensities.
        photons: Expected total of one pattern, > 0. Default None: the model's intensities are photons.

    Raises:
        TypeError: If the model declares no symmetries, a part is no module, or the model's y is complex.
        ValueError: If ``photons`` is not positive and finite, or there are no parts.

    Example: counts of a million photons, and a beam stop that hides the zero frequency.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(1)
        >>> count = PoissonCounts(generator=torch.Generator().manual_seed(0))
        >>> measured = Measured(model, [count, Mask(beam_stop((4,), 0))], photons=1e6)
        >>> x = torch.tensor([[1.0 + 0j, 1.0]])
        >>> model(x), measured(x)
        (tensor([[4., 2., 0., 2.]]), tensor([[   nan, 2.0017, 0.0000, 1.9958]]))
    """

    def __init__(self, model: ForwardModel, parts: Sequence[nn.Module], *, photons: float | None = None) -> None:
        super().__init__()
        if isinstance(model, type) or not (callable(model) and hasattr(model, "symmetries")):
            raise TypeError(f"Measured needs a ForwardModel such as FarField(2), but got {describe(model)}.")
        if not isinstance(parts, (list, tuple, nn.ModuleList)) or not all(
            isinstance(part, nn.Module) for part in parts
        ):
            raise TypeError(
                f"Measured needs a list of modules as parts, but got {parts!r}. "
                "Example: Measured(FarField(2), [PoissonCounts()], photons=1e6)."
            )
        if len(parts) == 0:
            raise ValueError("Measured needs at least one part. For counted photons: [PoissonCounts()].")
        if photons is not None and _number("Measured", "photons", photons) == 0:
            raise ValueError("Measured needs photons > 0, but got 0. It is the expected total of one pattern.")
        self.model, self.parts, self.photons = model, nn.ModuleList(parts), photons

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        return self.model.symmetries

    def canonicalizer(self, **options: Any) -> Canonicalizer[Any]:
        """Return the model's canonicalizer. Options are the model's."""
        return self.model.canonicalizer(**options)

    def fit_canonicalizer(self, objects: Any, **options: Any) -> Canonicalizer[Any]:
        """Return the model's canonicalizer fitted to ``objects``. Options are the model's."""
        return self.model.fit_canonicalizer(objects, **options)

    def forward(self, x: Tensor) -> Tensor:
        y = self.model(x)
        check_tensor("Measured", y, what="measurement", name="y")
        if y.is_complex():
            raise TypeError(f"Measured needs a model of real intensities, but {self.model!r} gives {describe(y)}.")
        y = y.to(torch.promote_types(y.dtype, torch.float32))
        item_dims = y.dim() - x.dim() + Product(self.symmetries).item_dims
        unit = torch.ones((), dtype=y.dtype, device=y.device)  # of the model's intensity, per photon
        if self.photons is not None:
            total = per_item(flat_items(y, item_dims).sum(-1), item_dims)
            total = torch.where(total == 0, self.photons, total)
            y, unit = y / total * self.photons, total / self.photons
        for part in self.parts:
            y = part(y)
        known = ~y.isnan()  # the product of a NaN with its unit would make the gradient NaN
        return torch.where(known, torch.where(known, y, 0) * unit, torch.nan)

    def extra_repr(self) -> str:
        return f"photons={self.photons}"


def _number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{owner} needs a finite {name} >= 0, but got {value!r}.")
    return float(value)
