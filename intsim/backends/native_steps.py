"""The native form of every operator between convolutions, its parameters made ready once for all images.

A function takes the lowering and a node, and returns what adds the node to a plan; or None where no kernel computes the
node exactly, in which case its reference meaning does, on NumPy codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intsim.backends.native_contractions import addition, contraction
from intsim.backends.native_epilogues import accumulator_epilogue
from intsim.backends.native_movement import movement
from intsim.backends.nhwc import byte_tables, is_bytes, level_offsets
from intsim.ir import ops
from intsim.ir.graph import Node

if TYPE_CHECKING:
    from intsim.backends.native_lowering import Emit, Lowering
    from intsim.backends.native_program import Segment


def prepare(lowering: Lowering, node: Node, follower: Node | None) -> Emit | None:
    """What adds a node to a plan, with the node that is fused to it; None where no kernel computes it."""
    match node.op:
        case ops.Conv2d() | ops.Linear():
            return contraction(lowering, node, follower)
        case ops.Add():
            return addition(lowering, node)
        case ops.Quantize():
            return quantization(lowering, node)
        case ops.MaxPool() | ops.AveragePool() | ops.AdaptiveAveragePool():
            return pooling(lowering, node)
        case ops.Concat() | ops.Slice() | ops.Pad() | ops.Upsample() | ops.Reshape():
            return movement(lowering, node)
        case _:
            return code_mapping(lowering, node) or accumulator_epilogue(lowering, node)


def quantization(lowering: Lowering, node: Node) -> Emit | None:
    type, source = lowering.graph.types[node.name], node.inputs[0]
    grid = type.integer
    low, high = grid.element.min - grid.zero_point[0], grid.element.max - grid.zero_point[0]
    if not is_bytes(type) or max(-low, high) > 1 << 21:
        return None
    scale = float(np.float32(grid.scale.array[0]))

    def emit(segment: Segment) -> None:
        segment.array(source)
        segment.plan.quantize(node.name, scale, low, high, segment.new(node.name))

    return emit


def code_mapping(lowering: Lowering, node: Node) -> Emit | None:
    """Any operator from the codes of one tensor to codes: a table of bytes."""
    types = lowering.graph.types
    source, *parameters = node.inputs
    constant = all(name in lowering.graph.constants for name in parameters)
    if not (constant and is_bytes(types[source]) and is_bytes(types[node.name])) or isinstance(node.op, ops.Permute):
        return None
    tables = byte_tables(lowering.graph, node)
    if tables is None:
        return None
    return lambda segment: segment.plan.lookup(node.name, tables, segment.read(source), segment.new(node.name))


def pooling(lowering: Lowering, node: Node) -> Emit | None:
    graph, op, source = lowering.graph, node.op, node.inputs[0]
    x, result = graph.types[source], graph.types[node.name]
    if not is_bytes(x) or not is_bytes(result):
        return None
    if isinstance(op, ops.MaxPool):
        geometry = (op.kernel, op.stride, op.dilation, op.padding)
        return lambda segment: segment.plan.max_pool(node.name, *geometry, segment.read(source), segment.new(node.name))
    assert isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool)
    rows, columns = (np.asarray(windows, np.int64) for windows in op.windows(x))
    (multiplier, shift), element = op.rescale, result.integer.element
    step, offset, zero = x.integer.step, int(level_offsets(x)[0]), op.out.zero_point[0]
    rule = (step, offset, multiplier, shift, zero, str(op.rounding), element.bits, element.min)
    return lambda segment: segment.plan.average_pool(
        node.name, rows, columns, *rule, segment.read(source), segment.new(node.name)
    )
