"""Canonicalize a batch of targets, beside one training step of a UNet on the same batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.canonicalize import OURS, objects
from benchmarks.measure import Operations, Timing
from benchmarks.report import rates as figure
from torch_symbreak import FarField
from torch_symbreak.models import UNet

__all__ = ["cases", "figure", "notes"]

STEP = "training step"


def _operations(count: int, size: int, device: torch.device) -> Operations:
    model, x = FarField(2), objects((count, size, size), device=device)
    fix, y = model.canonicalizer(), model(x).log1p()[:, None]
    target = torch.view_as_real(fix(x)).movedim(-1, 1).contiguous()
    network = UNet((2 * size, 2 * size), (size, size)).to(device)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(y), target).backward()
        optimizer.step()

    return {OURS: lambda: fix(x), STEP: step}


def cases(quick: bool, device: torch.device) -> Iterator[Timing]:
    gpu = ((64, 64), (256, 128), (64, 256))
    for count, size in ((16, 32),) if quick else gpu if device.type == "cuda" else ((64, 32), (64, 64)):
        yield Timing(
            "training",
            {"N": f"{size} x {size}", "batch": count},
            count,
            lambda count=count, size=size: _operations(count, size, device),
        )


def notes(rows: list[dict[str, Any]], quick: bool, device: torch.device) -> dict[str, Any]:
    """Return the time of canonicalizing the targets, in percent of a training step."""
    return {
        f"canonicalizing, percent of a step, {row['batch']} of {row['N']}": round(
            100 / row["ratios"][STEP]["median"], 2
        )
        for row in rows
    }
