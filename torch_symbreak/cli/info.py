"""``symbreak info IN``."""

import shlex

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import as_typed, failing, say
from torch_symbreak.io import Targets, inspect
from torch_symbreak.io.layouts import inventory
from torch_symbreak.io.template import note_of_template

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

    The options are those of break. The command fails where break would fail.
    """
    with failing(2, debug=debug):
        name = None if template is None else str(template)
        targets = Targets(forward, event_dims, oversampling, threshold, key, layout, batch_axis, axes, name)
        contents = inspect(src, targets, also=also or ())
    for line in inventory(contents.arrays):
        print(line)
    if fitted := note_of_template(src):
        options = " ".join(f"{name}={fitted[name]!r}" for name in ("forward", "oversampling", "threshold"))
        print(f"a template, fitted to {fitted['seen']} targets of {fitted['input']}")
        print(f"to use it: symbreak break IN OUT --template {shlex.quote(str(src))} {as_typed(options)}")
        return
    for offer in getattr(contents.error, "__notes__", ()):
        print(as_typed(f"to type: {offer}"))
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
