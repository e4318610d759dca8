"""Compare a batch with its objects solved one by one.

Each object has eight starts and the same number of iterations, too few for any start to stop early. Half of the objects
are solved one by one before the batch, and half after it, so that a busy machine is busy for both. A ratio of 1 means
that a batch costs no more per object than one object by itself.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import Tensor

from benchmarks.measure import machine, versions
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.solvers import solve


def seconds(y: Tensor, iterations: int) -> Tensor:
    """Solve patterns (B, *M) in one call, and return its wall and processor seconds per object, (2,)."""
    wall, processor = time.perf_counter(), time.process_time()
    solve(y, iterations=iterations, generator=torch.Generator().manual_seed(0), progress=False)
    return torch.tensor([time.perf_counter() - wall, time.process_time() - processor]) / len(y)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.at_once", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=64, help="in the batch. Default: %(default)s")
    parser.add_argument("--frame", type=int, default=64, help="pixels along each axis. Default: %(default)s")
    parser.add_argument("--iterations", type=int, default=200, help="of each start. Default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="batches to time. Default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of torch. Default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    y, _ = BraggCrystals(options.objects, frame=(options.frame,) * 2, seed=1).batch(range(options.objects))
    print(f"{machine()}; {', '.join(map(' '.join, versions().items()))}\n")
    print("| round | wall ms, one | wall ms, at once | ratio | CPU ms, one | CPU ms, at once | ratio |")
    print("| --- " * 7 + "|", flush=True)
    seconds(y[:1], options.iterations)  # warm up
    ratios = []
    for number in range(options.rounds):
        before, after = y.tensor_split(2)
        singles = [seconds(each, options.iterations) for each in before.split(1)]
        batch = seconds(y, options.iterations)
        singles += [seconds(each, options.iterations) for each in after.split(1)]
        alone = torch.stack(singles).mean(0)
        ratios.append((batch / alone).tolist())
        columns = [f"{1e3 * a:.0f} | {1e3 * b:.0f} | {b / a:.2f}" for a, b in zip(alone, batch, strict=True)]
        print(f"| {number + 1} | {' | '.join(columns)} |", flush=True)
    for name, each in zip(("wall", "CPU"), zip(*ratios, strict=True), strict=True):
        print(f"{name}: ratio {median(each):.2f}, {min(each):.2f} to {max(each):.2f}")


if __name__ == "__main__":
    main()
