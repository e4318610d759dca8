"""Time relaxed reflections beside a plain loop in NumPy and in SciPy, on one thread: python -m benchmarks.atoms.

250 atoms on a periodic grid of 128 x 128, too many to be found, 1,000 iterations, the R-factor every ten. Times are of
the processor, per iteration and start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import torch

from benchmarks.measure import machine, versions
from torch_symbreak.datasets import Atoms
from torch_symbreak.solvers import solve

ITERATIONS = 1000


def plain(fft: Any, magnitudes: np.ndarray[Any, Any], keep: int) -> None:
    """Run the loop of the benchmark's paper from a random start, in single precision."""
    half = magnitudes[:, : magnitudes.shape[1] // 2 + 1]
    free = np.zeros(half.shape, dtype=bool)
    free[0, 0] = True
    x = np.random.default_rng(0).standard_normal(magnitudes.shape).astype(np.float32)
    for iteration in range(ITERATIONS):
        flat = np.maximum(x, 0).ravel()
        places = np.argpartition(flat, -keep)[-keep:]
        kept = np.zeros_like(flat)
        kept[places] = flat[places]
        kept = kept.reshape(x.shape)
        spectrum = fft.rfft2(2 * kept - x)
        ratio = np.where(free, 1, half / np.maximum(np.abs(spectrum), 1e-30))
        x = x + np.float32(0.5) * (fft.irfft2(spectrum * ratio, s=x.shape) - kept)
        if iteration % 10 == 0:
            _ = np.abs(np.abs(fft.rfft2(kept)) - half).sum() / half.sum()


def main() -> None:
    torch.set_num_threads(1)
    data = Atoms(1, atoms=250, seed=1)
    y, _ = data.batch([0])
    magnitudes = y[0].sqrt().numpy()

    def ours(starts: int) -> None:
        solve(
            y, model=data.forward_model, method="rrr", iterations=ITERATIONS, starts=starts, nonnegative=True,
            support_size=data.support_size, mask=data.mask, generator=torch.Generator().manual_seed(5), progress=False,
        )  # fmt: skip

    loops: dict[str, tuple[int, Callable[[], None]]] = {
        "solve, 1 start": (1, lambda: ours(1)),
        "solve, 8 starts": (8, lambda: ours(8)),
        "NumPy": (1, lambda: plain(np.fft, magnitudes, data.support_size)),
        "SciPy": (1, lambda: plain(scipy.fft, magnitudes, data.support_size)),
    }
    best = dict.fromkeys(loops, float("inf"))
    for _ in range(3):  # interleaved
        for name, (starts, loop) in loops.items():
            start = time.process_time()
            loop()
            best[name] = min(best[name], (time.process_time() - start) / starts / ITERATIONS * 1e3)
    print(f"{machine()}; {', '.join(map(' '.join, versions('numpy', 'scipy').items()))}\n\n| loop | ms |\n|---|---|")
    for name, milliseconds in best.items():
        print(f"| {name} | {milliseconds:.2f} |")


if __name__ == "__main__":
    main()
