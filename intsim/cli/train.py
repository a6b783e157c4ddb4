"""intsim train: from a float network to an .intsim file of few bits, by training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Data, InputKind, Json, Mean, Seed, Std
from intsim.cli.quantize import parse_numbers


def train(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="What to train and quantize: path/file.py:callable or a module's.")
    ],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .intsim file to write.")],
    method: Annotated[
        str, typer.Option(metavar="n2uq|lsq", help="Learned thresholds, or learned steps of equal width.")
    ] = "n2uq",
    weight_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of weights.")] = 2,
    act_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of what layers read.")] = 2,
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 8,
    batch: Annotated[int, typer.Option(metavar="N", help="Images for one step.")] = 64,
    learning_rate: Annotated[
        float, typer.Option(metavar="R", help="Of weights at the start, from where it falls to 0.")
    ] = 1.5e-3,
    slower: Annotated[
        float, typer.Option(metavar="F", help="By how much thresholds and scales learn slower than weights.")
    ] = 1.0,
    augment: Annotated[bool, typer.Option("--augment", help="Flip images, and shift them by up to 4 pixels.")] = False,
    rprelu: Annotated[bool, typer.Option("--rprelu", help="RPReLU in front of every quantizer.")] = False,
    order: Annotated[
        str, typer.Option(metavar="ordinary|paper", help="paper: RPReLU in the residual stream too, for its ReLUs.")
    ] = "ordinary",
    scales: Annotated[
        str, typer.Option(metavar="multiplier|threshold", help="How other accumulators become codes.")
    ] = "threshold",
    first_last_bits: Annotated[int, typer.Option(metavar="2..8", help="Widths in the first and the last layer.")] = 8,
    residual_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of what additions read and make.")] = 8,
    input: InputKind = "float32",
    mean: Mean = None,
    std: Std = None,
    seed: Seed = 0,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the state is kept after each epoch; a stopped training goes on from it."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train a network at few bits to say what it says in floating point."""
    from intsim.cli.console import print_json, show_progress
    from intsim.verbs import train as train_model

    with show_progress() as progress:
        trained = train_model(
            model,
            data,
            method=method,
            weight_bits=weight_bits,
            act_bits=act_bits,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            slower=slower,
            augment=augment,
            rprelu=rprelu,
            order=order,
            scales=scales,
            first_last_bits=first_last_bits,
            residual_bits=residual_bits,
            input=input,
            mean=parse_numbers("--mean", mean),
            std=parse_numbers("--std", std),
            seed=seed,
            resume=resume,
            output=output,
            progress=progress,
        )
    graph, size = trained.graph, output.stat().st_size
    macs = graph.macs()
    if json:
        document = {"output": str(output), "file_bytes": size, "layers": len(macs), "macs": sum(macs.values())}
        print_json(document | {"metadata": dict(graph.metadata)})
    else:
        print(f"{output}: {len(macs)} layers, {sum(macs.values()):,} MACs an image, {size:,} bytes")
