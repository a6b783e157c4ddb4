"""Widths given to a network in place of its own: the same in all layers, or those of a file.

Results stay as wide as the network states: what a narrower reader saves in storage is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from intsim.costing.widths_file import LayerWidths, read_widths
from intsim.costing.workload import Layer
from intsim.errors import CostError


def assigned_layers(layers: Sequence[Layer], widths: str | Path) -> list[Layer]:
    """The layers at the widths that "4/8" states, weights and then activations, or a .toml file.

    raises   CostError: neither of them, or a file that names a layer that is not there
    """
    if str(widths).endswith(".toml"):
        return layers_with_file(layers, Path(widths))
    match = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", str(widths))
    if match is None:
        raise CostError(f"widths '{widths}': expected bits of weights / activations such as 4/8, or a .toml file")
    return uniform_layers(layers, int(match[1]), int(match[2]))


def uniform_layers(layers: Sequence[Layer], weight_bits: int, act_bits: int, ends: int | None = None) -> list[Layer]:
    """All layers at the same widths, but for the first and the last that have weights where `ends` states theirs."""
    weighted = [i for i, layer in enumerate(layers) if layer.kind != "matmul"]
    first_last = {weighted[0], weighted[-1]} if weighted and ends is not None else set()
    inner, outer = LayerWidths(weight_bits=weight_bits, act_bits=act_bits), LayerWidths(weight_bits=ends, act_bits=ends)
    return [_with_widths(layer, outer if i in first_last else inner) for i, layer in enumerate(layers)]


def layers_with_file(layers: Sequence[Layer], path: Path) -> list[Layer]:
    """The layers at the widths of a file; those that it does not name keep their own."""
    widths = read_widths(path)
    unknown = widths.keys() - {layer.name for layer in layers}
    if unknown:
        raise CostError(f"widths {path}: the network has no layer '{min(unknown)}'")
    return [_with_widths(layer, widths.get(layer.name, LayerWidths())) for layer in layers]


def _with_widths(layer: Layer, widths: LayerWidths) -> Layer:
    """Both operands of a product of activations have their width."""
    act_bits = widths.act_bits or layer.act_bits
    weight_bits = widths.weight_bits or layer.weight_bits
    return replace(layer, weight_bits=act_bits if layer.kind == "matmul" else weight_bits, act_bits=act_bits)
