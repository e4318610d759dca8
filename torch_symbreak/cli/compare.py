"""``symbreak compare A B``."""

import csv
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from torch_symbreak._items import join_elements, some_elements
from torch_symbreak._progress import bar
from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing
from torch_symbreak.io import Targets, open_file, write_file
from torch_symbreak.io.arrays import check_new
from torch_symbreak.io.formats.base import Format
from torch_symbreak.io.layouts import BLOCK, Layout, blocks
from torch_symbreak.symmetries import Element, Product

EXAMPLES = o.examples(
    "symbreak compare found.npy truth.h5 --key-b entry/object",
    "symbreak compare found.npz truth.npz --subpixel 10 --item 3 --csv errors.csv",
)

#: Items whose element is printed.
_MOST = 5


def compare(
    a: Annotated[Path, typer.Argument(parser=o.named, metavar="A", help="The reconstruction, in any format.")],
    b: Annotated[
        Path, typer.Argument(parser=o.named, metavar="B", help="The reference, of the same shape, in any format.")
    ],
    forward: o.Forward = "farfield",
    key_a: Annotated[str | None, typer.Option(help="--key of A, as in break.", show_default=False)] = None,
    key_b: Annotated[str | None, typer.Option(help="--key of B.", show_default=False)] = None,
    layout_a: Annotated[str | None, typer.Option(help="--layout of A, as in break.", show_default=False)] = None,
    layout_b: Annotated[str | None, typer.Option(help="--layout of B.", show_default=False)] = None,
    event_dims: o.EventDims = None,
    axes_a: Annotated[str | None, typer.Option(help="--axes of A, as in break.", show_default=False)] = None,
    axes_b: Annotated[str | None, typer.Option(help="--axes of B.", show_default=False)] = None,
    oversampling: o.Oversampling = 2.0,
    subpixel: Annotated[int, typer.Option(help="Find shifts to 1/SUBPIXEL of a pixel.")] = 1,
    item: Annotated[int, typer.Option(help="Item in the picture, counted from 0.")] = 0,
    out: Annotated[Path, typer.Option(parser=o.named, metavar="PNG", help="Picture of one item.")] = Path(
        "comparison.png"
    ),
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            parser=o.named,
            metavar="CSV",
            help="Write the metrics and the group element of every item.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture and the table.")] = False,
    debug: o.Debug = False,
) -> None:
    """Compare a reconstruction A with a reference B, raw and up to the symmetries of the measurement.

    Print the metrics, and how the first 5 items of A were moved onto B. The picture needs the package matplotlib.
    """
    with failing(2, debug=debug):
        made = [path for path in (out, table) if path is not None]
        for path, suffix, kind, flag in ((out, ".png", "picture", "--out"), (table, ".csv", "table", "--csv")):
            if path is not None:
                _check_new(path, suffix, kind, flag, overwrite=overwrite)
        sides = [
            _Side(path, Targets(forward, event_dims, oversampling, key=key, layout=layout, axes=axes), letter)
            for path, key, layout, axes, letter in (
                (a, key_a, layout_a, axes_a, "a"),
                (b, key_b, layout_b, axes_b, "b"),
            )
        ]
        count = _check_alike(*sides)
        if not 0 <= item < count:
            raise ValueError(f"--item needs a number from 0 to {count - 1}, but got {item}.")
        for path in made:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with _rows(table) as rows:
            found = _compare(sides[0], sides[1], subpixel, item, rows)
    shown = Table("", "raw", "aligned", box=SIMPLE_HEAD)
    for name, total in found.raw.items():
        shown.add_row(name, f"{total / count:.6g}", f"{found.aligned[name] / count:.6g}")
    Console().print(shown)
    for index, sentence in enumerate(_sentences(found.elements, found.items, found.group)):
        print(f"item {index}: {sentence}")
    if count > _MOST:
        print(f"... and {count - _MOST} more item{'s' * (count > _MOST + 1)}")
    if table is not None:
        print(table)
    from torch_symbreak import plots  # needs Matplotlib, and the numbers do not

    with failing(1, debug=debug):
        title = os.fsencode(f"{a.name} against {b.name}").decode(errors="replace")  # names of files may be no text
        figure = plots.plot_comparison(*found.panels, title=f"{title}, item {item}", errors=found.errors)
        picture = write_file(out, plots.png(figure))
    print(picture)


class _Side:
    """One of the two files."""

    def __init__(self, path: Path, targets: Targets, letter: str) -> None:
        self.path, self.targets = path, targets
        self.file: Format = open_file(path)
        try:
            self.layout: Layout = targets.find(self.file)[0]
        except (KeyError, TypeError, ValueError) as error:
            # The error names options of break. Here each has one name for A and one for B.
            raise type(error)(re.sub(r"\b(key|layout|axes)=", rf"\1_{letter}=", str(error.args[0]))) from None

    def read(self, block: Any, first: int) -> Tensor:
        """Read a block of targets whose first has this number. Raise ``ValueError`` if an entry is not finite."""
        x = self.layout.read(self.file, block)
        finite = torch.isfinite(x)
        if not finite.all():
            nans, item = int(x.isnan().sum()), first + int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"{', '.join(self.layout.keys)} of {self.path} has {nans} NaN and {int((~finite).sum()) - nans} "
                f"infinite entries in items {first} to {first + len(x) - 1}, the first in item {item}. Mend or drop "
                "them."
            )
        return x


def _check_alike(a: _Side, b: _Side) -> int:
    """Return the number of items. Raise ``ValueError`` if there are none, or the two sides differ in shape or field."""
    shapes = [(*side.layout.batch, *side.layout.event) for side in (a, b)]
    for side, shape in zip((a, b), shapes, strict=True):
        if 0 in shape:
            raise ValueError(f"{side.path} has shape {shape}: no entries to compare.")
    if shapes[0] != shapes[1]:
        raise ValueError(f"{a.path} and {b.path} need targets of one shape, but got {shapes[0]} and {shapes[1]}.")
    fields = ["complex" if side.layout.dtype.is_complex else "real" for side in (a, b)]
    if fields[0] != fields[1]:
        raise ValueError(
            f"{a.path} has {fields[0]} targets and {b.path} has {fields[1]} ones. Name arrays of one kind: --key-a, "
            "--key-b, or --layout-a, --layout-b."
        )
    return math.prod(a.layout.batch)


@dataclass
class _Found:
    """Results of a comparison: sums over all items, the first items, and the item of the picture."""

    group: Product
    raw: dict[str, float] = field(default_factory=dict)
    aligned: dict[str, float] = field(default_factory=dict)
    elements: list[Element] = field(default_factory=list)
    items: list[Tensor] = field(default_factory=list)
    panels: tuple[Tensor, ...] = ()
    errors: tuple[float, float] = (0.0, 0.0)


def _compare(a: _Side, b: _Side, subpixel: int, item: int, rows: Any) -> _Found:
    """Compare block by block."""
    from torch_symbreak import metrics

    found = _Found(Product(a.targets.fix(a.layout.dtype).symmetry))
    first, count = 0, math.prod(a.layout.batch)
    with bar("compare", count) as advance:
        for block in blocks(a.layout, BLOCK):
            x, reference = a.read(block, first), b.read(block, first)
            comparison = metrics.compare(x, reference, found.group, subpixel=subpixel)
            before, after, element = comparison.raw_items, comparison.aligned_items, comparison.alignment.element
            for name in before:
                found.raw[name] = found.raw.get(name, 0.0) + float(before[name].double().sum())
                found.aligned[name] = found.aligned.get(name, 0.0) + float(after[name].double().sum())
            if first < _MOST:
                found.elements.append(some_elements(element, slice(0, _MOST - first)))
                found.items.append(x[: _MOST - first])
            if first <= item < first + len(x):
                number = item - first
                found.errors = (float(before["relative error"][number]), float(after["relative error"][number]))
                if found.group.event_dims:
                    part: Any = number
                else:  # items are single numbers: show those along the last axis
                    row = (a.layout.batch or (1,))[-1]
                    part = slice(number // row * row, number // row * row + row)
                found.panels = tuple(z[part].clone() for z in (reference, x, comparison.alignment.aligned))
            if rows is not None:
                _write(rows, first, before, after, element)
            first += len(x)
            advance(len(x))
    return found


def _write(rows: Any, first: int, before: dict[str, Tensor], after: dict[str, Tensor], element: Element) -> None:
    """Write one line per item, and the header before the first."""
    turned = element.scalar.is_complex()
    if first == 0:
        names = [f"{name} {which}" for name in before for which in ("raw", "aligned")]
        axes = range(element.shift.shape[-1])
        last = "phase (rad)" if turned else "sign"
        rows.writerow(["item", *names, "flipped", *(f"shift {axis}" for axis in axes), last])
    columns = [items[name].tolist() for name in before for items in (before, after)]
    scalars = (element.scalar.angle() if turned else element.scalar).tolist()
    parts = zip(element.flipped.tolist(), element.shift.tolist(), scalars, strict=True)
    for number, (flipped, shift, scalar) in enumerate(parts):
        rows.writerow([first + number, *(column[number] for column in columns), int(flipped), *shift, scalar])


@contextmanager
def _rows(path: Path | None) -> Iterator[Any]:
    """Yield the writer of a CSV file, which gets its name at the end. Yield None without a path."""
    if path is None:
        yield None
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", newline="") as file:
            yield csv.writer(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_new(path: Path, suffix: str, kind: str, flag: str, *, overwrite: bool) -> None:
    """Raise unless a file can be written there. With ``overwrite`` it may replace another one."""
    if path.suffix != suffix:
        name = path.with_suffix(suffix) if path.name.strip(".") else path / f"comparison{suffix}"
        raise ValueError(f"The {kind} is a {suffix[1:].upper()} file, but got {flag} {path}. Name it {name}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and is not replaced. Give another {flag}.")
    check_new(path, overwrite=overwrite)


def _sentences(elements: list[Element], items: list[Tensor], group: Product) -> list[str]:
    """Describe the elements of the first items."""
    x, like = torch.cat(items), group.rearrangement
    few: Element = join_elements(elements, x.shape[:1])
    return few.describe(x) if like is None else few.describe(x, threshold=like.threshold, wrap=like.wrap)
