"""``torch.save``."""

from __future__ import annotations

import itertools
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_symbreak.io.formats.base import OURS, Array, Format, Names, Regions


class Torch(Format):
    """``torch.save`` of a tensor or of (nested) dicts of tensors; weights only."""

    suffixes = (".pt", ".pth")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        remedy = f"Save the tensors alone: torch.save({{'x': tensor}}, {path.name!r})"
        try:
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, OSError) as error:
            pickled = isinstance(error, pickle.UnpicklingError)
            if pickled and (found := re.search(r"(?:GLOBAL |class )'?([\w.]+)", str(error))):
                if "numpy" in found[1]:
                    remedy = remedy.replace("tensor}", "torch.from_numpy(array)}")
                text = f"it holds Python objects other than tensors ({found[1]}), which are not loaded. {remedy}"
                raise ValueError(text) from None
            hint = str(error).partition(".")[0]
            raise ValueError(f"it is damaged ({hint})" if " " in hint and not pickled else "it is damaged") from None
        if not isinstance(content, (Tensor, dict)):
            raise ValueError(f"it holds a {type(content).__name__}, neither a tensor nor a dict of them. {remedy}")
        self._content: Any = content
        self.bare = isinstance(content, Tensor)
        self._tensors: dict[str, Tensor] = dict(_flat({"array": content} if isinstance(content, Tensor) else content))
        self.note = content.get(OURS) if isinstance(content, dict) else None
        self.arrays = {
            key: Array(tuple(x.shape), np.dtype(number), (1,) * x.dim())
            for key, x in self._tensors.items()
            if x.layout == torch.strided and (number := np.sctypeDict.get(str(x.dtype)[6:])) is not None
        }
        if not self.arrays:
            self.resolve(next(iter(self._tensors), ""))

    def resolve(self, key: str) -> str:
        key = super().resolve(key)
        if key in self._tensors and key not in self.arrays:
            x = self._tensors[key]
            how = "float" if x.layout == torch.strided else "to_dense"
            raise ValueError(
                f"{key} of {self.path} is {str(x.dtype)[6:]} and {str(x.layout)[6:]}, which NumPy does not have. Save "
                f"it as another: torch.save({{'x': tensor.{how}()}}, {self.path.name!r})"
            )
        return key

    def check(self, keys: Sequence[str], folder: Path | None = None) -> None:
        super().check(keys, folder)
        for key, other in itertools.product(keys, self._tensors):
            if other not in keys and self._tensors[key] is self._tensors[other]:
                raise ValueError(
                    f"{key} and {other} of {self.path} are one tensor, so that both would change. Save a copy of one: "
                    f"content[{other!r}] = content[{other!r}].clone()"
                )

    def _load(self, key: str) -> np.ndarray:
        return self._tensors[key].detach().resolve_conj().resolve_neg().numpy()

    def finish(self, work: Path, keys: Sequence[str], note: str, extra: Regions, drop: Names = frozenset()) -> None:
        for key, values in self._staged(work, keys).items():
            # In place: a parameter stays one, and a dict of whatever class keeps its order.
            self._tensors[key].data = torch.from_numpy(values)
        if not self.bare:
            for name in drop:
                self._content.pop(name, None)
            self._content |= {key: torch.from_numpy(np.load(region.path)) for key, region in extra.items()}
            self._content[OURS] = note
        torch.save(self._content, work / "part")


def _flat(content: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{above}{key}", value
        elif isinstance(value, dict):
            yield from _flat(value, f"{above}{key}/")
