"""intsim prove: the certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import File, Json


def prove(
    file: File,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Where the certificate goes.")
    ] = None,
    json: Json = False,
) -> int:
    """Prove a model exact for every possible input.

    Layer by layer: what accumulators can reach, that nothing overflows, and that the integers after them equal the
    float chain that they stand for.
    """
    from intsim.cli.console import print_json, print_table, show_progress
    from intsim.verbs import prove as prove_model

    with show_progress() as progress:
        certificate = prove_model(file, output=output, progress=progress)
    document = certificate.to_dict()
    if json:
        print_json(document)
    else:
        columns = ("name", "acc_min", "acc_max", "acc_bits")
        rows = [[layer[column] for column in columns] for layer in document["layers"]]
        print_table([column.replace("_", " ") for column in columns], rows, str(file))
        for layer, reason in certificate.problems:
            print(f"  {layer}: {reason}")
        print(f"  {'proved' if certificate.proved else 'NOT proved'}")
    return 0 if certificate.proved else 1
