"""``symbreak info IN``."""

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing
from torch_symbreak.io import Targets, inspect

EXAMPLES = o.examples("symbreak info objects.h5", "symbreak info objects.h5 --key entry/object --event-dims 3")


def info(
    src: o.In,
    forward: o.Forward = "farfield",
    key: o.Key = None,
    layout: o.LayoutKind = None,
    event_dims: o.EventDims = 2,
    batch_axis: o.BatchAxis = 0,
    debug: o.Debug = False,
) -> None:
    """List the arrays in a file, and say which of them break would take as the targets, and why."""
    with failing(2, debug=debug):
        targets = Targets(forward, event_dims, key=key, layout=layout, batch_axis=batch_axis)
        contents = inspect(src, targets)
    for name, array in contents.arrays.items():
        print(f"{name}: {array.dtype}, {array.shape}")
    print(f"targets: {contents.choice}")
    if contents.content is not None:
        print(f"content: {contents.content}")
    for name, value in (contents.note or {}).items():
        if value is not None:
            print(f"made with {name}: {value}")
