"""
An orbit
========

The orbit of an object is all that its symmetries make of it. In the far field these are shifts, a conjugate flip and a
global phase. All points of an orbit have one measurement, so a network that sees the measurement alone cannot tell
them apart.
"""

# %%
# The picture shows a simulated crystal and five random points of its orbit. They differ by shifts, a flip (turn by 180
# degrees and conjugate) and a phase. Brightness is magnitude, hue is phase.

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
# A moved object has the same measurement, up to rounding.

moved = RandomSymmetry(model.symmetries)(x)
print(f"change of y, over its largest value: {float((model(moved) - model(x)).abs().max() / model(x).max()):.1e}")

# %%
# A least-squares network answers with the mean of the orbit, which is a blur and nearly zero.

many = RandomSymmetry(model.symmetries)(x.expand(2000, 32, 32))
print(f"mean squared norm: object {float(x.abs().square().mean()):.4f}", end=", ")
print(f"mean of 2,000 points of its orbit {float(many.mean(0).abs().square().mean()):.6f}")
