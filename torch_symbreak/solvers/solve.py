"""Retrieve objects from intensities in one call."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_symbreak._checks import Array, check_choice, check_generator
from torch_symbreak._fourier import spectrum
from torch_symbreak._items import per_item
from torch_symbreak._progress import bar
from torch_symbreak.forward import FarField, Measured
from torch_symbreak.solvers import _run
from torch_symbreak.solvers._checks import Inputs, check_inputs
from torch_symbreak.solvers._choice import AGREE, choose, cut, verdicts
from torch_symbreak.solvers.constraints import Largest, NonNegative, autocorrelation_support
from torch_symbreak.solvers.projections import Magnitudes, Projection, Residual
from torch_symbreak.symmetries import Product

#: Share of the measured pixels that the solver does not see, and the lowest frequency held out, in cycles per pixel.
_HELD_OUT, _LOWEST = 0.02, 0.125
#: Rounds of fresh starts, if the number of iterations is the recipe's, for items whose lines do not agree so well.
_ROUNDS, _FINE = 3, 0.02
#: Bytes of iterates at once.
_STATE = 2**28
#: Size of the noise on further copies of a given start, relative to its entries.
_JITTER = 0.2


class Starts(NamedTuple):
    """Objects and R-factors of all starts of every item.

    Example:
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> y, x = BraggCrystals(2, frame=(8, 8)).batch([0, 1])
        >>> found = solve(y, iterations=20, starts=4, progress=False)
        >>> found.starts.object.shape, found.starts.residual.shape
        (torch.Size([2, 4, 8, 8]), torch.Size([2, 4]))
    """

    object: Tensor  #: (*batch, starts, *frame)
    residual: Tensor  #: (*batch, starts): R-factors on the pixels that the solver saw


class Solution(NamedTuple):
    """Result of :func:`solve`.

    Example:
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> y, x = BraggCrystals(2, frame=(8, 8)).batch([0, 1])
        >>> found = solve(y, iterations=20, starts=4, progress=False)
        >>> found.object.shape, found.residual.shape, len(found.verdict)
        (torch.Size([2, 8, 8]), torch.Size([2]), 2)
    """

    object: Tensor  #: (*batch, *frame): of the start with the smallest R-factor
    residual: Tensor  #: (*batch,): R-factor of the object on all measured pixels
    support: Tensor  #: (*batch, *frame), bool: where the object may be nonzero
    history: Tensor  #: (iterations, *batch, starts): R-factors, taken every ten iterations and repeated in between
    starts: Starts
    agreement: Tensor  #: (*batch,): relative error between the best starts of two lines, up to the symmetries
    held_out: Tensor  #: (*batch,): R-factor of the object on the pixels that the solver did not see
    verdict: list[str]  #: "solved", "doubtful" or "not solved", one word per item of the flattened batch


def solve(
    y: Array,
    *,
    model: FarField | Measured | None = None,
    method: str = "hio",
    iterations: int | None = None,
    starts: int = 8,
    start: Array | None = None,
    frame: tuple[int, ...] | None = None,
    support: Array | None = None,
    support_size: int | None = None,
    nonnegative: bool = False,
    real: bool = False,
    mask: Array | None = None,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> Solution:
    """Retrieve objects from their far-field intensities.

    Only the intensities are needed. The first support is where the autocorrelation exceeds 4 % of its maximum.
    Shrink-wrap narrows it every 20 iterations. Each item has several random starts, in two lines that know nothing of
    each other. Under shrink-wrap, from iteration 400 on, the worse half of each line is replaced by copies of its best
    start every 100 iterations. The start with the smallest R-factor wins. An item stops once the best starts of both
    lines fit to .05 % and agree. Without ``iterations``, items whose lines do not agree to 2 % after 1,000 iterations
    get up to two more rounds of fresh starts.

    *Trust.* A small R-factor with a loose support proves nothing. ``agreement`` is the relative error, up to the
    symmetries on the detector's torus, between the best starts of the two lines. ``held_out`` is the R-factor on 2 % of
    the measured pixels, which the solver did not see; they lie beyond a quarter of the highest frequency. The verdict
    is "solved" if the lines agree to 10 % and the R-factor is at most .25. It is "doubtful" if they agree to 30 %, or
    if the R-factor is at most .05, and at most .1 on the held-out pixels. Else it is "not solved". One start has
    nothing to agree with, so it is "doubtful" at best. So is an item whose power lies where the other order
    of pixels has zero frequency: its answer may be the object times a checkerboard of signs. Noise keeps the lines
    apart.

    Shape: y (*batch, *M), real; object and support (*batch, *frame), residual (*batch,), history
    (iterations, *batch, starts).

    Args:
        y: The measured intensities. Negative pixels count as zero, with one warning.
        model: The measurement. Default: ``FarField(2)``, or a far field with as many axes as ``frame``. Real models
            give real objects. A ``Measured`` far field gives its masks, too. Its noise changes nothing.
        method: "hio" (hybrid input-output, default), "er" (error reduction), "raar", "dm" (difference map) or "rrr"
            (relaxed reflections). Under noise take "raar": its relaxation falls from .98 to .8 in the second half.
        iterations: Iterations of each start. Default: 1,000, and up to two more rounds of fresh starts.
        starts: Starts per item. Two lines need at least two. Default 8.
        start: Objects to start from, (*batch, *frame), such as a network's answers. Further starts are noisy copies.
            Default: random phases.
        frame: Frame of the objects. Default: (M + 1) // 2 along every axis if oversampling is 2, M / s if it is s.
        support: True where the object may be nonzero, (*batch, *frame) or (*frame,). Replaces shrink-wrap.
        support_size: Number of nonzero entries. The largest are kept. Replaces shrink-wrap.
        nonnegative: Objects are real and not negative. Default False.
        real: Objects are real. Default False.
        mask: True where y is measured, (*batch, *M) or (*M,). Other pixels may hold anything, NaN too. They keep the
            Fourier values of the iterates. Default: everywhere.
        generator: Source of randomness. The same state gives the same result. Default: torch's global generator.
        progress: Show a progress bar on stderr, if rich is installed. Default True.

    Raises:
        TypeError: If y is complex, or no tensor or array, or the model is no far field, or has a background.
        ValueError: If an item of y is zero on all measured pixels, a measured pixel is NaN, a shape does not fit, or
            the detector is below twice the frame with neither ``support`` nor ``support_size``.

    Warns:
        UserWarning: If measured pixels are negative, or an item has its power where zero frequency would be in the
            other order of the pixels.

    Example: a crystal from its diffraction pattern.
        >>> from torch_symbreak import FarField, relative_error
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> y, x = BraggCrystals(1, frame=(16, 16), strain=0.5, seed=3)[0]
        >>> found = solve(y, generator=torch.Generator().manual_seed(0), progress=False)
        >>> found.verdict, bool(relative_error(found.object, x, FarField(2).symmetries) < 0.05)
        (['solved'], True)

    References: Fienup, Applied Optics 21, 2758 (1982); Marchesini et al., Phys. Rev. B 68, 140101 (2003), shrink-wrap;
        Chen et al., Phys. Rev. B 76, 064113 (2007), guided hybrid input-output.
    """
    check_choice("method", method, tuple(_run.METHODS))
    check_generator("solve", generator)
    known = check_inputs(
        y, model=model, iterations=iterations, starts=starts, start=start, frame=frame, support=support,
        support_size=support_size, nonnegative=nonnegative, real=real, mask=mask,
    )  # fmt: skip
    if 0 in known.batch:
        return _of_none(known, iterations or 0, starts)
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else None))
    size = max(1, _STATE // (8 * starts * math.prod(known.torus)))
    parts = range(0, len(known.intensities), size)
    total = len(known.intensities) * starts * (iterations or _run.METHODS[method].iterations)
    with bar("solving", total, wanted=progress) as tick, torch.no_grad():
        solved = [
            _solve(known.items(slice(i, i + size)), _run.METHODS[method], iterations, starts, seed, tick) for i in parts
        ]
    return _joined(solved, known)


def _of_none(known: Inputs, iterations: int, starts: int) -> Solution:
    """Return the solution of an empty batch."""
    numbers = known.intensities.new_zeros(known.batch)
    dtype = numbers.dtype if known.real else numbers.dtype.to_complex()
    objects = numbers.new_zeros(*known.batch, *known.frame, dtype=dtype)
    others = objects.new_zeros(*known.batch, starts, *known.frame)
    each, history = numbers.new_zeros(*known.batch, starts), numbers.new_zeros(iterations, *known.batch, starts)
    support = torch.zeros_like(objects, dtype=torch.bool)
    return Solution(objects, numbers, support, history, Starts(others, each), numbers.double(), numbers, [])


def refine(x: Array, y: Array, **options: Any) -> Solution:
    """Improve given objects: :func:`solve` with ``start=x``.

    Args:
        x: The objects to start from, (*batch, *frame).
        y: The measured intensities, (*batch, *M).
        **options: Further arguments of :func:`solve`.

    Example: a noisy object.
        >>> from torch_symbreak import FarField, relative_error
        >>> from torch_symbreak.datasets import BraggCrystals
        >>> y, x = BraggCrystals(1, frame=(16, 16), strain=0.5, seed=3)[0]
        >>> noisy = x + 0.1 * torch.randn(16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        >>> found = refine(noisy, y, generator=torch.Generator().manual_seed(0), progress=False)
        >>> bool(relative_error(found.object, x, FarField(2).symmetries) < 0.05)
        True
    """
    return solve(y, start=x, **options)


def _held_out(known: Inputs, seed: int) -> Tensor:
    """Draw the pixels that the solver does not see, (*M,), k and -k together: of real objects they are equal."""
    draw = torch.rand(known.torus, generator=torch.Generator().manual_seed(seed))
    dims = tuple(range(len(known.torus)))
    draw = torch.minimum(draw, draw.flip(dims).roll([1] * len(dims), dims))
    axes = torch.meshgrid(*(torch.fft.fftfreq(m) for m in known.torus), indexing="ij")
    beyond = torch.stack([axis.abs() for axis in axes]).amax(0) > _LOWEST
    return ((draw < _HELD_OUT / 2) & beyond).to(known.intensities.device)


def _first(known: Inputs, starts: int, seed: int, fitted: Tensor, roots: Tensor) -> Tensor:
    """Return the first iterates, (B or 1, starts, *M). All items share their random numbers.

    So an item's answer does not depend on its batch.
    """
    dtype = roots.dtype if known.real else roots.dtype.to_complex()
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(starts, *known.torus, dtype=dtype, generator=draw).to(roots.device)[None]
    if known.start is None:
        noise = noise.expand(len(roots), *noise.shape[1:])
        measured = [
            Magnitudes(m.expand_as(n), f.expand_as(n), real=known.real)(n)
            for n, m, f in zip(noise, roots[:, None], fitted[:, None], strict=True)
        ]
        return torch.stack(measured)
    noise[:, 0] = 0
    return known.start[:, None] * (1 + _JITTER * noise)


def _solve(
    known: Inputs, method: _run.Method, iterations: int | None, starts: int, seed: int, tick: Any
) -> tuple[Tensor, ...]:
    """Solve some items."""
    # Sums of the largest numbers overflow, means of the smallest vanish.
    mean = known.intensities.flatten(1).mean(1)
    root = torch.where(mean.isfinite(), 1.0, 2.0**20).where(mean >= torch.finfo(mean.dtype).tiny, 2.0**-20)
    intensities = known.intensities / per_item(root.square(), len(known.torus))
    unit = intensities.flatten(1).mean(1).sqrt() * root
    roots = known.intensities.sqrt() / per_item(unit, len(known.torus))
    scaled = known if known.start is None else known._replace(start=known.start / per_item(unit, len(known.torus)))
    hidden = _held_out(known, seed) & known.measured
    fitted = known.measured & ~hidden
    further: list[Projection] = [NonNegative()] if known.nonnegative else []
    if known.support_size is not None:
        further.append(Largest(known.support_size))
    whole = known.support is None and known.support_size is not None
    if known.support is not None:
        first = known.support
    elif whole:
        first = torch.ones_like(fitted)
    elif known.start is not None:
        first = _run.support_around(known.start)
    else:
        first = autocorrelation_support(intensities, len(known.torus), mask=known.measured)
    sigma = _run.SIGMA if known.start is None else _run.GIVEN_SIGMA
    shrinks = known.support is None and not whole
    problem = _run.Problem(roots, fitted, first, known.real, shrinks, sigma, tuple(further), whole)
    group = Product(known.symmetries)
    count = len(roots)
    kept: _run.State | None = None
    todo = torch.arange(count, device=roots.device)
    history: list[Tensor] = []
    for turn in range(1 if iterations is not None else _ROUNDS):
        some = problem.items(todo)
        start = _first(scaled.items(todo), starts, seed + 1 + turn, some.fitted, some.magnitudes)
        state = _run.first_state(some, start)
        state.line = state.line + turn * starts
        answers, agreement = _round(some, state, method, iterations or method.iterations, group, tick)
        held = torch.stack(state.history)
        if kept is None:
            history.append(held)
            kept, kept_answers, kept_agreement = state, answers, agreement
        else:
            trace = history[-1][-1].expand(len(held), *history[-1][-1].shape).clone()
            trace[:, todo] = held
            history.append(trace)
            _merge(kept, kept_answers, kept_agreement, state, answers, todo, group)
        todo = (~(kept_agreement <= _FINE)).nonzero().flatten()
        if len(todo) == 0 or starts == 1:
            break
    assert kept is not None
    best = kept.residual.argmin(1)
    rows = torch.arange(count, device=best.device)
    objects, supports = cut(kept_answers[rows, best], kept.support[rows, best], known.frame)
    objects = objects * per_item(unit, len(known.torus))
    again = spectrum(objects, known.torus, "ortho")
    all_roots = known.intensities.sqrt()
    residual, unseen = (Residual(all_roots, pixels)(again) for pixels in (known.measured, hidden))
    others, _ = cut(kept_answers.flatten(0, 1), kept.support.flatten(0, 1), known.frame)
    others = others.reshape(count, starts, *known.frame) * per_item(unit, len(known.torus) + 1)
    return objects, residual, supports, torch.cat(history), others, kept.residual, kept_agreement, unseen


def _round(
    problem: _run.Problem, state: _run.State, method: _run.Method, iterations: int, group: Product, tick: Any
) -> tuple[Tensor, Tensor]:
    """Run one round of starts; return their answers, (B, K, *M), and the agreement of every item, (B,)."""
    active = torch.ones_like(state.residual, dtype=torch.bool)
    for begin in range(0, iterations, _run.PHASE):
        if not active.any():
            break
        if problem.shrinks and _run.exchanges(begin):
            _run.exchange(state)
        _run.advance(problem, state, active, method, begin, min(_run.PHASE, iterations - begin), iterations, tick)
        active = active & (state.residual > _run.CONVERGED)
        # Two lines that have converged settle an item if they agree.
        lines = state.line[0].unique()
        best = torch.stack([state.residual[:, state.line[0] == line].amin(1) for line in lines], 1)
        if len(lines) > 1:
            settled = (best.topk(2, largest=False).values[:, 1] < _run.CONVERGED).nonzero().flatten()
            settled = settled[active[settled].any(1)]
            if len(settled):
                some = _picked(state, settled)
                answers = _run.estimate(problem.items(settled), some, method)
                agreement = choose(answers, some.residual, some.line, group).agreement
                active[settled[agreement <= AGREE]] = False
    answers = _run.estimate(problem, state, method)
    return answers, choose(answers, state.residual, state.line, group).agreement


def _picked(state: _run.State, index: Tensor) -> _run.State:
    return _run.State(state.x[index], state.support[index], state.residual[index], state.line[index])


def _merge(
    kept: _run.State, answers: Tensor, agreement: Tensor, state: _run.State, new: Tensor, items: Tensor, group: Product
) -> None:
    """Replace worse starts by fresh ones, in place."""
    starts = kept.residual.shape[1]
    residual = torch.cat([kept.residual[items], state.residual], 1)
    order = residual.argsort(1)[:, :starts]
    rows = torch.arange(len(items), device=order.device)[:, None]
    for old, fresh in ((kept.residual, state.residual), (kept.support, state.support), (kept.line, state.line)):
        old[items] = torch.cat([old[items], fresh], 1)[rows, order]
    answers[items] = torch.cat([answers[items], new], 1)[rows, order]
    agreement[items] = choose(answers[items], kept.residual[items], kept.line[items], group).agreement


def _joined(parts: list[tuple[Tensor, ...]], known: Inputs) -> Solution:
    """Join the parts of a batch, and give them its shape."""
    columns = list(zip(*parts, strict=True))
    longest = max(len(history) for history in columns[3])
    histories = [torch.cat([h, h[-1:].expand(longest - len(h), *h.shape[1:])]) for h in columns[3]]
    objects, residual, support, others, each, agreement, unseen = (
        torch.cat(column) for place, column in enumerate(columns) if place != 3
    )
    history = torch.cat(histories, 1)
    batch = known.batch
    scale = known.unit
    words = verdicts(agreement, residual, unseen, known.misplaced)

    def shaped(z: Tensor) -> Tensor:
        return z.reshape((*batch, *z.shape[1:]))

    return Solution(
        shaped(objects * scale),
        shaped(residual),
        shaped(support),
        history.reshape((len(history), *batch, history.shape[-1])),
        Starts(shaped(others * scale), shaped(each)),
        shaped(agreement),
        shaped(unseen),
        words,
    )
