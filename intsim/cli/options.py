"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(metavar="FILE", help="An .intsim file.")]
Data = Annotated[
    str,
    typer.Option("--data", metavar="DATA", help="path/file.py:callable, package.module:callable or an .npz file."),
]
InputKind = Annotated[
    str, typer.Option(metavar="float32|u8", help="u8: the model takes pixels, normalized by its first layer.")
]
Mean = Annotated[
    str | None,
    typer.Option(metavar="M,..", help="With --input u8: of pixels / 255, for each channel; 0 if not given."),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="S,..", help="With --input u8: of pixels / 255, for each channel; 1 if not given."),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of everything random.")]
BackendName = Annotated[
    str, typer.Option("--backend", metavar="native|numba|reference", help="What runs the integer graph.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At most so many; as many as the process may use unless given.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def parse_assignments(texts: list[str]) -> dict[str, str]:
    """What `--set NAME=VALUE` gives."""
    for text in texts:
        if "=" not in text:
            raise typer.BadParameter(f"expected NAME=VALUE, got {text!r}", param_hint="--set")
    return dict(text.split("=", 1) for text in texts)
