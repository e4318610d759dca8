"""
The transforms, one by one
==========================

Each picture shows targets, and below them the same targets after one transform. Brightness is magnitude, hue is phase.
"""

# %%
# The targets are crystals at random points of their orbits.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.plots import show_before_after
from torch_symbreak.transforms import (
    CenterContent,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    FromChannels,
    OnRealImag,
    RandomSymmetry,
)

torch.manual_seed(0)
model = FarField(2)
x = RandomSymmetry(model.symmetries)(BraggCrystals(200).objects(torch.arange(200)))


def show(transform, x=x):
    axes = plt.figure(figsize=(9, 2.5), layout="constrained").subplots()
    show_before_after(x, transform, axes)
    plt.show()


# %%
# CenterContent
# -------------
# Move the object to the middle of its frame. The rule looks at the content box, the smallest box around all pixels that
# are not background.

show(CenterContent())

# %%
# FixConjugateFlip
# ----------------
# Turn some objects by 180 degrees and conjugate them, here about half. An object and its flipped twin get the same
# target.

show(FixConjugateFlip())

# %%
# FixGlobalPhase
# --------------
# Multiply by a number of magnitude 1, so that the sum of all entries is real and positive.

show(FixGlobalPhase())

# %%
# All three
# ---------
# Apply them in any order, or all at once by ``model.canonicalizer()``.

show(model.canonicalizer())

# %%
# AlignToTemplate
# ---------------
# Move each object to the point of its orbit that is nearest to a template. Here the template is fitted to the objects.

show(model.fit_canonicalizer(x, progress=False))

# %%
# FixSign
# -------
# Make the sum of a real object positive. Red is positive, cyan negative.

show(FixSign(2), x.real)

# %%
# RandomSymmetry
# --------------
# Move each object to a random point of its orbit. This scrambles the targets, the opposite of symmetry breaking.

show(RandomSymmetry(model.symmetries))

# %%
# OnRealImag
# ----------
# Run a transform of real images on a complex object, here a rotation of torchvision. Without ``OnRealImag`` it would
# drop the imaginary part.

from torchvision.transforms import v2  # noqa: E402

show(OnRealImag(v2.RandomRotation((30, 30))))

# %%
# FromChannels and ToChannels
# ---------------------------
# Go between one complex tensor and two real channels. Nothing is lost.

from torch_symbreak import ToChannels  # noqa: E402

channels = ToChannels()(x)
print(tuple(x.shape), "->", tuple(channels.shape), "and back:", torch.equal(FromChannels()(channels), x))
