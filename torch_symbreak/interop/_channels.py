"""Complex objects as real channels, re and im in turn, for libraries without complex tensors: (..., 2 C, *event)."""

from __future__ import annotations

from torch import Tensor

from torch_symbreak._checks import describe
from torch_symbreak.transforms import FromChannels, ToChannels


def to_complex(owner: str, x: Tensor, event_dims: int) -> Tensor:
    """Real channels (..., 2 C, *event) as complex ones (..., C, *event)."""
    channel = x.dim() - event_dims - 1
    if channel < 0 or x.shape[channel] % 2:
        raise ValueError(
            f"{owner} needs real and imaginary channels in turn, (B, 2 C, ...) with {event_dims} event dimensions, but "
            f"got {describe(x)}. Write complex objects (B, C, ...) so: ToChannels({event_dims})(x).flatten(1, 2)."
        )
    return FromChannels(event_dims)(x.unflatten(channel, (-1, 2)))


def to_channels(x: Tensor, event_dims: int) -> Tensor:
    """Complex channels (..., C, *event) as real ones (..., 2 C, *event)."""
    return ToChannels(event_dims)(x).flatten(-event_dims - 2, -event_dims - 1)
