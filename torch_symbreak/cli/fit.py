"""``symbreak fit IN OUT``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from torch_symbreak.cli import _options as o
from torch_symbreak.cli._run import failing, say

EXAMPLES = o.examples(
    "symbreak fit objects.h5 template.npz",
    "symbreak fit vectors.npy template.npz --forward gaussian --restarts 5",
)

#: Templates of noise explain .03, those of crystals, digits and photographs .43 to .58 (benchmarks/spread.py).
_LITTLE = 0.1


def fit(
    src: o.In,
    dst: Annotated[Path, typer.Argument(parser=o.named, metavar="OUT", help="Output file, .npz.", show_default=False)],
    forward: o.Forward = "farfield",
    key: o.Key = None,
    layout: o.LayoutKind = None,
    event_dims: o.EventDims = None,
    batch_axis: o.BatchAxis = None,
    axes: o.Axes = None,
    oversampling: o.Oversampling = 2.0,
    threshold: o.Threshold = 1e-4,
    max_objects: Annotated[int, typer.Option(help="Largest number of targets to fit to, drawn at random.")] = 5000,
    rounds: Annotated[
        int, typer.Option(help="Largest number of rounds. Each aligns all targets and takes their mean.")
    ] = 30,
    restarts: Annotated[int, typer.Option(help="Number of fits. The best is kept.")] = 1,
    normalize: Annotated[bool, typer.Option("--normalize", help="Give all targets the same weight.")] = False,
    seed: Annotated[int, o.seed("Seed of all draws.")] = 0,
    overwrite: o.Overwrite = False,
    debug: o.Debug = False,
) -> None:
    """Fit a template to the targets in a file, for break --template.

    A template is one object. break --template moves every target as near to it as the symmetries allow.
    """
    from torch_symbreak.io import Targets, fit_template, open_file

    with failing(2, debug=debug):
        targets = Targets(forward, event_dims, oversampling, threshold, key, layout, batch_axis, axes)
        found, reason = targets.find(open_file(src))
        say(f"{found.describe()} ({reason})")
        fix = fit_template(
            src,
            dst,
            targets,
            max_objects=max_objects,
            rounds=rounds,
            restarts=restarts,
            normalize=normalize,
            seed=seed,
            overwrite=overwrite,
        )
    print(f"{fix.seen} targets, {len(fix.history)} rounds: the template explains {fix.explained:.1%} of their energy")
    if fix.explained < _LITTLE:
        print(
            "The targets are hardly alike. A template may gain nothing over the exact rule: break without --template.",
            file=sys.stderr,
        )
    print(dst)
