"""Transforms for torchvision users: ``from torch_symbreak.transforms import CenterContent``.

The module holds the canonicalizers, scrambling, a wrapper for parts of a sample, and conversions between a complex
tensor and two real channels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from torch_symbreak._checks import check_callable, check_complex, check_dims, check_target, check_tensor, describe
from torch_symbreak._items import typed_like
from torch_symbreak._samples import check_keys, on_keys
from torch_symbreak.symmetries import (
    CenterContent,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    Product,
    Symmetry,
)

__all__ = [
    "CenterContent",
    "FixConjugateFlip",
    "FixGlobalPhase",
    "FixSign",
    "FromChannels",
    "OnKeys",
    "OnRealImag",
    "RandomSymmetry",
    "ToChannels",
]


class RandomSymmetry(nn.Module):
    """Move every item to a random point of its orbit, to scramble targets.

    Do not augment training targets with it: every measurement would get many targets.

    One admissible element is drawn per item: a shift keeps the content inside the frame, a flip has probability 1/2,
    a phase is uniform.

    Shape: (*batch, *channels, *event) to the same.

    Args:
        symmetries: One or more symmetries of the same items, e.g. ``FarField().symmetries``.
        generator: Source of random numbers. Default: torch's global generator, which ``DataLoader`` seeds
            differently in every worker.

    Raises:
        RuntimeError: In a ``DataLoader`` worker with a generator: each worker has a copy of it and would draw the
            same numbers, again in every epoch. Use ``ScrambledDataset``.

    Example: the measurement does not change.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(2)
        >>> x = torch.nn.functional.pad(torch.randn(4, 5, 5, dtype=torch.complex64), (2, 1, 0, 3))
        >>> scramble = RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(model(scramble(x)), model(x), rtol=1e-3, atol=1e-3)
        True
    """

    def __init__(self, symmetries: Symmetry | Sequence[Symmetry], *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(
                f"RandomSymmetry needs a torch.Generator or None as generator, but got {describe(generator)}. "
                "For a seed: torch.Generator().manual_seed(seed)."
            )
        self.symmetry = Product(symmetries)
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        if self.generator is not None and get_worker_info() is not None:
            raise RuntimeError(
                "RandomSymmetry got a generator in a DataLoader worker, where every worker has a copy of it and draws "
                "the same numbers. Leave generator=None there, or wrap the data set: "
                "ScrambledDataset(dataset, symmetries, seed)."
            )
        return typed_like(self.symmetry.act(self.symmetry.sample(x, generator=self.generator), x), x)

    def extra_repr(self) -> str:
        generator = "" if self.generator is None else ", generator=..."
        return f"{list(self.symmetry.symmetries)!r}{generator}"


class OnKeys(nn.Module):
    """Run a transform on parts of a sample, named by tuple positions or dict keys.

    The result has the sample's type and its other parts. The input is not changed. Several arguments make one tuple,
    as in torchvision's v2 transforms: ``OnKeys(transform, 1)(y, x)``.

    Args:
        transform: Takes and returns one tensor.
        keys: A key or a sequence of keys: ints for tuples and lists, any for dicts.

    Raises:
        ValueError: If ``keys`` is empty.
        TypeError: If the sample is no tuple, list or mapping, or cannot be copied.
        KeyError: If a key is missing; the message lists the keys of the sample.

    Example: change the target of (y, x), not the measurement.
        >>> import torch
        >>> from torch_symbreak import FixSign
        >>> y, x = OnKeys(FixSign(1), 1)((torch.tensor([-1.0]), torch.tensor([-2.0])))
        >>> y, x
        (tensor([-1.]), tensor([2.]))
    """

    def __init__(self, transform: Callable[[Any], Any], keys: Hashable | Sequence[Hashable]) -> None:
        check_callable("OnKeys", "transform", transform)
        check_keys("OnKeys", keys)
        super().__init__()
        self.transform = transform
        self.keys = keys
        self._keys = tuple(keys) if isinstance(keys, (list, tuple)) else (keys,)

    def forward(self, *samples: Any) -> Any:
        sample = samples[0] if len(samples) == 1 else samples
        return on_keys("OnKeys", self.transform, self._keys, sample)

    def __repr__(self) -> str:
        return f"OnKeys({self.transform!r}, {self.keys!r})"


class ToChannels(nn.Module):
    """Write a complex tensor as two real channels, re and im: (*batch, *event) to (*batch, 2, *event).

    This is exact, and :class:`FromChannels` undoes it. Channels of the target stay in front: (B, C, H, W) to
    (B, C, 2, H, W).

    Args:
        event_dims: Trailing dimensions of one item, behind the new channels. Default 2.

    Raises:
        TypeError: If the tensor is not complex.

    Example:
        >>> import torch
        >>> ToChannels(1)(torch.tensor([1.0 + 2.0j, 3.0]))
        tensor([[1., 3.],
                [2., 0.]])
    """

    def __init__(self, event_dims: int = 2) -> None:
        check_dims("ToChannels", event_dims, 0, least=0)
        super().__init__()
        self.event_dims = event_dims

    def forward(self, x: Tensor) -> Tensor:
        check_target("ToChannels", x, self.event_dims)
        if not x.is_complex():
            raise TypeError(f"ToChannels needs a complex tensor, but got {describe(x)}. A real one needs no channels.")
        return typed_like(torch.stack([x.real, x.imag], -self.event_dims - 1), x)

    def extra_repr(self) -> str:
        return f"event_dims={self.event_dims}"


class FromChannels(nn.Module):
    """Join two real channels, re and im, to a complex tensor: (*batch, 2, *event) to (*batch, *event).

    Args:
        event_dims: Trailing dimensions behind the channels. Default 2.

    Raises:
        TypeError: If the tensor is complex or integer.
        ValueError: If the dimension before the event does not have length 2.

    Example:
        >>> import torch
        >>> FromChannels(1)(torch.tensor([[1.0, 3.0], [2.0, 0.0]]))
        tensor([1.+2.j, 3.+0.j])
    """

    def __init__(self, event_dims: int = 2) -> None:
        check_dims("FromChannels", event_dims, 0, least=0)
        super().__init__()
        self.event_dims = event_dims

    def forward(self, x: Tensor) -> Tensor:
        check_tensor("FromChannels", x)
        if x.is_complex():
            raise TypeError(f"FromChannels needs two real channels, but got {describe(x)}, which is complex already.")
        if x.dim() <= self.event_dims or x.shape[-self.event_dims - 1] != 2:
            raise ValueError(
                f"FromChannels needs a tensor of shape (*batch, 2, *event) with event_dims={self.event_dims}, "
                f"but got {describe(x)}."
            )
        re, im = x.unbind(-self.event_dims - 1)
        if x.dtype not in (torch.float32, torch.float64):
            re, im = re.float(), im.float()  # no complex type has half-precision parts in autocast regions
        return typed_like(torch.complex(re, im), x)

    def extra_repr(self) -> str:
        return f"event_dims={self.event_dims}"


class OnRealImag(nn.Module):
    """Run a real-valued transform on a complex tensor, with its real and imaginary parts as channels.

    torchvision's Resize, RandomAffine, GaussianBlur and others silently drop the imaginary part of a complex tensor.
    Here both parts go through in one call, as two channels, so that a random transform moves both alike. Exact only for
    transforms that are linear in the values.

    Shape: (*batch, *event), complex; the transform gets (*batch, 2, *event).

    Args:
        transform: Takes and returns a real tensor with channels before the event.
        event_dims: Trailing dimensions of one item. Default 2.

    Raises:
        TypeError: If the tensor is not complex. Pass a real one to the transform itself.

    Example:
        >>> import torch
        >>> flip = OnRealImag(lambda x: x.flip(-1), event_dims=1)
        >>> flip(torch.tensor([1.0 + 2.0j, 3.0]))
        tensor([3.+0.j, 1.+2.j])
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], event_dims: int = 2) -> None:
        check_callable("OnRealImag", "transform", transform)
        check_dims("OnRealImag", event_dims, 0, least=0)
        super().__init__()
        self.transform = transform
        self.event_dims = event_dims

    def forward(self, x: Tensor) -> Tensor:
        check_target("OnRealImag", x, self.event_dims)
        check_complex("OnRealImag", x, self.event_dims)
        return FromChannels(self.event_dims)(self.transform(ToChannels(self.event_dims)(x)))

    def __repr__(self) -> str:
        return f"OnRealImag({self.transform!r}, event_dims={self.event_dims})"
