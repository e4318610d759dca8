"""Pictures show what they are given, in the Axes that they are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure

from torch_symbreak import FarField, GaussianIntensity
from torch_symbreak.plots import (
    plot_learning_curve,
    png,
    show_before_after,
    show_margins,
    show_object,
    show_orbit,
)
from torch_symbreak.plots.axes import colors

MODEL = FarField(2)
X = torch.nn.functional.pad(
    torch.randn(3, 5, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)), (1, 2, 2, 1)
)
MARGINS = {"conjugate_flip": torch.tensor([0.5, 1e-4, 0.1, 1e-5])}

DRAW: dict[str, Callable[..., Axes]] = {
    "show_object": lambda axes=None: show_object(X[0], axes),
    "show_orbit": lambda axes=None: show_orbit(X[0], MODEL.symmetries, axes),
    "show_before_after": lambda axes=None: show_before_after(X, MODEL.canonicalizer(), axes),
    "show_margins": lambda axes=None: show_margins(MARGINS, axes),
    "plot_learning_curve": lambda axes=None: plot_learning_curve({"training": [1.0, 0.5]}, axes),
}


@pytest.mark.parametrize("name", DRAW)
def test_axes_come_and_go(name: str) -> None:
    axes = Figure().subplots(1, 2)[1]
    assert DRAW[name](axes) is axes
    assert axes.has_data()
    alone = DRAW[name]()
    assert isinstance(alone, Axes)
    assert png(alone.figure).startswith(b"\x89PNG")


def test_colors_tell_magnitude_and_phase() -> None:
    z = torch.polar(torch.tensor([1.0, 0.25, 0.5]), torch.tensor([0.0, math.pi / 2, -math.pi / 3]))[None]
    hue, saturation, value = rgb_to_hsv(colors(z))[0].T
    assert value == pytest.approx([1, 0.25, 0.5], abs=1e-6)
    assert saturation == pytest.approx([1, 1, 1])
    assert hue == pytest.approx([0, 1 / 4, 5 / 6], abs=1e-6)
    assert colors(z, 0.5).max() == 1
    assert not colors(torch.zeros(2, 2)).any()


def drawn(axes: Axes) -> np.ndarray[Any, Any]:
    return np.asarray(axes.images[0].get_array())


def test_an_object_is_drawn_entry_by_entry() -> None:
    axes = show_object(X[0], wheel=False)
    assert np.allclose(drawn(axes), colors(X[0]))
    assert not axes.child_axes
    assert len(show_object(X[0]).child_axes) == 1
    volume = torch.stack([X[0], X[1], X[2]])
    assert np.allclose(drawn(show_object(volume)), colors(X[1]))
    assert np.allclose(drawn(show_object(X[0].real)), colors(X[0].real))
    lazy = X[0].conj()
    assert np.allclose(drawn(show_object(lazy)), colors(lazy.resolve_conj()))


def test_every_point_of_an_orbit_has_one_measurement() -> None:
    """Colors are read back as numbers. Brightness is relative to the brightest of all points, which have one peak."""
    picture = drawn(show_orbit(X[0], MODEL.symmetries, count=4, seed=5))
    height, width = X[0].shape
    assert picture.shape == (height, 4 * width + 6, 3)
    hue, _, value = np.moveaxis(rgb_to_hsv(picture), -1, 0)
    z = torch.polar(torch.from_numpy(value), torch.from_numpy(hue) * math.tau)
    points = [z[:, column * (width + 2) :][:, :width] for column in range(4)]
    measured = MODEL(torch.stack(points))
    assert torch.allclose(points[0], (X[0] / X[0].abs().max()).to(z.dtype), atol=1e-5)
    assert torch.allclose(measured, measured[:1].expand_as(measured), atol=1e-3)
    assert (points[0] - points[1]).abs().max() > 0.1
    assert drawn(show_orbit(X[0], MODEL.symmetries, count=1)).shape == (height, width, 3)


def test_before_is_above_after() -> None:
    fix = MODEL.canonicalizer()
    axes = show_before_after(X, fix, most=2, title="crystals")
    picture, (height, width) = drawn(axes), X[0].shape
    assert picture.shape == (2 * height + 2, 2 * width + 2, 3)
    assert np.allclose(picture[:height, :width], colors(X[0]))
    assert np.allclose(picture[height + 2 :, width + 2 :], colors(fix(X)[1]), atol=1e-5)
    assert axes.get_title() == "crystals"


def test_margins_are_a_distribution_function() -> None:
    axes = show_margins({**MARGINS, "of_one": torch.tensor([math.nan, 1.0])}, near=1e-2)
    line = axes.lines[0]
    assert line.get_label() == "conjugate flip"
    assert list(line.get_xdata()) == pytest.approx([1e-5, 1e-4, 0.1, 0.5])
    assert list(line.get_ydata()) == [0.25, 0.5, 0.75, 1]
    assert list(axes.lines[1].get_ydata()) == [1]
    assert axes.lines[2].get_xdata()[0] == 1e-2


def test_the_best_epoch_is_marked() -> None:
    axes = plot_learning_curve({"training": [3.0, 1.0], "validation": [2.0, math.nan, 0.5, 0.7]}, ylabel="MSE")
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [(2, 1.0), (3, 0.5)]
    assert axes.get_ylabel() == "MSE"
    below_zero = plot_learning_curve({"training": torch.tensor([0.5, -1.0], requires_grad=True)})
    assert below_zero.get_yscale() == "linear"  # a logarithm would leave the point out
    with pytest.raises(ValueError, match="'validation' is empty"):
        plot_learning_curve({"validation": []})


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: show_object(X), None, ""),
        (lambda: show_object(X[None]), ValueError, r"Pass one item, such as x\[0\]"),
        (lambda: show_object(X[0].numpy()), TypeError, "show_object"),
        (lambda: show_object(X[0] * math.nan), ValueError, "NaN"),
        (lambda: show_orbit(X[0], MODEL.symmetries, count=0), ValueError, "count >= 1"),
        (lambda: show_orbit(X[0, 0], GaussianIntensity.draw(8, 8).symmetries), ValueError, "dimensions"),
        (lambda: show_before_after(X[0], MODEL.canonicalizer()), ValueError, r"a batch, such as x\[None\]"),
        (lambda: show_before_after(X, MODEL), ValueError, "keeps the shape"),
        (lambda: show_before_after(X, lambda x: x[:1]), ValueError, "keeps the shape"),
        (lambda: show_before_after(X, MODEL.canonicalizer(), most=-1), ValueError, "most >= 1"),
        (lambda: show_object(X[0][:0]), ValueError, "an x with entries"),
        (lambda: show_object(X[0], peak=-1.0), ValueError, "positive peak"),
        (lambda: show_object(X[0], Figure()), TypeError, "Pass axes=figure.subplots"),  # type: ignore[arg-type]
        (lambda: show_orbit(X[0], MODEL.symmetries, seed=2**70), ValueError, "seed in"),
        (lambda: show_margins(torch.ones(3)), TypeError, "needs a mapping"),  # type: ignore[arg-type]
        (lambda: show_margins({"a": [0.1]}), TypeError, "torch.as_tensor"),  # type: ignore[dict-item]
        (lambda: plot_learning_curve([1.0]), TypeError, "needs a mapping"),  # type: ignore[arg-type]
        (lambda: plot_learning_curve({"a": np.ones((2, 2))}), TypeError, "a sequence of numbers"),
        (lambda: plot_learning_curve({"a": 1.0}), TypeError, "a sequence of numbers"),  # type: ignore[dict-item]
    ],
)
def test_bad_arguments(call: Callable[[], Any], error: type[Exception] | None, says: str) -> None:
    if error is None:
        call()  # three images are a volume
        return
    with pytest.raises(error, match=says):
        call()
