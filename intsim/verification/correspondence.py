"""Whether an integer graph is the quantized graph, node by node: what lowering copies has to be the same.

Epilogues are left to the proof that their integers equal their chains; here only what they read and which codes they
make is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.ir import ops
from intsim.ir.float_graph import AVERAGES, ELEMENTWISE, FloatNode
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight
from intsim.ir.types import Grid

MOVEMENTS: Mapping[type[Op], str] = {
    ops.Concat: "concat",
    ops.Slice: "slice",
    ops.Permute: "permute",
    ops.Reshape: "reshape",
    ops.Pad: "pad",
    ops.Upsample: "upsample",
    ops.MaxPool: "max_pool",
}
EPILOGUES = (
    ops.RequantizeShift,
    ops.RequantizeMultiplier,
    ops.Threshold,
    ops.Table,
    ops.Add,
    ops.AveragePool,
    ops.AdaptiveAveragePool,
)


def differences(graph: Graph, quantized: QuantizedGraph) -> dict[str, str]:
    """For every node that is not its counterpart, by name, what differs; in order of evaluation."""
    found: dict[str, str] = {}
    expected = [node for node in quantized.graph.nodes if node.op not in ELEMENTWISE | AVERAGES]
    for name, shape in quantized.graph.inputs.items():
        type = graph.inputs.get(name)
        grid = quantized.quantizers[name].grid if name in quantized.quantizers else None
        if type is None or (type.shape, type.grid) != (shape, grid):
            found[name] = f"the input is {type}, expected {grid or 'float32'} of shape {shape}"
    for node in expected:
        other = graph.by_name.get(node.name)
        difference = (
            "the integer graph does not have it" if other is None else _difference(graph, other, quantized, node)
        )
        if difference:
            found[node.name] = difference
    known = {node.name for node in expected}
    found.update({node.name: "the quantized graph does not have it" for node in graph if node.name not in known})
    if graph.outputs != quantized.graph.outputs:
        found["outputs"] = f"are {', '.join(graph.outputs)}, expected {', '.join(quantized.graph.outputs)}"
    return found


def _difference(graph: Graph, node: Node, quantized: QuantizedGraph, float_node: FloatNode) -> str | None:
    name, op = float_node.name, node.op
    if float_node.op == "quantize":
        return _quantizer_difference(node, quantized, float_node)
    if float_node.op not in (MOVEMENTS.get(type(op)), op.mnemonic):
        return f"is {op.mnemonic}, expected {float_node.op}"
    count = len(float_node.inputs)
    if node.inputs[:count] != float_node.inputs:
        return f"reads {', '.join(node.inputs[:count])}, expected {', '.join(float_node.inputs)}"
    attributes = dict(float_node.attributes)
    if isinstance(op, ops.Conv2d):
        attributes["pad_code"] = quantized.pad_codes.get(name)
    if isinstance(op, ops.Conv2d | ops.Linear | ops.Matmul):
        attributes["accumulator"] = quantized.accumulators.get(name, Accumulator())
    changed = _changed_attribute(op, attributes)
    if changed is not None:
        return changed
    if isinstance(op, ops.Conv2d | ops.Linear):
        return _weight_difference(graph, node.inputs[1:], quantized.weights[name])
    return None


def _weight_difference(graph: Graph, parameters: tuple[str, ...], expected: QuantizedWeight) -> str | None:
    weight = graph.constants[parameters[0]]
    if weight.type != expected.weight.type:
        return f"the weights are {weight.type.integer}, expected {expected.weight.type.integer}"
    codes = _first_difference(weight.codes, expected.weight.codes)
    if codes is not None:
        return f"weight {codes} differs"
    bias = graph.constants[parameters[1]].levels if len(parameters) > 1 else None
    if bias is None or expected.bias is None:
        return None if bias is expected.bias else f"the bias is {'missing' if bias is None else 'new'}"
    channel = _first_difference(bias, expected.bias)
    return (
        None
        if channel is None
        else f"channel {channel[0]}: the bias is {bias[channel]}, expected {expected.bias[channel]}"
    )


def _first_difference(a: NDArray[Any], b: NDArray[Any]) -> tuple[int, ...] | None:
    different = np.argwhere(a != b)
    return tuple(int(i) for i in different[0]) if len(different) else None


def _quantizer_difference(node: Node, quantized: QuantizedGraph, float_node: FloatNode) -> str | None:
    grid: Grid = quantized.quantizers[node.name].grid
    chain = quantized.chains.get(node.name)
    op, sources = node.op, float_node.inputs if chain is None else chain.sources
    if not isinstance(op, ops.Quantize if chain is None else EPILOGUES):
        return f"is {op.mnemonic}, expected {'quantize' if chain is None else 'an epilogue'}"
    if op.out != grid:
        return f"makes {op.out}, expected {grid}"
    average = quantized.graph.by_name.get(sources[0])
    if average is None or average.op not in AVERAGES:
        pools = isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool)
        if pools or node.inputs[: len(sources)] != sources:
            return f"is {op.mnemonic} of {', '.join(node.inputs[: len(sources)])}, expected one of {', '.join(sources)}"
        return None
    if op.mnemonic != average.op or node.inputs != average.inputs:
        return f"is {op.mnemonic} of {', '.join(node.inputs)}, expected {average.op} of {', '.join(average.inputs)}"
    return _changed_attribute(op, average.attributes)


def _changed_attribute(op: Op, expected: Mapping[str, Any]) -> str | None:
    for attribute, value in expected.items():
        actual = getattr(op, attribute)
        if actual != value:
            return f"{attribute} is {actual}, expected {value}"
    return None
