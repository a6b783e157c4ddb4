"""A convolution or linear layer as hardware sees it: products of matrices of levels, and what has to come out.

Activations stay an image, channels innermost, of which the matrix (m, k) is a view: m counts output pixels, k the taps
(channel, row, column) of the kernel. Results are (m, output channel), which is the next layer's image again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.linear import Linear
from intsim.ir.ops.requantize_float32 import RequantizeFloat32
from intsim.ir.ops.requantize_multiplier import RequantizeMultiplier
from intsim.ir.ops.requantize_shift import RequantizeShift
from intsim.ir.ops.threshold import Threshold
from intsim.ir.types import Grid, Value

Levels = NDArray[np.int64]

EPILOGUES = (RequantizeShift, RequantizeMultiplier, RequantizeFloat32, Threshold)


@dataclass(frozen=True)
class Geometry:
    """Extents of a layer; a linear layer is a 1x1 convolution over as many images as it has rows.

    kernel, stride, dilation   (height, width)
    padding                    (top, bottom, left, right)
    """

    images: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def m(self) -> int:
        return self.images * self.out_height * self.out_width

    @property
    def k(self) -> int:
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def n(self) -> int:
        return self.out_channels // self.groups

    @property
    def padded(self) -> bool:
        return max(self.padding) > 0


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What makes codes of the accumulators: the operator, its constants, and the codes that it gives.

    codes   (m, output channels)
    """

    op: Op
    out: Grid
    parameters: tuple[Value, ...]
    codes: Levels


@dataclass(frozen=True, eq=False)
class Product:
    """`groups` products of an (m, k) by a (k, n) matrix.

    activations    levels (images, height * width, channels)
    padding        levels (channels,) outside the image
    weights        levels (groups, k, n)
    bias           (output channels,), what accumulators start from
    accumulators   (m, output channels)
    epilogue       None where the accumulators themselves go on
    """

    node: Node
    geometry: Geometry
    accumulator: Accumulator
    activation_grid: Grid
    weight_grid: Grid
    activations: Levels
    padding: Levels
    weights: Levels
    bias: Levels
    accumulators: Levels
    epilogue: Epilogue | None


def layer_nodes(graph: Graph) -> list[Node]:
    return [node for node in graph if isinstance(node.op, Conv2d | Linear)]


def epilogue_node(graph: Graph, node: Node) -> Node | None:
    """The requantization of a layer: the only reader of its accumulators, if it is one and nobody else sees them."""
    readers = graph.consumers[node.name]
    requantized = len(readers) == 1 and node.name not in graph.outputs and isinstance(readers[0].op, EPILOGUES)
    return readers[0] if requantized else None


def product_of(graph: Graph, node: Node, values: Mapping[str, Value]) -> Product:
    """A layer with its data.

    values   of the layer's input, of its accumulators and of its requantization, by name
    """
    assert isinstance(node.op, Conv2d | Linear)
    x, weight = values[node.inputs[0]], graph.constants[node.inputs[1]]
    out_channels = len(weight.codes)
    bias = graph.constants[node.inputs[2]].levels if len(node.inputs) > 2 else np.zeros(out_channels, np.int64)
    accumulators = values[node.name]
    geometry = _geometry(node.op, x, weight, accumulators)
    depth_first = weight.levels.reshape(geometry.groups, geometry.n, geometry.k)
    return Product(
        node,
        geometry,
        node.op.accumulator,
        x.type.integer,
        weight.type.integer,
        _channels_last(x.levels, node.op).reshape(geometry.images, -1, geometry.channels),
        _padding(node.op, x, geometry.channels),
        depth_first.swapaxes(1, 2),
        bias,
        _channels_last(accumulators.levels, node.op).reshape(geometry.m, out_channels),
        _epilogue(graph, node, values),
    )


def _geometry(op: Op, x: Value, weight: Value, result: Value) -> Geometry:
    if not isinstance(op, Conv2d):
        outputs, depth = weight.codes.shape
        return Geometry(x.codes.size // depth, 1, 1, depth, 1, 1, outputs)
    images, channels, height, width = x.codes.shape
    _, outputs, out_height, out_width = result.codes.shape
    kernel = (weight.codes.shape[2], weight.codes.shape[3])
    window = (kernel, op.stride, op.dilation, op.padding, op.groups)
    return Geometry(images, height, width, channels, out_height, out_width, outputs, *window)


def _channels_last(levels: Levels, op: Op) -> Levels:
    return np.moveaxis(levels, 1, -1) if isinstance(op, Conv2d) else levels


def _padding(op: Op, x: Value, channels: int) -> Levels:
    if not isinstance(op, Conv2d) or op.pad_code is None:
        return np.zeros(channels, np.int64)
    return x.type.integer.levels(np.full((1, channels), op.pad_code))[0]


def _epilogue(graph: Graph, node: Node, values: Mapping[str, Value]) -> Epilogue | None:
    reader = epilogue_node(graph, node)
    if reader is None:
        return None
    codes: NDArray[Any] = _channels_last(values[reader.name].codes, node.op).astype(np.int64)
    parameters = tuple(graph.constants[name] for name in reader.inputs[1:])
    out = graph.types[reader.name].integer
    return Epilogue(reader.op, out, parameters, codes.reshape(-1, codes.shape[-1]))
