"""The command line: one command per file, which parses and prints; the work is in intsim.verbs.

A command returns its exit status: 0 done and equal, 1 a mismatch or a failed proof. Bad input is an IntsimError
anywhere below, printed here as one line with status 2. Commands import what they need when they run, so that
`intsim --help` waits for none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from intsim import __version__
from intsim.cli.allocate import allocate
from intsim.cli.bench import bench
from intsim.cli.cost import cost
from intsim.cli.demo import demo
from intsim.cli.evaluate import evaluate
from intsim.cli.export import export
from intsim.cli.inspect import inspect
from intsim.cli.methods import methods
from intsim.cli.prove import prove
from intsim.cli.quantize import quantize
from intsim.cli.report import report
from intsim.cli.run import run
from intsim.cli.sweep import sweep
from intsim.cli.targets import targets
from intsim.cli.train import train
from intsim.cli.verify import verify
from intsim.errors import IntsimError

BAD_INPUT = 2

# Plain help: rich's takes 0.2 s to load, which is most of what `intsim --help` would take.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(demo)
app.command()(quantize)
app.command()(train)
app.command()(verify)
app.command()(prove)
app.command()(run)
app.command("eval")(evaluate)
app.command()(inspect)
app.command()(export)
app.command()(cost)
app.command()(allocate)
app.command()(sweep)
app.command()(report)
app.command()(targets)
app.command()(methods)
app.add_typer(bench, name="bench")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"intsim {__version__}")
        raise typer.Exit


@app.callback()
def intsim(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """Runs a neural network exactly as integer hardware would, proves it, and says what it costs.

    MODEL is package.module:callable or path/file.py:callable returning an nn.Module. DATA is such a callable returning
    (inputs, labels), inputs alone where no labels are needed, or batches of either, such as a DataLoader, which is read
    to its end; or an .npz file with `inputs` and optionally `labels`.
    """


def execute(arguments: Sequence[str]) -> int:
    """Exit status of `intsim` with these arguments."""
    try:
        return app(list(arguments) or ["--help"], prog_name="intsim", standalone_mode=False) or 0
    except IntsimError as error:
        message = str(error)
    except typer.TyperException as error:  # an unknown command or option, or a value of the wrong kind
        message = error.format_message()
    except OSError as error:  # a file that cannot be written, or a full disk
        message = str(error)
    print("intsim:", " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT


def main() -> None:
    sys.exit(execute(sys.argv[1:]))
