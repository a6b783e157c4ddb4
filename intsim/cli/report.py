"""intsim report: one page for people, of costs and of what roundings lose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Json


def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=".intsim files, or topologies (.csv) as SCALE-Sim has them.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PAGE.html", help="Where to write the page.")],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE.toml", help="May be repeated; systolic_ws unless given."),
    ] = None,
    widths: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W/A|FILE.toml", help="Bits in place of the files' own, such as 4/8; repeated to compare."
        ),
    ] = None,
    array: Annotated[str | None, typer.Option(metavar="RxC", help="Rows and columns instead of the targets'.")] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Images in one go.")] = 1,
    float_model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="The float network: draws each layer's quantization noise too; the first FILE is what others gain on.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="With --model: path/file.py:callable, a module's or an .npz.")
    ] = None,
    json: Json = False,
) -> None:
    """Draw what models cost on accelerators, and what they lose, side by side, as one page that opens offline."""
    from intsim.cli.console import print_json
    from intsim.verbs import report as write_report

    targets = target or ["systolic_ws"]
    page = write_report(
        files, targets, widths=widths or (), array=array, batch=batch, float_model=float_model, data=data, output=output
    )
    size_bytes = len(page.encode())
    if json:
        print_json({"output": str(output), "bytes": size_bytes, "files": [*map(str, files)], "targets": targets})
    else:
        print(
            f"{output}: {len(files) * len(targets) * max(1, len(widths or ()))} estimates, {size_bytes / 1e3:,.0f} kB"
        )
