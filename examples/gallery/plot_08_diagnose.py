"""
Diagnose a data set
===================

Do the targets of a data set lie scattered over their orbits, and would breaking the symmetry help? The report answers
without training a network.
"""

# %%
# The data set has 300 crystals at random points of their orbits. The report suggests a line to type.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, ScrambledDataset
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.diagnostics import diagnose
from torch_symbreak.plots import COLORS, NEUTRAL

torch.manual_seed(0)
model = FarField(2)
x = BraggCrystals(300, frame=(24, 24)).objects(torch.arange(300))
before = diagnose(ScrambledDataset(x, model.symmetries), model)
print(before["verdict"])
print(before["line"])

# %%
# How far is each target from its canonical point? Before, it takes all kinds of shifts and phases to move the targets
# there, and half of them have to be flipped. After the exact rule, nothing is left to move.

shown = [("translation", "moved by entries"), ("conjugate_flip", "flipped"), ("global_phase", "phase, rad")]
after = diagnose(model.canonicalizer()(x), model)
figure, panels = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for axes, (name, label) in zip(panels, shown, strict=True):
    for report, color, text in ((before, COLORS["none"], "before"), (after, COLORS["exact"], "after")):
        values = report["elements"][name]["exact"][:, 0]
        axes.hist(
            values, bins=20, weights=torch.full((len(values),), 1 / len(values)), color=color, alpha=0.6, label=text
        )
    axes.set(xlabel=label)
panels[0].set_ylabel("share of targets")
panels[2].legend()
plt.show()

# %%
# How much would breaking the symmetry gain? Five nearest neighbors stand in for a network. The picture shows their mean
# error, leaving out each pair once, with intervals of 95 %.

figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
colors = {"raw": COLORS["none"], "exact": COLORS["exact"], "template": COLORS["template"]}
for place, (name, predictors) in enumerate(before["proxy"].items()):
    mean, low, high = predictors["5-NN"]["raw"]
    color = next((color for word, color in colors.items() if word in name), NEUTRAL)
    axes.errorbar([mean], [place], xerr=[[mean - low], [high - mean]], fmt="o", capsize=3, color=color)
axes.set_yticks(range(len(before["proxy"])), list(before["proxy"]))
axes.invert_yaxis()
axes.set(xlabel="squared error per entry", xlim=(0, None))
plt.show()

# %%
# After the exact rule:

print(after["verdict"])
