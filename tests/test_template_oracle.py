"""Templates against an oracle in NumPy that tries every admissible element and shares no code with the library."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from draws import COMPLEX, REAL, Drawn, cases
from finite_groups import ChannelTurns, Conjugation, QuarterTurns
from hypothesis import event, given
from hypothesis import strategies as st

from torch_symbreak.canonical import AlignToTemplate
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Product, Sign, Symmetry, Translation


@dataclass(frozen=True)
class Setting:
    """A group in words: the oracle reads them, and :meth:`product` says the same to the library."""

    shifts: bool
    flips: bool
    scalar: str  # "none", "sign" or "phase"
    finite: tuple[str, ...]
    periodic: tuple[bool, ...]
    threshold: float

    def product(self, frame: tuple[int, ...], channel_dims: int) -> Product:
        dims = {"event_dims": len(frame), "channel_dims": channel_dims}
        wrap = tuple(n if turns else 2 * n for n, turns in zip(frame, self.periodic, strict=True))
        parts: list[Symmetry] = []
        parts += [Translation(**dims, wrap=wrap, threshold=self.threshold)] if self.shifts else []
        parts += [ConjugateFlip(**dims, wrap=wrap, threshold=self.threshold)] if self.flips else []
        parts += {"none": [], "sign": [Sign(**dims)], "phase": [GlobalPhase(**dims)]}[self.scalar]
        kinds = {"channels": ChannelTurns, "conjugation": Conjugation, "quarter turns": QuarterTurns}
        return Product([*parts, *(kinds[name](**dims) for name in self.finite)])


def finite_images(x: np.ndarray, names: tuple[str, ...]) -> Iterator[np.ndarray]:
    """Apply every combination of elements of the finite groups."""
    if not names:
        yield x
        return
    images = {
        "channels": lambda: [np.roll(x, k, 0) for k in range(3)],
        "conjugation": lambda: [x, x.conj()],
        "quarter turns": lambda: [np.rot90(x, k, (-2, -1)) for k in range(4)],
    }[names[0]]()
    for image in images:
        yield from finite_images(image, names[1:])


def extent(content: np.ndarray, periodic: bool) -> tuple[int, int]:
    """The first index and the length of the one shortest interval or arc that covers the content, else the axis."""
    size, wanted = len(content), set(np.nonzero(content)[0])
    for length in range(1, size + 1):
        places = range(size if periodic else size - length + 1)
        fitting = [lo for lo in places if wanted <= {(lo + k) % size for k in range(length)}]
        if fitting:
            return (fitting[0], length) if len(fitting) == 1 else (0, size)
    raise AssertionError("the whole axis covers everything")


def images(x: np.ndarray, setting: Setting, channel_dims: int) -> Iterator[np.ndarray]:
    """All points of the orbit of x that keep its content in the frame, but for a scalar."""
    axes = tuple(range(channel_dims, x.ndim))
    for turned in finite_images(x, setting.finite):
        content = np.abs(turned) > setting.threshold * np.abs(turned).max()
        boxes = [
            extent(content.any(tuple(a for a in range(x.ndim) if a != axis)), turns)
            for axis, turns in zip(axes, setting.periodic, strict=True)
        ]
        for flipped in (False, True) if setting.flips else (False,):
            # Entry n goes to n + t, or to t - n with a flip.
            image = np.roll(np.flip(turned, axes), 1, axes).conj() if flipped else turned
            ranges = []
            for size, (lo, length), turns in zip(x.shape[channel_dims:], boxes, setting.periodic, strict=True):
                hi = lo + length - 1
                if not setting.shifts:
                    ranges.append([lo + hi if flipped else 0])
                elif turns:
                    ranges.append(range(size))
                else:
                    ranges.append([place + hi if flipped else place - lo for place in range(size - length + 1)])
            for shift in itertools.product(*ranges):
                yield np.roll(image, shift, axes)


def nearest(x: np.ndarray, t: np.ndarray, setting: Setting, channel_dims: int) -> tuple[float, np.ndarray, bool]:
    """The largest Re <g x, t>, the point g x, and whether all points that gain as much are the same."""
    gains, points = [], []
    for image in images(x, setting, channel_dims):
        c = np.vdot(t, image)
        scalars = {"none": [1.0], "sign": [1.0, -1.0], "phase": [np.conj(c) / abs(c) if c else 1.0]}[setting.scalar]
        gains += [(u * c).real for u in scalars]
        points += [u * image for u in scalars]
    best = int(np.argmax(gains))
    close = np.asarray(gains) > gains[best] - 1e-5 * np.linalg.norm(x) * np.linalg.norm(t)
    alike = [np.allclose(points[i], points[best], atol=1e-6 * np.abs(x).max()) for i in np.nonzero(close)[0]]
    return gains[best], points[best], all(alike)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Drawn, Setting, torch.dtype]:
    """Draw items, a group that can act on them, and the template's dtype."""
    channel_dims = draw(st.integers(0, 1))
    case = draw(cases(COMPLEX + REAL, channel_dims=channel_dims))
    is_complex, d = case.dtype.is_complex, case.event_dims
    shifts, flips = draw(st.booleans()), draw(st.booleans())
    scalar = draw(st.sampled_from(["none", "phase"] if is_complex else ["none", "sign"]))
    allowed = ["channels"] if channel_dims else []
    allowed += ["conjugation"] if is_complex and scalar == "none" else []
    allowed += ["quarter turns"] if d == 2 and not shifts and not flips else []
    finite = tuple(name for name in allowed if draw(st.booleans()))
    if not (shifts or flips or finite or scalar != "none"):
        shifts = True
    if "channels" in finite:
        case = replace(case, channels=(3,))
    if "quarter turns" in finite:
        n = case.frame[0]
        case = replace(case, frame=(n, n), content=(n, n), position=(0, 0))
    periodic = draw(st.sampled_from([(case.wrap,) * d, (True, False, True)[:d], (False, True, False)[:d]]))
    setting = Setting(shifts, flips, scalar, finite, periodic, draw(st.sampled_from([1e-4, 0.05])))
    real = is_complex and scalar == "none" and "conjugation" not in finite and draw(st.booleans())
    return case, setting, case.dtype.to_real() if real else case.dtype


@given(problems())
def test_equals_the_exhaustive_search(problem: tuple[Drawn, Setting, torch.dtype]) -> None:
    case, setting, dtype = problem
    x = case.make().reshape(-1, *case.channels, *case.frame)
    if setting.threshold == 0.05:  # a faint background, which wraps with the shifts and counts in the gains
        x = x + 0.01 * x.abs().max() * torch.randn(x.shape, dtype=x.dtype, generator=case.generator) / 4
    template = torch.randn(*case.channels, *case.frame, dtype=dtype, generator=case.generator)
    fix = AlignToTemplate(template, setting.product(case.frame, len(case.channels)))
    rounding = 1e-5 if case.dtype in (torch.float32, torch.complex64) else 1e-9
    event(f"{setting.scalar}, {setting.finite}, shifts {setting.shifts}, flips {setting.flips}")
    for item, ours in zip(x.numpy(), fix(x).numpy(), strict=True):
        gain, point, unique = nearest(item, template.numpy(), setting, len(case.channels))
        limit = rounding * np.linalg.norm(item) * np.linalg.norm(template)
        assert abs(np.vdot(template.numpy(), ours).real - gain) <= limit
        if unique:
            assert np.abs(ours - point).max() <= rounding * np.abs(item).max()
