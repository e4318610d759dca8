"""Find the targets in a file and how they are stored. Ask where names or shapes leave a choice.

A target is real or complex. A complex one is stored as one complex array, as two arrays (real and imaginary parts, or
magnitude and phase), or as a real array of which one axis holds real and imaginary parts. One word per axis says where
the targets lie, as in ``n,y,x,r``: n counts targets, r holds real and imaginary parts, any of u to z is an axis of a
target. nr and rn are both in one axis: re, im, re, im, ... and all re, then all im.
"""

from __future__ import annotations

import functools
import glob
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import check_choice
from torch_symbreak.io.formats.base import Array, Format, Index, Sink, check_memory, is_ours

Kind = Literal["plain", "channels", "parts", "polar"]
#: One word per axis.
Axes = tuple[str, ...]

_MAGNITUDES = ("magnitude", "mag", "amplitude", "amp", "abs", "modulus")
#: How the two of a pair are called, whatever the case of the letters.
_PAIRS: dict[tuple[str, ...], Kind] = {
    **dict.fromkeys([("real", "imag"), ("real", "imaginary"), ("re", "im"), ("r", "i")], "parts"),
    **dict.fromkeys(itertools.product(_MAGNITUDES, ("phase", "angle", "arg")), "polar"),
}
_HALVES = {word for pair in _PAIRS for word in pair}
#: Words in the names of what was measured, with CXI's groups of data, and in those of targets.
_MEASURED = re.compile(
    r"amplitudes|detector|diffraction|fft|fourier|ft|intensit(y|ies)|kspace|measure(d|ments?)|patterns?|probe|"
    r"reciprocal|spectrum"
)
_NO_INTENSITIES = re.compile(r"masks?|supports?|flags?|magnitudes?|mag|amplitudes?|amp|abs|modul(us|i)|phases?|angles?")
_INTENSITIES = "intensities, which are real. From Fourier values save abs(values) ** 2."
_TARGETS = re.compile(r"density|images?|obj(ects?)?|samples?|specimen|targets?|truth")

#: Names in one message, and lines to type.
_MOST, _OFFERS = 12, 3

_WORDS: dict[Kind, str] = {
    "plain": "one array",
    "channels": "two channels, real and imaginary parts",
    "parts": "two arrays, real and imaginary parts",
    "polar": "two arrays, magnitude and phase",
}


@dataclass(frozen=True)
class Layout:
    """Say which arrays of a file are the targets, and how."""

    keys: tuple[str, ...]  # as many as dtypes, or as many for each of several arrays that are read as one
    kind: Kind
    shape: tuple[int, ...]  # of one array
    dtypes: tuple[np.dtype[Any], ...]
    grid: tuple[int, ...]  # per axis of shape
    axes: Axes  # N is an n that comes first

    @functools.cached_property
    def _order(self) -> list[int]:
        """The letters of all axes: batch, real and imaginary parts, event."""
        letters = "".join(self.axes)
        return sorted(range(len(letters)), key=lambda place: "Nnr".find(letters[place]) % 4)

    def _spread(self, shape: Sequence[int]) -> list[int]:
        """The size of each letter."""
        return [
            size if len(word) == 1 else 2 if letter == "r" else size // 2
            for word, size in zip(self.axes, shape, strict=True)
            for letter in word
        ]

    def _of(self, wanted: str, sizes: Sequence[int]) -> tuple[int, ...]:
        """The sizes of some letters, in order, from those of all."""
        letters = "".join(self.axes)
        return tuple(sizes[place] for place in self._order if letters[place] in wanted)

    @functools.cached_property
    def _groups(self) -> list[tuple[str, ...]]:
        """The keys of each array of targets."""
        return list(zip(*[iter(self.keys)] * len(self.dtypes), strict=True))

    @functools.cached_property
    def batch(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return (len(self._groups),) * (len(self._groups) > 1) + self._of("Nn", self._spread(self.shape))

    @functools.cached_property
    def batch_grid(self) -> tuple[int, ...]:
        """Per axis of the batch, how many entries are read and written as one piece."""
        pieces = [
            size if word == "rn" else math.lcm(grid, len(word)) // len(word)
            for word, grid, size in zip(self.axes, self.grid, self.shape, strict=True)
            for _ in word
        ]
        return (1,) * (len(self._groups) > 1) + self._of("Nn", pieces)

    @functools.cached_property
    def event(self) -> tuple[int, ...]:
        """The shape of one target."""
        return self._of(_LETTERS, self._spread(self.shape))

    @property
    def dtype(self) -> torch.dtype:
        """Return the targets' dtype in memory. Half precision becomes single."""
        parts = [dtype[0] if dtype.names is not None else np.empty(0, dtype).real.dtype for dtype in self.dtypes]
        dtype = torch.complex128 if any(part.itemsize > 4 for part in parts) else torch.complex64
        return dtype.to_real() if self.kind == "plain" and not _is_complex(self.dtypes[0]) else dtype

    @functools.cached_property
    def largest(self) -> float:
        """The largest number that all arrays can hold."""
        return min(float(np.finfo(dtype[0] if dtype.names else dtype).max) for dtype in self.dtypes)

    def describe(self) -> str:
        """Say what the targets are: for ``symbreak info``."""
        what = f"{_targets(self.batch)} of {' x '.join(map(str, self.event)) or 'one number each'}"
        literal = self.axes == _literal(len(self.shape), len(self.event), self.kind == "channels")
        where = "" if literal else f" with axes {','.join(self.axes).lower()}"
        keys = ", ".join(shortened(self.keys))
        return f"{what}, {str(self.dtype)[6:]}, from {_WORDS[self.kind]}{where}: {keys}"

    def _cut(self, block: Index) -> tuple[list[tuple[str, ...]], Index]:
        """Return the keys that a block touches, and its index in each array."""
        if len(self._groups) == 1:
            return self._groups, self.index(block)
        return self._groups[block[0]] if block else self._groups, self.index(block[1:])

    def index(self, block: Index) -> Index:
        """The block of leading axes as an index of an array in the file."""
        index = [slice(0, size) for size in self.shape]
        axes = [axis for axis, word in enumerate(self.axes) for _ in word]
        for part, place in zip(block, self._order, strict=False):
            if (word := self.axes[axes[place]]) != "rn":  # which is never cut
                index[axes[place]] = slice(len(word) * part.start, len(word) * part.stop)
        return tuple(index)

    def first(self, block: Index) -> int:
        """The number of a block's first target, counted over the flattened batch."""
        return sum(part.start * math.prod(self.batch[axis + 1 :]) for axis, part in enumerate(block))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Reorder values of the file to (*batch, *event), or (*batch, 2, *event)."""
        return values.reshape(self._spread(values.shape)).transpose(self._order)

    def back(self, values: np.ndarray, index: Index) -> np.ndarray:
        """Undo :meth:`forward`, and any flattening of the batch."""
        shape = [part.stop - part.start for part in index]
        sizes = self._spread(shape)
        values = values.reshape([sizes[place] for place in self._order])
        return values.transpose(np.argsort(self._order)).reshape(shape)

    def read(self, file: Format, block: Index) -> Tensor:
        """Read a block of targets: (n, *event)."""
        groups, index = self._cut(block)
        join = torch.polar if self.kind == "polar" else torch.complex
        found = []
        for keys in groups:
            arrays = [self.forward(file.read(key, index)) for key in keys]
            if self.kind == "channels":
                arrays = [np.take(arrays[0], i, axis=-len(self.event) - 1) for i in (0, 1)]
            elif names := arrays[0].dtype.names:
                arrays = [arrays[0][name] for name in names]
            dtype = np.dtype(str(self.dtype if len(arrays) == 1 else self.dtype.to_real())[6:])
            # Of any byte order, and without a copy where none is needed.
            parts = [torch.from_numpy(np.require(array, dtype, ["C", "W"])) for array in arrays]
            found.append((parts[0] if len(parts) == 1 else join(*parts)).reshape(-1, *self.event))
        return found[0] if len(found) == 1 else torch.cat(found)

    def write(self, sinks: Sequence[Sink], x: Tensor, block: Index) -> None:
        """Write a block of targets, (n, *event), to the sinks of all keys."""
        groups, index = self._cut(block)
        into = dict(zip(self.keys, sinks, strict=True))
        for keys, part in zip(groups, x.reshape(len(groups), len(x) // len(groups), *self.event), strict=True):
            if self.kind == "plain":
                arrays = [part]
            elif self.kind == "channels":
                arrays = [torch.stack([part.real, part.imag], -len(self.event) - 1)]
            else:
                arrays = [part.abs(), part.angle()] if self.kind == "polar" else [part.real, part.imag]
            for key, array, dtype in zip(keys, arrays, self.dtypes, strict=True):
                values = self.back(array.numpy(), index)
                if dtype.names is not None:
                    pair, values = values, np.empty(values.shape, dtype)
                    values[dtype.names[0]], values[dtype.names[1]] = pair.real, pair.imag
                into[key](index, values.astype(dtype, copy=False))


def _targets(batch: Sequence[int], field: str = "") -> str:
    count = math.prod(batch)
    return f"{count} {field}target{'s' * (count != 1)}"


def _is_complex(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is complex: NumPy's own, or a compound of two equal floats with such names."""
    if dtype.names is None:
        return dtype.kind == "c" and dtype.itemsize <= 16
    fields = [dtype[name] for name in dtype.names]
    names = tuple(name.lower() for name in dtype.names)
    return _PAIRS.get(names) == "parts" and fields[0] == fields[1] and _is_real(fields[0])


def _is_real(dtype: np.dtype[Any], *, integers: bool = False) -> bool:
    return (dtype.kind == "f" and dtype.itemsize <= 8) or (integers and dtype.kind in "iu")


# ------------------------------------------------------------------------------------------------ which axes

_LETTERS = "xyzwvu"


def parse_axes(axes: str) -> Axes:
    """Return the words of "n,y,x,r", one per axis.

    Raises:
        ValueError: If a word is another one, or two axes have the same.
    """
    words = tuple(word.strip() for word in axes.split(","))
    once = [word for word in words if word != "n"]
    known = all(word in ("n", "r", "nr", "rn", *_LETTERS) for word in words)
    if not known or sum("r" in word for word in words) > 1 or len(set(once)) < len(once):
        raise ValueError(
            "axes needs one word per axis, as in n,y,x,r: n counts targets, r (at most one) holds real and imaginary "
            f"parts, nr or rn both, each of u to z is an axis of a target, but got {axes!r}."
        )
    return words


def count_event(words: Axes) -> int:
    """Return how many axes a target has."""
    return sum(word in _LETTERS for word in words)


def _literal(count: int, dims: int, channels: bool = False, batch_axis: int = 0) -> Axes:
    """The words of (*batch, *event), or (*batch, 2, *event), after the batch axis was moved to the front."""
    words = ["n"] * (count - dims - channels) + ["r"] * channels + [*_LETTERS[:dims][::-1]]
    if count and batch_axis % count:
        words.insert(batch_axis % count, words.pop(0).replace("n", "N"))
    return tuple(words)


def _placements(shape: tuple[int, ...], dims: int | None, matlab: bool) -> list[Axes]:
    """Return where batch and event may lie in an array without real and imaginary parts, the literal reading first."""
    d, k = len(shape), 2 if dims is None else dims

    def even(sizes: tuple[int, ...], least: int = 8) -> bool:
        return least <= min(sizes) and max(sizes) <= 2 * min(sizes)

    def last(k: int) -> bool:
        """Return whether the last axis may count the targets: a thin one, or one behind a square frame."""
        if d < max(k + 1, 3) or not k:
            return False
        frame, behind, other = shape[-k - 1 : -1], shape[-1], len(set(shape[-k:])) > 1
        thin = min(frame) >= 8 and (behind <= 4 or (even(frame) and 4 * behind <= min(frame)))
        return thin or (k > 1 and other and (len(set(frame)) == 1 or (matlab and even(frame))))

    table = (
        (k, 0, True),
        (3, 0, dims is None and d >= 3 and even(shape[-3:], 9)),  # a volume, or a stack of images
        (1, 0, dims is None and (d == 1 or (d == 2 and max(shape) > 4 * min(shape)))),  # signals, or one image
        (k, 1, last(k)),
        (3, 1, dims is None and last(3) and even(shape[-4:-1], 9)),
    )
    return [
        (*("n",) * (d - dims - behind), *_LETTERS[:dims][::-1], *("n",) * behind)
        for dims, behind, possible in table
        if possible and d >= dims + behind
    ]


def _readings(shape: tuple[int, ...], dims: int | None, split: bool, matlab: bool) -> Iterator[Axes]:
    """Return how an array may be meant by its shape; one that can be split may hold real and imaginary parts."""
    plain = _placements(shape, dims, matlab)
    for axis, size in enumerate(shape if split else ()):
        if size == 2 and (axis < len(shape) - 1 or len(shape) > 2 or shape[0] >= 8):
            rest = _placements(shape[:axis] + shape[axis + 1 :], dims, matlab)
            yield from ((*words[:axis], "r", *words[axis:]) for words in rest)
    yield from plain
    for words in plain if split and 2 not in shape else ():
        most = min(32, *(size for size, word in zip(shape, words, strict=True) if word != "n"))
        for axis in range(1, len(shape)):
            beside = any(word != "n" for word in words[axis - 1 : axis + 2])
            if words[axis] == "n" and beside and shape[axis] % 2 == 0 and 2 < shape[axis] <= most:
                yield from ((*words[:axis], both, *words[axis + 1 :]) for both in ("nr", "rn"))


def _settled(
    what: str, base: Layout, layout: str | None, dims: int | None, batch_axis: int | None, split: bool, matlab: bool
) -> Axes:
    """Choose an array's axes by its shape and by what was said, or raise ``ValueError`` with what can be said."""
    shape = base.shape
    if not -max(len(shape), 1) <= (batch_axis or 0) < max(len(shape), 1):
        raise ValueError(f"batch_axis={batch_axis} is outside an array of {len(shape)} dimensions.")
    literal = _literal(len(shape), 2 if dims is None else dims, layout == "channels", batch_axis or 0)

    def agrees(words: Axes) -> bool:
        before = [word for word, after in itertools.pairwise(words) if word not in _LETTERS and after in _LETTERS]
        return (
            (layout != "plain" or "r" not in "".join(words))
            and (layout != "channels" or before == ["r"])
            and (batch_axis is None or "n" in words[batch_axis])
            and 0 not in replace(base, axes=words).event
        )

    # Who said all three left no choice.
    said = None not in (layout, dims, batch_axis)
    choices = [] if said else [words for words in _readings(shape, dims, split, matlab) if agrees(words)]
    same = tuple(word.lower() for word in literal)
    if choices in ([], [same]):
        return literal
    if len(choices) == 1 and dims is not None:
        return choices[0]
    offers = [
        f"axes={','.join(each.axes)!r} for {_targets(each.batch, 'complex ' if each.dtype.is_complex else 'real ')} of "
        f"{' x '.join(map(str, each.event))}"
        for each in (replace(base, axes=words, kind=_kind(base.kind, words)) for words in choices)
    ]
    raise _asked(ValueError(f"{what} has shape {shape}. Say which axis is what"), offers)


def _asked(error: Exception, offers: list[str]) -> Exception:
    """Add to an error the likeliest offers, as many as fit a few lines. Its notes list all."""
    more = f", and {len(offers) - _OFFERS} more, which symbreak info lists" if len(offers) > _OFFERS else ""
    asked = type(error)(f"{error.args[0]}: {', or '.join(offers[:_OFFERS])}{more}.")
    for offer in offers:
        asked.add_note(offer)
    return asked


def _kind(kind: Kind, words: Axes) -> Kind:
    return "channels" if "r" in "".join(words) else kind


def find(
    file: Format,
    *,
    key: str | None = None,
    layout: str | None = None,
    event_dims: int | None = None,
    batch_axis: int | None = None,
    axes: str | None = None,
    real: bool = False,
    measured: bool = False,
) -> tuple[Layout, str]:
    """Find the targets in a file, and say why these.

    What is not said is found. Where names or shapes allow several readings, the error lists what to say.

    Args:
        file: An open file.
        key: An array, the two arrays of a pair with a comma between, or a group that holds one pair or arrays of one
            shape. Of several arrays, as ``scan_*/object`` names them, each is one target or a batch of them. Default:
            the file's only complex target; if it has none, its only real array.
        layout: "plain", "channels" (real, (*batch, 2, *event)), "parts" or "polar". Default: found.
        event_dims: Trailing dimensions of one target, after the batch axis was moved to the front. Default: 2, if the
            shape leaves no doubt.
        batch_axis: Default: 0, likewise.
        axes: One word per axis, as in "n,y,x,r". n counts targets, each of u to z is an axis of a target, r holds real
            and imaginary parts, nr and rn hold both in one axis.
        real: Count real targets only. Default False.
        measured: Find measured intensities instead, real or whole numbers. Default False.

    Raises:
        KeyError: If the key is missing, or needed; the message says what is there.
        TypeError: If the array's dtype cannot be that of a target.
        ValueError: If the shape does not fit, or leaves a choice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torch_symbreak.io import open_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.zeros((5, 8, 8), np.complex64))
        ...     layout, reason = find(open_file(Path(folder, "x.npy")))
        >>> layout.describe()
        '5 targets of 8 x 8, complex64, from one array: array'
    """
    if layout is not None:
        check_choice("layout", layout, get_args(Kind))
    if event_dims is not None and event_dims < 0:
        raise ValueError(f"A target has 0 axes or more, but got event_dims={event_dims}.")
    words = None if axes is None else parse_axes(axes)
    if words is not None:
        if batch_axis is not None:
            raise ValueError(f"axes={axes!r} says which axis counts the targets. Leave out batch_axis=.")
        if event_dims not in (None, count_event(words)):
            raise ValueError(f"axes={axes!r} has targets of {count_event(words)} dimensions, not {event_dims}.")
        if layout in ("plain", "channels") and layout != _kind("plain", words):
            raise ValueError(f"axes={axes!r} and layout={layout!r} contradict each other. Leave out layout=.")
        event_dims = count_event(words)
    arrays = {name: array for name, array in file.arrays.items() if not is_ours(name)}
    kind: Kind | None = "plain"
    if key is not None:
        groups, kind = _named(file, arrays, key)
        reason = "the key names it" if len(groups) == 1 else "the key names them"
        if measured and len(groups[0]) > 1:
            raise KeyError(f"Intensities are one array, but got key={key!r}. Name that array.")
    else:
        least = len(words) if words is not None else 2 if event_dims is None else event_dims
        keys, kind, reason = _only(file, arrays, least, real, measured)
        groups = [keys]
    names = [name for group in groups for name in group]
    what = f"{', '.join(shortened(names))} of {file.path}"
    if len(groups[0]) == 1 and layout in ("parts", "polar"):
        raise ValueError(f"layout={layout!r} needs two arrays, but got {what}. Give key='A,B'.")
    if len(groups[0]) == 2:
        if layout not in (None, "parts", "polar"):
            raise ValueError(f"layout={layout!r} is that of one array, but got {what}. Give one key.")
        kind = layout or kind  # type: ignore[assignment]
        if kind is None:
            raise ValueError(f"{what} may be parts or polar. Say which: layout='parts' or layout='polar'.")
    assert kind is not None
    first = [arrays[name] for name in groups[0]]
    for group in groups:
        for name, like in zip(group, first, strict=True):
            array, is_complex = arrays[name], _is_complex(arrays[name].dtype)
            if measured and is_complex:
                raise TypeError(f"{name} of {file.path} is complex, but solve wants {_INTENSITIES}")
            if not (_is_real(array.dtype, integers=measured) or (len(group) == 1 and is_complex)):
                fault = (
                    "which cannot be that of a target. Save it as complex64 or float32, or name another array: key=."
                )
                fault = "but solve wants integers or floats." if measured else fault
                raise TypeError(f"{name} of {file.path} has dtype {array.dtype}, {fault}")
            if array.shape != first[0].shape or array.dtype != like.dtype:
                raise ValueError(f"{what} are not of one shape and dtype: {_inventory({n: arrays[n] for n in names})}.")
    shape, dtypes = first[0].shape, tuple(array.dtype for array in first)
    split = kind == "plain" and _is_real(dtypes[0])
    if split and layout is None:
        _check_whole(file, names)
    found = Layout(tuple(names), kind, shape, dtypes, first[0].grid, ())
    if real and (found.dtype.is_complex or layout == "channels" or (words and _kind(kind, words) == "channels")):
        raise TypeError(f"{what} is complex, but the targets of this model are real.")
    if words is None:
        matlab = file.path.suffix.lower() == ".mat"
        words = _settled(what, found, layout, event_dims, batch_axis, split and not real, matlab)
    if _kind(kind, words) == "channels" and not split:
        raise TypeError(f"Real and imaginary parts in one array need a real one, but {what} has dtype {dtypes[0]}.")
    sizes = dict(zip(words, shape, strict=False))
    if len(words) != len(shape) or sizes.get("r", 2) != 2 or sizes.get("nr", 2) % 2 or sizes.get("rn", 2) % 2:
        raise ValueError(
            f"{what} has shape {shape}, whose axes cannot be {','.join(words).lower()}. Say what they are: axes= or "
            "event_dims=."
        )
    found = replace(found, axes=words, kind=_kind(kind, words))
    if 0 in found.event:
        raise ValueError(f"{what} has shape {shape}, which holds no entries of targets.")
    check_memory(f"One target of {file.path}", Array(found.event, np.dtype(str(found.dtype)[6:]), ()))
    return found, reason


def find_intensities(
    file: Format, *, key: str | None = None, event_dims: int | None = None, axes: str | None = None
) -> tuple[Layout, str]:
    """Find measured intensities, real or whole numbers, as :func:`find` does targets. Its errors speak of patterns."""
    if axes is not None and any("r" in word for word in parse_axes(axes)):
        raise ValueError(f"Intensities have no real and imaginary parts, but got axes={axes!r}. Leave out r.")
    try:
        return find(file, key=key, layout="plain", event_dims=event_dims, axes=axes, real=True, measured=True)
    except (TypeError, ValueError) as error:
        raise type(error)(re.sub(r"\btarget(s?)\b", r"pattern\1", str(error))) from None


# ------------------------------------------------------------------------------------------------ which arrays


def _words_of(key: str) -> list[str]:
    """The words of a name, and of the groups above it, in lower case."""
    return [word.lower() for word in re.findall(r"/|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+", key)]


def _called(kind: re.Pattern[str], *keys: str) -> bool:
    return any(kind.fullmatch(word) for key in keys for word in _words_of(key))


def _pairs(arrays: dict[str, Array]) -> list[tuple[tuple[str, ...], Kind]]:
    """All pairs of arrays of one shape whose names differ in one word only, and these words make a pair."""
    alike: dict[Any, list[tuple[str, str]]] = {}
    for key, array in arrays.items():
        words = _words_of(key)
        for place, word in enumerate(words):
            # Of single letters only r and i themselves: x_i may be the i-th.
            if word in _HALVES and (len(word) > 1 or key.rpartition("/")[2].lower() == word):
                alike.setdefault((*words[:place], "", *words[place + 1 :], array.shape), []).append((word, key))
    return [
        ((first, second), _PAIRS[a, b])
        for found in alike.values()
        for (a, first), (b, second) in itertools.permutations(found, 2)
        if (a, b) in _PAIRS
    ]


def _check_whole(file: Format, keys: Sequence[str]) -> None:
    """Raise ``ValueError`` if an array is one half of a target by its name, whatever the dtype of the other half."""
    for pair, kind in _pairs({name: array for name, array in file.arrays.items() if array.dtype.kind in "fiu"}):
        if set(pair) & set(keys):
            alone = next(iter(set(pair) & set(keys))) if len(keys) == 1 else "what was named"
            both = ",".join(pair if len(keys) == 1 else map(_pattern, pair))
            raise ValueError(
                f"{' and '.join(pair)} of {file.path} look like {_WORDS[kind].partition(', ')[2]} of one target, and "
                f"{alone} alone would be changed. Say which: key={both!r} for the pair, or layout='plain' for {alone} "
                "alone."
            )


def _only(
    file: Format, arrays: dict[str, Array], least: int, real: bool, measured: bool
) -> tuple[tuple[str, ...], Kind, str]:
    """Return the one choice that a file leaves, and why."""
    # Files of MATLAB hold single numbers as 1 x 1.
    large = {
        key: array
        for key, array in arrays.items()
        if len(array.shape) >= least and (not least or max(array.shape) != 1)
    }
    reals = {key: array for key, array in large.items() if _is_real(array.dtype, integers=measured)}
    whole = [key for key, array in large.items() if _is_complex(array.dtype) and not real]
    if measured:
        return (
            _only_intensities(file, arrays, least, [*reals]),
            "plain",
            f"the only real array of at least {least} dimensions",
        )
    plain: Kind = "plain"
    pairs = [] if real else _pairs(reals)
    for found, noun in (
        ([*(((key,), plain) for key in whole), *pairs], "complex target"),
        ([((key,), plain) for key in reals], "real array"),
    ):
        choices: dict[tuple[str, ...], Kind] = dict(found)
        if len(choices) > 1:
            why = f"{file.path} holds {len(choices)} that could be the targets. Say which"
            raise _asked(KeyError(why), _offers(arrays, choices))
        for keys, kind in choices.items():
            others = [(key,) for key in (*whole, *reals) if key not in keys]
            named = _called(_TARGETS, *(key for (key,) in others)) and not _called(_TARGETS, keys[0])
            # Groups of data in CXI and NeXus hold what was measured; an entry's data by itself may, if it is real.
            groups = r"(^|/)data(_\d+)?/|^entry(_\d+)?/data$" if noun == "real array" else r"(^|/)data(_\d+)?/"
            hidden = file.hidden if noun == "real array" else ()
            if hidden:
                why = f"{', '.join(hidden)} may hold targets inside"
            elif _called(_MEASURED, keys[0]) or re.search(groups, keys[0]):
                why = "by its name it was measured"
            elif named:
                why = "others are named like targets"
            else:
                return keys, kind, f"the only {noun} of at least {least} dimensions"
            why = f"{','.join(keys)} of {file.path} is the only {noun}, but {why}. Say which"
            raise _asked(KeyError(why), _offers(arrays, [keys, *others]))
    if len(arrays) == 1 and not file.hidden:  # whose own error says more
        return (next(iter(arrays)),), "plain", "the only array"
    unread = f"; {', '.join(file.hidden)}, whose inside is not read" if file.hidden else ""
    raise KeyError(f"{file.path} holds no array that could be the targets. It holds {_inventory(arrays)}{unread}.")


def _only_intensities(file: Format, arrays: dict[str, Array], least: int, found: list[str]) -> tuple[str]:
    if not found:
        fault = (
            f"no integers or floats, of at most 64 bits, of at least {least} dimensions. It holds {_inventory(arrays)}."
        )
        if any(_is_complex(array.dtype) for array in arrays.values()):
            fault = f"only complex arrays, but solve wants {_INTENSITIES} It holds {_inventory(arrays)}."
        raise KeyError(f"{file.path} holds {fault}")
    offers = _offers(arrays, [(name,) for name in found], measured=True)
    if len(found) > 1:
        raise _asked(KeyError(f"{file.path} holds {len(found)} arrays that may be the intensities. Say which"), offers)
    if _called(_NO_INTENSITIES, *found) or _called(_TARGETS, *found):
        raise KeyError(
            f"{found[0]} of {file.path} is the only real array, but by its name it holds no intensities. If it does: "
            f"{offers[0]}. If it holds magnitudes, save their squares first."
        )
    return (found[0],)


def _offers(arrays: dict[str, Array], choices: Iterable[tuple[str, ...]], *, measured: bool = False) -> list[str]:
    """Return what to say for each of several choices, the likeliest first, and for many that are called alike."""

    def likeliest(keys: tuple[str, ...]) -> tuple[int, list[Any]]:
        order = _called(_MEASURED, *keys) - _called(_TARGETS, *keys)
        if measured:  # a detector's mask is called by both names
            order = 2 * _called(_NO_INTENSITIES, *keys) - order
        return order, [_natural(key) for key in keys]

    alike: dict[str, list[tuple[str, ...]]] = {}
    for keys in sorted(choices, key=likeliest):
        alike.setdefault(",".join(map(_pattern, keys)), []).append(keys)
    offers = []
    for pattern, members in alike.items():
        matched = [_matching(arrays, part) for part in pattern.split(",")]
        kinds = {tuple((arrays[key].shape, arrays[key].dtype) for key in keys) for keys in members}
        if len(members) > 1 and len(kinds) == 1 and list(zip(*matched, strict=False)) == members:
            offers.append(f"key={pattern!r} for all {len(members)} together")
        offers += [f"key={','.join(keys)!r}" for keys in members]
    return offers


def _named(file: Format, arrays: dict[str, Array], key: str) -> tuple[list[tuple[str, ...]], Kind | None]:
    """The arrays of targets that a key names."""
    names = [file.resolve(key)]
    if names[0] not in arrays:
        names = [file.resolve(part.strip()) for part in key.split(",")]
    columns = [[name] if name in arrays else _matching(arrays, name) for name in names]
    if len(names) == 1 and not columns[0]:
        inside = _matching(arrays, f"{glob.escape(names[0])}/*")
        pairs = _pairs({name: arrays[name] for name in inside if _is_real(arrays[name].dtype)})
        if len(pairs) == 1:
            return [pairs[0][0]], pairs[0][1]
        columns = [inside]
    if len(columns) > 2 or not columns[0] or len({len(column) for column in columns}) > 1:
        raise KeyError(f"{file.path} has no array {key!r}. It holds {_inventory(arrays)}.")
    groups = list(zip(*columns, strict=True))
    if any(len({*group}) < len(group) for group in groups):
        raise KeyError(f"key={key!r} names one array twice. Name two, or one.")
    kinds = dict(_pairs({name: arrays[name] for name in groups[0]}))
    return groups, "plain" if len(columns) == 1 else kinds.get(groups[0])


def _matching(arrays: dict[str, Array], pattern: str) -> list[str]:
    """The names that a pattern matches, scan_2 before scan_10; a star ends at a slash."""
    level = pattern.count("/")
    found = [name for name in arrays if name.count("/") == level and fnmatchcase(name, pattern)]
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def shortened(names: Iterable[str]) -> list[str]:
    """Shorten a list of names: of four or more alike names keep the first and the last."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_pattern(name), []).append(name)
    return [
        label for found in alike.values() for label in (found if len(found) < 4 else [f"{found[0]} ... {found[-1]}"])
    ]


def inventory(arrays: dict[str, Array]) -> list[str]:
    """Lines that say what arrays there are, one for many that are alike."""
    alike: dict[Any, list[str]] = {}
    for name in sorted(arrays, key=_natural):
        alike.setdefault((_pattern(name), f"{arrays[name].dtype}, {arrays[name].shape}"), []).append(name)
    return [
        f"{label}: {f'{len(names)} arrays of ' if ' ... ' in label else ''}{what}"
        for (_, what), names in alike.items()
        for label in shortened(names)
    ]


def _inventory(arrays: dict[str, Array]) -> str:
    lines = inventory(arrays)
    return "; ".join([*lines[:_MOST], *["..."] * (len(lines) > _MOST)]) or "no arrays"


#: Bytes of targets that are read, changed and written at once.
BLOCK = 4 << 20


def blocks(layout: Layout, most: int) -> Sequence[Index]:
    """Cut the batch into blocks of about ``most`` bytes, along the format's grid, so that no two share a piece."""
    batch, grid = layout.batch, layout.batch_grid
    if not batch:
        return [()]
    item = math.prod(layout.event) * layout.dtype.itemsize
    axis = next((a for a in range(len(batch)) if math.prod(batch[a + 1 :]) * item <= most), len(batch) - 1)
    axis = next((a for a in range(axis) if grid[a] > 1), axis)
    rows = max(1, most // max(1, math.prod(batch[axis + 1 :]) * item))
    rows = math.ceil(rows / grid[axis]) * grid[axis]
    return [
        (*(slice(i, i + 1) for i in outer), slice(start, min(start + rows, batch[axis])))
        for outer in np.ndindex(batch[:axis])
        for start in range(0, batch[axis], rows)
    ]
