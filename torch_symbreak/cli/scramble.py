"""``symbreak scramble IN OUT``."""

from typing import Annotated

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._files import change_file

EXAMPLES = o.examples(
    "symbreak scramble objects.h5 scrambled.h5 --seed 1",
    "symbreak scramble vectors.npy scrambled.npy --forward gaussian --elements",
)


def scramble(
    src: o.In,
    dst: o.Out,
    forward: o.Forward = "farfield",
    key: o.Key = None,
    layout: o.LayoutKind = None,
    event_dims: o.EventDims = None,
    batch_axis: o.BatchAxis = None,
    axes: o.Axes = None,
    oversampling: o.Oversampling = 2.0,
    threshold: o.Threshold = 1e-4,
    seed: Annotated[int, o.seed("Seed. The draw for target i depends on (seed, i) only.")] = 0,
    also: o.Also = None,
    elements: o.Elements = False,
    overwrite: o.Overwrite = False,
    processes: o.Processes = 1,
    scheduler: o.Scheduler = None,
    debug: o.Debug = False,
) -> None:
    """Move every target in a file to a random point of its orbit: the opposite of break."""
    targets = {
        "forward": forward,
        "key": key,
        "layout": layout,
        "event_dims": event_dims,
        "batch_axis": batch_axis,
        "axes": axes,
        "oversampling": oversampling,
        "threshold": threshold,
    }
    change_file(
        "scramble",
        src,
        dst,
        targets,
        seed=seed,
        also=also or (),
        elements=elements,
        overwrite=overwrite,
        processes=processes,
        scheduler=scheduler,
        debug=debug,
    )
