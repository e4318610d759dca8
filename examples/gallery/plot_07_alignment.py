"""
Compare reconstructions
=======================

A reconstruction may be shifted, flipped and multiplied by a phase, and still be right. Align it first. Then ask how far
it can be trusted.
"""

# %%
# A detector counts photons behind a crystal, and a solver starts twenty times from random guesses. The starts end at
# different points of the orbit.

import matplotlib.pyplot as plt
import torch

from torch_symbreak import FarField, align, relative_error
from torch_symbreak.datasets import BraggCrystals
from torch_symbreak.forward import Measured, PoissonCounts
from torch_symbreak.metrics import average_modes, frc, measurement_residual, prtf
from torch_symbreak.plots import COLORS, NEUTRAL, plot_comparison
from torch_symbreak.solvers import solve

generator = torch.Generator().manual_seed(0)
model = FarField(2)
truth = BraggCrystals(4).objects(torch.arange(4))[3]
y = Measured(model, [PoissonCounts(generator=generator)], photons=1e6)(truth)
starts = solve(y, iterations=500, starts=20, generator=generator, progress=False).starts.object
residual = measurement_residual(starts, y.expand(20, 64, 64), model, reduction="none")

# %%
# Take the start that fits the measurement best, and align it to the truth. ``element`` tells how it was moved.

best = starts[residual.argmin()][None]
aligned, element, _ = align(best, truth[None], model.symmetries)
print(element.describe(best)[0])
errors = [float(relative_error(best, truth[None], group)) for group in ((), model.symmetries)]
figure = plot_comparison(truth, best[0], aligned[0], errors=(errors[0], errors[1]))

# %%
# Keep the starts that fit the measurement nearly as well as the best one. ``average_modes`` aligns them to it, and
# averages them. The plain mean would be a blur, since every start has its own place, orientation and phase.

good = starts[residual < 1.1 * residual.min()]
modes = average_modes(good, model.symmetries)
print(f"{len(good)} of 20 starts are good, and their first mode has {float(modes.weight):.1%} of the energy")
for name, z in (("best start", best[0]), ("average", modes.average), ("plain mean", good.mean(0))):
    print(f"{name}: relative error {float(relative_error(z[None], truth[None], model.symmetries)):.3f}")

# %%
# The Fourier ring correlation (FRC) says up to which frequency two objects agree. Against the truth it measures the
# error. Between the averages of two independent halves of the data it gives the resolution. The phase retrieval
# transfer function (PRTF) needs no truth. It falls where the starts disagree on the phases of the Fourier coefficients.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True, sharey=True, layout="constrained")
for z, color, name in ((best[0], NEUTRAL, "best start"), (modes.average, COLORS["exact"], "average")):
    curve = frc(z, truth, model.symmetries)
    left.plot(curve.frequency, curve.value, color=color, label=name)
left.axhline(1 / 7, color=NEUTRAL, linestyle="--", linewidth=0.8)
left.set(title="FRC against the truth", xlabel="cycles per entry", ylim=(0, 1.3))
left.legend(loc="lower left")
curve = prtf(good, y.expand(len(good), 64, 64), model)
right.plot(curve.frequency, curve.value, color=COLORS["exact"])
right.axhline(1 / torch.e, color=NEUTRAL, linestyle="--", linewidth=0.8)
right.set(title="PRTF, without the truth", xlabel="cycles per entry")
plt.show()
