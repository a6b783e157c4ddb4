"""intsim export: what other tools and test benches read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Data, File, Json


def export(
    file: File,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder.")],
    to: Annotated[str, typer.Option("--to", metavar="vectors", help="What to write.")] = "vectors",
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Vectors of the first so many images.")] = 1,
    json: Json = False,
) -> None:
    """Write test vectors of every layer for hardware: operands, parameters and what has to come out."""
    from intsim.cli.console import print_json
    from intsim.verbs import export as export_model

    layers = export_model(file, data, to=to, output=output, images=images)
    if json:
        print_json({"output": str(output), "to": to, "layers": list(layers)})
    else:
        print(f"{output}: {to} of {len(layers)} layers")
