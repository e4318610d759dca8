"""
An orbit
========

All objects of an orbit have one measurement. A network that sees the measurement alone cannot tell them apart.
"""

# %%
# A simulated crystal and five drawn points of its orbit. They differ by shifts, a flip and a phase.

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
# The measurement of a moved object is the same, but for rounding.

moved = RandomSymmetry(model.symmetries)(x)
print((model(moved) - model(x)).abs().max() / model(x).max())
