"""intsim demo: the whole path on data that comes with intsim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intsim.cli.options import Json


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where models, certificates and the page go.")] = Path(
        "demo-out"
    ),
    json: Json = False,
) -> int:
    """Take a small network through everything, in a minute.

    It is quantized to 8, 4 and 2 bits, verified, proved, timed against PyTorch and priced on two accelerators.
    """
    from intsim.verbs import needs_torch

    needs_torch("demo")
    from intsim.cli.console import print_comparison, print_json, show_progress
    from intsim.demo.present import compare
    from intsim.demo.run import run_demo
    from intsim.ir.file import write_atomically
    from intsim.reporting.html import render

    with show_progress() as progress:
        outcome = run_demo(out, progress)
    comparison, page = compare(outcome), out / "index.html"
    write_atomically(page, render(comparison).encode())
    if json:
        print_json(outcome.to_dict() | {"page": str(page)})
    else:
        print_comparison(comparison)
        print(f"\nThe same as a page: {page}")
    return 0 if outcome.exact else 1
