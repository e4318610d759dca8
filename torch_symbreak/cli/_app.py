"""The Typer application, put together from the commands."""

from typing import Annotated

import typer

from torch_symbreak._version import __version__
from torch_symbreak.cli import break_, compare, diagnose, fit, info, reproduce, scramble, solve, unbreak
from torch_symbreak.cli._options import examples

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"symbreak {__version__}")
        raise typer.Exit


@app.callback(epilog=examples("symbreak info objects.h5", "symbreak break --help"))
def symbreak(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Break symmetries in the targets of nonlinear inverse problems."""


app.command(epilog=compare.EXAMPLES)(compare.compare)
app.command("break", epilog=break_.EXAMPLES)(break_.break_)
app.command(epilog=diagnose.EXAMPLES)(diagnose.diagnose)
app.command(epilog=fit.EXAMPLES)(fit.fit)
app.command(epilog=scramble.EXAMPLES)(scramble.scramble)
app.command(epilog=unbreak.EXAMPLES)(unbreak.unbreak)
app.command(epilog=info.EXAMPLES)(info.info)
app.command(epilog=solve.EXAMPLES)(solve.solve)
app.command(epilog=reproduce.EXAMPLES)(reproduce.reproduce)
