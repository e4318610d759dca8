"""
Ties
====

No choice of targets is continuous: somewhere two points of the orbit are equally good, and the target jumps from one to
the other. Such a place is a tie. ``margin`` says how far an object is from a tie.
"""

# %%
# Blend one object into the flipped twin of another one. The exact rule flips the objects at the end of this way, and
# not those at the beginning. In between its decision changes, and the target jumps. The margin is zero there.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, SymmetryBrokenDataset
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import COLORS, NEUTRAL, show_margins, show_object
from torch_symbreak.symmetries import ConjugateFlip

model = FarField(2)
fix = model.canonicalizer()
x = fix(BraggCrystals(200).objects(torch.arange(200)))
start, other = x[[3]], x[[4]]
end = ConjugateFlip().act(ConjugateFlip().twin(other), other)
way = torch.linspace(0, 1, 201)
objects = start + way[:, None, None] * (end - start)
targets = fix(objects)
step = (targets[1:] - targets[:-1]).abs().square().sum((1, 2)).sqrt() / start.abs().square().sum().sqrt()
margin = fix.deciding_margins(objects)["conjugate_flip"]

figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4.4), sharex=True, layout="constrained")
above.plot(way[1:], step, color=COLORS["exact"])
above.set(ylabel="step of the target\n/ norm", title="from an object (0) to the twin of another one (1)")
below.plot(way, margin, color=NEUTRAL)
below.set(yscale="log", ylabel="margin of the flip", xlabel="way")
plt.show()

# %%
# The two targets beside the jump are twins of each other:

place = int(step.argmax())
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.8), layout="constrained")
show_object(targets[place], left, wheel=False, title="target before the jump")
show_object(targets[place + 1], right, title="target after the jump")
plt.show()

# %%
# Few training objects are near a tie. Each curve shows the share of objects whose margin is below the value on the
# horizontal axis.

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
show_margins(fix.deciding_margins(x), axes)
plt.show()

# %%
# Leave out the objects that are nearest to a tie (``ties="weight"`` gives them less weight instead):

data = SymmetryBrokenDataset(x, fix, model, ties="drop", min_margin=1e-2)
print(f"{len(data)} of {len(x)} objects are kept")
