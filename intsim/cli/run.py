"""intsim run: output codes for every image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import BackendName, Data, File, Json, Threads


def run(
    file: File,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.npz", help="Where the codes go.")],
    backend: BackendName = "native",
    threads: Threads = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Write the codes of every layer, not of the outputs.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the integer codes of a model's outputs."""
    from intsim.cli.console import print_json, print_table, show_progress
    from intsim.verbs import run as run_model

    with show_progress() as progress:
        codes = run_model(
            file, data, backend=backend, threads=threads, everything=everything, output=output, progress=progress
        )
    arrays = [{"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in codes.items()]
    if json:
        print_json({"output": str(output), "backend": backend, "arrays": arrays})
    else:
        print_table(("array", "dtype", "shape"), [array.values() for array in arrays], str(output))
