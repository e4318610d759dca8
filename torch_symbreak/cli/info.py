"""``symbreak info IN``."""

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing, say
from torch_symbreak.io import Targets, inspect
from torch_symbreak.io.layouts import inventory

EXAMPLES = o.examples("symbreak info objects.h5", "symbreak info objects.h5 --key entry/object --event-dims 3")


def info(
    src: o.In,
    forward: o.Forward = "farfield",
    key: o.Key = None,
    layout: o.LayoutKind = None,
    event_dims: o.EventDims = None,
    batch_axis: o.BatchAxis = None,
    axes: o.Axes = None,
    oversampling: o.Oversampling = 2.0,
    threshold: o.Threshold = 1e-4,
    template: o.Template = None,
    also: o.Also = None,
    debug: o.Debug = False,
) -> None:
    """List the arrays in a file, and say which of them break would take as the targets, and why.

    Take the options of break, and fail where break would.
    """
    with failing(2, debug=debug):
        name = None if template is None else str(template)
        targets = Targets(forward, event_dims, oversampling, threshold, key, layout, batch_axis, axes, name)
        contents = inspect(src, targets, also=also or ())
    for line in inventory(contents.arrays):
        print(line)
    if contents.error is None:
        print(f"targets: {contents.choice}")
    for name, value in (contents.note or {}).items():
        if value is not None:
            print(f"made with {name}: {value}")
    if contents.content is not None:
        say(contents.content)
    with failing(2, debug=debug):
        if contents.error is not None:
            raise contents.error
