"""
Diagnose a data set
===================

Does a data set suffer, and is it cured? The report answers without training a network.
"""

# %%
# 300 crystals at random points of their orbits.

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
# If a rule had broken the symmetries, the elements that canonicalize the targets would be the identity. Here they are
# spread: shifts and phases everywhere, half of the objects flipped.

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
# What breaking would gain: error of five nearest neighbors, each pair left out once, with intervals of 95 %.

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
