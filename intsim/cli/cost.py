"""intsim cost: cycles, traffic and energy on an accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from intsim.cli.options import Json

if TYPE_CHECKING:
    from intsim.costing import Estimate


def cost(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|TOPOLOGY.csv", help="An .intsim file, or layers as SCALE-Sim lists them.")
    ],
    target: Annotated[
        list[str],
        typer.Option(metavar="NAME|FILE.toml", help="One of `intsim targets`, or a target file; repeated to compare."),
    ],
    widths: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W/A|FILE.toml", help="Bits in place of the file's own, such as 4/8; repeated to compare."
        ),
    ] = None,
    array: Annotated[str | None, typer.Option(metavar="RxC", help="Rows and columns instead of the target's.")] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Images in one go.")] = 1,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images that say how many bits activations need, where that counts."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what a model costs on an accelerator; several targets or widths stand side by side."""
    from intsim.cli.console import print_json, show_progress
    from intsim.verbs import estimate

    cases = [Case(name, chosen) for name, chosen in product(target, widths or (None,))]
    with show_progress() as progress:
        results = [
            estimate(file, case.target, widths=case.widths, array=array, batch=batch, data=data, progress=progress)
            for case in cases
        ]
    if json:
        documents = [result.to_dict() for result in results]
        for document, case in zip(documents, cases, strict=True):
            document |= {} if case.widths is None else {"widths": case.widths}
        print_json(documents[0] if len(documents) == 1 else {"estimates": documents})
    elif len(results) == 1:
        _print_layers(results[0])
    else:
        _print_side_by_side(cases, results)


class Case(NamedTuple):
    """One column of a comparison; the model's own widths where it states none."""

    target: str
    widths: str | None


def _print_layers(result: Estimate) -> None:
    from intsim.cli.console import format_cell, print_table

    rows: list[tuple[object, ...]] = []
    for layer in result.layers:
        c = layer.cost
        cycles = (c.macs, c.cycles, c.compute_cycles, c.stall_cycles)
        rows.append((layer.name, *cycles, c.dram_bits, c.energy_pj, c.utilisation, c.bound))
    cycles = (result.macs, result.total_cycles, result.compute_cycles, result.stall_cycles)
    rows.append(("total", *cycles, result.dram_bits, result.energy_pj, result.utilisation, ""))
    columns = ("layer", "macs", "cycles", "compute", "stall", "dram bits", "energy pJ", "utilisation", "bound")
    print_table(columns, rows, f"{_machine(result)}, batch {result.batch}", total=True)
    print(f"  {format_cell(result.latency_ms)} ms; {format_cell(result.energy_pj / 1e6)} uJ")
    if result.peak_activation_bits is not None:
        kept = sum(costed.layer.output_on_chip for costed in result.layers)
        peak = f"at most {format_cell(result.peak_activation_bits / 8e3)} kB of activations alive at once"
        print(f"  {peak}; results of {kept} of {len(result.layers)} layers stay on the chip")
    if result.pipelined:
        parts = ", ".join(f"{format_cell(count)} {name}" for name, count in result.resources.items())
        print(f"  one image every {format_cell(result.interval_cycles)} cycles; {parts}")
    for note in result.notes:
        print(f"  note: {note}")


def _print_side_by_side(cases: Sequence[Case], results: Sequence[Estimate]) -> None:
    """Cycles and energy of every layer in every case; the rest stands in the table of a single one."""
    from intsim.cli.console import print_table

    labels = [f"{r.target} {case.widths}" if case.widths else r.target for case, r in zip(cases, results, strict=True)]
    columns = ["layer", "macs"] + [f"{label} {figure}" for figure in ("cycles", "pJ") for label in labels]
    rows: list[tuple[object, ...]] = []
    for layers in zip(*(result.layers for result in results), strict=True):
        costs = [layer.cost for layer in layers]
        rows.append((layers[0].name, costs[0].macs, *(c.cycles for c in costs), *(c.energy_pj for c in costs)))
    totals = (*(result.total_cycles for result in results), *(result.energy_pj for result in results))
    rows.append(("total", results[0].macs, *totals))
    print_table(columns, rows, f"batch {results[0].batch}", total=True)
    summaries = [
        (
            _machine(r),
            case.widths or "own",
            r.total_cycles,
            r.stall_cycles,
            r.latency_ms,
            r.dram_bits,
            r.energy_pj / 1e6,
        )
        + (r.utilisation,)
        for case, r in zip(cases, results, strict=True)
    ]
    columns = ["target", "widths", "cycles", "of them stalls", "ms", "dram bits", "energy uJ", "utilisation"]
    print_table(columns, summaries)
    for label, note in dict.fromkeys((r.target, note) for r in results for note in r.notes):
        print(f"  note: {label}: {note}")


def _machine(result: Estimate) -> str:
    return f"{result.target}, {result.hardware} at {result.clock_mhz} MHz"
