"""Nearest neighbors: equal to a search by hand, for targets of any shape and field."""

import pytest
import torch
from processes import python

from torch_symbreak.baselines import nearest_neighbors


@pytest.fixture
def measurements():
    pytest.importorskip("sklearn")
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(count, 3, 2, generator=generator) for count in (30, 7))


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)])
def test_predictions_are_means_of_the_nearest_targets(shape, dtype, k, measurements):
    y, new = measurements
    x = torch.randn(len(y), *shape, dtype=dtype)
    nearest = torch.cdist(new.flatten(1), y.flatten(1)).topk(k, largest=False).indices
    prediction = nearest_neighbors(y, x, k)(new)
    assert prediction.dtype == dtype
    assert prediction.shape == (len(new), *shape)
    assert torch.allclose(prediction, x[nearest].mean(1), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept(dtype, measurements):
    y, _ = (part.to(dtype) for part in measurements)
    x = torch.randn(len(y), 4).to(dtype)
    assert torch.equal(nearest_neighbors(y, x, k=1)(y), x)


def test_all_measurements_are_neighbors_if_there_are_fewer_than_k(measurements):
    y, new = measurements
    x = torch.randn(len(y), 4)
    assert torch.allclose(nearest_neighbors(y, x, k=99)(new), x.mean(0).expand(len(new), 4), atol=1e-6)


def test_conjugated_targets_are_read_right(measurements):
    y, _ = measurements
    x = torch.randn(len(y), 2, dtype=torch.complex64, requires_grad=True)
    assert torch.equal(nearest_neighbors(y, x.conj(), k=1)(y), x.detach().conj())


def test_no_measurements_give_no_predictions(measurements):
    y, _ = measurements
    x = torch.zeros(len(y), 4, dtype=torch.complex64)
    prediction = nearest_neighbors(y, x)(y[:0])
    assert (prediction.shape, prediction.dtype) == ((0, 4), x.dtype)


ONES = torch.ones(6, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ONES, ONES, 0), ValueError, "k >= 1, but got 0"),
        ((ONES, ONES, 1.5), TypeError, "an int as k, but got 1.5"),
        ((ONES, ONES[:5]), ValueError, r"one target per measurement, .* of shape \(6, 2\), and x: .* \(5, 2\)"),
        ((ONES, ONES[0, 0]), ValueError, "one target per measurement"),
        ((ONES[:0], ONES[:0]), ValueError, "at least one of each"),
        ((ONES + 0j, ONES), TypeError, "real measurements"),
        ((ONES[0, 0], ONES), TypeError, r"real measurements y of shape \(n, ...\)"),
        ((ONES.numpy(), ONES), TypeError, "one torch.Tensor as y"),
        ((ONES, ONES.int()), TypeError, "floating-point or complex x"),
        ((ONES / 0, ONES), ValueError, "y of shape .* infinite"),
        ((ONES, ONES * torch.nan), ValueError, "x of shape .* NaN"),
    ],
)
def test_wrong_pairs_are_named(arguments, error, message):
    pytest.importorskip("sklearn")
    with pytest.raises(error, match=message):
        nearest_neighbors(*arguments)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (ONES[:, :1], ValueError, r"of shape \(6, 2\), but got torch.float32 of shape \(6, 1\)"),
        (ONES * torch.nan, ValueError, "y of shape .* NaN"),
        (ONES + 0j, TypeError, "real measurements"),
        ([1.0, 2.0], TypeError, "one torch.Tensor as y"),
    ],
)
def test_wrong_measurements_are_named(y, error, message):
    pytest.importorskip("sklearn")
    predict = nearest_neighbors(ONES, ONES)
    with pytest.raises(error, match=message):
        predict(y)


def test_baselines_need_scikit_learn_only_when_neighbors_are_searched():
    """Run a fresh interpreter in which scikit-learn cannot be imported."""
    code = (
        "import sys; sys.modules['sklearn'] = None; import torch; from torch_symbreak import baselines; print('here');"
        "baselines.nearest_neighbors(torch.ones(2, 1), torch.ones(2, 1))"
    )
    ended = python(code)
    assert ended.stdout == "here\n"
    assert "ModuleNotFoundError" in ended.stderr
