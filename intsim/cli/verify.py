"""intsim verify: the three claims of bit-exactness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from intsim.cli.options import Data, File, Json, Threads


def verify(
    file: File,
    data: Data,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The float network the file was made from: refuses one with other weights."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images that the reference runs on; the others run on all.")
    ] = 64,
    threads: Threads = None,
    json: Json = False,
) -> int:
    """Compare all ways to run a model, layer by layer.

    Every backend has to equal the reference, and the integers the PyTorch mirror, on every element. Where plain
    fake-quantization in float32 differs, that is counted and explained.
    """
    from intsim.cli.console import print_json, print_table, show_progress
    from intsim.verbs import verify as verify_model

    with show_progress() as progress:
        report = verify_model(file, data, float_model=model, sample=sample, threads=threads, progress=progress)
    document = report.to_dict()
    if json:
        print_json(document)
        return 0 if report.bit_exact else 1
    rows = [_row(layer) for layer in document["layers"]]
    columns = ("layer", "elements", "mismatches", "max difference", "fake-quant flips", "why they can be")
    print_table(columns, rows, f"{file}: {report.images:,} images, the reference on {report.sample:,}")
    for comparison in (*report.exact, *([report.fake_quant] if report.fake_quant else [])):
        print(f"  {' = '.join(comparison.sides)}: {comparison.mismatches:,} mismatches")
    if report.unchecked:
        print(f"  not checked: {report.unchecked}")
    print(f"  {'bit-exact' if report.bit_exact else f'NOT bit-exact, first at {report.first_layer}'}")
    return 0 if report.bit_exact else 1


def _row(layer: Mapping[str, Any]) -> tuple[object, ...]:
    counts = (layer["name"], layer["elements"], layer["mismatches"], layer["max_abs_difference"])
    if "fake_quant" not in layer:
        return (*counts, None, None)
    claim3 = layer["fake_quant"]
    return (*counts, claim3["flips"], "proved zero" if claim3["proved_zero"] else claim3["reason"])
