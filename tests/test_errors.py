"""Bad input gets an error that says what came, what was wanted, and what to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torch_symbreak import (
    CenterContent,
    FarField,
    FixConjugateFlip,
    FixGlobalPhase,
    FixSign,
    FromChannels,
    GaussianIntensity,
    OnKeys,
    OnRealImag,
    ToChannels,
    check_finite,
)
from torch_symbreak.canonical import FarFieldCanonicalizer
from torch_symbreak.symmetries import ConjugateFlip, GlobalPhase, Motion, PhaseRamp, Product, Sign, Translation

complex_images = torch.zeros(8, 2, 64, 64, dtype=torch.complex64)
real_images = torch.zeros(8, 2, 64, 64)
TRANSFORMS = [CenterContent(), FixConjugateFlip(), FixGlobalPhase(), FixSign(2), FarField().canonicalizer(), FarField()]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ((real_images, complex_images), TypeError, r"a tuple.*OnKeys\({name}"),
        ({"x": complex_images}, TypeError, r"a dict.*OnKeys\({name}"),
        ([complex_images], TypeError, r"a list.*OnKeys\({name}"),
        (np.zeros((4, 4)), TypeError, r"numpy.ndarray.*torch.from_numpy"),
        (3.0, TypeError, r"float.*torch.as_tensor"),
        (torch.zeros(4, 4, dtype=torch.int64), TypeError, r"torch.int64 of shape \(4, 4\).*x.float\(\)"),
        (torch.zeros(4, 4, dtype=torch.bool), TypeError, r"torch.bool"),
        (torch.zeros(4, 4).to_sparse(), TypeError, r"layout torch.sparse_coo.*to_dense\(\)"),
        (torch.zeros(4), ValueError, r"at least 2 dimensions.*\(4,\).*event_dims=1"),
        (torch.zeros(3, 0, 4), ValueError, r"non-empty event.*\(3, 0, 4\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_targets(transform: Any, bad: Any, error: type[Exception], message: str) -> None:
    name = type(transform).__name__
    with pytest.raises(error, match=message.replace("{name}", name)) as caught:
        transform(bad)
    assert str(caught.value).startswith(name)
    if hasattr(transform, "element"):
        for verb in (transform.element, transform.margin):
            with pytest.raises(error):
                verb(bad)


def case(error: type[Exception], message: str, call: Callable[[], Any]) -> Any:
    return pytest.param(error, message, call, id=f"{error.__name__}: {message}")


GAUSSIAN = GaussianIntensity.draw(8, 64, generator=torch.Generator().manual_seed(0))
MOTION = Motion(torch.zeros(3, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.int64))
SIGN, ROW = FixSign(1), torch.tensor([-1.0, -2.0])

FIELDS = [
    case(
        TypeError,
        r"FixGlobalPhase needs a complex target.*torch.float32 of shape \(8, 2, 64, 64\).*FromChannels\(\).*FixSign",
        lambda: FixGlobalPhase()(real_images),
    ),
    case(TypeError, "FixSign needs a real target.*complex64.*FixGlobalPhase", lambda: FixSign(2)(complex_images)),
    case(TypeError, "field='complex', but got torch.float32.*field='real'", lambda: FarField()(real_images)),
    case(TypeError, "field='real', but.*field='complex'", lambda: FarField(field="real")(complex_images)),
    case(TypeError, "field='complex'", lambda: FarField().canonicalizer()(real_images)),
    case(TypeError, "field='real'.*field='complex'", lambda: GAUSSIAN(complex_images)),
    case(
        ValueError,
        r"\(8, 64\) and needs targets of shape \(\*batch, 64\), but got \(3,\)",
        lambda: GAUSSIAN(torch.zeros(3)),
    ),
    case(TypeError, "complex", lambda: GlobalPhase().sample(real_images)),
    case(TypeError, "real", lambda: Sign(1).sample(complex_images)),
    case(TypeError, "ComplexHalf|complex32", lambda: FixGlobalPhase()(complex_images.to(torch.complex32))),
]

ARGUMENTS = [
    case(ValueError, "oversampling >= 1, but got 0.5.*linear", lambda: FarField(oversampling=0.5)),
    case(ValueError, "oversampling", lambda: FarField(oversampling=float("nan"))),
    case(ValueError, "shape of 2 ints", lambda: FarField(shape=(4,))),
    case(ValueError, "field needs to be one of complex, real", lambda: FarField(field="imaginary")),  # type: ignore[arg-type]
    case(ValueError, "norm needs to be one of .*'backwards'.*'backward'", lambda: FarField(norm="backwards")),
    case(ValueError, "chunk_size", lambda: FarField(chunk_size=0)),
    case(ValueError, r"at least the frame's shape \(64, 64\)", lambda: FarField(shape=(32, 64))(complex_images)),
    case(ValueError, "event_dims >= 1, but got 0", lambda: CenterContent(0)),
    case(TypeError, "an int as event_dims, but got 2.0", lambda: FixConjugateFlip(2.0)),  # type: ignore[arg-type]
    case(ValueError, "channel_dims >= 0", lambda: FixGlobalPhase(channel_dims=-1)),
    case(ValueError, "0 <= threshold < 1", lambda: CenterContent(threshold=1.0)),
    case(ValueError, "wrap=True, wrap=False or", lambda: CenterContent(wrap=(3,))),
    case(ValueError, 'anchor="sum"', lambda: FixSign(1, anchor="dc")),
    case(ValueError, "anchor of 2 ints", lambda: FixSign(2, anchor=(1, 2, 3))),
    case(ValueError, "every entry by itself", lambda: FixSign(0, anchor=1)),
    case(IndexError, r"anchor=5, outside items of shape \(3,\)", lambda: FixSign(1, anchor=5)(torch.zeros(2, 3))),
    case(TypeError, "event_dims", lambda: FixSign()),  # type: ignore[call-arg]
    case(ValueError, "field needs to be", lambda: FarFieldCanonicalizer(field="imaginary")),  # type: ignore[arg-type]
    case(ValueError, "field needs to be", lambda: GaussianIntensity.draw(3, 2, field="quaternion")),  # type: ignore[arg-type]
    case(ValueError, "matrix A", lambda: GaussianIntensity(torch.zeros(2, 3, 4))),
    case(ValueError, r"matrix A of shape \(m, n\), but got \(3,\)", lambda: GaussianIntensity(torch.ones(3))),
    case(TypeError, "as matrix A", lambda: GaussianIntensity([[1.0]])),  # type: ignore[arg-type]
    case(ValueError, r"least 1 dimensions.*shape \(\)\. Give x", lambda: CenterContent(1)(torch.tensor(1.0))),
    case(ValueError, r"shape \(\)\. Give x", lambda: FarField(1, field="real").canonicalizer()(torch.tensor(1.0))),
]

PRODUCTS = [
    case(ValueError, "at least one", lambda: Product([])),
    case(TypeError, "needs symmetries", lambda: Product([CenterContent()])),  # type: ignore[list-item]
    case(ValueError, "same items", lambda: Product([Translation(2), GlobalPhase(1)])),
    case(ValueError, "one threshold and one wrap", lambda: Product([Translation(2), Translation(2, wrap=True)])),
    case(ValueError, "one scalar", lambda: Product([Sign(2), GlobalPhase(2)])),
    case(ValueError, r"batch of shape \(3,\).*\(8, 2\)", lambda: Translation(2).act(MOTION, complex_images)),
    case(ValueError, r"batch of shape \(3,\)", lambda: Sign(2).act(torch.ones(3), real_images)),
    case(
        ValueError,
        "too: PhaseRamp, Translation and ConjugateFlip commute",
        lambda: Product([PhaseRamp(), Translation(), ConjugateFlip()]),
    ),
]

KEYS_AND_CHANNELS = [
    case(TypeError, "a tuple, a list or a mapping, but got torch.float32", lambda: OnKeys(SIGN, 1)(ROW)),
    case(KeyError, r"no \['z'\].*\['x', 'y'\]", lambda: OnKeys(SIGN, "z")({"x": ROW, "y": ROW})),
    case(KeyError, r"no \[2\].*\[0, 1\]", lambda: OnKeys(SIGN, (0, 2))((ROW, ROW))),
    case(TypeError, "complex already", lambda: FromChannels()(complex_images)),
    case(ValueError, r"\(\*batch, 2, \*event\)", lambda: FromChannels()(torch.zeros(3, 4, 4))),
    case(ValueError, r"\(\*batch, 2, \*event\)", lambda: FromChannels()(torch.zeros(4, 4))),
    case(TypeError, "needs a complex tensor", lambda: ToChannels()(real_images)),
    case(TypeError, "OnRealImag needs a complex", lambda: OnRealImag(SIGN)(real_images)),
]


def not_finite() -> torch.Tensor:
    x = torch.zeros(30, 4, dtype=torch.complex64)
    x[3, 1] = float("nan")
    x[5:25, 2] = float("inf")
    return x


VALUES = [
    case(
        ValueError,
        r"1 NaN and 20 infinite.*\[3, 5, 6, 7, 8, 9, 10, 11, 12, 13\] and 11 more",
        lambda: check_finite(not_finite()),
    ),
    case(ValueError, "objects of shape", lambda: check_finite(not_finite()[3], name="objects")),
    case(TypeError, "from_numpy", lambda: check_finite(np.zeros(3))),  # type: ignore[arg-type]
]


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize(("error", "message", "call"), FIELDS + ARGUMENTS + PRODUCTS + KEYS_AND_CHANNELS + VALUES)
def test_errors(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_check_finite_returns_its_argument() -> None:
    x = torch.zeros(30, 4, dtype=torch.complex64)
    assert check_finite(x) is x


def test_too_little_oversampling_warns() -> None:
    with pytest.warns(UserWarning, match="recovery is not unique.*oversampling=2"):
        FarField(oversampling=1.2)(complex_images)
