"""Networks as a table: SCALE-Sim's topology files, with optional columns for the widths.

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides, Weight Bits, ...
    Layer, M, N, K, ...

The first line names the columns, in any case and order; lines may end with a comma, as SCALE-Sim's do, and with a
comment after it. The second form lists matrix products of (M, K) by (K, N).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from intsim.costing.workload import Layer, ceil_div
from intsim.errors import CostError

NAME = "layer name"
CONVOLUTION = (
    NAME,
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "strides",
)
PRODUCT = (NAME, "m", "n", "k")
WIDTHS = ("weight bits", "activation bits")
SPARSITY = "sparsity"
OPTIONAL = (*WIDTHS, SPARSITY)
# Spellings in published topologies.
ALIASES = {"layer": "layer name", "num filters": "num filter", "stride": "strides", "sparsity ratio": SPARSITY}

DEFAULT_BITS = 8
DEPTHWISE = "DP"
DIGITS = 9
MOST_MACS = 2**50
"""Of a layer that somebody could mean."""
IMAGE_CHANNELS = 4
"""An image has at most so many."""


@dataclass(frozen=True)
class _Row:
    """One line of the file: its cells by column, and where it stands."""

    where: str
    cells: dict[str, str]

    def number(self, column: str, default: int | None = None) -> int:
        text = self.cells.get(column, "")
        if text == "" and default is not None:
            return default
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else 0
        if number == 0:
            got = f"got '{text[:40]}'" if text else "the cell is empty"
            raise CostError(
                f"{self.where}: column '{column}': expected a whole number from 1 to {10**DIGITS - 1}, {got}"
            )
        return number


def read_topology(path: str | Path) -> list[Layer]:
    """The layers of a topology file, unpadded, as SCALE-Sim counts them.

    Missing widths are 8 bits; results are stored at the width of the layer's activations. The network's input is what
    the first layer reads, if that is an image or the first layer has no windows. A layer with "DP" in its name is
    SCALE-Sim's depthwise convolution: every channel by itself, with `Num Filter` filters each.
    Exact:   out = ceil((ifmap - filter + stride) / stride), along both axes
    raises   CostError, one line with the file's line number: a column that is missing or unknown, text in a number, a
             filter larger than its input, a sparse layer, no layers at all
    Source:  SCALE-Sim 3.0.0, topology_utils.py
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        lines = [(number, _cells(line)) for number, line in enumerate(csv.reader(text.splitlines()), start=1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CostError(f"topology {path}: cannot be read: {error}") from None
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise CostError(f"topology {path}: the file is empty; its first line must name the columns")
    layer_of, columns = _columns(str(path), lines[0][1])
    layers = []
    for number, cells in lines[1:]:
        where = f"topology {path}, line {number}"
        if len(cells) > len(columns):
            raise CostError(f"{where}: expected {len(columns)} cells, as the first line names, got {len(cells)}")
        layer = layer_of(_Row(where, dict(zip(columns, cells, strict=False))))
        if layer.macs > MOST_MACS:
            raise CostError(f"{where}: the layer has {layer.macs:.1e} products; correct its extents")
        layers.append(layer)
    if not layers:
        raise CostError(f"topology {path}: no layers; expected one per line below the names of the columns")
    return [replace(layer, from_input=_reads_input(layer, layers[0])) for layer in layers]


def _reads_input(layer: Layer, first: Layer) -> bool:
    """Whether it reads the network's input, which the file does not say: an image is, for all layers of its extents.

    AlexNet's first convolution stands there in two halves; a part of a network begins with some feature map.
    """
    if layer is first and layer.kernel == (1, 1):
        return True
    image = first.in_height, first.in_width, first.in_channels
    return first.in_channels <= IMAGE_CHANNELS and (layer.in_height, layer.in_width, layer.in_channels) == image


def _cells(line: list[str]) -> list[str]:
    """The cells of a line, without those that a comment ("..., 1,#dw") or a comma at the end adds."""
    cells = list(takewhile(lambda cell: not cell.startswith("#"), map(str.strip, line)))
    return cells[:-1] if cells and cells[-1] == "" else cells


def _columns(path: str, header: list[str]) -> tuple[Callable[[_Row], Layer], list[str]]:
    """What makes a layer of a line, and the columns in the file's order."""
    names = [" ".join(name.lower().split()) for name in header]
    is_product = "m" in names
    layer_of, required = (_product, PRODUCT) if is_product else (_convolution, CONVOLUTION)
    names = [ALIASES.get(name, name) for name in names]
    for name in required:
        if name not in names:
            raise CostError(f"topology {path}: no column '{name}'; the first line must name {', '.join(required)}")
    for name in names:
        if name not in (*required, *OPTIONAL):
            raise CostError(f"topology {path}: unknown column '{name}'; optional are {', '.join(OPTIONAL)}")
        if names.count(name) > 1:
            raise CostError(f"topology {path}: column '{name}' stands twice")
    return layer_of, names


def _convolution(row: _Row) -> Layer:
    in_height, in_width, kernel_height, kernel_width, channels, filters, stride = map(row.number, CONVOLUTION[1:])
    if kernel_height > in_height or kernel_width > in_width:
        raise CostError(
            f"{row.where}: the filter is {kernel_height}x{kernel_width} but its input only {in_height}x{in_width}; "
            "state the input with its padding"
        )
    name, weight_bits, act_bits = _common(row)
    groups = channels if DEPTHWISE in name else 1
    return Layer(
        name,
        "conv",
        channels,
        filters * groups,
        weight_bits,
        act_bits,
        act_bits,
        in_height=in_height,
        in_width=in_width,
        out_height=ceil_div(in_height - kernel_height + stride, stride),
        out_width=ceil_div(in_width - kernel_width + stride, stride),
        kernel=(kernel_height, kernel_width),
        stride=(stride, stride),
        groups=groups,
    )


def _product(row: _Row) -> Layer:
    m, n, k = (row.number(column) for column in ("m", "n", "k"))
    name, weight_bits, act_bits = _common(row)
    return Layer(name, "linear", k, n, weight_bits, act_bits, act_bits, in_width=m, out_width=m)


def _common(row: _Row) -> tuple[str, int, int]:
    """Name and widths; a ratio of sparsity other than dense is refused."""
    name = row.cells.get(NAME, "")
    if not name:
        raise CostError(f"{row.where}: column '{NAME}': the layer has no name")
    kept, _, of = row.cells.get(SPARSITY, "").partition(":")
    if kept.strip() != of.strip():
        raise CostError(
            f"{row.where}: column '{SPARSITY}': expected a dense layer (1:1), got '{row.cells[SPARSITY]}'; "
            "sparse layers are not modelled"
        )
    weight_bits, act_bits = (row.number(column, DEFAULT_BITS) for column in WIDTHS)
    return name, weight_bits, act_bits
