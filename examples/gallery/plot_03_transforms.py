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
# Move the content box to the middle of the frame.

show(CenterContent())

# %%
# FixConjugateFlip
# ----------------
# Flip about half of the objects. Each object and its twin end as one.

show(FixConjugateFlip())

# %%
# FixGlobalPhase
# --------------
# Make the sum of all entries real and positive.

show(FixGlobalPhase())

# %%
# All three
# ---------
# In any order, or at once by ``model.canonicalizer()``.

show(model.canonicalizer())

# %%
# AlignToTemplate
# ---------------
# Move each object to the point of its orbit that is nearest to a template, which is fitted to the objects.

show(model.fit_canonicalizer(x, progress=False))

# %%
# FixSign
# -------
# Make the sum of a real object positive. Red is positive, cyan negative.

show(FixSign(2), x.real)

# %%
# RandomSymmetry
# --------------
# Move each object to a random point of its orbit: scrambling, the opposite of all above.

show(RandomSymmetry(model.symmetries))

# %%
# OnRealImag
# ----------
# Run a transform of real images on a complex object. Here torchvision rotates; by itself it drops the imaginary part.

from torchvision.transforms import v2  # noqa: E402

show(OnRealImag(v2.RandomRotation((30, 30))))

# %%
# FromChannels and ToChannels
# ---------------------------
# Go between one complex tensor and two real channels. Nothing is lost.

from torch_symbreak import ToChannels  # noqa: E402

channels = ToChannels()(x)
print(tuple(x.shape), "->", tuple(channels.shape), "and back:", torch.equal(FromChannels()(channels), x))
