"""intsim sweep: many estimates, into one SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Json


def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="Networks, targets, arrays, batches and widths.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The SQLite file; it is continued.")],
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes; one per core unless given.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler, whose workers do it instead.")
    ] = None,
    json: Json = False,
) -> int:
    """Estimate every network x widths x target x array x batch of a plan; stopped, it continues where it was."""
    from intsim.cli.console import print_json, show_progress
    from intsim.verbs import sweep as sweep_plan

    with show_progress() as progress:
        summary = sweep_plan(spec, output, workers=workers, scheduler=scheduler, progress=progress)
    if json:
        print_json({"points": summary.points, "estimated": summary.estimated, "failed": summary.failed})
    else:
        print(f"{output}: {summary.points:,} points, {summary.estimated:,} of them new")
        if summary.failed:
            print(f"  {summary.failed:,} without an estimate: SELECT * FROM points WHERE error IS NOT NULL")
    return 1 if summary.failed else 0
