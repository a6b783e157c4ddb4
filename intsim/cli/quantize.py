"""intsim quantize: from a trained network to an .intsim file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intsim.cli.options import Data, InputKind, Json, Mean, Seed, Std, parse_assignments

if TYPE_CHECKING:
    from intsim.ir.graph import Graph


def quantize(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="What to quantize: path/file.py:callable or a module's.")
    ],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .intsim file to write.")],
    method: Annotated[str, typer.Option(metavar="M", help="One of `intsim methods`.")] = "mse",
    weight_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of weights.")] = 8,
    act_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of what layers read.")] = 8,
    scales: Annotated[
        str, typer.Option(metavar="pow2|multiplier|threshold", help="How accumulators become codes.")
    ] = "multiplier",
    widths: Annotated[Path | None, typer.Option(metavar="W.toml", help="Widths of single layers.")] = None,
    first_last_bits: Annotated[int, typer.Option(metavar="2..8", help="Widths in the first and the last layer.")] = 8,
    residual_bits: Annotated[int, typer.Option(metavar="2..8", help="Width of what additions read and make.")] = 8,
    weight_grid: Annotated[
        str, typer.Option(metavar="symmetric|asymmetric", help="Weights with zero point 0, or one for each scale.")
    ] = "symmetric",
    equalize: Annotated[
        bool, typer.Option("--equalize", help="A scale for each channel that a depthwise layer reads.")
    ] = False,
    tune: Annotated[
        str,
        typer.Option(metavar="none|batchnorm|bias|both", help="Correct scales and biases after the method."),
    ] = "none",
    profile: Annotated[str, typer.Option(metavar="torch", help="Whose rounding rules.")] = "torch",
    input: InputKind = "float32",
    mean: Mean = None,
    std: Std = None,
    seed: Seed = 0,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the method; repeatable."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where training keeps its state; a stopped one goes on from it.")
    ] = None,
    print_passes: Annotated[
        bool, typer.Option("--print-passes", help="Print the graph after each lowering pass, on stderr.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn a trained PyTorch network into integers."""
    from intsim.cli.console import print_json, show_progress
    from intsim.verbs import quantize as quantize_model

    with show_progress() as progress:
        quantized = quantize_model(
            model,
            data,
            method=method,
            weight_bits=weight_bits,
            act_bits=act_bits,
            scales=scales,
            widths=widths,
            first_last_bits=first_last_bits,
            residual_bits=residual_bits,
            weight_grid=weight_grid,
            equalize=equalize,
            tune=tune,
            profile=profile,
            input=input,
            mean=parse_numbers("--mean", mean),
            std=parse_numbers("--std", std),
            seed=seed,
            options=parse_assignments(options or []),
            resume=resume,
            output=output,
            inspect=_print_pass if print_passes else None,
            progress=progress,
        )
    graph, size = quantized.graph, output.stat().st_size
    macs = graph.macs()
    if json:
        document = {"output": str(output), "file_bytes": size, "layers": len(macs), "macs": sum(macs.values())}
        print_json(document | {"metadata": dict(graph.metadata)})
    else:
        print(f"{output}: {len(macs)} layers, {sum(macs.values()):,} MACs an image, {size:,} bytes")


def parse_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        message = f"expected numbers such as 0.5 or 0.485,0.456,0.406, got {text!r}"
        raise typer.BadParameter(message, param_hint=option) from None


def _print_pass(name: str, graph: Graph) -> None:
    from intsim.ir.text import print_graph

    print(f"# after {name}\n{print_graph(graph, elide=True)}", file=sys.stderr)
