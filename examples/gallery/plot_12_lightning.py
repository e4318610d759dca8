"""
A Lightning run
===============

``SymmetryBrokenDataModule`` breaks the symmetry of every batch on the device. Your network and your training step stay
as they are.
"""

# %%
# Write a Lightning module as usual. This one has a small UNet, trains with the mean squared error, and logs SA-MSE, the
# error after alignment.

import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything

from torch_symbreak import FarField, ScrambledDataset, ToChannels, sa_mse
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.interop.lightning import SymmetryBrokenDataModule
from torch_symbreak.models import UNet
from torch_symbreak.plots import COLORS, NEUTRAL, plot_learning_curve

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")
model = FarField(2)


class Retrieval(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = UNet((32, 32), (16, 16), width=8)
        self.curve = []

    def forward(self, y):
        re, im = self.network(y.sqrt().log1p()[:, None]).unbind(1)
        return torch.complex(re, im)

    def training_step(self, batch, index):
        y, x = batch
        return torch.nn.functional.mse_loss(ToChannels()(self(y)), ToChannels()(x))

    def validation_step(self, batch, index):
        y, x = batch
        self.log("sa_mse", sa_mse(self(y), x, model.symmetries), batch_size=len(y))

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            self.curve.append(float(self.trainer.callback_metrics["sa_mse"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


# %%
# The data are scrambled objects without measurements. ``forward=`` measures them on the device. Both trainings see the
# same objects. Before, ``torch.nn.Identity()`` leaves the targets as they are.


def objects(count, seed):
    crystals = BraggCrystals(count, frame=(16, 16), seed=seed).objects(torch.arange(count))
    return torch.stack(list(ScrambledDataset(crystals, model.symmetries, seed=seed)))


train, validation = objects(320, 0), objects(96, 1)
curves = {}
for name, fix in (("before", torch.nn.Identity()), ("after", model.fit_canonicalizer(train, progress=False))):
    seed_everything(0, verbose=False)
    network = Retrieval()
    data = SymmetryBrokenDataModule(train, validation, canonicalizer=fix, forward=model, batch_size=32)
    trainer = Trainer(
        max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(network, data)
    curves[name] = network.curve
    print(f"{name}: SA-MSE {network.curve[-1]:.4f}")

# %%
# The curves show SA-MSE on validation objects. The dotted line is the error of a network that always answers zero.

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
plot_learning_curve(curves, axes, ylabel="validation SA-MSE")
for line, name in zip(axes.lines, ("none", "none", "template", "template"), strict=True):
    line.set_color(COLORS[name])
axes.legend()
zero = float(validation.abs().square().mean())
axes.axhline(zero, color=NEUTRAL, linestyle=":")
print(f"zero as the answer: {zero:.4f}")
plt.show()
