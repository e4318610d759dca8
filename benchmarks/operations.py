"""Time public operations of one checkout on request: the worker of ``benchmarks.side_by_side``.

The checkout that PYTHONPATH names first may be older than this file. So this file imports nothing but public names that
both checkouts have, and draws its data itself.

Requests come as JSON lines on the standard input, and every answer is one JSON line. {"prepare": NAME} gives the
seconds of one warm call, {"repeats": N} the seconds per call of N calls in a row.
"""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import torch_symbreak
from torch_symbreak import FarField, RandomSymmetry, ScrambledDataset, SymmetryBrokenDataset, align, sa_mse

Operation = Callable[[], object]

SMALL, LARGE = (256, 64, 64), (64, 128, 128)
C64, C128, F32 = torch.complex64, torch.complex128, torch.float32
CANONICALIZED = (
    (SMALL, C64),
    (LARGE, C64),
    ((1024, 1024), C64),
    ((8, 32, 32, 32), C64),
    (SMALL, F32),
    (SMALL, C128),
    ((1, 64, 64), C64),
)
ALIGNED = (((64, 64, 64), C64), ((64, 64, 64), C128), ((1, 64, 64), C64))


def _objects(shape: Sequence[int], dtype: torch.dtype, places: int = 0) -> Tensor:
    """Return objects (B, *event) away from ties, whose content fills half of every axis.

    Their places in the frame depend on ``places``, their contents do not.
    """
    contents, offsets = torch.Generator().manual_seed(0), torch.Generator().manual_seed(places)
    count, *event = shape
    x = torch.zeros(count, *event, dtype=dtype)
    for item in x:
        corner = [int(torch.randint(n - n // 2 + 1, (), generator=offsets)) for n in event]
        box = tuple(slice(start, start + n // 2) for start, n in zip(corner, event, strict=True))
        magnitude, phase = (torch.rand([n // 2 for n in event], generator=contents) for _ in range(2))
        item[box] = torch.polar(magnitude + 0.5, 2 * phase) if dtype.is_complex else magnitude + 0.5
    return x


def _pair(shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return noisy objects and their references: shifted, multiplied by a phase, and every other one flipped."""
    reference, x = _objects(shape, dtype), 1j * _objects(shape, dtype, places=1)
    x[::2] = x[::2].flip(tuple(range(1, x.dim()))).conj()
    return x + 0.05 * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(2)), reference


def _model(shape: Sequence[int], dtype: torch.dtype) -> FarField:
    return FarField(len(shape) - 1, field="complex" if dtype.is_complex else "real")


def _canonicalize(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    fix, x = _model(shape, dtype).canonicalizer(), _objects(shape, dtype)
    return lambda: fix(x)


def _element(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    fix, x = _model(shape, dtype).canonicalizer(), _objects(shape, dtype)
    return lambda: fix.element(x)


def _align(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    symmetries, (x, reference) = _model(shape, dtype).symmetries, _pair(shape, dtype)
    return lambda: align(x, reference, symmetries)


def _sa_mse(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    symmetries, (x, reference) = _model(shape, dtype).symmetries, _pair(shape, dtype)
    return lambda: sa_mse(x, reference, symmetries)


def _random(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    scramble = RandomSymmetry(_model(shape, dtype).symmetries, generator=torch.Generator().manual_seed(0))
    x = _objects(shape, dtype)
    return lambda: scramble(x)


def _broken(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    data = SymmetryBrokenDataset(_objects(shape, dtype), _model(shape, dtype).canonicalizer())
    return lambda: data.__getitems__(range(shape[0]))


def _broken_pairs(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    model, x = _model(shape, dtype), _objects(shape, dtype)
    data = SymmetryBrokenDataset(TensorDataset(model(x), x), model.canonicalizer())
    return lambda: data.__getitems__(range(shape[0]))


def _scrambled(shape: Sequence[int], dtype: torch.dtype) -> Operation:
    data = ScrambledDataset(_objects(shape, dtype), _model(shape, dtype).symmetries, 0)
    return lambda: data.__getitems__(range(shape[0]))


#: What to time: the maker of every operation, with the shapes and dtypes that it takes.
_MAKERS = {
    "canonicalizer": (_canonicalize, CANONICALIZED),
    "element": (_element, CANONICALIZED),
    "align": (_align, ALIGNED),
    "sa_mse": (_sa_mse, ALIGNED),
    "RandomSymmetry": (_random, ((SMALL, C64),)),
    "SymmetryBrokenDataset": (_broken, ((SMALL, C64),)),
    "SymmetryBrokenDataset of pairs": (_broken_pairs, ((SMALL, C64),)),
    "ScrambledDataset": (_scrambled, ((SMALL, C64),)),
}


def _named() -> dict[str, Callable[[], Operation]]:
    return {
        f"{name}, {' x '.join(map(str, shape))}, {str(dtype)[6:]}": lambda m=make, s=shape, d=dtype: m(s, d)
        for name, (make, inputs) in _MAKERS.items()
        for shape, dtype in inputs
    }


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints may end up among the answers
    makers = _named()
    timer = timeit.Timer()

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    answer({"imported": torch_symbreak.__file__, "operations": list(makers)})
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            timer = timeit.Timer(makers[request["prepare"]]())
            timer.timeit(1)  # may compile
            answer(timer.timeit(1))
        else:
            answer(timer.timeit(request["repeats"]) / request["repeats"])


if __name__ == "__main__":
    main()
