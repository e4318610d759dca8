"""``symbreak compare A B``."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing
from torch_symbreak.forward import canonicalizer_of
from torch_symbreak.io import read_array, write_file
from torch_symbreak.symmetries import Element, Product

EXAMPLES = o.examples(
    "symbreak compare found.npy truth.npy",
    "symbreak compare run.npz truth.npz --key-a x --key-b x --subpixel 10",
)

#: Items whose element is printed.
_MOST = 5


def compare(
    a: Annotated[Path, typer.Argument(parser=o.named, metavar="A", help="The reconstruction, .npy or .npz.")],
    b: Annotated[
        Path, typer.Argument(parser=o.named, metavar="B", help="The reference, of the same shape, .npy or .npz.")
    ],
    forward: o.Forward = "farfield",
    event_dims: o.EventDims = None,
    oversampling: o.Oversampling = 2.0,
    subpixel: Annotated[int, typer.Option(help="Find shifts to 1/SUBPIXEL of an entry.")] = 1,
    key_a: Annotated[str | None, typer.Option(help="Name of the array in A. Needed if A holds several.")] = None,
    key_b: Annotated[str | None, typer.Option(help="Name of the array in B. Needed if B holds several.")] = None,
    out: Annotated[Path, typer.Option(parser=o.named, metavar="PNG", help="Picture of the first item.")] = Path(
        "comparison.png"
    ),
    debug: o.Debug = False,
) -> None:
    """Compare a reconstruction A with a reference B, raw and up to the symmetries of the measurement.

    Print the metrics, and how the first 5 items of A were moved onto B. The picture needs the package matplotlib.
    """
    from torch_symbreak import metrics

    with failing(2, debug=debug):
        if out.exists() and any(path.exists() and out.samefile(path) for path in (a, b)):
            raise ValueError(f"The picture {out} would replace an array. Give another --out.")
        _check_picture(out)
        x, reference = read_array(a, key_a), read_array(b, key_b)
        for path, array in ((a, x), (b, reference)):
            if not array.numel():
                raise ValueError(f"{path} has shape {tuple(array.shape)}: no entries to compare.")
        dims = 2 if event_dims is None else event_dims
        fix = canonicalizer_of(forward, x.dtype, event_dims=dims, oversampling=oversampling)
        group = Product(fix.symmetry)
        comparison = metrics.compare(x, reference, group, subpixel=subpixel)
    table = Table("", "raw", "aligned", box=SIMPLE_HEAD)
    for name, value in comparison.raw.items():
        table.add_row(name, f"{value:.6g}", f"{comparison.aligned[name]:.6g}")
    Console().print(table)
    element = comparison.alignment.element
    for index, sentence in enumerate(_sentences(element, x, group)):
        print(f"item {index}: {sentence}")
    if element.flipped.numel() > _MOST:
        print(f"... and {element.flipped.numel() - _MOST} items more")
    from torch_symbreak import plots  # needs Matplotlib, and the numbers do not

    with failing(1, debug=debug):
        dims = max(group.event_dims, 1)
        panels = [z.reshape(-1, *z.shape[x.dim() - dims :])[0] for z in (reference, x, comparison.alignment.aligned)]
        title = os.fsencode(f"{a.name} against {b.name}").decode(errors="replace")  # names of files may be no text
        picture = write_file(out, plots.png(plots.plot_comparison(*panels, title=title)))
    print(picture)


def _check_picture(out: Path) -> None:
    """Raise ``ValueError`` unless the picture can stand at ``out``. It replaces an older picture and nothing else."""
    if out.suffix != ".png":
        name = out.with_suffix(".png") if out.name.strip(".") else out / "comparison.png"
        raise ValueError(f"The picture is a PNG file, but got --out {out}. Name it {name}.")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {out.absolute().parent} for the picture. Make it, or give another --out.")
    if out.is_symlink() or (out.exists() and not (out.is_file() and out.read_bytes()[:4] == b"\x89PNG")):
        raise ValueError(f"{out} exists and is no picture, so it is not replaced. Give another --out.")


def _sentences(element: Element, x: Tensor, group: Product) -> list[str]:
    """Describe the elements of the first items. Cut before describing, as a file may hold millions."""
    count = element.flipped.numel()
    shift = element.shift.reshape(count, element.shift.shape[-1])
    few = Element(element.flipped.flatten()[:_MOST], shift[:_MOST], element.scalar.flatten()[:_MOST])
    items = x.reshape(count, *x.shape[x.dim() - group.item_dims :])[:_MOST]
    like = group.rearrangement
    return few.describe(items) if like is None else few.describe(items, threshold=like.threshold, wrap=like.wrap)
