"""``symbreak break IN OUT``."""

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._files import change_file

EXAMPLES = o.examples(
    "symbreak break objects.h5 canonical.h5 --elements --also support",
    "symbreak break objects.h5 canonical.h5 --template template.npz",
)


def break_(
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
    template: o.Template = None,
    also: o.Also = None,
    elements: o.Elements = False,
    overwrite: o.Overwrite = False,
    processes: o.Processes = 1,
    scheduler: o.Scheduler = None,
    debug: o.Debug = False,
) -> None:
    """Replace every target in a file by the canonical point of its orbit.

    The orbit of a target is the set of objects that its symmetries make of it. All have the same measurement.
    The canonical point is the one that a rule chooses.

    Memory use does not grow with the file. If a run was killed, type the same command and it goes on.
    """
    targets = {
        "forward": forward,
        "key": key,
        "layout": layout,
        "event_dims": event_dims,
        "batch_axis": batch_axis,
        "axes": axes,
        "oversampling": oversampling,
        "threshold": threshold,
        "template": template and str(template),
    }
    change_file(
        "break",
        src,
        dst,
        targets,
        also=also or (),
        elements=elements,
        overwrite=overwrite,
        processes=processes,
        scheduler=scheduler,
        debug=debug,
    )
