"""The far-field experiment with a network and objects of your own: python examples/own_experiment.py [DIRECTORY]"""

import sys
from pathlib import Path

import torch

from torch_symbreak.experiments import FarFieldPhaseRetrieval, Grid
from torch_symbreak.training import Training


def ellipses(frame, count, seed, train):  # complex objects (count, *frame)
    size, tilt, row, column = torch.rand(4, count, 1, 1, generator=torch.Generator().manual_seed(seed))
    i, j = (torch.arange(n) / (n - 1) * 2 - 1 for n in frame)
    inside = (i[:, None] + row / 2 - 0.25) ** 2 * (2 + 8 * size) + (j + column / 2 - 0.25) ** 2 * 12 < 1
    return inside * torch.exp(3j * tilt * (i[:, None] + size * j) ** 2)


def perceptron(detector, frame):  # (B, 1, *detector) to (B, 2, *frame)
    layers = [
        torch.nn.Flatten(),
        torch.nn.LazyLinear(256),
        torch.nn.SiLU(),
        torch.nn.Linear(256, 2 * frame[0] * frame[1]),
    ]
    return torch.nn.Sequential(*layers)


def main(out: Path) -> None:
    experiment = FarFieldPhaseRetrieval(frame=(16, 16), objects={"ellipses": ellipses}, networks={"mlp": perceptron})
    grid = Grid(data=("ellipses",), networks=("mlp",), breaking=("none", "exact"), samples=(500,))
    experiment.run(grid, out, training=Training(learning_rate=1e-3, max_epochs=30), resume=True, report=print)
    print(*experiment.write(out), (out / "table.md").read_text(), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "symbreak-out/own"))
