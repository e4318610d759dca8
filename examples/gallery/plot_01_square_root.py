"""
Why more data can hurt
======================

Learn x from y = x². Both square roots have the same measurement, so a least-squares network learns their mean, zero.
After the sign of the targets is fixed, it learns the square root.
"""

# %%
# The symmetry is the sign. :class:`~torch_symbreak.symmetries.FixSign` makes every target positive.

import matplotlib.pyplot as plt
import torch
from torch import nn

from torch_symbreak import ElementwiseSquare
from torch_symbreak.plots import COLORS, NEUTRAL

model = ElementwiseSquare()
fix = model.canonicalizer()


def train(y, x, steps=400):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(y), x).backward()
        optimizer.step()
    return network


grid = torch.linspace(0, 1, 200)[:, None]
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
for axes, n in zip(panels, (10, 100, 1000), strict=True):
    x = 2 * torch.rand(n, 1, generator=torch.Generator().manual_seed(1)) - 1
    y = model(x)
    axes.plot(y, x, ".", color=NEUTRAL, markersize=5 if n < 1000 else 2, zorder=3 if n < 1000 else 0)
    for name, targets, color in (("before", x, COLORS["none"]), ("after", fix(x), COLORS["exact"])):
        answer = train(y, targets)(grid).detach()
        axes.plot(grid, answer, color=color, linewidth=2)
        error = (answer.abs() - grid.sqrt()).abs().mean()
        print(f"n = {n:4}, {name:6}: mean error up to the sign {error:.3f}")
    axes.set(title=f"{n} pairs", xlabel="measurement y")
panels[0].set_ylabel("object x")
panels[2].text(0.3, 0.1, "before", color=COLORS["none"])
panels[2].text(0.3, 0.7, "after", color=COLORS["exact"])
plt.show()

# %%
# Dots are the training pairs. Before, the network fits the signs of ten pairs, and with more pairs it can only answer
# with their mean. After the sign is fixed, more pairs make the answer better.
