"""Which width each layer has: the general ones, the first and the last layer's, and a file's.

A file of widths is TOML, one table for each layer, named as the network names its modules:

    [layer."layer1.0.conv1"]
    weight_bits = 3
    act_bits = 4          # of the codes that the layer reads; either may be left out
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from intsim.calibrate.settings import LayerWidths, Settings
from intsim.errors import CalibrationError, InputError
from intsim.ir.float_graph import CONTRACTIONS, FloatGraph


@dataclass(frozen=True)
class Widths:
    """Bits of a layer's weights, and of the codes that it reads."""

    weight_bits: int
    act_bits: int


def read_widths(path: Path) -> dict[str, LayerWidths]:
    """Widths by layer from a TOML file; InputError or CalibrationError with the place in the file."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: no file of widths: {error}") from None
    layers = document.pop("layer", {})
    if document or not isinstance(layers, dict):
        unknown = next(iter(document), "layer")
        raise InputError(f'{path}: expected tables such as [layer."conv1"], got {unknown!r}')
    return {name: _layer_widths(path, name, table) for name, table in layers.items()}


def _layer_widths(path: Path, name: str, table: Any) -> LayerWidths:
    if not isinstance(table, dict) or not set(table) <= {"weight_bits", "act_bits"}:
        hint = f'; a name with dots needs quotes: [layer."{name}. .."]' if isinstance(table, dict) else ""
        raise InputError(f"{path}: layer '{name}' takes weight_bits and act_bits{hint}")
    try:
        return LayerWidths(**table)
    except CalibrationError as error:
        raise CalibrationError(f"{path}: layer '{name}': {error}") from None


def layer_widths(graph: FloatGraph, settings: Settings) -> dict[str, Widths]:
    """Widths of every contraction, by name: general, else first and last, else the layer's own.

    The first and the last layer are the first and the last that have weights. A product of two activations has no
    weights; its `act_bits` holds for both operands.
    raises  CalibrationError for widths of a layer that the network does not have
    """
    layers = [node.name for node in graph.nodes if node.op in CONTRACTIONS]
    for name in settings.widths:
        if name not in layers:
            nearest = get_close_matches(name, layers, n=1, cutoff=0)
            hint = f": did you mean '{nearest[0]}'?" if nearest else ""
            raise CalibrationError(f"widths: the network has no layer '{name}'{hint}")
    widths = dict.fromkeys(layers, Widths(settings.weight_bits, settings.act_bits))
    for end in {node.name for node in (graph.weighted[:1] + graph.weighted[-1:])}:
        widths[end] = Widths(settings.first_last_bits, settings.first_last_bits)
    for name, own in settings.widths.items():
        general = widths[name]
        widths[name] = Widths(own.weight_bits or general.weight_bits, own.act_bits or general.act_bits)
    return widths
