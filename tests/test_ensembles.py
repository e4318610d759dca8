"""Turned measurements are those of turned objects, and averages up to a symmetry beat plain means."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_symbreak import FarField, RandomSymmetry, relative_error
from torch_symbreak.ensembles import average_answers, predict_turned, square_turns
from torch_symbreak.symmetries import ConjugateFlip, Sign


@pytest.mark.filterwarnings("ignore:FarField measures")
@given(st.integers(3, 9), st.booleans(), st.sampled_from([1.0, 1.5, 2.0]), st.integers(0, 2**31 - 1))
def test_turned_patterns_are_those_of_turned_objects(size, centered, oversampling, seed):
    model = FarField(2, centered=centered, oversampling=oversampling)
    x = torch.randn(2, size, size, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
    turned = [turn.object(x) for turn in square_turns(model)]
    assert len({tuple(torch.view_as_real(z).flatten().tolist()) for z in turned}) == 8
    for turn, z in zip(square_turns(model), turned, strict=True):
        assert torch.allclose(model(z), turn.measurement(model(x)), atol=1e-9)
        assert torch.equal(turn.undo(z), x)


def test_answers_to_turned_measurements_are_averaged_up_to_the_symmetries():
    generator = torch.Generator().manual_seed(0)
    model = FarField(2)
    x = torch.nn.functional.pad(torch.randn(20, 6, 6, dtype=torch.complex64, generator=generator), (3, 3, 3, 3))
    scramble = RandomSymmetry(model.symmetries, generator=generator)

    def network(y):
        """Answer with the object that was measured, anywhere in its orbit, and noise."""
        place = [torch.allclose(y, turn.measurement(model(x)), atol=1e-2) for turn in square_turns(model)].index(True)
        answer = square_turns(model)[place].object(x)
        return scramble(answer) + 0.3 * torch.randn(x.shape, dtype=x.dtype, generator=generator)

    found = predict_turned(network, model(x), square_turns(model), model.symmetries)
    one = relative_error(network(model(x)), x, model.symmetries)
    assert relative_error(found.mean, x, model.symmetries) < 0.5 * one
    assert ((found.spread > 0.1) & (found.spread < 0.8)).all()


def test_the_spread_tells_doubtful_items():
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    other = torch.tensor([[-1.0, -2.0], [2.0, -1.0]])
    spread = average_answers([x, other], Sign(1)).spread
    assert spread[0] == 0
    assert spread[1] > 0.5


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e300])
def test_the_spread_does_not_depend_on_the_scale(scale):
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected, found = (average_answers([*(x * s)], Sign(1)) for s in (1, scale))
    assert torch.allclose(found.spread, expected.spread, rtol=1e-6)
    assert torch.allclose(found.mean / scale, expected.mean, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_mean_is_rounded_once(dtype):
    generator = torch.Generator().manual_seed(0)
    answers = [(1 + torch.rand(1, 50, generator=generator)).to(dtype) for _ in range(8)]
    mean = average_answers(answers, Sign(1)).mean
    assert mean.dtype == dtype
    error = mean.double() - torch.stack(answers).double().mean(0)
    assert error.abs().max() <= 0.51 * torch.finfo(dtype).eps  # half the spacing of numbers in [1, 2)


def test_answers_that_cancel_leave_all_doubt():
    x = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    assert average_answers([x, -x], ConjugateFlip(1)).spread.tolist() == [math.inf, 0]


def test_the_spread_has_a_gradient_where_all_agree():
    x = torch.ones(1, 3, requires_grad=True)
    average_answers([x, x], Sign(1)).spread.sum().backward()
    assert torch.equal(x.grad, torch.zeros(1, 3))


def test_turns_that_mirror_take_frames_that_are_not_square():
    model, x = FarField(2), torch.randn(2, 4, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    turns = [turn for turn in square_turns(model) if not turn.transposed]
    answers = iter([turn.object(x) for turn in turns])
    found = predict_turned(lambda y: next(answers), model(x), turns, model.symmetries)
    assert torch.allclose(found.mean, x)
    assert len(turns) == 4


def turned(predict):
    return predict_turned(predict, torch.ones(1, 8, 8), square_turns(FarField(2)), Sign(2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: average_answers([], Sign(1)), ValueError, "at least one answer"),
        (lambda: average_answers([torch.ones(2, 3), torch.ones(2, 4)], Sign(1)), ValueError, "one shape"),
        (lambda: average_answers(torch.ones(2, 3), Sign(1)), TypeError, r"list\(answers\)"),
        (lambda: predict_turned(abs, torch.ones(1, 8, 8), FarField(2), Sign(2)), TypeError, r"square_turns\(model\)"),
        (lambda: average_answers([torch.ones(2, 3), None], Sign(1)), TypeError, "needs one torch.Tensor"),
        (lambda: turned(lambda y: [y]), TypeError, r"but got a list.*network\(y\)\[0\]"),
        (lambda: turned(lambda y: torch.ones(1, 4, 6)), ValueError, "not square.*not turn.transposed"),
        (lambda: turned(lambda y: torch.ones(4)), TypeError, r"\(..., rows, columns\)"),
        (lambda: square_turns(None), TypeError, "needs a FarField model"),
        (lambda: square_turns(FarField(1)), ValueError, "images on a square detector"),
        (lambda: square_turns(FarField(shape=(8, 9))), ValueError, "images on a square detector"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
