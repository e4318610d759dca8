"""Set the solvers beside solvephase, on the same crystals and starts: python -m benchmarks.solvephase --help.

solvephase (pip install solvephase) runs on NumPy. It has the same updates, its own shrink-wrap and its own choice of
the best start. Each object has eight starts, drawn once for both. Both compute in single precision. Errors are
relative, on the detector's torus, up to the symmetries.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import machine, versions
from benchmarks.solvers import CRYSTALS
from torch_symbreak import FarField, relative_error
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.solvers import solve
from torch_symbreak.solvers._checks import check_inputs, padded
from torch_symbreak.solvers.solve import _first, _held_out

STARTS = 8
#: Schedules of solvephase, by the number of iterations: plain, and ten steps of error reduction in every fifty.
SCHEDULES: dict[str, Callable[[int], str]] = {
    "hio, then er": lambda n: f"hio:{n - n // 10},er:{n // 10}",
    "cycles": lambda n: ",".join(["hio:40,er:10"] * (n // 50)),
}


def starts_of(y: Tensor, seed: int) -> Tensor:
    """Return the starts that ``solve`` draws for one pattern (*M) from a generator of that seed, (starts, *M)."""
    known = check_inputs(
        y, model=None, iterations=None, starts=STARTS, start=None, frame=None, support=None, support_size=None,
        nonnegative=False, real=False, mask=None,
    )  # fmt: skip
    drawn = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(seed)))
    fitted = known.measured & ~_held_out(known, drawn)
    return _first(known, STARTS, drawn + 1, fitted, known.intensities.sqrt())[0]


def peer(y: Tensor, seed: int, iterations: int, schedule: str, shrinkwrap: Any) -> Tensor:
    """Return solvephase's object on the torus, (*M)."""
    import solvephase.algorithms.cdi as cdi

    centered = np.fft.fftshift(y.numpy())
    starts = np.fft.fftshift(starts_of(y, seed).numpy(), axes=(-2, -1))
    found = cdi.cdi(
        np.sqrt(centered), cdi.autocorrelation_support(centered), schedule=SCHEDULES[schedule](iterations),
        starts=STARTS, shrinkwrap=shrinkwrap, initial=starts, device="cpu", precision="single",
    )  # fmt: skip
    # Its transforms are orthonormal.
    return torch.from_numpy(np.fft.ifftshift(found.object)).to(torch.complex64) / y.numel() ** 0.5


def ours(y: Tensor, seed: int, iterations: int | None) -> Tensor:
    """Return our object, (*frame)."""
    generator = torch.Generator().manual_seed(seed)
    return solve(y, starts=STARTS, iterations=iterations, generator=generator, progress=False).object


def roads(iterations: int) -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Return every way from a pattern and a seed to an object."""
    wrap = {"threshold": 0.15, "sigma_min": 0.5, "decay": 0.95}
    return {
        "solve, defaults": lambda y, seed: ours(y, seed, None),
        f"solve, {iterations} iterations": lambda y, seed: ours(y, seed, iterations),
        **{
            f"solvephase, {schedule}, {name}": lambda y, seed, s=schedule, w=w: peer(y, seed, iterations, s, w)
            for schedule in SCHEDULES
            for name, w in (("its shrink-wrap", True), ("our shrink-wrap's numbers", wrap))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solvephase", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=24, help="of each kind. Default: %(default)s")
    parser.add_argument("--cases", default="32,strain,64", help=f"of {', '.join(CRYSTALS)}. Default: %(default)s")
    parser.add_argument("--iterations", type=int, default=1000, help="of each start. Default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; {', '.join(map(' '.join, versions('numpy', 'solvephase').items()))}\n")
    print("| case | solver | objects | below .1 | below .02 | CPU seconds per object |")
    print("| --- " * 6 + "|", flush=True)
    for case in options.cases.split(","):
        size, strain = CRYSTALS[case]
        data = BraggCrystals(options.objects, frame=(size, size), strain=strain, seed=1)
        symmetries = FarField(2, oversampling=1).symmetries
        results: dict[str, list[tuple[float, float]]] = {}
        for i in range(options.objects):  # interleaved, so that a busy machine is busy for all
            y, x = data[i]
            for name, road in roads(options.iterations).items():
                start = time.process_time()
                found = road(y, i)
                seconds = time.process_time() - start
                error = relative_error(padded(found[None], y.shape), padded(x[None], y.shape), symmetries)
                results.setdefault(name, []).append((float(error), seconds))
        for name, pairs in results.items():
            errors, seconds = zip(*pairs, strict=True)
            shares = [sum(error < level for error in errors) / len(errors) for level in (0.1, 0.02)]
            print(
                f"| {case} | {name} | {len(errors)} | {shares[0]:.0%} | {shares[1]:.0%} | "
                f"{sum(seconds) / len(seconds):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
