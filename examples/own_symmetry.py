"""A symmetry of your own, from its laws to a training: python examples/own_symmetry.py

Images are measured by a detector that does not know which of four quarter turns it sees. The library has no such
symmetry. The first three classes are all that it needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from torch_symbreak import AlignToTemplate, ScrambledDataset, SymmetryBrokenDataset, align, sa_mse
from torch_symbreak.diagnostics import Report, diagnose, symmetries_of
from torch_symbreak.forward import ForwardModel
from torch_symbreak.models import MLP
from torch_symbreak.symmetries import Canonicalizer, Symmetry
from torch_symbreak.testing import check_canonicalizer


@dataclass(frozen=True)
class QuarterTurns(Symmetry):
    """Turns of square images by 0, 90, 180 or 270 degrees; elements are int64, (*batch,)."""

    event_dims: int = 2

    def sample(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(4, x.shape[:-2], generator=generator).to(x.device)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        turned = x
        for steps in (1, 2, 3):
            turned = torch.where((g == steps)[..., None, None], x.rot90(steps, (-2, -1)), turned)
        return turned

    def inverse(self, g: Tensor) -> Tensor:
        return -g % 4

    def compose(self, g2: Tensor, g1: Tensor) -> Tensor:
        return (g2 + g1) % 4

    def elements(self, x: Tensor) -> Iterator[Tensor]:
        for steps in range(4):
            yield torch.full(x.shape[:-2], steps, device=x.device)


class BrightestCornerFirst(Canonicalizer[QuarterTurns]):
    """Turn the quadrant with the largest sum to the upper left."""

    convex = True  # sums are linear, so that the mean of two such images is one

    def __init__(self) -> None:
        super().__init__(QuarterTurns())

    def quadrants(self, x: Tensor) -> Tensor:
        """Return the sum of the upper left quadrant after 0, 1, 2 and 3 turns, (*batch, 4)."""
        half = x.shape[-1] // 2
        return torch.stack([x.rot90(steps, (-2, -1))[..., :half, :half].sum((-2, -1)) for steps in range(4)], -1)

    def element(self, x: Tensor) -> Tensor:
        return self.quadrants(x).argmax(-1)

    def margin(self, x: Tensor) -> Tensor:
        first, second = self.quadrants(x).topk(2).values.unbind(-1)
        return ((first - second) / x.abs().sum((-2, -1)).clamp(min=1e-30)).clamp(max=1)


class TurnedDetector(ForwardModel):
    """Measure ``y = sum over the four turns g of relu(A g x)``."""

    def __init__(self, pixels: int = 128, size: int = 8) -> None:
        super().__init__()
        self.register_buffer("A", torch.randn(pixels, size * size, generator=torch.Generator().manual_seed(0)))

    @property
    def symmetries(self) -> tuple[QuarterTurns]:
        return (QuarterTurns(),)

    def canonicalizer(self) -> BrightestCornerFirst:
        return BrightestCornerFirst()

    def forward(self, x: Tensor) -> Tensor:
        return sum((x.rot90(steps, (-2, -1)).flatten(-2) @ self.A.mT).relu() for steps in range(4))


def train(data: SymmetryBrokenDataset, test: SymmetryBrokenDataset, epochs: int) -> float:
    """Train a network on pairs (y, x). Return its error on the test set, up to turns."""
    torch.manual_seed(0)
    (y, x), (y_test, x_test) = (map(torch.stack, zip(*pairs, strict=True)) for pairs in (data, test))
    mean, net = y.mean(0), MLP(y.shape[1], 64)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(y)).split(64):
            loss = torch.nn.functional.mse_loss(net((y[index] - mean) / y.std()), x[index].flatten(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        found = net((y_test - mean) / y.std()).unflatten(1, (8, 8))
    return float(sa_mse(found, x_test, QuarterTurns()))


def main(epochs: int = 30) -> tuple[Report, dict[str, float]]:
    model, rule = TurnedDetector(), BrightestCornerFirst()
    x = torch.from_numpy(load_digits().images).float() / 16
    x = x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))  # sums of whole numbers tie
    print("laws:", *check_canonicalizer(rule, x[:200], model))

    turned = align(x[:1].rot90(1, (-2, -1)), x[:1], QuarterTurns())
    print("alignment: turns", turned.element.others[0].tolist(), "error", turned.error.tolist())

    data = ScrambledDataset(x, QuarterTurns(), seed=0)  # no orientation is the natural one
    raw, held_out = torch.stack(list(data)).split([1400, len(data) - 1400])
    print(symmetries_of(model, raw[:40], event_dims=2, symmetries=[QuarterTurns()]))
    report = diagnose(raw, model)
    print(report)

    template = AlignToTemplate.fit(raw, QuarterTurns(), progress=False)
    errors = {}
    for name, fix in (("none", torch.nn.Identity()), ("rule", rule), ("template", template)):
        sets = [SymmetryBrokenDataset(part, fix, forward=model) for part in (raw, held_out)]
        errors[name] = train(*sets, epochs)
        print(f"targets: {name:8} SA-MSE {errors[name]:.4f}")
    return report, errors


if __name__ == "__main__":
    main()
