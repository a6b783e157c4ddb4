"""intsim cost: cycles, traffic and energy on an accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Json


def cost(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|TOPOLOGY.csv", help="An .intsim file, or layers as SCALE-Sim lists them.")
    ],
    target: Annotated[str, typer.Option(metavar="NAME|FILE.toml", help="One of `intsim targets`, or a target file.")],
    array: Annotated[str | None, typer.Option(metavar="RxC", help="Rows and columns instead of the target's.")] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Images in one go.")] = 1,
    json: Json = False,
) -> None:
    """Say what a model costs on an accelerator."""
    from intsim.cli.console import format_cell, print_json, print_table
    from intsim.verbs import estimate

    result = estimate(file, target, array=array, batch=batch)
    if json:
        print_json(result.to_dict())
        return
    rows: list[tuple[object, ...]] = []
    for layer in result.layers:
        c = layer.cost
        cycles = (c.macs, c.cycles, c.compute_cycles, c.stall_cycles)
        rows.append((layer.name, *cycles, c.dram_bits, c.energy_pj, c.utilisation, c.bound))
    cycles = (result.macs, result.total_cycles, result.compute_cycles, result.stall_cycles)
    rows.append(("total", *cycles, result.dram_bits, result.energy_pj, result.utilisation, ""))
    columns = ("layer", "macs", "cycles", "compute", "stall", "dram bits", "energy pJ", "utilisation", "bound")
    size = f"{result.array.rows}x{result.array.columns}"
    print_table(columns, rows, f"{result.target}, {size} at {result.clock_mhz} MHz, batch {result.batch}", total=True)
    print(f"  {format_cell(result.latency_ms)} ms; {format_cell(result.energy_pj / 1e6)} uJ")
    for note in result.notes:
        print(f"  note: {note}")
