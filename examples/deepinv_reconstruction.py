"""Far-field reconstruction by deepinv's methods, scored up to symmetry: python examples/deepinv_reconstruction.py

Plug-and-play, unrolled, deep image prior and diffusion, beside error reduction, on simulated crystals. All networks are
small and trained here, in some minutes; nothing is downloaded.
"""

import deepinv
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torch_symbreak import FarField
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.interop.deepinv import DeepinvDataset, FarFieldPhysics, RelativeError
from torch_symbreak.metrics import measurement_residual

MODEL = FarField(2, norm="ortho")  # F^H F = 1: a gradient step of length 1/2 is one of error reduction
FRAME = (16, 16)


class SmallDenoiser(deepinv.models.Denoiser):
    """Denoises (B, 2, H, W) at any noise level: scales as Karras et al. (2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = deepinv.models.DRUNet(2, 2, nc=(16, 32, 48, 64), nb=1, pretrained=None)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: object) -> Tensor:
        sigma = self._handle_sigma(sigma, reference_tensor=x)
        size = (sigma**2 + 0.25).sqrt()
        return 0.25 * x / size**2 + 0.5 * sigma / size * self.net(x / size, (sigma.log() / 4).flatten())


def train_denoiser(x: Tensor, steps: int) -> SmallDenoiser:
    """Learn to denoise objects (n, 2, H, W): canonical ones, so that the prior need not know every place and phase."""
    denoiser = SmallDenoiser()
    optimizer = torch.optim.Adam(denoiser.parameters(), 2e-3)
    for _ in range(steps):
        clean = x[torch.randint(len(x), (64,))]
        sigma = torch.exp(torch.empty(64, 1, 1, 1).uniform_(-5, 4))
        found = denoiser(clean + sigma * torch.randn_like(clean), sigma)
        loss = ((found - clean).square() * (1 + 0.25 / sigma**2).clamp(max=100)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return denoiser.eval().requires_grad_(False)


def plug_and_play(y: Tensor, physics: FarFieldPhysics, denoiser: SmallDenoiser) -> Tensor:
    """Gradient steps on the magnitudes, each followed by the denoiser, from error reduction on."""
    method = deepinv.optim.PGD(
        deepinv.optim.AmplitudeLoss(), deepinv.optim.PnP(denoiser), stepsize=0.5, sigma_denoiser=0.1, max_iter=100
    )
    return method(y, physics, init=physics.A_dagger(y))


def unrolled(y: Tensor, physics: FarFieldPhysics, data: DeepinvDataset, epochs: int) -> Tensor:
    """Five steps of plug-and-play, trained end to end by deepinv's Trainer: step lengths and a denoiser for each."""
    denoisers = [deepinv.optim.PnP(SmallDenoiser()) for _ in range(5)]
    method = deepinv.optim.PGD(
        deepinv.optim.AmplitudeLoss(), denoisers, stepsize=[0.5] * 5, sigma_denoiser=[0.1] * 5, max_iter=5, unfold=True
    )
    trainer = deepinv.Trainer(
        method,
        physics,
        optimizer=torch.optim.Adam(method.parameters(), 2e-3),
        train_dataloader=DataLoader(data, batch_size=32, shuffle=True),
        epochs=epochs,
        metrics=None,
        device="cpu",
        save_path=None,
        verbose=False,
        show_progress_bar=False,
    )
    return trainer.train().eval()(y, physics).detach()


def deep_image_prior(y: Tensor, physics: FarFieldPhysics) -> Tensor:
    """Fits an untrained network to every measurement."""
    found = []
    for one in y:
        generator = deepinv.models.ConvDecoder((2, *FRAME), in_size=(4, 4), layers=4, channels=32)
        found.append(deepinv.models.DeepImagePrior(generator, (32, 4, 4), iterations=300)(one[None], physics))
    return torch.cat(found).detach()


def diffusion(y: Tensor, physics: FarFieldPhysics, denoiser: SmallDenoiser) -> Tensor:
    """Diffusion posterior sampling; real and imaginary parts lie in [-1, 1] as they are."""
    method = deepinv.sampling.DPS(
        denoiser, schedule="ve", guidance="annealed", weight=3.0, num_steps=300, minus_one_one=False
    )
    return method(y, physics, x_init=(len(y), 2, *FRAME)).float()


def main(count: int = 8, size: int = 500, steps: int = 500, epochs: int = 4) -> dict[str, float]:
    torch.manual_seed(0)
    physics = FarFieldPhysics(MODEL, FRAME)
    crystals = BraggCrystals(size, frame=FRAME, forward=MODEL, target_transform=MODEL.canonicalizer())
    train = DeepinvDataset(crystals)
    test = DeepinvDataset(BraggCrystals(count, frame=FRAME, forward=MODEL, seed=1))
    x, y = (torch.stack([sample[key] for sample in test]) for key in ("x", "y"))
    denoiser = train_denoiser(torch.stack([sample["x"] for sample in train]), steps)
    methods = {
        "error reduction": lambda: physics.A_dagger(y),
        "plug-and-play": lambda: plug_and_play(y, physics, denoiser),
        "unrolled": lambda: unrolled(y, physics, train, epochs),
        "deep image prior": lambda: deep_image_prior(y, physics),
        "diffusion": lambda: diffusion(y, physics, denoiser),
    }
    errors = {}
    print(f"{'':20}relative error up to symmetry   residual of the measurement")
    for name, method in methods.items():
        found = method()
        errors[name] = float(RelativeError(MODEL.symmetries, reduction="mean")(found, x))
        residual = float(measurement_residual(torch.complex(*found.unbind(1)), y[:, 0], MODEL))
        print(f"{name:20}{errors[name]:8.3f}{residual:24.3f}")
    return errors


if __name__ == "__main__":
    main()
