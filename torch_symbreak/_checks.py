"""Argument errors: what came, what was wanted, what to type; and the one place where NumPy arrays become tensors.

The checks look at metadata only, so that transforms need no host synchronization. :func:`check_finite` alone looks at
values.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Field = Literal["real", "complex"]

#: What functions take that train nothing: :func:`as_tensors` converts it.
Array = Tensor | np.ndarray[Any, Any]


def describe(x: Any) -> str:
    """Describe a value for an error: ``torch.float32 of shape (8, 2, 64, 64)`` or the name of its type."""
    if isinstance(x, Tensor):
        return f"{x.dtype} of shape {tuple(x.shape)}"
    return f"a {type(x).__module__}.{type(x).__qualname__}".replace("a builtins.", "a ")


def check_tensor(owner: str, x: Any, *, what: str = "target", name: str = "x") -> None:
    """Raise ``TypeError`` unless ``x`` is a floating-point or complex tensor: ``what`` it is and its ``name``."""
    if not isinstance(x, Tensor):
        library = type(x).__module__.partition(".")[0]
        if what == "target" and name == "x" and isinstance(x, (tuple, list, dict)):
            hint = f"To run it on parts of a sample, wrap it: OnKeys({owner}(...), keys=...)."
        elif isinstance(x, dict):
            hint = "Pass one of its values."
        elif isinstance(x, (tuple, list)) and any(isinstance(part, Tensor) for part in x):
            hint = f"Convert it first: torch.stack({name})."
        elif library == "numpy":
            hint = f"Convert it first: torch.from_numpy({name})."
        elif library == "h5py":  # torch.as_tensor reads a data set number by number
            hint = f"Read it first: torch.from_numpy({name}[:])."
        elif library == "PIL":
            hint = "Convert it first: torchvision.transforms.v2.functional.pil_to_tensor(x).float()."
        else:
            hint = f"Convert it first: torch.as_tensor({name})."
        raise TypeError(f"{owner} needs one torch.Tensor as {what}, but got {describe(x)}. {hint}")
    if x.layout != torch.strided:
        raise TypeError(
            f"{owner} needs a dense {what}, but got layout {x.layout}. Convert it first: {name}.to_dense()."
        )
    # Numbers of 8 bits have no arithmetic in torch.
    if x.element_size() < 2 or not (x.is_floating_point() or x.dtype in (torch.complex64, torch.complex128)):
        real = "" if x.is_complex() else f"{name}.float() or "
        raise TypeError(
            f"{owner} needs a floating-point or complex {what}, but got {describe(x)}. "
            f"Convert it first: {real}{name}.to(torch.complex64)."
        )


def check_target(owner: str, x: Any, event_dims: int, channel_dims: int = 0, *, least: int = 0) -> None:
    """Raise unless ``x`` is a tensor of at least ``channel_dims + event_dims`` non-empty dimensions.

    ``least`` is the smallest ``event_dims`` that the caller accepts: the message proposes no smaller one.
    """
    check_tensor(owner, x)
    dims = event_dims + channel_dims
    if x.dim() < dims:
        fitting = x.dim() - channel_dims
        proposal = f"Pass event_dims={fitting} or give" if fitting >= least else "Give"
        raise ValueError(
            f"{owner} needs a target of at least {dims} dimensions "
            f"(event_dims={event_dims}, channel_dims={channel_dims}), but got {describe(x)}. "
            f"{proposal} x the missing dimensions."
        )
    if 0 in x.shape[x.dim() - dims :]:
        raise ValueError(
            f"{owner} needs a non-empty event, but got {describe(x)}: one of its last {dims} dimensions is 0. "
            "Empty batches are fine, empty items are not."
        )


def check_complex(owner: str, x: Tensor, event_dims: int) -> None:
    """Raise ``TypeError`` unless ``x`` is complex64 or complex128."""
    if not x.is_complex():
        raise TypeError(
            f"{owner} needs a complex target (torch.complex64 or torch.complex128), but got {describe(x)}. "
            f"{_from_channels(event_dims)} "
            "A real target has a sign instead of a phase: use Sign or FixSign, or FarField(..., field='real')."
        )


def check_real(owner: str, x: Tensor) -> None:
    """Raise ``TypeError`` unless ``x`` is floating-point."""
    if not x.is_floating_point():
        raise TypeError(
            f"{owner} needs a real target (torch.float32 or torch.float64), but got {describe(x)}. "
            "A complex target has a global phase instead of a sign: use GlobalPhase or FixGlobalPhase."
        )


def check_field(owner: str, x: Tensor, field: Field, event_dims: int) -> None:
    """Raise ``TypeError`` unless the dtype of ``x`` is that of the model's ``field``."""
    if x.is_complex() == (field == "complex"):
        return
    if field == "real":
        hint = "For complex objects use field='complex'."
    else:
        hint = f"{_from_channels(event_dims)} Only if the objects are real, use field='real'."
    raise TypeError(f"{owner} has field={field!r}, but got {describe(x)}. {hint}")


def _from_channels(event_dims: int) -> str:
    dims = "" if event_dims == 2 else event_dims
    return (
        f"If two channels are real and imaginary parts, use FromChannels({dims}) first; to get channels back: "
        f"Compose([FromChannels({dims}), transform, ToChannels({dims})])."
    )


def check_dims(owner: str, event_dims: int, channel_dims: int, least: int) -> None:
    """Raise unless ``event_dims >= least`` and ``channel_dims >= 0`` are integers."""
    for name, value, low in (("event_dims", event_dims, least), ("channel_dims", channel_dims, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{owner} needs an int as {name}, but got {value!r}.")
        if value < low:
            raise ValueError(f"{owner} needs {name} >= {low}, but got {value}.")


def check_whole(owner: str, name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """Return an int, or raise unless it is one and in the range.

    Example:
        >>> check_whole("diagnose", "n", 8.0, least=8)
        Traceback (most recent call last):
        ...
        TypeError: diagnose needs an int as n, but got 8.0.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner} needs an int as {name}, but got {value!r}.") from None
    if isinstance(value, bool):
        raise TypeError(f"{owner} needs an int as {name}, but got {value!r}.")
    if whole < least or (most is not None and whole > most):
        wanted = f"{name} >= {least}" if most is None else f"{name} in [{least}, {most}]"
        raise ValueError(f"{owner} needs {wanted}, but got {whole}.")
    return whole


def check_generator(owner: str, generator: Any) -> None:
    """Raise ``TypeError`` unless ``generator`` is a ``torch.Generator`` or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"{owner} needs a torch.Generator or None as generator, but got {describe(generator)}. "
            "For a seed: torch.Generator().manual_seed(seed)."
        )


def check_callable(owner: str, name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` can be called with a tensor. A class cannot: its instances can."""
    if isinstance(value, type):
        raise TypeError(f"{owner} needs an instance as {name}, but got the class {value.__name__}. Call it first.")
    if not callable(value):
        model = (
            f" Pass {name}=model.canonicalizer()." if hasattr(value, "act") or isinstance(value, (tuple, list)) else ""
        )
        raise TypeError(f"{owner} needs a function of a tensor as {name}, but got {describe(value)}.{model}")


def check_implemented(thing: object) -> None:
    """Raise ``TypeError`` if the class of ``thing`` lacks a method that its base declares abstract.

    Python does so for an ABC. ``nn.Module`` and ``Dataset`` are none, and their metaclass cannot change.
    """
    if torch.compiler.is_compiling():  # what a class lacks does not depend on that
        return
    cls: Any = type(thing)
    missing = _missing(cls)
    if not missing:
        return
    wanted = []
    for name, method in missing.items():
        arguments = (
            "" if isinstance(method, property) else f"({', '.join([*inspect.signature(method).parameters][1:])})"
        )
        purpose = (inspect.getdoc(method) or "").partition("\n")[0].replace("``", "")
        wanted.append(f"{name}{arguments}: {purpose}")
    raise TypeError(f"{cls.__name__} does not implement {' '.join(wanted)}")


@functools.lru_cache(maxsize=1024)  # a search takes milliseconds, and files build a canonicalizer for every block
def _missing(cls: type) -> dict[str, Any]:
    """Return the abstract members of a class by name."""
    members = {name: inspect.getattr_static(cls, name) for name in dir(cls)}
    return {name: member for name, member in members.items() if getattr(member, "__isabstractmethod__", False)}


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``. The message suggests the closest one.

    Example:
        >>> check_choice("device", "cupa", ("auto", "cpu", "cuda"))
        Traceback (most recent call last):
        ...
        ValueError: device needs to be one of auto, cpu, cuda, but got 'cupa'. Did you mean 'cuda'?
    """
    if value not in choices:
        closest = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {closest[0]!r}?" if closest else ""
        raise ValueError(f"{name} needs to be one of {', '.join(choices)}, but got {value!r}.{hint}")


#: Names of devices. "auto" is CUDA where there is one.
DEVICES = ("auto", "cpu", "cuda")


def find_device(name: str) -> torch.device:
    """Return the device of one of the names :data:`DEVICES`.

    Raises:
        ValueError: For another name, or if torch finds no such device.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    check_choice("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device here. Use auto or cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def check_same_shape(owner: str, x: Any, reference: Any, names: tuple[str, str] = ("x", "reference")) -> None:
    """Raise unless ``reference`` is a tensor with the shape, field and device of ``x``; ``names`` are what they are."""
    for value, name in zip((x, reference), names, strict=True):
        check_tensor(owner, value, what=name, name=name)
    both = " and ".join(names)
    if x.shape != reference.shape:
        raise ValueError(
            f"{owner} needs {both} of one shape, but got {tuple(x.shape)} and {tuple(reference.shape)}. "
            f"To compare with one {names[1]} for all items, use {names[1]}.expand_as({names[0]})."
        )
    if x.is_complex() != reference.is_complex():
        raise TypeError(f"{owner} needs {both} both real or both complex, but got {x.dtype} and {reference.dtype}.")
    if x.device != reference.device:
        raise ValueError(
            f"{owner} needs {both} on one device, but got {x.device} and {reference.device}. "
            f"Move one: {names[1]}.to({names[0]}.device)."
        )


def as_tensors(owner: str, *values: Any, names: tuple[str, ...], last: str) -> list[Tensor]:
    """Return the values as tensors, or raise ``TypeError``. NumPy arrays are converted, to the device of the others.

    Args:
        owner: The function that takes the values.
        *values: Its first arguments.
        names: Their names.
        last: The name of the argument that follows them: symmetries or a model, which are taken for no value.
    """
    device = next((x.device for x in values if isinstance(x, Tensor)), None)
    tensors = []
    for x, what in zip(values, names, strict=True):
        parts = x if isinstance(x, (tuple, list)) and x else (x,)
        if all(hasattr(part, "act") or hasattr(part, "symmetries") for part in parts):
            order = ", ".join((*names, last))
            raise TypeError(f"{owner} got {last} as {what}: {x!r}. The order is {owner}({order}).")
        if isinstance(x, np.ndarray):
            x = _from_numpy(owner, x, what).to(device=device)
        check_tensor(owner, x, what=what, name=what)
        tensors.append(x)
    return tensors


def _from_numpy(owner: str, x: np.ndarray[Any, Any], what: str) -> Tensor:
    if isinstance(x, np.ma.MaskedArray):
        fill = "numpy.nan" if what == "y" else "0"
        raise TypeError(
            f"{owner} needs an array without a mask as {what}, but got a MaskedArray. Fill it first: x.filled({fill})."
        )
    if x.dtype.kind not in "fc" or x.dtype.itemsize > (16 if x.dtype.kind == "c" else 8):
        better = "complex128" if x.dtype.kind == "c" else "float64"
        raise TypeError(
            f"{owner} needs a floating-point or complex {what}, but got an array of {x.dtype}. "
            f'Convert it first: x.astype("{better}").'
        )
    # torch takes no foreign byte order and no negative strides, and warns of arrays that cannot be written.
    return torch.from_numpy(np.require(x, x.dtype.newbyteorder("="), ["C", "W"]))


def masked(owner: str, y: Tensor, mask: Any) -> Tensor:
    """Return y with NaN where ``mask`` is False, or raise unless it is bool and of the last dimensions of y."""
    if mask is None:
        return y
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"{owner} needs a bool mask, True where measured, but got {describe(mask)}. Pass mask > 0.")
    if mask.dim() > y.dim() or mask.shape != y.shape[y.dim() - mask.dim() :]:
        raise ValueError(
            f"{owner} needs a mask of the last dimensions of y, {tuple(y.shape)}, but got {describe(mask)}."
        )
    return torch.where(mask.to(y.device), y, torch.nan)


def as_pair(owner: str, x: Any, reference: Any) -> tuple[Tensor, Tensor]:
    """Return x and the reference as tensors of one shape, field and device, or raise."""
    x, reference = as_tensors(owner, x, reference, names=("x", "reference"), last="symmetries")
    check_same_shape(owner, x, reference)
    return x, reference


def check_finite(x: Tensor, *, name: str = "x") -> Tensor:
    """Return ``x`` if all its entries are finite, else name the items that are not.

    Transforms do not check values, so a NaN stays in its item. Call this where data enter. It waits for the device.

    Args:
        x: Floating-point or complex tensor. An item is one index of the first dimension. A tensor of one dimension
            is one item.
        name: The name of ``x`` in the message.

    Raises:
        TypeError: If ``x`` is no floating-point or complex tensor.
        ValueError: If an entry is NaN or infinite.

    Example:
        >>> import torch
        >>> check_finite(torch.tensor([[1.0, 2.0], [float("nan"), 1.0]]))
        Traceback (most recent call last):
        ...
        ValueError: x of shape (2, 2) has 1 NaN and 0 infinite entries, in items [1]. Mend or drop them.
    """
    check_tensor("check_finite", x, what=name)
    if all_finite(x):
        return x
    where = ""
    if x.dim() >= 2:
        items = torch.nonzero(~torch.isfinite(x).flatten(1).all(1)).flatten().tolist()
        more = f" and {len(items) - 10} more" if len(items) > 10 else ""
        where = f", in items {items[:10]}{more}"
    raise ValueError(not_finite(name, x, where))


def all_finite(x: Tensor) -> bool:
    """Return whether no entry is NaN or infinite. Waits for the device."""
    if x.numel() == 0:
        return True
    parts = torch.view_as_real(x.detach().resolve_conj()) if x.is_complex() else x.detach()
    # aminmax returns NaN if any entry is NaN, so two numbers suffice. Many times faster than isfinite of all entries.
    return bool(torch.stack(parts.aminmax()).isfinite().all())


def not_finite(name: str, x: Tensor, where: str = "") -> str:
    """Return the error about a tensor whose entries are not all finite."""
    nans = int(torch.isnan(x).sum())
    infinite = int((~torch.isfinite(x)).sum()) - nans
    return f"{name} of shape {tuple(x.shape)} has {nans} NaN and {infinite} infinite entries{where}. Mend or drop them."
