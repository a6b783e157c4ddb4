"""intsim allocate: the best widths within budgets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intsim.cli.options import Data, Json, Seed, parse_assignments
from intsim.errors import InputError

if TYPE_CHECKING:
    from intsim.costing import Allocation
    from intsim.costing.menu import Measure

INFEASIBLE = 1


def allocate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="What to quantize: path/file.py:callable or a module's.")
    ],
    data: Data,
    target: Annotated[str, typer.Option(metavar="NAME|FILE.toml", help="One of `intsim targets`, or a target file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="W.toml", help="The file of widths to write.")
    ] = None,
    budgets: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="WHAT=AMOUNT",
            help="cycles=0.6, energy=2mJ, size=300kB, bops, peak or loss=..; several.",
        ),
    ] = None,
    minimise: Annotated[
        str, typer.Option(metavar="loss|cycles|energy|size|bops|peak", help="What to make as small as possible.")
    ] = "loss",
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Draw the front of loss against the first budget's cost (or cycles) too.")
    ] = False,
    bits: Annotated[str, typer.Option(metavar="B,..", help="Widths to choose from.")] = "2,3,4,5,6,7,8",
    array: Annotated[str | None, typer.Option(metavar="RxC", help="Rows and columns instead of the target's.")] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Images in one go.")] = 1,
    first_last_bits: Annotated[int, typer.Option(metavar="2..8", help="Widths in the first and the last layer.")] = 8,
    residual_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of what additions read and make.")] = 8,
    weight_grid: Annotated[
        str, typer.Option(metavar="symmetric|asymmetric", help="Asymmetric: one zero point for each weight scale.")
    ] = "symmetric",
    tie: Annotated[bool, typer.Option("--tie", help="The same widths where results meet in an addition.")] = False,
    loss: Annotated[
        str, typer.Option(metavar="noise|kl|cross_entropy", help="Roundings' noise, or measured on the integers.")
    ] = "noise",
    method: Annotated[
        str, typer.Option(metavar="M", help="Calibrates what is measured: one of `intsim methods`.")
    ] = "mse",
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the method; repeatable."),
    ] = None,
    sensitivities: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keeps measured losses; a stopped run goes on from it.")
    ] = None,
    rank: Annotated[
        int, typer.Option(min=0, metavar="N", help="Measure N random allocations too: how well the loss ranks them.")
    ] = 0,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Choose the widths of every layer: the least loss within all budgets, proven optimal."""
    from intsim.cli.console import print_json, show_progress
    from intsim.costing import allocate as allocate_widths
    from intsim.costing import pareto as front_of
    from intsim.costing.budget import parse_budget, parse_measure
    from intsim.verbs import menu, write_widths
    from intsim.verbs.arguments import writable

    if output is not None:
        writable(output)  # before the losses are measured
    limits, measure = [parse_budget(text) for text in budgets or []], parse_measure(minimise)
    costs = [budget.measure for budget in limits if budget.measure != "loss"]
    with show_progress() as progress:
        choices = menu(
            model,
            data,
            target,
            bits=_widths(bits),
            array=array,
            batch=batch,
            first_last_bits=first_last_bits,
            residual_bits=residual_bits,
            weight_grid=weight_grid,
            tie=tie,
            loss=loss,
            method=method,
            options=parse_assignments(options or []),
            sensitivities=sensitivities,
            ranked=rank,
            seed=seed,
            progress=progress,
        )
    best = allocate_widths(choices, limits, measure)
    cost = costs[0] if costs else "cycles"
    front = front_of(choices, cost) if pareto else []
    if output is not None and best.status == "optimal":
        write_widths(output, best)
    if json:
        document = best.to_dict() | ({"front": [point.to_dict() for point in front]} if pareto else {})
        print_json(document | ({"ranking": asdict(choices.ranking)} if choices.ranking else {}))
    elif best.status == "optimal":
        _print(best)
    else:
        print(best.message)
    if choices.ranking and not json:
        ranking = choices.ranking
        print(
            f"  Kendall's tau {ranking.tau:.2f} (p {ranking.p:.1g}) between predicted and measured loss "
            f"of {ranking.allocations} random allocations"
        )
    if front and not json:
        _print_front(front, cost)
    return 0 if best.status == "optimal" else INFEASIBLE


def _widths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--bits {text}: expected whole numbers with commas, such as 2,4,8") from None


def _print(best: Allocation) -> None:
    from intsim.cli.console import print_table

    print_table(("layer", "weight bits", "activation bits"), ((name, *pair) for name, pair in best.bits.items()))
    uniform = best.uniform_cost
    costs = ((name, amount, uniform[name], amount / (uniform[name] or 1)) for name, amount in best.cost.items())
    print_table(("cost", "allocated", "8/8 bits", "fraction"), costs)
    optimal = "proven optimal" if best.proven else "the least that HiGHS found, not proven optimal"
    print(f"  predicted loss {best.predicted_loss:.6g}, {optimal}")


def _print_front(front: list[Allocation], cost: Measure) -> None:
    from intsim.cli.console import print_table
    from intsim.cli.plot import draw_points
    from intsim.costing.allocation import JSON_NAMES

    name = JSON_NAMES[cost]
    rows = [(point.predicted_loss, *point.cost.values()) for point in front]
    print_table(("predicted loss", *front[0].cost), rows, "front, cheapest first")
    print(draw_points([(point.cost[name], point.predicted_loss) for point in front], name, "predicted loss"))
