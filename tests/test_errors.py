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
    GlobalPhase,
    Motion,
    OnKeys,
    OnRealImag,
    Product,
    Sign,
    ToChannels,
    Translation,
    check_finite,
)

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


def expect(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_fields() -> None:
    expect(
        TypeError,
        r"FixGlobalPhase needs a complex target.*torch.float32 of shape \(8, 2, 64, 64\).*FromChannels\(\).*FixSign",
        lambda: FixGlobalPhase()(real_images),
    )
    expect(TypeError, "FixSign needs a real target.*complex64.*FixGlobalPhase", lambda: FixSign(2)(complex_images))
    expect(TypeError, "field='complex', but got torch.float32.*field='real'", lambda: FarField()(real_images))
    expect(TypeError, "field='real', but.*field='complex'", lambda: FarField(field="real")(complex_images))
    expect(TypeError, "field='complex'", lambda: FarField().canonicalizer()(real_images))
    gaussian = GaussianIntensity.draw(8, 64)
    expect(TypeError, "field='real'.*field='complex'", lambda: gaussian(complex_images))
    expect(
        ValueError,
        r"\(8, 64\) and needs targets of shape \(\*batch, 64\), but got \(3,\)",
        lambda: gaussian(torch.zeros(3)),
    )
    expect(TypeError, "complex", lambda: GlobalPhase().sample(real_images))
    expect(TypeError, "real", lambda: Sign(1).sample(complex_images))
    expect(TypeError, "ComplexHalf|complex32", lambda: FixGlobalPhase()(complex_images.to(torch.complex32)))


def test_arguments() -> None:
    expect(ValueError, "oversampling >= 1, but got 0.5.*linear", lambda: FarField(oversampling=0.5))
    expect(ValueError, "oversampling", lambda: FarField(oversampling=float("nan")))
    expect(ValueError, "shape of 2 ints", lambda: FarField(shape=(4,)))
    expect(ValueError, "field=", lambda: FarField(field="imaginary"))  # type: ignore[arg-type]
    expect(ValueError, "norm", lambda: FarField(norm="l2"))
    expect(ValueError, "chunk_size", lambda: FarField(chunk_size=0))
    expect(ValueError, r"at least the frame's shape \(64, 64\)", lambda: FarField(shape=(32, 64))(complex_images))
    expect(ValueError, "event_dims >= 1, but got 0", lambda: CenterContent(0))
    expect(TypeError, "an int as event_dims, but got 2.0", lambda: FixConjugateFlip(2.0))  # type: ignore[arg-type]
    expect(ValueError, "channel_dims >= 0", lambda: FixGlobalPhase(channel_dims=-1))
    expect(ValueError, "0 <= threshold < 1", lambda: CenterContent(threshold=1.0))
    expect(ValueError, "wrap=True, wrap=False or", lambda: CenterContent(wrap=(3,)))
    expect(ValueError, 'anchor="sum"', lambda: FixSign(1, anchor="dc"))
    expect(ValueError, "anchor of 2 ints", lambda: FixSign(2, anchor=(1, 2, 3)))
    expect(ValueError, "every entry by itself", lambda: FixSign(0, anchor=1))
    expect(IndexError, r"anchor=5, outside items of shape \(3,\)", lambda: FixSign(1, anchor=5)(torch.zeros(2, 3)))
    expect(TypeError, "event_dims", lambda: FixSign())  # type: ignore[call-arg]
    expect(ValueError, "field=", lambda: GaussianIntensity.draw(3, 2, field="quaternion"))  # type: ignore[arg-type]
    expect(ValueError, "matrix A", lambda: GaussianIntensity(torch.zeros(2, 3, 4)))


def test_products_and_elements() -> None:
    expect(ValueError, "at least one", lambda: Product([]))
    expect(TypeError, "needs symmetries", lambda: Product([CenterContent()]))  # type: ignore[list-item]
    expect(ValueError, "same items", lambda: Product([Translation(2), GlobalPhase(1)]))
    expect(ValueError, "one threshold and one wrap", lambda: Product([Translation(2), Translation(2, wrap=True)]))
    expect(ValueError, "one scalar", lambda: Product([Sign(2), GlobalPhase(2)]))
    motion = Motion(torch.zeros(3, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.int64))
    expect(ValueError, r"batch of shape \(3,\).*\(8, 2\)", lambda: Translation(2).act(motion, complex_images))
    expect(ValueError, r"batch of shape \(3,\)", lambda: Sign(2).act(torch.ones(3), real_images))


def test_on_keys_and_channels() -> None:
    fix = FixSign(1)
    x = torch.tensor([-1.0, -2.0])
    expect(TypeError, "a tuple, a list or a mapping, but got torch.float32", lambda: OnKeys(fix, 1)(x))
    expect(KeyError, r"no \['z'\].*\['x', 'y'\]", lambda: OnKeys(fix, "z")({"x": x, "y": x}))
    expect(KeyError, r"no \[2\].*\[0, 1\]", lambda: OnKeys(fix, (0, 2))((x, x)))
    expect(TypeError, "complex already", lambda: FromChannels()(complex_images))
    expect(ValueError, r"\(\*batch, 2, \*event\)", lambda: FromChannels()(torch.zeros(3, 4, 4)))
    expect(ValueError, r"\(\*batch, 2, \*event\)", lambda: FromChannels()(torch.zeros(4, 4)))
    expect(TypeError, "needs a complex tensor", lambda: ToChannels()(real_images))
    expect(TypeError, "OnRealImag needs a complex", lambda: OnRealImag(fix)(real_images))


def test_check_finite() -> None:
    x = torch.zeros(30, 4, dtype=torch.complex64)
    assert check_finite(x) is x
    x[3, 1] = float("nan")
    x[5:25, 2] = float("inf")
    expect(
        ValueError, r"1 NaN and 20 infinite.*\[3, 5, 6, 7, 8, 9, 10, 11, 12, 13\] and 11 more", lambda: check_finite(x)
    )
    expect(ValueError, "objects of shape", lambda: check_finite(x[3], name="objects"))
    expect(TypeError, "from_numpy", lambda: check_finite(np.zeros(3)))  # type: ignore[arg-type]


def test_too_little_oversampling_warns() -> None:
    with pytest.warns(UserWarning, match="recovery is not unique.*oversampling=2"):
        FarField(oversampling=1.2)(complex_images)
