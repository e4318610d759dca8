"""
Fit a template
==============

A template is the other way to choose one target per orbit: the point that is nearest to the template. It is fitted to
the training targets.
"""

# %%
# Start from the mean of the exact rule's targets, align all objects to it, take their mean, and repeat. The mean
# squared distance never rises.

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
# Targets by the template look alike. The exact rule has its cuts wherever the rule puts them.

figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.2), layout="constrained")
show_before_after(x, exact, above, title="exact rule")
show_before_after(x, template, below, title="template")
plt.show()

# %%
# The spread of the targets says how much there is to gain. Below 1 a template makes targets more alike.

print(f"spread by the template over spread by the exact rule: {template(x).var(0).sum() / exact(x).var(0).sum():.2f}")
