"""Pictures of objects, orbits, margins and trainings, each in one Axes that it takes and returns."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from torch_symbreak._checks import check_callable, check_finite, check_tensor, check_whole, describe
from torch_symbreak._items import NEAR_TIE, resolved
from torch_symbreak.plots.style import NEUTRAL, SYMMETRIES
from torch_symbreak.symmetries import Product, Symmetry

#: Entries between two pictures of one Axes.
_GAP = 2


def _axes(owner: str, axes: Axes | None, size: tuple[float, float] = (4, 4)) -> Axes:
    """Return the given Axes, or those of a new figure."""
    if axes is None:
        return Figure(figsize=size, layout="constrained").subplots()
    if not isinstance(axes, Axes):
        raise TypeError(f"{owner} needs Matplotlib's Axes, but got {describe(axes)}. Pass axes=figure.subplots().")
    return axes


def _mapping(owner: str, value: Any, what: str) -> None:
    """Raise ``TypeError`` unless a value is a mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{owner} needs a mapping from a name to {what}, but got {describe(value)}.")


def _pictures(owner: str, x: Any, dims: Sequence[int]) -> Tensor:
    """Return finite images (..., N1, N2) on the CPU; of volumes the middle slices."""
    check_tensor(owner, x, what="x", name="x")
    check_finite(x)
    x = resolved(x.detach()).cpu()
    if x.dim() not in dims:
        wanted = " or ".join(f"{count} dimensions" for count in dims)
        one = "one item, such as x[0]" if x.dim() > dims[-1] or dims[0] == 2 else "a batch, such as x[None]"
        raise ValueError(f"{owner} needs x of {wanted}, but got {describe(x)}. Pass {one}.")
    if x.numel() == 0:
        raise ValueError(f"{owner} needs an x with entries, but got {describe(x)}.")
    middle: Tensor = x[..., x.shape[-3] // 2, :, :] if x.dim() == dims[-1] else x
    return middle.to(torch.complex128)


def colors(x: Tensor, peak: float | None = None) -> np.ndarray:
    """Return an image as colors: magnitude as brightness, phase as hue (0 is red, pi cyan).

    Shape: (N1, N2), real or complex, to (N1, N2, 3) in [0, 1].

    Args:
        x: The image.
        peak: Magnitude of full brightness. Default: the largest.

    Example: 1 is red, -1 cyan, 0 black.
        >>> colors(torch.tensor([[1.0, -1.0, 0.0]]))[0].tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    z = x.to(torch.complex128)
    size = z.abs()
    peak = (float(size.max()) if size.numel() else 0.0) if peak is None else peak
    hue = z.angle().numpy() / math.tau % 1
    value = (size / (peak or 1.0)).clamp(0, 1).numpy()
    made: np.ndarray = hsv_to_rgb(np.stack((hue, np.ones_like(hue), value), -1))
    return made


def color_wheel(axes: Axes) -> None:
    """Draw a color wheel beside Axes: angle is phase, distance from the middle is magnitude."""
    line = torch.linspace(-1, 1, 101, dtype=torch.float64)
    z = torch.complex(line.expand(101, 101), -line[:, None].expand(101, 101))
    image = np.concatenate((colors(z, 1.0), (z.abs() <= 1).numpy()[..., None]), -1)
    inset = axes.inset_axes((1.02, 0.62, 0.38, 0.38))
    inset.imshow(image, extent=(-1, 1, -1, 1), interpolation="bilinear")
    inset.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7))  # room for the labels
    inset.set_axis_off()
    for place, label, horizontal, vertical in (
        ((1.08, 0), "0", "left", "center"),
        ((-1.08, 0), "π", "right", "center"),
        ((0, 1.08), "π/2", "center", "bottom"),
        ((0, -1.08), "-π/2", "center", "top"),
    ):
        inset.text(place[0], place[1], label, ha=horizontal, va=vertical, fontsize=7)


def show_object(
    x: Tensor, axes: Axes | None = None, *, peak: float | None = None, wheel: bool = True, title: str = ""
) -> Axes:
    """Show one object in one picture: magnitude as brightness, phase as hue, with a color wheel beside it.

    A volume shows its middle slice along the first axis.

    Shape: (N1, N2) or (N1, N2, N3), real or complex.

    Args:
        x: The object.
        axes: Axes to draw into. Default: those of a new figure.
        peak: Magnitude of full brightness. Default: the largest.
        wheel: Draw the color wheel. Default True.
        title: Title above the picture. Default: none.

    Raises:
        TypeError, ValueError: If x is no tensor of numbers, not finite, or has other dimensions.

    Example:
        >>> axes = show_object(torch.randn(8, 8, dtype=torch.complex64), title="noise")
        >>> axes.get_title(), axes.images[0].get_array().shape
        ('noise', (8, 8, 3))
    """
    image = _pictures("show_object", x, (2, 3))
    if peak is not None and not (isinstance(peak, numbers.Real) and 0 < peak < math.inf):
        raise ValueError(f"show_object needs a positive peak, but got {peak!r}.")
    axes = _axes("show_object", axes)
    axes.imshow(colors(image, peak), interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)
    if wheel:
        color_wheel(axes)
    return axes


def montage(rows: Sequence[Tensor], axes: Axes, *, own_peak: bool) -> None:
    """Draw rows of images (n, N1, N2) with gaps between."""
    height, width = rows[0].shape[-2:]
    whole = np.ones((len(rows) * (height + _GAP) - _GAP, len(rows[0]) * (width + _GAP) - _GAP, 3))
    peak = max(float(row.abs().max()) for row in rows)
    for line, row in enumerate(rows):
        for column, image in enumerate(row):
            top, left = line * (height + _GAP), column * (width + _GAP)
            shown = max(float(each[column].abs().max()) for each in rows) if own_peak else peak
            whole[top : top + height, left : left + width] = colors(image, shown)
    axes.imshow(whole, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_orbit(
    x: Tensor,
    symmetry: Symmetry | Sequence[Symmetry],
    axes: Axes | None = None,
    *,
    count: int = 6,
    seed: int = 0,
    title: str = "",
) -> Axes:
    """Show an object and drawn points of its orbit, all of which have one measurement.

    Shape: x (N1, N2) or (N1, N2, N3), real or complex.

    Args:
        x: The object. It comes first.
        symmetry: The symmetries, such as ``FarField(2).symmetries``.
        axes: Axes to draw into. Default: those of a new figure.
        count: Number of pictures, x included. Default 6.
        seed: Seed of the draw. Default 0.
        title: Title above the picture. Default: none.

    Raises:
        TypeError, ValueError: As :func:`show_object`, or if ``count`` is below 1.

    Example:
        >>> from torch_symbreak import FarField
        >>> axes = show_orbit(torch.randn(8, 8, dtype=torch.complex64), FarField(2).symmetries, count=3)
        >>> axes.images[0].get_array().shape  # two entries of white between two pictures
        (8, 28, 3)
    """
    _pictures("show_orbit", x, (2, 3))
    count = check_whole("show_orbit", "count", count, least=1)
    seed = check_whole("show_orbit", "seed", seed, least=-(2**63), most=2**64 - 1)
    group = Product(symmetry)
    items = x.detach()[None].expand(count - 1, *x.shape)
    moved = group.act(group.sample(items, generator=torch.Generator().manual_seed(seed)), items) if count > 1 else items
    shown = _pictures("show_orbit", torch.cat((x.detach()[None], moved)), (3, 4))
    axes = _axes("show_orbit", axes, (1.6 * count, 2))
    montage([shown], axes, own_peak=False)
    axes.set(title=title)
    return axes


def show_before_after(
    x: Tensor, transform: Callable[[Tensor], Tensor], axes: Axes | None = None, *, most: int = 8, title: str = ""
) -> Axes:
    """Show targets, and below them the same targets after a transform.

    Every pair has its own brightness.

    Shape: x (n, N1, N2) or (n, N1, N2, N3), real or complex.

    Args:
        x: The targets.
        transform: Any function of a batch of targets, such as ``FarField(2).canonicalizer()``.
        axes: Axes to draw into. Default: those of a new figure.
        most: Number of targets to show, from the first. Default 8.
        title: Title above the picture. Default: none.

    Raises:
        TypeError, ValueError: As :func:`show_object`.

    Example:
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(3, 8, 8, dtype=torch.complex64)
        >>> axes = show_before_after(x, FarField(2).canonicalizer())
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['before', 'after']
    """
    check_callable("show_before_after", "transform", transform)
    most = check_whole("show_before_after", "most", most, least=1)
    shown = _pictures("show_before_after", x, (3, 4))[:most]
    changed = transform(x[:most].clone())  # a transform may write into its argument
    if not isinstance(changed, Tensor) or changed.shape != x[:most].shape:
        raise ValueError(
            f"show_before_after needs a transform that keeps the shape of {describe(x[:most])}, but got "
            f"{describe(changed)}. For a forward model, pass model.canonicalizer()."
        )
    after = _pictures("show_before_after", changed, (3, 4))
    axes = _axes("show_before_after", axes, (1.4 * len(shown) + 0.6, 3))
    montage([shown, after], axes, own_peak=True)
    height = shown.shape[-2]
    axes.set_yticks([height / 2, height * 1.5 + _GAP], ["before", "after"])
    axes.tick_params(length=0)
    axes.set(title=title)
    return axes


def show_margins(margins: Mapping[str, Tensor], axes: Axes | None = None, *, near: float = NEAR_TIE) -> Axes:
    """Show how far targets are from ties: the share of targets whose margin is below a value.

    Args:
        margins: Name of a symmetry to margins (n,), such as ``canonicalizer.deciding_margins(x)``.
        axes: Axes to draw into. Default: those of a new figure.
        near: Draw a line at this margin. Default 1e-3.

    Example:
        >>> from torch_symbreak import FarField
        >>> x = torch.randn(50, 8, 8, dtype=torch.complex64)
        >>> axes = show_margins(FarField(2).canonicalizer().deciding_margins(x))
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['translation', 'conjugate flip', 'global phase']
    """
    _mapping("show_margins", margins, "margins, such as canonicalizer.deciding_margins(x)")
    for name, values in margins.items():
        check_tensor("show_margins", values, what=f"margins {name!r}", name="margins")
    axes = _axes("show_margins", axes, (5, 3.6))
    for name, values in margins.items():
        size = values.detach().double().cpu().flatten()
        size = size[~size.isnan()].clamp(1e-8, 1).sort().values
        share = (torch.arange(len(size), dtype=torch.float64) + 1) / max(1, len(size))
        label, color = str(name).replace("_", " "), SYMMETRIES.get(str(name))
        axes.step(size.numpy(), share.numpy(), where="post", label=label, color=color)
    axes.axvline(near, color=NEUTRAL, linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlim=(1e-6, 1), ylim=(0, 1), xlabel="margin", ylabel="share of targets below")
    axes.grid(alpha=0.2)
    if margins:
        axes.legend(fontsize=8)
    return axes


def plot_learning_curve(
    curves: Mapping[str, Sequence[float]], axes: Axes | None = None, *, ylabel: str = "loss", title: str = ""
) -> Axes:
    """Plot losses by epoch, with a dot at the best epoch of each. The scale is logarithmic if all are positive.

    Args:
        curves: Label to losses, one per epoch: such as ``{"training": curves.train, "validation":
            curves.validation}`` of :func:`torch_symbreak.training.fit`.
        axes: Axes to draw into. Default: those of a new figure.
        ylabel: Label of the axis. Default "loss".
        title: Title above the picture. Default: none.

    Raises:
        TypeError: If ``curves`` is no mapping, or a curve holds no numbers.
        ValueError: If a curve is empty.

    Example:
        >>> axes = plot_learning_curve({"validation": [1.0, 0.5, 0.7]})
        >>> axes.lines[1].get_xdata().tolist(), axes.get_yscale()
        ([2], 'log')
    """
    _mapping("plot_learning_curve", curves, "losses, one per epoch")
    axes, positive = _axes("plot_learning_curve", axes, (5, 3.6)), True
    for label, losses in curves.items():
        values = _losses(label, losses)
        positive &= not bool((values <= 0).any())
        (line,) = axes.plot(np.arange(1, len(values) + 1), values, linewidth=1, label=label)
        best = int(np.nanargmin(values)) if not np.isnan(values).all() else 0
        axes.plot(np.array([best + 1]), values[[best]], "o", color=line.get_color(), markersize=4)
    axes.set(yscale="log" if positive else "linear", xlabel="epoch", ylabel=ylabel, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(which="both", alpha=0.2)
    if curves:
        axes.legend(fontsize=8)
    return axes


def _losses(label: Any, losses: Any) -> np.ndarray:
    """Return the losses of a curve, or raise."""
    try:
        values = [float(loss.detach() if isinstance(loss, Tensor) else loss) for loss in losses]
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"plot_learning_curve needs a sequence of numbers per curve, but {label!r} is {describe(losses)}."
        ) from None
    if not values:
        raise ValueError(f"plot_learning_curve needs at least one loss per curve, but {label!r} is empty.")
    return np.array(values)
