"""
The parity trap
===============

Algorithm 2 of `Zhang et al. 2024 <https://arxiv.org/abs/2403.15448>`_, read literally, gives an object and its flipped
twin two targets. This page shows why.
"""

# %%
# The algorithm moves the content box to the middle of a grid of M entries, and later flips by conjugating the
# spectrum. That flip is about index 0, and so about M / 2. A box of L entries at (M - L) // 2 has its center at
# M / 2 - 1/2 if L is even, and at M / 2 - 1 if L is odd. It is never M / 2. So the flip moves every box, by one entry
# or by two.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, RandomSymmetry
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.plots import COLORS, show_before_after
from torch_symbreak.symmetries import ConjugateFlip

for length in (3, 4):
    x = torch.zeros(12, dtype=torch.complex64)
    start = (12 - length) // 2
    x[start : start + length] = 1
    flipped = torch.fft.ifft(torch.fft.fft(x).conj())
    landed = flipped.abs().gt(0.5).nonzero().flatten().tolist()
    print(f"{length} entries at {list(range(start, start + length))} are flipped to {landed}")

# %%
# The flip is decided by the sign of one Fourier coefficient, which depends on the place of the box. So an object and
# its twin do not meet. Below are the targets of eight objects, with boxes of 8 by 8 entries, and of their twins. Each
# column should show one picture twice.

model, literal, exact = FarField(2), LiteralAlgorithm2(), FarField(2).canonicalizer()
x = torch.randn(400, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
x = torch.nn.functional.pad(x, (2, 2, 2, 2))
twin = ConjugateFlip().act(ConjugateFlip().twin(x), x)
figure, panels = plt.subplots(2, 1, figsize=(9, 5.4), layout="constrained")
for axes, (name, fix) in zip(panels, (("literal reading", literal), ("exact rule", exact)), strict=True):
    show_before_after(fix(x), lambda _, fix=fix: fix(twin[:8]), axes, title=name)
    axes.set_yticks(axes.get_yticks(), ["object", "twin"])
plt.show()

# %%
# Two points of one orbit, drawn at random, have the same orientation in half of all cases. In the other half the
# literal reading gives them two targets.

scramble = RandomSymmetry(model.symmetries, generator=torch.Generator().manual_seed(1))
sizes = [(7, 7), (7, 8), (8, 7), (8, 8)]
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for offset, (name, fix) in zip((-0.2, 0.2), (("literal", literal), ("exact", exact)), strict=True):
    shares = []
    for rows, columns in sizes:
        x = torch.randn(400, rows, columns, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
        x = torch.nn.functional.pad(x, (4, 12 - columns, 4, 12 - rows))
        shares.append(float(((fix(scramble(x)) - fix(x)).abs().amax((1, 2)) > 1e-3).float().mean()))
    bars = axes.bar([place + offset for place in range(4)], shares, 0.36, color=COLORS[name])
    axes.bar_label(bars, [f"{share:.0%}" for share in shares])
    axes.text(-0.35, 0.85 if name == "literal" else 0.75, name, color=COLORS[name])
axes.set_xticks(range(4), [f"{rows} x {columns}" for rows, columns in sizes])
axes.set(xlabel="content box", ylabel="pairs with two targets", ylim=(0, 1))
plt.show()
