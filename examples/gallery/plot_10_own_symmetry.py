"""
A symmetry of your own: quarter turns
=====================================

Write a group and a rule. The library then checks the laws, aligns, measures errors up to the symmetry, scrambles, and
fits a template.
"""

# %%
# Four equal detectors stand around an image, each turned by a quarter. Their saturated signals are added. So the sum
# does not tell which way was up. The symmetry is the group of quarter turns. An element is a number of quarter turns,
# one per item.

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from torch_symbreak import AlignToTemplate, RandomSymmetry, align, sa_mse
from torch_symbreak.plots import COLORS, NEUTRAL
from torch_symbreak.symmetries import Canonicalizer, Symmetry
from torch_symbreak.testing import check_canonicalizer


@dataclass(frozen=True)
class QuarterTurns(Symmetry):
    """Quarter turns of square images; elements are int64, (*batch,)."""

    event_dims: int = 2

    def sample(self, x, *, generator=None):
        return torch.randint(4, x.shape[:-2], generator=generator).to(x.device)

    def act(self, g, x):
        turned = torch.stack([x.rot90(k, (-2, -1)) for k in range(4)])
        return turned.gather(0, g[None, ..., None, None].expand(1, *x.shape))[0]

    def inverse(self, g):
        return -g % 4

    def compose(self, g2, g1):
        return (g2 + g1) % 4

    def elements(self, x):
        yield from (torch.full(x.shape[:-2], k, device=x.device) for k in range(4))


def corners(x):
    """Return the sum of each quarter of the image, in the order in which turns move them to the upper left corner."""
    h = x.shape[-1] // 2
    quarters = (x[..., :h, :h], x[..., :h, -h:], x[..., -h:, -h:], x[..., -h:, :h])
    return torch.stack([quarter.sum((-2, -1)) for quarter in quarters], -1)


class BrightestCornerFirst(Canonicalizer[QuarterTurns]):
    """Turn the brightest quarter to the upper left corner."""

    def __init__(self):
        super().__init__(QuarterTurns())

    def element(self, x):
        return corners(x).argmax(-1)

    def margin(self, x):
        best = corners(x).topk(2, -1).values
        return ((best[..., 0] - best[..., 1]) / x.abs().sum((-2, -1)).clamp(min=1e-30)).clamp(0, 1)


# %%
# Write the measurement, and check all laws at once. An example of a law: all points of an orbit get the same target.

torch.manual_seed(0)
matrix = torch.randn(64, 128) / 8


def detectors(x):
    return sum(torch.tanh(x.rot90(k, (-2, -1)).flatten(-2) @ matrix) for k in range(4))


turns, fix = QuarterTurns(), BrightestCornerFirst()
print(*check_canonicalizer(fix, torch.randn(100, 8, 8), detectors))

# %%
# The objects are digits of 8 by 8 pixels, turned at random. Alignment, errors and templates work without further code,
# because the group lists its elements.

digits = torch.tensor(load_digits().images, dtype=torch.float32) / 16
x = RandomSymmetry(turns)(digits)
print(
    "SA-MSE of turned digits:",
    float(sa_mse(x, digits, turns)),
    "largest error:",
    float(align(x, digits, turns).error.max()),
)
template = AlignToTemplate.fit(x[:1400], turns, restarts=4, progress=False)

figure, panels = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
for line, name, shown in zip(panels, ("before", "exact rule", "template"), (x, fix(x), template(x)), strict=True):
    line[0].set_ylabel(name)
    for axes, image in zip(line, shown, strict=False):
        axes.imshow(image, cmap="gray")
        axes.set(xticks=[], yticks=[])
plt.show()

# %%
# Train the same network on the same measurements, with three kinds of targets. The gray line is the error of the
# constant answer, the mean of the training targets.


def train(targets, epochs=30):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
    optimizer, curve = torch.optim.Adam(network.parameters(), lr=1e-3), []
    for _ in range(epochs):
        for part in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(y[part]), targets[part].flatten(1)).backward()
            optimizer.step()
        with torch.no_grad():
            curve.append(float(sa_mse(network(y[1400:]).unflatten(1, (8, 8)), x[1400:], turns)))
    return curve


y = detectors(x)
figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, targets in (("none", x), ("exact", fix(x)), ("template", template(x))):
    curve = train(targets)
    axes.plot(range(1, len(curve) + 1), curve, color=COLORS[name])
    axes.text(len(curve) + 1, curve[-1], "before" if name == "none" else name, color=COLORS[name], va="center")
    print(f"{name:8}: test SA-MSE {curve[-1]:.4f}")
constant = float(sa_mse(x[:1400].mean(0).expand(397, 8, 8), x[1400:], turns))
axes.axhline(constant, color=NEUTRAL, linestyle=":")
axes.set(xlabel="epoch", ylabel="test SA-MSE", xlim=(0, 37), ylim=(0, None), xticks=(1, 10, 20, 30))
plt.show()
