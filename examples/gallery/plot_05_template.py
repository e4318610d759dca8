"""
Fit a template
==============

An exact rule is one way to choose a target per orbit. A template is another: it chooses the point of the orbit that is
nearest to one array, the template, which is fitted to the training targets.
"""

# %%
# The fit starts from the mean of the exact rule's targets. It aligns all objects to this mean, takes the mean of the
# aligned objects, and repeats. The mean squared distance to the template never rises.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import COLORS, show_before_after, show_object

torch.manual_seed(0)
model = FarField(2)
x = RandomSymmetry(model.symmetries)(BraggCrystals(500).objects(torch.arange(500)))
exact, template = model.canonicalizer(), model.fit_canonicalizer(x, progress=False)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1.4), layout="constrained")
show_object(template.template, left, title="the template")
right.plot(range(1, len(template.history) + 1), template.history, "o-", color=COLORS["template"], markersize=4)
right.set(xlabel="round", ylabel="mean ‖C(x) - t‖²", xticks=range(1, len(template.history) + 1, 2))
plt.show()

# %%
# The template makes the targets look alike. The exact rule does not look at the other objects, so similar objects can
# get targets that look different.

figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.2), layout="constrained")
show_before_after(x, exact, above, title="exact rule")
show_before_after(x, template, below, title="template")
plt.show()

# %%
# This number says how much a template can gain. Below 1 it makes the targets more alike than the exact rule does.

print(f"spread by the template over spread by the exact rule: {template(x).var(0).sum() / exact(x).var(0).sum():.2f}")
