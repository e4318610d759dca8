"""The orbit explorer is driven in a real browser, and its rule is compared with the library's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import CHROMIUM, Browser
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torch_symbreak import FarField
from torch_symbreak.baselines import LiteralAlgorithm2
from torch_symbreak.symmetries import Element

pytest.importorskip("matplotlib")

from torch_symbreak.plots.axes import colors

PAGE = Path(__file__).parents[1] / "docs" / "_extra" / "explorer.html"
MODEL = FarField(2)
FIX = MODEL.canonicalizer()

#: The sign in the page's numbers.
MINUS = "\N{MINUS SIGN}"

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
    assert not started.said, "the console stays empty"


@pytest.fixture
def page(browser: Browser) -> Browser:
    browser.open(PAGE)
    return browser


@dataclass(frozen=True)
class Square:
    """Content in a square frame."""

    n: int
    content: tuple[int, int]
    position: tuple[int, int]
    kind: str
    seed: int

    def make(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        z = torch.randn(self.content, dtype=torch.complex128, generator=generator)
        if self.kind == "few values":  # whose sums and scores are often 0
            z = torch.complex(*torch.randint(-1, 2, (2, *self.content), generator=generator).double())
        elif self.kind == "zero sum":
            z = z - z.mean()
        elif self.kind == "centrosymmetric":
            z = z + z.flip((0, 1)).conj()
        elif self.kind == "no low frequency" and z.numel() > 26:  # the sweep decides its phase
            t, s = ((torch.arange(length) - (length - 1) / 2) / length for length in self.content)
            orders = [(k, j) for k in range(-2, 3) for j in range(-2, 3)]
            waves = torch.stack([torch.pi * (k * t[:, None] + j * s).flatten() for k, j in orders])
            basis, _ = torch.linalg.qr(torch.polar(torch.ones_like(waves), waves).to(z.dtype).T)
            z = (z.flatten() - basis @ (basis.mH @ z.flatten())).reshape(z.shape)
        x = torch.zeros(self.n, self.n, dtype=torch.complex128)
        (top, left), (height, width) = self.position, self.content
        x[top : top + height, left : left + width] = z
        return x


@st.composite
def squares(draw: st.DrawFn, sizes: Sequence[int], kinds: list[str]) -> Square:
    n = draw(st.sampled_from(sizes))
    content = draw(st.tuples(st.integers(1, n), st.integers(1, n)))
    position = draw(st.tuples(*(st.integers(0, n - length) for length in content)))
    kind = draw(st.sampled_from(kinds))
    return Square(n, content, position, kind, draw(st.integers(0, 2**20)))


KINDS = ["noise", "few values", "zero sum", "centrosymmetric", "no low frequency"]


def sent(x: Tensor) -> str:
    """Return an object as the page has it."""
    parts = (f"new Float64Array({part.flatten().tolist()})" for part in (x.real, x.imag))
    return "({{n: {}, re: {}, im: {}}})".format(len(x), *parts)


def received(page: Browser, expression: str) -> Tensor:
    """Return an object of the page."""
    n, re, im = page.run(f"(({{n, re, im}}) => [n, [...re], [...im]])({expression})")
    return torch.complex(*torch.tensor([re, im], dtype=torch.float64)).reshape(n, n)


def element_of(g: dict[str, Any]) -> Element:
    angle = torch.tensor(g["degrees"], dtype=torch.float64).deg2rad()
    return Element(torch.tensor(g["flipped"]), torch.tensor(g["shift"]), torch.polar(torch.ones_like(angle), angle))


#: The library rounds the angles of low frequencies to single precision. All else is equal to double precision.
ROUNDING = 1e-6


def agrees(page: Browser, x: Tensor) -> bool:
    """Return whether the page canonicalizes x as the library does, and says the same margins."""
    of_page = page.run(f"(x => ({{g: element(x), margins: margins(x)}}))({sent(x)})")
    g, own = FIX.element(x), element_of(of_page["g"])
    margins = {name: value.item() for name, value in FIX.margins(x).items()}
    return (
        bool(own.flipped == g.flipped)
        and bool((own.shift == g.shift).all())
        and abs(complex(own.scalar) - complex(g.scalar)) < ROUNDING
        and torch.allclose(received(page, f"act(element({sent(x)}), {sent(x)})"), FIX(x), atol=10 * ROUNDING)
        and of_page["margins"] == pytest.approx(margins, abs=ROUNDING)
    )


def test_the_page_needs_nothing_else() -> None:
    text = PAGE.read_text()
    assert not re.search(
        r"\ssrc=|@import|url\(|fetch\(|XMLHttpRequest|import\(|<link(?! rel=\"icon\" href=\"data:)", text
    )


@pytest.mark.slow
@in_browser
def test_its_rule_is_the_library_s(browser: Browser) -> None:
    browser.open(PAGE)

    @given(squares(range(1, 13), KINDS))
    def on_drawn_objects(drawn: Square) -> None:
        assert agrees(browser, drawn.make())

    on_drawn_objects()
    assert agrees(browser, torch.zeros(4, 4, dtype=torch.complex128))


@pytest.mark.slow
@in_browser
def test_its_measurement_and_its_literal_reading(browser: Browser) -> None:
    browser.open(PAGE)

    @given(squares([2, 4, 8], ["noise"]))
    def on_drawn_objects(drawn: Square) -> None:
        x = drawn.make()
        measured = torch.tensor(browser.run(f"[...measure({sent(x)})]"), dtype=torch.float64).reshape(2 * drawn.n, -1)
        assert torch.allclose(measured, MODEL(x), rtol=1e-9, atol=1e-9)
        if drawn.content[1] > 1:  # or else the coefficient that decides is rounding noise
            assert torch.allclose(received(browser, f"literalReading({sent(x)})"), LiteralAlgorithm2()(x), atol=1e-9)

    on_drawn_objects()


def state(page: Browser) -> tuple[Tensor, Tensor]:
    """Check all that the page shows, and return the start and the object."""
    start, x = received(page, "start"), received(page, "x")
    assert torch.allclose(FIX.symmetry.act(element_of(page.run("applied")), start), x, atol=1e-12)
    canonical = FIX(x)
    assert torch.allclose(canonical, FIX(start), atol=1e-12)
    assert torch.allclose(MODEL(x), MODEL(start), rtol=0, atol=1e-12 * MODEL(start).max().item())
    for name, picture in (("object", x), ("canonical", canonical)):
        data = page.run(f"[...$('{name}').getContext('2d').getImageData(0, 0, 32, 32).data]")
        shown = torch.tensor(data).reshape(32, 32, 4)[..., :3] / 255
        assert (shown - torch.from_numpy(colors(picture))).abs().max() < 0.01, name
    for name in ("change", "moved"):
        assert float(page.run(f"$('{name}').textContent").replace(MINUS, "-")) < 1e-12
    margin = FIX.margin(x).item()
    said = re.search(rf"smallest(?: is|,) ([\d.e{MINUS}]+\d)", page.run("$('margin').textContent"))
    assert said
    assert float(said[1].replace(MINUS, "-")) == pytest.approx(margin, rel=0.06)
    assert page.run("$('exact-count').textContent") == "1"
    return start, x


def place(x: Tensor) -> tuple[int, ...]:
    return tuple(FIX.symmetry.symmetries[0].box(x).lo.tolist())


@pytest.mark.slow
@in_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_its_buttons(browser: Browser, width: int) -> None:
    browser.open(PAGE, width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    start, x = state(browser)
    assert torch.equal(start, x)
    for button, (down, right) in {"up": (-1, 0), "left": (0, -1), "down": (1, 0), "right": (0, 1)}.items():
        before = place(x)
        browser.click(f"#{button}")
        _, x = state(browser)
        assert place(x) == (before[0] + down, before[1] + right)
    assert torch.equal(x, start)
    turned = start * torch.polar(torch.ones(()).double(), torch.tensor(30.0).double().deg2rad())
    browser.click("#phase")
    _, x = state(browser)
    assert torch.allclose(x, turned, atol=1e-12)
    browser.click("#flip")
    _, x = state(browser)
    flip = FIX.symmetry.symmetries[1]
    assert torch.allclose(x, flip.act(flip.twin(turned), turned), atol=1e-12)
    assert "conjugate flip" in browser.run("$('applied').textContent")
    browser.run("(() => { let seed = 1; Math.random = () => (seed = (seed * 16807) % 2147483647) / 2147483647; })()")
    seen = {place(x)}
    for _ in range(4):
        browser.click("#random")
        seen.add(place(state(browser)[1]))
    assert len(seen) > 2
    browser.click("#reset")
    assert torch.equal(*state(browser))
    assert browser.run("$('applied').textContent").startswith("You applied g: nothing.")


@pytest.mark.slow
@in_browser
def test_its_keys_and_dragging(page: Browser) -> None:
    start, _ = state(page)
    page.run("$('object').focus()")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "f", "p"):
        page.press(key)
    _, x = state(page)
    assert place(x) == (place(start)[0] + 1, place(start)[1] + 2)
    assert page.run("[applied.flipped, applied.degrees]") == [True, 30]
    page.press("0")
    assert torch.equal(*state(page))
    entry = page.run("$('object').getBoundingClientRect().width") / 32
    page.drag("#object", (3 * entry, -2 * entry))
    _, x = state(page)
    assert place(x) == (place(start)[0] - 2, place(start)[1] + 3)
    assert "edge" not in page.run("$('applied').textContent")
    page.drag("#object", (-30 * entry, 0))
    _, x = state(page)
    assert place(x)[1] == 0
    assert "edge of the frame" in page.run("$('applied').textContent")


@pytest.mark.slow
@in_browser
def test_every_object(page: Browser) -> None:
    """Each is a good example: no tie, one canonical point, and two representatives of the literal reading."""
    names = page.run("Object.keys(OBJECTS)")
    assert len(names) > 2
    page.click("#literal")
    for name in names:
        page.run(f"$('objects').value = {json.dumps(name)}; $('objects').dispatchEvent(new Event('change'))")
        page.click("#flip")
        page.click("#right")
        page.click("#flip")
        _, x = state(page)
        assert not FIX.tied(x)
        assert ("near-tie" in page.run("$('margin').textContent")) == ("tie" in name)
        assert page.run("[$('literal-count').textContent, $('met').querySelectorAll('canvas').length]") == ["2", 2]


MUTANTS = {
    "a flip that does not conjugate": ("flipped ? conj(value) : value", "value"),
    "a box that is centered one entry off": ("(x.n - box.length[axis]) / 2", "(x.n - box.length[axis] + 1) / 2"),
    "a flip about the center of the frame": ("2 * box.lo[axis] + box.length[axis] - 1 : 0)", "x.n - 1 : 0)"),
    "a phase that forgets the flip": (
        "const anchor = flipped ? conj(values[first]) : values[first]",
        "const anchor = values[first]",
    ),
    "other frequencies decide the flip": ("FLIPS = [[0, 1], [1, 0]", "FLIPS = [[1, 0], [0, 1]"),
    "no number but the sum": ("firstAbove(sizes, levels) }", "0 }"),
    "a sweep of one rate": ("3 / (1 + 1 / 7)", "3"),
}


@pytest.mark.slow
@in_browser
@pytest.mark.parametrize("mutant", [None, *MUTANTS])
def test_the_test_sees_mutants(browser: Browser, mutant: str | None, tmp_path: Path) -> None:
    text = PAGE.read_text()
    if mutant is not None:
        old, new = MUTANTS[mutant]
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "page.html").write_text(text)
    browser.open(tmp_path / "page.html")
    objects = [Square(9, (5, 6), (1, 0), kind, seed).make() for kind in KINDS for seed in range(3)]
    assert all(agrees(browser, x) for x in objects) == (mutant is None)
