"""intsim bench: how fast, against others in the same run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intsim.cli.options import File, Json

if TYPE_CHECKING:
    from intsim.benchmark.rate import Rate

bench = typer.Typer(rich_markup_mode=None)

Rounds = Annotated[int, typer.Option(min=2, metavar="N", help="Turns that every engine gets.")]
Networks = Annotated[
    list[str] | None, typer.Option("--network", metavar="NAME", help="resnet18, resnet20, mobilenet_v2; all of them.")
]
Figure = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Draw bars against the roof.")]


@bench.callback()
def group() -> None:
    """Measure how fast intsim is, against others in the same run."""


@bench.command()
def kernels(
    rounds: Rounds = 31,
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


@bench.command()
def layers(
    network: Networks = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Of every engine.")] = 1,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images.")] = 1,
    rounds: Rounds = 15,
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Measure every convolution of three networks, from codes to codes, against the engines installed."""
    _let_threads_sleep()
    from intsim.benchmark.layers import layer_rates
    from intsim.benchmark.networks import NETWORKS
    from intsim.cli.console import show_progress

    with show_progress() as progress:
        rates = layer_rates(network or tuple(NETWORKS), threads, batch, rounds, progress=progress)
    _present(rates, "Layers", figure, json)


@bench.command()
def models(
    network: Networks = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, metavar="N", help="Of every engine, in runs of their own; 1 and 2.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, metavar="N", help="Images; 1 and 32.")] = None,
    rounds: Rounds = 15,
    tflite: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="A network's .tflite file, for LiteRT.")
    ] = None,
    figure: Figure = None,
    json: Json = False,
) -> None:
    """Measure whole networks, from images to logits, against the engines installed."""
    _let_threads_sleep()
    from intsim.benchmark.models import model_rates
    from intsim.benchmark.networks import NETWORKS
    from intsim.cli.console import show_progress

    with show_progress() as progress:
        rates = model_rates(
            network or tuple(NETWORKS),
            batch or (1, 32),
            threads or (1, 2),
            rounds,
            tflite=dict(map(_named_file, tflite or ())),
            progress=progress,
        )
    _present(rates, "Networks", figure, json)


@bench.command()
def steps(
    file: File,
    threads: Annotated[int, typer.Option(min=1, metavar="N")] = 1,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images.")] = 1,
    rounds: Rounds = 31,
    json: Json = False,
) -> None:
    """Measure every step of one model on random images: where its time goes."""
    from dataclasses import asdict, astuple

    from intsim.benchmark.steps import step_times
    from intsim.cli.console import print_json, print_table, show_progress
    from intsim.verbs import load

    with show_progress() as progress:
        times = step_times(load(file).graph, batch, threads, rounds, progress)
    if json:
        print_json({"rows": [asdict(step) for step in times]})
        return
    print_table(("step", "kernel", "ms", "share", "GMAC/s"), map(astuple, times))
    print(f"  {sum(step.ms for step in times):.3f} ms in all")


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"expected NAME=FILE such as resnet18=r18.tflite, got {text!r}", param_hint="--tflite")
    return name, Path(path)


def _let_threads_sleep() -> None:
    """OpenMP's threads would spin on after their work, on cores that the next engine needs. Read when PyTorch loads."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _present(rates: Sequence[Rate], title: str, figure: Path | None, json: bool) -> None:
    from intsim.cli.console import print_json, print_table
    from intsim.reporting.html import render_rates
    from intsim.reporting.rates import compare_rates

    if figure is not None:
        figure.write_text(render_rates(compare_rates(title, rates)), "utf-8")
    if json:
        print_json({"rows": [rate.to_dict() for rate in rates]})
        return
    columns = ("engine", "ms", "spread", "GMAC/s", "x roof", "x fastest int8", "integer sums")
    for (name, batch, threads), alike in groupby(rates, lambda rate: (rate.name, rate.batch, rate.threads)):
        print_table(columns, _rows(list(alike)), f"{name}, batch {batch}, threads {threads}")


def _rows(rates: Sequence[Rate]) -> list[tuple[object, ...]]:
    """Ours and the peers', the fastest first."""
    first = rates[0]
    macs = first.gmacs * first.ms
    fastest = min((ms for name, ms in first.peers.items() if "float32" not in name), default=None)
    times = [(rate.label, rate.ms, rate.spread_ms, "exact") for rate in rates]
    for name, ms in first.peers.items():
        times.append((name, ms, first.peer_spreads_ms[name], first.remark(name)))
    return [
        (name, ms, spread, macs / ms, macs / ms / first.fp32_roof_gmacs, fastest and ms / fastest, integers)
        for name, ms, spread, integers in sorted(times, key=lambda row: row[1])
    ]
