"""Run many starts of many items: chunks that fit the cache, phases between which starts are exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from torch_symbreak._items import per_item
from torch_symbreak.solvers.constraints import Both, ShrinkWrap, Support, blur
from torch_symbreak.solvers.difference_map import difference_map
from torch_symbreak.solvers.error_reduction import error_reduction
from torch_symbreak.solvers.hybrid_input_output import hybrid_input_output
from torch_symbreak.solvers.projections import Magnitudes, Projection, Residual
from torch_symbreak.solvers.raar import raar
from torch_symbreak.solvers.relaxed_reflections import relaxed_reflections

Step = Callable[..., Tensor]


class Method(NamedTuple):
    """An algorithm and its recipe."""

    step: Step
    iterations: int  # of one round
    polished: bool  # ten steps of error reduction end every fifty
    cooled: bool = False  # the relaxation follows :func:`cooling`


def cooling(done: float) -> float:
    """Return RAAR's relaxation after a share of the iterations: .98 for the first half, then falling to .8.

    A large one searches. Under noise it also drives the iterate away from the answer, by beta / (1 - beta) times the
    gap between the two constraints.
    """
    return 0.98 - 0.36 * max(0.0, done - 0.5)


METHODS = {
    "er": Method(error_reduction, 1000, False),
    "hio": Method(hybrid_input_output, 1000, True),
    "raar": Method(raar, 1000, False, cooled=True),
    "dm": Method(difference_map, 1000, True),
    "rrr": Method(relaxed_reflections, 1000, False),
}

#: Steps of error reduction that end every cycle of the polished methods, and the length of a cycle.
_POLISH, _CYCLE = 10, 50
#: Iterations between two R-factors, two updates of the support, and two exchanges of starts.
_CHECK, _SHRINK, PHASE = 10, 20, 100
#: Iterations before the first exchange: until then starts differ in more than details.
_ALONE = 400
#: Shrink-wrap's threshold, and by how much it differs between several starts, as a factor up and down.
_THRESHOLD, _SPREAD = 0.15, 1.4
#: First and last blur of shrink-wrap, in pixels, its factor per update, and the first blur around given starts.
SIGMA, _LEAST, _DECAY, GIVEN_SIGMA = 3.0, 0.5, 0.95, 1.0
#: A start below this R-factor has converged.
CONVERGED = 5e-4
#: Entries of iterates at once: what a CPU's cache holds, and enough to keep a GPU busy.
_ENTRIES, _ENTRIES_ON_GPU = 2**17, 2**25


@dataclass
class Problem:
    """Items to solve, on the detector's torus, in units of the root mean square of their magnitudes."""

    magnitudes: Tensor  # (B, *M)
    fitted: Tensor  # (B, *M), bool: pixels that the solver sees
    support: Tensor  # (B, *M), bool: the first support, or the fixed one
    real: bool
    shrinks: bool
    sigma: float = SIGMA  # of the first blur
    further: tuple[Projection, ...] = ()  # constraints besides the support
    whole: bool = False  # the support is the whole frame, and need not be imposed

    def items(self, index: Tensor) -> Problem:
        """Return some of the items."""
        parts = (self.magnitudes[index], self.fitted[index], self.support[index])
        return Problem(*parts, self.real, self.shrinks, self.sigma, self.further, self.whole)

    def constraint(self, support: Support) -> Projection:
        """Return the projection onto everything that is known of the objects."""
        return Both(*self.further) if self.whole else Both(*self.further, support)


@dataclass
class State:
    """Iterates of every item and start."""

    x: Tensor  # (B, K, *M)
    support: Tensor  # (B, K, *M), bool
    residual: Tensor  # (B, K): R-factor of the estimate on the fitted pixels
    line: Tensor  # (B, K): starts of different lines never exchanged anything
    history: list[Tensor] = field(default_factory=list)  # (B, K) of every iteration


def lines_of(starts: int) -> Tensor:
    """Return the line of every start: two lines from four starts on, else every start its own, (K,)."""
    number = torch.arange(starts)
    return number if starts < 4 else (number >= starts // 2).long()


def first_state(problem: Problem, starts: Tensor) -> State:
    """Return the state before the first iteration, from starts (B, K, *M) or (1, K, *M)."""
    count, starts_each = len(problem.magnitudes), starts.shape[1]
    shape = (count, *starts.shape[1:])
    support = problem.support[:, None].expand(shape).contiguous()
    residual = problem.magnitudes.new_full((count, starts_each), math.inf)
    line = lines_of(starts_each).to(residual.device).expand(count, starts_each)
    return State(starts.expand(shape).contiguous(), support, residual, line)


def advance(
    problem: Problem, state: State, active: Tensor, method: Method, begin: int, count: int, total: int,
    tick: Callable[[int], None],
) -> None:  # fmt: skip
    """Run ``count`` iterations of the active starts, (B, K) bool, and append to the history.

    Args:
        problem: The items.
        state: Changed in place.
        active: Other starts stay, and repeat their last R-factor in the history.
        method: The algorithm.
        begin: Iterations done before.
        count: Iterations to do, at most ``PHASE``.
        total: Iterations of the round.
        tick: Called with the number of iterates times iterations that are done.
    """
    starts = state.x.shape[1]
    pixels = math.prod(state.x.shape[2:])
    limit = _ENTRIES if state.x.device.type == "cpu" else _ENTRIES_ON_GPU
    pairs = active.flatten().nonzero().flatten()
    flat = State(state.x.flatten(0, 1), state.support.flatten(0, 1), state.residual.flatten(), state.line.flatten())
    history = flat.residual.repeat(count, 1)
    for chunk in pairs.split(max(1, limit // pixels)):
        part = problem.items(chunk // starts)
        trace = _run_chunk(part, flat, chunk, starts, method, begin, count, total)
        history[:, chunk] = trace
        flat.residual[chunk] = trace[-1]
        tick(len(chunk) * count)
    state.x, state.support = (z.reshape(state.x.shape) for z in (flat.x, flat.support))
    state.residual = flat.residual.reshape(state.residual.shape)
    state.history += [*history.reshape(count, *state.residual.shape)]


def _run_chunk(
    part: Problem, flat: State, chunk: Tensor, starts: int, method: Method, begin: int, count: int,
    total: int,
) -> Tensor:  # fmt: skip
    """Run iterations of some pairs of item and start; return their R-factors, (count, pairs)."""
    magnitudes = Magnitudes(part.magnitudes, part.fitted, real=part.real)
    measure = Residual(part.magnitudes, part.fitted, real=part.real)
    support = Support(flat.support[chunk])
    if part.shrinks:
        place = (chunk % starts).to(part.magnitudes.dtype)
        spread = _SPREAD ** (2 * place / (starts - 1) - 1) if starts > 1 else torch.ones_like(place)
        sigma = max(_LEAST, part.sigma * _DECAY ** (begin // _SHRINK))
        support = ShrinkWrap(support.mask, threshold=_THRESHOLD * spread, sigma=sigma, decay=_DECAY, least=_LEAST)
    constraint = part.constraint(support)
    x, trace = flat.x[chunk], [flat.residual[chunk]]
    for iteration in range(begin + 1, begin + count + 1):
        polish = method.polished and (iteration - 1) % _CYCLE >= _CYCLE - _POLISH
        if polish:
            x = error_reduction(x, magnitudes, constraint)
        elif method.cooled:
            x = method.step(x, magnitudes, constraint, beta=cooling(iteration / total))
        else:
            x = method.step(x, magnitudes, constraint)
        if iteration % _CHECK and 1 < iteration < begin + count:
            trace.append(trace[-1])
            continue
        point = near(x, magnitudes, constraint, method)
        trace.append(measure(magnitudes.spectrum(constraint(point))))
        if isinstance(support, ShrinkWrap) and iteration % _SHRINK == 0:
            support.update(point)
    flat.x[chunk] = x
    flat.support[chunk] = support.mask
    return torch.stack(trace[1:])


def near(x: Tensor, magnitudes: Projection, constraint: Projection, method: Method) -> Tensor:
    """Return an estimate with the measured magnitudes. It meets the constraint once the method has converged."""
    return magnitudes(constraint(x).mul_(2).sub_(x) if method.step is relaxed_reflections else x)


def estimate(problem: Problem, state: State, method: Method) -> Tensor:
    """Return the answer of every start, (B, K, *M)."""
    starts = state.x.shape[1]
    answers = []
    for i in range(len(state.x)):
        part = problem.items(torch.full((starts,), i, device=state.x.device))
        constraint = problem.constraint(Support(state.support[i]))
        magnitudes = Magnitudes(part.magnitudes, part.fitted, real=problem.real)
        answers.append(constraint(near(state.x[i], magnitudes, constraint, method)))
    return torch.stack(answers)


def exchange(state: State) -> None:
    """Let the worse half of every line go on from a copy of its best start.

    A copy soon differs from its original, for starts differ in shrink-wrap's threshold.
    """
    for line in state.line[0].unique().tolist():
        members = (state.line[0] == line).nonzero().flatten()
        if len(members) < 2:
            continue
        residual = state.residual[:, members]
        best = members[residual.argmin(1)]
        rank = residual.argsort(1).argsort(1)
        worse = (rank >= (len(members) + 1) // 2) & (residual > CONVERGED)
        for item, place in worse.nonzero().tolist():
            to, source = int(members[place]), int(best[item])
            state.x[item, to] = state.x[item, source]
            state.support[item, to] = state.support[item, source]
            state.residual[item, to] = state.residual[item, source]


def support_around(x: Tensor) -> Tensor:
    """Return the first support around given starts (B, *M), by one step of shrink-wrap."""
    blurred = blur(x.abs(), GIVEN_SIGMA)
    return blurred > _THRESHOLD * per_item(blurred.flatten(1).amax(1), x.dim() - 1)


def exchanges(begin: int) -> bool:
    """Return whether starts are exchanged after so many iterations of a round."""
    return begin >= _ALONE
