"""Where the targets are in a file, and how they are stored: found by looking, or told.

A target is real or complex. A complex one is stored as one complex array, as two arrays (real and imaginary parts, or
magnitude and phase), or as two real channels before the event: (*batch, 2, *event).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from torch_symbreak.io.formats import Array, Format, Index, is_ours

Kind = Literal["plain", "channels", "parts", "polar"]

_MAGNITUDES = ("magnitude", "mag", "amplitude", "amp", "abs", "modulus")
#: How the two of a pair are called, whatever the case of the letters.
_PAIRS: dict[tuple[str, str], Kind] = {
    ("real", "imag"): "parts",
    ("real", "imaginary"): "parts",
    ("re", "im"): "parts",
    ("r", "i"): "parts",
    **dict.fromkeys(itertools.product(_MAGNITUDES, ("phase", "angle", "arg")), "polar"),
}
_HALVES = {word for pair in _PAIRS for word in pair}
_COMPLEX_FIELDS = [pair for pair, kind in _PAIRS.items() if kind == "parts"]

_WORDS: dict[Kind, str] = {
    "plain": "one array",
    "channels": "two channels, real and imaginary parts",
    "parts": "two arrays, real and imaginary parts",
    "polar": "two arrays, magnitude and phase",
}


@dataclass(frozen=True)
class Layout:
    """Which arrays of a file are the targets, and how."""

    keys: tuple[str, ...]
    kind: Kind
    shape: tuple[int, ...]  # of one array, its batch axis first
    dtypes: tuple[np.dtype[Any], ...]
    grid: tuple[int, ...]  # per axis of shape
    event_dims: int
    batch_axis: int

    @property
    def batch(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return self.shape[: len(self.shape) - self.event_dims - (self.kind == "channels")]

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one target."""
        return self.shape[len(self.shape) - self.event_dims :]

    @property
    def dtype(self) -> torch.dtype:
        """That of the targets in memory; half precision is widened."""
        double = any(_part(dtype).itemsize > 4 for dtype in self.dtypes)
        if self.kind == "plain" and not _is_complex(self.dtypes[0]):
            return torch.float64 if double else torch.float32
        return torch.complex128 if double else torch.complex64

    def describe(self) -> str:
        """Say what the targets are: for ``symbreak info``."""
        count = math.prod(self.batch)
        event = " x ".join(map(str, self.event)) or "one number each"
        return f"{count} targets of {event}, {str(self.dtype)[6:]}, from {_WORDS[self.kind]}: {', '.join(self.keys)}"

    def index(self, block: Index) -> Index:
        """The block of leading axes as an index of the array in the file."""
        rest = self.shape[len(block) :]
        whole = [*block, *(slice(0, size) for size in rest)]
        if whole:
            whole.insert(self.batch_axis % len(whole), whole.pop(0))
        return tuple(whole)

    def read(self, file: Format, block: Index) -> Tensor:
        """Read a block of targets: (n, *event)."""
        arrays = [self._moved(file.read(key, self.index(block)), self.batch_axis, 0) for key in self.keys]
        if self.kind == "plain":
            x = _tensor(_native(arrays[0]), self.dtype)
        else:
            if self.kind == "channels":
                arrays = [np.take(arrays[0], i, axis=arrays[0].ndim - self.event_dims - 1) for i in (0, 1)]
            first, second = (_tensor(array, self.dtype.to_real()) for array in arrays)
            x = torch.polar(first, second) if self.kind == "polar" else torch.complex(first, second)
        return x.reshape(-1, *self.event)

    def arrays(self, x: Tensor, block: Index) -> list[np.ndarray]:
        """What is to be written for a block of targets, one array per key."""
        batch = [part.stop - part.start for part in block] + list(self.batch[len(block) :])
        x = x.reshape([*batch, *self.event])
        if self.kind == "plain":
            arrays = [_as_dtype(x.numpy(), self.dtypes[0])]
        elif self.kind == "polar":
            arrays = [x.abs().numpy(), x.angle().numpy()]
        elif self.kind == "parts":
            arrays = [x.real.numpy(), x.imag.numpy()]
        else:
            arrays = [torch.stack([x.real, x.imag], -self.event_dims - 1).numpy()]
        return [
            self._moved(array, 0, self.batch_axis).astype(dtype, copy=False)
            for array, dtype in zip(arrays, self.dtypes, strict=True)
        ]

    def _moved(self, array: np.ndarray, source: int, destination: int) -> np.ndarray:
        return np.moveaxis(array, source, destination) if array.ndim else array


def _is_complex(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is complex: NumPy's own, or a compound of two equal floats with such names."""
    if dtype.names is None:
        return dtype.kind == "c" and dtype.itemsize <= 16
    fields = [dtype[name] for name in dtype.names]
    names = tuple(name.lower() for name in dtype.names)
    return names in _COMPLEX_FIELDS and fields[0] == fields[1] and _is_real(fields[0])


def _is_real(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" and dtype.itemsize <= 8


def _real(arrays: dict[str, Array]) -> dict[str, Array]:
    return {key: array for key, array in arrays.items() if _is_real(array.dtype)}


def _part(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the real part."""
    return dtype[0] if dtype.names is not None else np.empty(0, dtype).real.dtype


def _native(array: np.ndarray) -> np.ndarray:
    """A compound of two floats as complex numbers."""
    if array.dtype.names is None:
        return array
    first, second = (array[name] for name in array.dtype.names)
    joined = np.empty(array.shape, np.result_type(first, np.complex64))
    joined.real, joined.imag = first, second
    return joined


def _as_dtype(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Complex numbers as a compound, if that is what the file has."""
    if dtype.names is None:
        return array
    compound = np.empty(array.shape, dtype)
    for name, part in zip(dtype.names, (array.real, array.imag), strict=True):
        compound[name] = part
    return compound


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """A tensor of an array of any byte order, without a copy where none is needed."""
    wanted = np.dtype(str(dtype)[6:])
    return torch.from_numpy(np.require(array, wanted, ["C", "W"]))


def find(
    file: Format,
    *,
    key: str | None = None,
    layout: str | None = None,
    event_dims: int = 2,
    batch_axis: int = 0,
    real: bool = False,
) -> tuple[Layout, str]:
    """Find the targets in a file, and say why these.

    Args:
        file: An open file.
        key: An array, a group that holds one pair, or the two arrays of a pair with a comma between. Default: the
            file's only complex target; if it has none, its only real array.
        layout: "plain", "channels", "parts" or "polar". Default: what the names and shapes tell.
        event_dims: Trailing dimensions of one target, after the batch axis was moved to the front. Default 2.
        batch_axis: Default 0.
        real: Whether only real targets count. Default False.

    Raises:
        KeyError: If the key is missing, or needed; the message says what is there.
        TypeError: If the array's dtype cannot be that of a target.
        ValueError: If the shape does not fit, or allows for two layouts.
    """
    if layout is not None and layout not in get_args(Kind):
        raise ValueError(f"layout needs to be one of {', '.join(get_args(Kind))}, but got {layout!r}.")
    arrays = {name: array for name, array in file.arrays.items() if not is_ours(name)}
    if key is None:
        keys, kind, reason = _only(file, arrays, event_dims, real)
    else:
        keys, kind = _named(file, arrays, key)
        reason = "the key names it"
    if layout in ("parts", "polar") and len(keys) == 1:
        raise ValueError(f"layout={layout!r} needs two arrays, but got {keys[0]!r} of {file.path}. Give key='A,B'.")
    if len(keys) == 2:
        if layout is not None and layout not in ("parts", "polar"):
            raise ValueError(f"layout={layout!r} is that of one array, but got {', '.join(keys)}. Give one key.")
        kind = layout or kind  # type: ignore[assignment]
        if kind is None:
            raise ValueError(f"{', '.join(keys)} may be parts or polar. Say which: --layout parts or --layout polar.")
    first = arrays[keys[0]]
    for name in keys:
        array = arrays[name]
        if not (_is_real(array.dtype) or (len(keys) == 1 and _is_complex(array.dtype))):
            raise TypeError(
                f"{name} of {file.path} has dtype {array.dtype}, which cannot be that of a target. Save it as "
                "complex64 or float32, or name another array: --key."
            )
        if array.shape != first.shape:
            raise ValueError(f"{', '.join(keys)} of {file.path} have shapes {first.shape} and {array.shape}, not one.")
    shape, grid = _forward(first.shape, batch_axis), _forward(first.grid, batch_axis)
    if kind == "plain" and not _is_complex(first.dtype):
        if layout is None:
            _check_whole(file, keys[0])
        kind = _real_kind(file, keys[0], shape, layout, event_dims, real)
    elif layout == "channels":
        raise TypeError(f"layout='channels' needs a real array, but {keys[0]} of {file.path} has dtype {first.dtype}.")
    if len(shape) < event_dims + (kind == "channels") or 0 in shape[len(shape) - event_dims :]:
        raise ValueError(
            f"{keys[0]} of {file.path} has shape {first.shape}, which holds no target of {event_dims} dimensions. "
            "Say how many one has: --event-dims."
        )
    dtypes = tuple(arrays[name].dtype for name in keys)
    assert kind is not None
    found = Layout(keys, kind, shape, dtypes, grid, event_dims, batch_axis)
    if real and found.dtype.is_complex:
        raise TypeError(f"{', '.join(keys)} of {file.path} is complex, but the targets of this model are real.")
    return found, reason


def _forward(sizes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Move an axis to the front."""
    if not sizes and axis == 0:
        return sizes
    if not -len(sizes) <= axis < len(sizes):
        raise ValueError(f"batch_axis={axis} is outside an array of {len(sizes)} dimensions.")
    rest = list(sizes)
    return (rest.pop(axis), *rest)


def _real_kind(file: Format, key: str, shape: tuple[int, ...], layout: str | None, event_dims: int, real: bool) -> Kind:
    """Real targets or two channels of complex ones: where the shape allows for both, one has to say."""
    two = event_dims > 0 and len(shape) > event_dims and shape[-event_dims - 1] == 2 and not real
    if layout == "channels" and not two:
        raise ValueError(
            f"layout='channels' needs (*batch, 2, *event) with {event_dims} event dimensions, but {key} of {file.path} "
            f"has shape {shape}."
        )
    if layout is None and two:
        raise ValueError(
            f"{key} of {file.path}, real, of shape {shape}, may hold real targets or real and imaginary parts as two "
            "channels. Say which: --layout plain or --layout channels."
        )
    return "channels" if layout == "channels" else "plain"


def _halves(key: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each word of a name, or of the groups above it, that may be half of a pair; and the other words."""
    words = [word.lower() for word in re.findall(r"/|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+", key)]
    for place, word in enumerate(words):
        # Of single letters only r and i themselves: x_i may be the i-th.
        if word in _HALVES and (len(word) > 1 or key.rpartition("/")[2].lower() == word):
            yield word, (*words[:place], "", *words[place + 1 :])


def _pairs(arrays: dict[str, Array]) -> list[tuple[tuple[str, str], Kind]]:
    """All pairs of arrays of one shape whose names differ in one word only, and these words make a pair."""
    alike: dict[Any, list[tuple[str, str]]] = {}
    for key, array in arrays.items():
        for word, others in _halves(key):
            alike.setdefault((others, array.shape), []).append((word, key))
    return [
        ((first, second), _PAIRS[a, b])
        for found in alike.values()
        for (a, first), (b, second) in itertools.permutations(found, 2)
        if (a, b) in _PAIRS
    ]


def _check_whole(file: Format, key: str) -> None:
    """Raise ``ValueError`` if an array is one half of a target by its name, whatever the dtype of the other half."""
    for pair, kind in _pairs({name: array for name, array in file.arrays.items() if array.dtype.kind in "fiu"}):
        if key in pair:
            raise ValueError(
                f"{' and '.join(pair)} of {file.path} look like {_WORDS[kind].partition(', ')[2]} of one target, and "
                f"{key} alone would be changed. Say which: --key {','.join(pair)} for the pair, or --layout plain for "
                f"{key} alone."
            )


def _only(
    file: Format, arrays: dict[str, Array], event_dims: int, real: bool
) -> tuple[tuple[str, ...], Kind | None, str]:
    """The one choice that a file leaves."""
    large = {key: array for key, array in arrays.items() if len(array.shape) >= event_dims}
    pairs = [] if real else _pairs(_real(large))
    complex_keys: list[tuple[tuple[str, ...], Kind]] = [
        ((key,), "plain") for key, array in large.items() if _is_complex(array.dtype) and not real
    ]
    real_keys: list[tuple[tuple[str, ...], Kind]] = [
        ((key,), "plain") for key, array in large.items() if _is_real(array.dtype)
    ]
    for choices, what in (([*complex_keys, *pairs], "complex target"), (real_keys, "real array")):
        if len(choices) == 1:
            return (*choices[0], f"the only {what} of at least {event_dims} dimensions")
        if choices:
            names = [",".join(keys) for keys, _ in choices]
            raise KeyError(f"{file.path} holds {len(names)} that could be the targets: {names}. Say which: --key.")
    if len(arrays) == 1:  # whose own error says more
        return (next(iter(arrays)),), "plain", "the only array"
    raise KeyError(f"{file.path} holds no array that could be the targets. It holds {_inventory(arrays)}.")


def _named(file: Format, arrays: dict[str, Array], key: str) -> tuple[tuple[str, ...], Kind | None]:
    """What a key names: an array, two arrays, or a group with one pair."""
    names = tuple(file.resolve(part.strip()) for part in key.split(","))
    missing = not set(names) <= set(arrays)
    pairs = _pairs(_real(arrays))
    if not missing and len(names) == 1:
        return names, "plain"
    if not missing and len(names) == 2:
        return names, dict(pairs).get((names[0], names[1]))
    inside = [(pair, kind) for pair, kind in pairs if all(key.rpartition("/")[0] == names[0] for key in pair)]
    if len(names) == 1 and len(inside) == 1:
        return inside[0]
    raise KeyError(f"{file.path} has no array {key!r}. It holds {_inventory(arrays)}.")


def _inventory(arrays: dict[str, Array]) -> str:
    return ", ".join(f"{key} {array.dtype} {array.shape}" for key, array in arrays.items()) or "no arrays"


#: Bytes of targets that are read, changed and written at once.
BLOCK = 4 << 20


def blocks(layout: Layout, most: int) -> Sequence[Index]:
    """Cut the batch into blocks of about ``most`` bytes, along the format's grid, so that no two share a piece."""
    batch, grid = layout.batch, layout.grid
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
