"""intsim bench: how fast, against others in the same run."""

from __future__ import annotations

from typing import Annotated

import typer

from intsim.cli.options import Json

bench = typer.Typer(rich_markup_mode=None)


@bench.callback()
def group() -> None:
    """Measure how fast intsim is, against others in the same run."""


@bench.command()
def kernels(
    rounds: Annotated[int, typer.Option(min=2, metavar="N", help="Turns that every kernel gets.")] = 31,
    json: Json = False,
) -> None:
    """Measure each kernel on its own, on one thread, against float32 multiply-adds."""
    from dataclasses import asdict

    from intsim.benchmark.kernels import kernel_rates
    from intsim.cli.console import print_json, print_table

    rates = kernel_rates(rounds)
    if json:
        print_json({"rows": [asdict(rate) for rate in rates]})
        return
    columns = ("kernel", "weights", "activations", "ms", "spread", "GMAC/s", "MAC/cycle", "x float32")
    print_table(
        columns,
        (
            (r.name, r.weight_bits, r.act_bits, r.ms, r.spread_ms, r.gmacs, r.macs_per_cycle, r.times_roof)
            for r in rates
        ),
    )
