"""Nearest neighbors: a baseline without training and without weights."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from torch_symbreak._checks import check_finite, check_tensor, describe
from torch_symbreak._items import resolved


def nearest_neighbors(y: Tensor, x: Tensor, k: int = 5) -> Callable[[Tensor], Tensor]:
    """Return a function that predicts the mean target of the k nearest measurements.

    Distances are Euclidean, between whole measurements, and scikit-learn finds the neighbors. To measure distances
    between magnitudes, pass ``y.sqrt()`` here and to the function. To predict several targets per measurement, stack
    them along a new axis of ``x``: all share one search.

    Shape: y (n, ...) real, x (n, ...) real or complex. The function takes measurements (B, ...) and returns predictions
    (B, ...), shaped like the items of x, in the dtype of x and on the device of its argument.

    Args:
        y: Measurements, or features of them.
        x: Targets.
        k: Number of neighbors. Default 5. All n measurements are neighbors if n is smaller.

    Raises:
        TypeError: If y is no real tensor, x no floating-point or complex tensor, or k no int.
        ValueError: If k < 1, y and x differ in length or are empty, or a value is not finite.
        ModuleNotFoundError: If scikit-learn is not installed.

    The function raises the same errors for its measurements, and ``ValueError`` if their shape is not that of y.

    Ties: scikit-learn chooses among measurements at the same distance.

    Example: the nearest two of 0.9 are 0 and 1.
        >>> import torch
        >>> y, x = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([2j, 4j, 9j])
        >>> predict = nearest_neighbors(y, x, k=2)
        >>> predict(torch.tensor([[0.9]]))
        tensor([0.+3.j])
    """
    # Only users of this baseline need scikit-learn.
    from sklearn.neighbors import KNeighborsRegressor

    try:
        k = operator.index(k)
    except TypeError:
        raise TypeError(f"nearest_neighbors needs an int as k, but got {k!r}.") from None
    if k < 1:
        raise ValueError(f"nearest_neighbors needs k >= 1, but got {k}.")
    _check_measurements(y)
    check_tensor("nearest_neighbors", x, what="x")
    if x.dim() == 0 or len(x) != len(y) or not len(y):
        raise ValueError(
            f"nearest_neighbors needs one target per measurement, and at least one of each, but got y: {describe(y)}, "
            f"and x: {describe(x)}."
        )
    check_finite(x, name="x")
    fitted, event, shape, dtype = describe(y), y.shape[1:], x.shape[1:], x.dtype
    parts = torch.view_as_real(resolved(x)) if x.is_complex() else x
    regressor = KNeighborsRegressor(min(k, len(x)), n_jobs=-1).fit(_rows(y), _rows(parts))

    def predict(y: Tensor) -> Tensor:
        _check_measurements(y)
        if y.shape[1:] != event:
            raise ValueError(
                f"nearest_neighbors needs measurements like its first ones, {fitted}, but got {describe(y)}."
            )
        if not len(y):  # scikit-learn refuses empty batches
            return torch.empty(0, *shape, dtype=dtype, device=y.device)
        means = torch.from_numpy(regressor.predict(_rows(y))).to(y.device)
        if dtype.is_complex:
            means = torch.view_as_complex(means.reshape(len(y), *shape, 2))
        return means.reshape(len(y), *shape).to(dtype)

    return predict


def nearest_others(y: Tensor, k: int = 5, *, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the distances and the indices of the k nearest other measurements of each: (n, k) each, nearest first.

    The mean target of these k is what :func:`nearest_neighbors` would predict if the pair itself were left out.

    Shape: y (n, ...) real; with n >= 2 unless ``among`` is given. Columns are k, or as many as there are.

    Args:
        y: Measurements, or features of them.
        k: Number of neighbors. Default 5.
        among: Measurements (m, ...) to search in. Default: the others of y.

    Raises:
        TypeError: If a batch is no real tensor.
        ValueError: If there is no other measurement, or a value is not finite.
        ModuleNotFoundError: If scikit-learn is not installed.

    Example:
        >>> import torch
        >>> distances, indices = nearest_others(torch.tensor([[0.0], [1.0], [5.0]]), k=1)
        >>> distances[:, 0].tolist(), indices[:, 0].tolist()
        ([1.0, 1.0, 4.0], [1, 0, 1])
    """
    # Only users of this baseline need scikit-learn.
    from sklearn.neighbors import NearestNeighbors

    _check_measurements(y)
    among, others = (y, len(y) - 1) if among is None else (among, len(among))
    _check_measurements(among)
    if others < 1:
        raise ValueError(f"nearest_others needs at least one other measurement, but got {describe(y)}.")
    search = NearestNeighbors(n_neighbors=min(k, others), n_jobs=-1).fit(_rows(among))
    distances, indices = search.kneighbors(None if among is y else _rows(y))
    return torch.from_numpy(distances), torch.from_numpy(indices)


def _check_measurements(y: Tensor) -> None:
    check_tensor("nearest_neighbors", y, what="y", name="y")
    if y.is_complex() or y.dim() == 0:
        raise TypeError(f"nearest_neighbors needs real measurements y of shape (n, ...), but got {describe(y)}.")
    check_finite(y, name="y")


def _rows(values: Tensor) -> np.ndarray:
    """Return one row per item as NumPy reads it, which has no bfloat16."""
    rows = values.detach().reshape(len(values), -1).cpu()
    return (rows.float() if rows.dtype is torch.bfloat16 else rows).numpy()
