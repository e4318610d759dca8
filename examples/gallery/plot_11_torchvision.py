"""
A torchvision pipeline
======================

Put transforms of torchvision and of this library into one ``Compose``. Break the symmetry last.
"""

# %%
# ``ComplexImages`` makes complex objects from any image data set: one image is the magnitude, another one the phase.
# Put your images in the place of scikit-learn's digits.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from torch_symbreak import CenterContent, FarField, FixConjugateFlip, FixGlobalPhase, OnKeys, OnRealImag
from torch_symbreak.datasets import ComplexImages
from torch_symbreak.plots import show_before_after

torch.manual_seed(0)
digits = torch.tensor(load_digits().images[:200], dtype=torch.float32)[:, None] / 16
images = v2.Resize(20)(digits).clamp(0, 1)
breaking = v2.Compose([CenterContent(), FixGlobalPhase(), FixConjugateFlip()])
data = ComplexImages(images, frame=(32, 32), target_transform=breaking)

# %%
# The samples are pairs (y, x). A transform takes one tensor and refuses a pair. ``OnKeys`` applies it to one part, 0
# for y or 1 for x. Here the network gets the magnitude instead of the intensity.

pipeline = v2.Compose([OnKeys(torch.sqrt, 0), OnKeys(v2.CenterCrop(32), 0)])
y, x = pipeline(data[0])
print(tuple(y.shape), y.dtype, tuple(x.shape), x.dtype)

# %%
# Augment objects before they are measured. ``OnRealImag`` rotates both parts of a complex object alike. Break the
# symmetry after that.

raw, model = ComplexImages(images, frame=(32, 32)), FarField(2)
rotate = OnRealImag(v2.RandomRotation(180))


def collate(pairs):
    x = torch.stack([rotate(x) for _, x in pairs])
    return model(x).sqrt(), x


y, x = next(iter(DataLoader(raw, batch_size=8, collate_fn=collate)))
print("targets still fit their measurements:", torch.allclose(model(breaking(x)).sqrt(), y, rtol=1e-3, atol=1e-2))

figure, axes = plt.subplots(figsize=(9, 2.5), layout="constrained")
show_before_after(x, breaking, axes)
plt.show()
