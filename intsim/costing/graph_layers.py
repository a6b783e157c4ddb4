"""The layers of an integer graph, as the cost model sees them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Literal

from intsim.costing.workload import Layer
from intsim.ir.graph import Graph, Node
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.linear import Linear
from intsim.ir.ops.matmul import Matmul
from intsim.ir.types import Shape

CONTRACTIONS = (Conv2d, Linear, Matmul)


def layers_of(graph: Graph) -> list[Layer]:
    """The layers of an integer graph that multiply and accumulate, in order; all other operators cost nothing here.

    Additions, pooling and the like are taken as done on the way to memory. The batch counts as one sample.
    """
    return [layer for node in graph if (layer := _layer_of(graph, node)) is not None]


def _layer_of(graph: Graph, node: Node) -> Layer | None:
    if not isinstance(node.op, CONTRACTIONS):
        return None
    first, second = graph.operands(node)[:2]

    def layer(kind: Literal["conv", "linear", "matmul"], in_channels: int, out_channels: int) -> Layer:
        weight_bits, act_bits = second.integer.element.bits, first.integer.element.bits
        return Layer(node.name, kind, in_channels, out_channels, weight_bits, act_bits, _stored_bits(graph, node))

    match node.op:
        case Conv2d(stride=stride, dilation=dilation, groups=groups):
            _, in_channels, in_height, in_width = _extents(first.shape)
            out_channels, _, kernel_height, kernel_width = _extents(second.shape)
            _, _, out_height, out_width = _extents(graph.types[node.name].shape)
            return replace(
                layer("conv", in_channels, out_channels),
                in_height=in_height,
                in_width=in_width,
                out_height=out_height,
                out_width=out_width,
                kernel=(kernel_height, kernel_width),
                stride=stride,
                dilation=dilation,
                groups=groups,
                from_input=_reads_input(graph, node),
            )
        case Linear():
            out_channels, in_channels = _extents(second.shape)
            positions = prod(_extents(first.shape)[1:-1])
            return replace(
                layer("linear", in_channels, out_channels),
                in_width=positions,
                out_width=positions,
                from_input=_reads_input(graph, node),
            )
        case _:
            *leading, rows, depth = _extents(first.shape)
            columns, products = _extents(second.shape)[-1], prod(leading)
            product = layer("matmul", depth * products, columns * products)
            return replace(product, in_width=rows, out_width=rows, groups=products)


def _extents(shape: Shape) -> list[int]:
    """Extents of one sample."""
    return [1 if extent is None else extent for extent in shape]


def _stored_bits(graph: Graph, node: Node) -> int:
    """Width in which a layer's result leaves for memory: what its accumulators become, along their only readers."""
    name, accumulator = node.name, graph.types[node.name].integer.element
    while graph.types[name].integer.element == accumulator and name not in graph.outputs:
        readers = graph.consumers[name]
        if len(readers) != 1 or isinstance(readers[0].op, CONTRACTIONS):
            break
        name = readers[0].name
    return graph.types[name].integer.element.bits


def _reads_input(graph: Graph, node: Node) -> bool:
    """Whether nothing but quantization, padding and flattening stands between a graph input and the node."""
    name = node.inputs[0]
    while name in graph.by_name and graph.by_name[name].mnemonic in ("quantize", "pad", "reshape"):
        name = graph.by_name[name].inputs[0]
    return name in graph.inputs
