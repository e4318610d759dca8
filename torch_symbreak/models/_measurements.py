"""The check that the networks share."""

from __future__ import annotations

from typing import Any

from torch_symbreak._checks import check_tensor, describe


def check_measurements(owner: str, y: Any, item: tuple[int, ...]) -> None:
    """Raise unless ``y`` is a real tensor of shape (B, *item)."""
    check_tensor(owner, y, what="measurements")
    if y.is_complex():
        raise TypeError(
            f"{owner} needs real measurements, but got {describe(y)}. "
            "If they are complex, give it the channels that ToChannels() makes of them."
        )
    if y.dim() != len(item) + 1 or tuple(y.shape[1:]) != item:
        if tuple(y.shape) == item:
            hint = "Add the batch dimension: y[None]."
        elif item[0] == 1 and tuple(y.shape[1:]) == item[1:]:
            hint = "Add the channel dimension: y.unsqueeze(1)."
        else:
            hint = f"Make the {owner} for this shape."
        wanted = ", ".join(["B", *map(str, item)])
        raise ValueError(f"{owner} needs measurements of shape ({wanted}), but got {tuple(y.shape)}. {hint}")
