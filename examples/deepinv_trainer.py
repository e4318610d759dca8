"""Train a network with deepinv's Trainer, on targets before and after: python examples/deepinv_trainer.py

The same objects, measurements and network; before, every object lies at a random point of its orbit, after, at the
canonical one. Beside it what a constant predicts, the mean of the training targets: scrambled targets have mean zero.
"""

import deepinv
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torch_symbreak import FarField, ScrambledDataset, SymmetryBrokenDataset
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.interop.deepinv import DeepinvDataset, FarFieldPhysics, SymmetryAdjustedMSE
from torch_symbreak.models import UNet

FRAME = (12, 12)


class Network(deepinv.models.Reconstructor):
    """From intensities (B, 1, 24, 24) to real and imaginary parts (B, 2, 12, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet((24, 24), FRAME, width=8, depth=2)

    def forward(self, y: Tensor, physics: deepinv.physics.Physics, **kwargs: object) -> Tensor:
        return self.net(y.sqrt().log1p())


class Constant(deepinv.models.Reconstructor):
    """One answer to every measurement."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def forward(self, y: Tensor, physics: deepinv.physics.Physics, **kwargs: object) -> Tensor:
        return self.x.expand(len(y), *self.x.shape)


def main(size: int = 1000, epochs: int = 10) -> dict[tuple[str, str], float]:
    model = FarField(2)
    physics = FarFieldPhysics(model, FRAME)
    metrics = [deepinv.metric.MSE(), SymmetryAdjustedMSE(model.symmetries)]
    crystals = [BraggCrystals(count, frame=FRAME, seed=seed) for seed, count in enumerate((size, 200))]
    scrambled = [ScrambledDataset(pairs, model.symmetries) for pairs in crystals]
    broken = [SymmetryBrokenDataset(pairs, model.canonicalizer()) for pairs in scrambled]  # the one line
    errors = {}
    print("targets  predictor       MSE    SA-MSE")
    for targets, (train, test) in (("before", scrambled), ("after", broken)):
        torch.manual_seed(0)
        samples = list(DeepinvDataset(train))
        network = Network()
        trainer = deepinv.Trainer(
            network,
            physics,
            optimizer=torch.optim.AdamW(network.parameters(), 3e-3),
            train_dataloader=DataLoader(samples, batch_size=32, shuffle=True),
            epochs=epochs,
            metrics=metrics,
            compute_train_metrics=False,
            device="cpu",
            save_path=None,
            verbose=False,
            show_progress_bar=False,
        )
        mean = torch.stack([sample["x"] for sample in samples]).mean(0)
        for name, predictor in (("network", trainer.train()), ("constant", Constant(mean))):
            found = deepinv.test(
                predictor,
                DataLoader(DeepinvDataset(test), batch_size=200),
                physics,
                metrics,
                compare_no_learning=False,
                verbose=False,
                show_progress_bar=False,
            )
            errors[targets, name] = found["SymmetryAdjustedMSE"]
            # Per complex entry, which is two numbers to deepinv.
            print(f"{targets:9}{name:10}{2 * found['MSE']:9.4f}{found['SymmetryAdjustedMSE']:10.4f}")
    return errors


if __name__ == "__main__":
    main()
