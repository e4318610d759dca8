"""
An orbit
========

All objects of an orbit have one measurement. A network that sees the measurement alone cannot tell them apart.
"""

# %%
# A simulated crystal and five drawn points of its orbit. They differ by shifts, a flip and a phase. Brightness is
# magnitude, hue is phase.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import show_orbit

model = FarField(2)
x = BraggCrystals(4).objects(torch.arange(4))[3]
figure, axes = plt.subplots(figsize=(9, 1.8), layout="constrained")
show_orbit(x, model.symmetries, axes)
plt.show()

# %%
# The measurement of a moved object is the same, up to rounding.

moved = RandomSymmetry(model.symmetries)(x)
print(f"change of y, over its largest value: {float((model(moved) - model(x)).abs().max() / model(x).max()):.1e}")

# %%
# The mean of the orbit is what a least-squares network answers: a blur.

many = RandomSymmetry(model.symmetries)(x.expand(2000, 32, 32))
print(f"mean squared norm: object {float(x.abs().square().mean()):.4f}", end=", ")
print(f"mean of 2,000 points of its orbit {float(many.mean(0).abs().square().mean()):.6f}")
