"""Files of widths, as `intsim quantize --widths` reads them: one TOML table for each layer.

[layer."layer1.0.conv1"]
weight_bits = 3
act_bits = 4          # of the codes that the layer reads; either may be left out
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, TypeAdapter

from intsim.costing.quantity import Record, checked
from intsim.errors import CostError


class LayerWidths(Record):
    """Widths that a layer has in place of its own."""

    weight_bits: int | None = Field(default=None, gt=0, strict=True)
    act_bits: int | None = Field(default=None, gt=0, strict=True)


class _File(Record):
    layer: dict[str, LayerWidths]


_SCHEMA = TypeAdapter(_File)


def read_widths(path: Path) -> dict[str, LayerWidths]:
    """Widths by layer; CostError with the place in the file."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CostError(f"widths {path}: not a readable TOML file: {error}") from None
    return checked(f"widths {path}", lambda: _SCHEMA.validate_python(table)).layer


def format_widths(widths: Mapping[str, tuple[int, int]]) -> str:
    """The file that gives every layer its (weight bits, activation bits)."""
    tables = (
        f"[layer.{_quoted(name)}]\nweight_bits = {weight_bits}\nact_bits = {act_bits}\n"
        for name, (weight_bits, act_bits) in widths.items()
    )
    return "\n".join(tables)


def _quoted(name: str) -> str:
    """A basic string of TOML, which is JSON's, but for the characters above ASCII that it may hold as they are."""
    return json.dumps(name, ensure_ascii=False)
