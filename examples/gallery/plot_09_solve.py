"""
Solve and refine
================

Find an object from its far-field intensities without a network. The solver returns a verdict that needs no truth.
"""

# %%
# ``solve`` needs only the intensities. Here the truth is known, so the verdict can be checked.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, relative_error
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import COLORS, NEUTRAL, plot_solution
from torch_symbreak.solvers import refine, solve

generator = torch.Generator().manual_seed(0)
model = FarField(2)
y, truth = BraggCrystals(2, frame=(24, 24), seed=3).batch([0, 1])
found = solve(y, generator=generator, progress=False)
errors = relative_error(found.object, truth, model.symmetries, reduction="none")
for verdict, residual, error in zip(found.verdict, found.residual, errors, strict=True):
    print(f"{verdict}: R-factor {residual:.4f}, error against the truth {error:.4f}")
figure = plot_solution(y[0].roll((24, 24), (0, 1)), found.object[0], found.support[0], title=found.verdict[0])

# %%
# From a good guess, such as a network's answer, the solver needs fewer iterations. Here the guess is the truth with
# noise.

noise = torch.randn(truth.shape, dtype=truth.dtype, generator=generator)
guess = truth + 0.5 * truth.abs().square().mean().sqrt() * noise
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
counts = (50, 100, 200, 400)
for name, color, begin in (("random start", NEUTRAL, None), ("start from a guess", COLORS["template"], guess)):
    curve = []
    for iterations in counts:
        options = {
            "iterations": iterations,
            "starts": 1,
            "progress": False,
            "generator": torch.Generator().manual_seed(1),
        }
        answer = solve(y, **options) if begin is None else refine(begin, y, **options)
        curve.append(float(relative_error(answer.object, truth, model.symmetries)))
    axes.plot(counts, curve, "o-", color=color, label=name)
axes.set(xlabel="iterations", ylabel="relative error", ylim=(0, None), xticks=counts)
axes.legend()
plt.show()
