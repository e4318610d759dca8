"""Average answers that may differ by a symmetry: of turned measurements, or of several networks.

If an object is mirrored or transposed, so is its diffraction pattern. So one network gives eight answers to one
measurement. Single answers may jump to a twin, and a plain mean of them is worse than one answer. If they are aligned
first, their mean is better.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from torch_symbreak._checks import check_target, describe
from torch_symbreak._items import divided, flat_parts, peak, per_item, resolved, root, wide
from torch_symbreak.alignment import align
from torch_symbreak.forward import FarField
from torch_symbreak.symmetries import Product, Symmetry

__all__ = ["Average", "SquareTurn", "Turn", "average_answers", "predict_turned", "square_turns"]


class Average(NamedTuple):
    """Result of :func:`average_answers`.

    Example: answers that agree up to a sign.
        >>> import torch
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[3.0, -4.0]])
        >>> average = average_answers([x, -x], Sign(1))
        >>> average.mean, average.spread
        (tensor([[ 3., -4.]]), tensor([0.], dtype=torch.float64))
    """

    mean: Tensor  #: (*batch, *item): the mean of the aligned answers
    spread: Tensor  #: (*batch,): root of the mean squared distance from the mean, over the mean's norm


def average_answers(answers: Sequence[Tensor], symmetries: Symmetry | Sequence[Symmetry]) -> Average:
    """Average answers to the same measurements, each aligned to the mean of those before it.

    Shape: each answer (*batch, *channels, *event); ``mean`` the same, ``spread`` (*batch,).

    Args:
        answers: One or more tensors of one shape: answers of several networks, or of one to turned measurements.
        symmetries: Symmetries by which the answers may differ, e.g. ``FarField().symmetries``.

    Returns:
        ``mean`` and ``spread``. The spread is the root of the mean squared distance from the mean, over the mean's
        norm: a measure of doubt per item. It is 0 if all agree, and infinite if they cancel. An item with a NaN answer
        gets NaN. Content that an alignment moves out of the frame is cut, as by ``align``, and does not count.

    Raises:
        ValueError: If ``answers`` is empty, or their shapes differ.
        TypeError: If ``answers`` is one tensor.

    Example: answers that are twins of one another agree.
        >>> from torch_symbreak.symmetries import Sign
        >>> x = torch.tensor([[1.0, -2.0, 2.0]])
        >>> average_answers([x, -x, 0.9 * x], Sign(1)).mean
        tensor([[ 0.9667, -1.9333,  1.9333]])
        >>> average_answers([x, -x], Sign(1)).spread
        tensor([0.], dtype=torch.float64)
    """
    if isinstance(answers, Tensor):
        raise TypeError(
            f"average_answers needs a list of answers to the same measurements, but got {describe(answers)}. Pass "
            "[answer1, answer2, ...], or list(answers) if the first axis counts answers and not items."
        )
    group, answers = Product(symmetries), list(answers)
    if not answers:
        raise ValueError("average_answers needs at least one answer, but got none.")
    for answer in answers:
        check_target("average_answers", answer, group.event_dims, group.channel_dims, least=group.least_dims)
    if len(shapes := sorted({tuple(answer.shape) for answer in answers})) > 1:
        raise ValueError(f"average_answers needs answers of one shape, but got {shapes}.")
    # In double precision: half precision, of networks under autocast, would round at every step.
    mean, aligned = answers[0].to(wide(answers[0])), [answers[0]]
    for count, answer in enumerate(answers[1:], 1):
        aligned.append(align(answer, mean, group).aligned)
        mean = mean + (aligned[-1] - mean) / (count + 1)
    dtype = functools.reduce(torch.promote_types, [answer.dtype for answer in aligned])
    stacked = torch.stack([answer.to(mean.dtype) for answer in aligned])
    # In units of the largest entry, whose square neither under- nor overflows.
    unit = per_item(peak(*stacked, item_dims=group.item_dims), group.item_dims)
    parts = flat_parts(divided(stacked, unit), group.item_dims)
    center = parts.mean(0)
    distance, norm = root((parts - center).square().sum(-1).mean(0)), torch.linalg.vector_norm(center, dim=-1)
    spread = distance / torch.where(norm > 0, norm, 1)
    return Average(resolved(mean.to(dtype)), torch.where((norm == 0) & (distance > 0), torch.inf, spread))


class Turn(Protocol):
    """A change of objects under which measurements change in a known way.

    Example: a turn of an image, and the same turn of its measurement.
        >>> import torch
        >>> from torch_symbreak import FarField
        >>> model = FarField(2)
        >>> turn, x = square_turns(model)[3], torch.randn(4, 6, 6, dtype=torch.complex64)
        >>> torch.allclose(turn.undo(turn.object(x)), x)
        True
        >>> torch.allclose(model(turn.object(x)), turn.measurement(model(x)), rtol=1e-3, atol=1e-3)
        True
    """

    def measurement(self, y: Tensor) -> Tensor:
        """Return the measurements of the turned objects."""

    def undo(self, x: Tensor) -> Tensor:
        """Turn objects back."""


@dataclass(frozen=True)
class SquareTurn:
    """Mirror images along their axes, then transpose them: an element of the symmetry group of the square.

    Args:
        rows: Mirror along the first axis.
        columns: Mirror along the second axis.
        transposed: Exchange the axes afterwards.
        centered: Patterns have their zero frequency in the middle, as for ``FarField``. Default False.

    Example:
        >>> import torch
        >>> SquareTurn(rows=True, columns=False, transposed=False).object(torch.tensor([[1, 2], [3, 4]]))
        tensor([[3, 4],
                [1, 2]])
    """

    rows: bool
    columns: bool
    transposed: bool
    centered: bool = False

    def measurement(self, y: Tensor) -> Tensor:
        _check_images(y)
        for axis in self._mirrored:  # frequency k goes to -k
            y = y.flip(axis).roll((y.shape[axis] + 1) % 2 if self.centered else 1, axis)
        return y.mT if self.transposed else y

    def object(self, x: Tensor) -> Tensor:
        """Turn objects."""
        _check_images(x)
        x = x.flip(self._mirrored)
        return x.mT if self.transposed else x

    def undo(self, x: Tensor) -> Tensor:
        _check_images(x)
        return (x.mT if self.transposed else x).flip(self._mirrored)

    @property
    def _mirrored(self) -> list[int]:
        return [axis for axis, mirrored in ((-2, self.rows), (-1, self.columns)) if mirrored]


def _check_images(x: object) -> None:
    if not isinstance(x, Tensor) or x.dim() < 2:
        raise TypeError(f"SquareTurn needs a tensor (..., rows, columns), but got {describe(x)}.")


def square_turns(model: FarField) -> list[SquareTurn]:
    """List the eight turns of a square image that turn its far-field pattern alike. The first changes nothing.

    Args:
        model: A model of images. Frames and detectors need to be square.

    Raises:
        TypeError: If the model is no ``FarField``.
        ValueError: If the model is not of images, or its detector is not square.

    Example: each turn of a pattern is the pattern of a turned object.
        >>> model = FarField(2)
        >>> x = torch.randn(3, 6, 6, dtype=torch.complex64)
        >>> turns = square_turns(model)
        >>> all(torch.allclose(model(t.object(x)), t.measurement(model(x)), atol=1e-3) for t in turns)
        True
    """
    if not isinstance(model, FarField):
        raise TypeError(f"square_turns needs a FarField model, but got {describe(model)}.")
    if model.event_dims != 2 or (model.shape is not None and len(set(model.shape)) > 1):
        raise ValueError(f"square_turns needs a far-field model of images on a square detector, but got {model!r}.")
    flags = itertools.product((False, True), repeat=3)
    return [SquareTurn(rows, columns, transposed, model.centered) for rows, columns, transposed in flags]


def predict_turned(
    predict: Callable[[Tensor], Tensor],
    y: Tensor,
    turns: Sequence[Turn],
    symmetries: Symmetry | Sequence[Symmetry],
) -> Average:
    """Predict from turned measurements, turn the answers back, and average them up to the symmetries.

    Shape: y as ``predict`` takes it; ``mean`` as ``predict`` returns it, ``spread`` (*batch,).

    Args:
        predict: A network, or any function from measurements to objects.
        y: Measurements.
        turns: A finite set of turns, e.g. ``square_turns(model)``.
        symmetries: Symmetries by which the answers may differ, e.g. ``model.symmetries``.

    Raises:
        TypeError: If ``turns`` is no list of turns, or ``predict`` does not answer with a tensor.
        ValueError: If answers differ in shape, as they do if a frame that is not square is transposed.

    Example: a perfect network with twins as answers.
        >>> model, x = FarField(2), torch.randn(2, 6, 6, dtype=torch.complex64)
        >>> answers = iter([x, 1j * x])
        >>> found = predict_turned(lambda y: next(answers), model(x), square_turns(model)[:1], model.symmetries)
        >>> torch.allclose(found.mean, x)
        True
    """
    if not isinstance(turns, Sequence):
        raise TypeError(
            f"predict_turned needs a list of turns, but got {describe(turns)}. For the far field, pass "
            "square_turns(model)."
        )

    def answer(turn: Turn) -> Tensor:
        x = predict(turn.measurement(y))
        if not isinstance(x, Tensor):
            raise TypeError(
                f"predict_turned needs a function whose answer is a tensor, but got {describe(x)}. If the objects are "
                "the first part, pass lambda y: network(y)[0]."
            )
        return turn.undo(x)

    answers = [answer(turn) for turn in turns]
    if len(shapes := {tuple(x.shape) for x in answers}) > 1:
        raise ValueError(
            f"predict_turned got answers of shapes {sorted(shapes)}. Frames that are not square cannot be transposed: "
            "pass [turn for turn in square_turns(model) if not turn.transposed]."
        )
    return average_answers(answers, symmetries)
