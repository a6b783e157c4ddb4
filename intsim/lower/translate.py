"""From the quantized graph to an integer graph whose epilogues are still float chains.

One node for each contraction, movement and quantizer, under the same name; elementwise operators vanish into the
chains, and an average pool into the quantizer that divides its sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from intsim.arithmetic.accumulate import Accumulator
from intsim.dtypes import S32
from intsim.errors import LoweringError
from intsim.ir import ops
from intsim.ir.float_graph import AVERAGES, ELEMENTWISE, FloatNode
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import TensorType, Value
from intsim.lower.constants import parameter
from intsim.lower.float_chain import FloatChain

_MOVEMENTS: dict[str, type[Any]] = {
    "concat": ops.Concat,
    "slice": ops.Slice,
    "permute": ops.Permute,
    "reshape": ops.Reshape,
    "pad": ops.Pad,
    "upsample": ops.Upsample,
    "max_pool": ops.MaxPool,
}


def translate(quantized: QuantizedGraph) -> Graph:
    """The integer graph with FloatChain epilogues. LoweringError names what has no integer form."""
    inputs: dict[str, TensorType] = {}
    for name, shape in quantized.graph.inputs.items():
        inputs[name] = TensorType(quantized.quantizers[name].grid if name in quantized.quantizers else None, shape)
    constants: dict[str, Value] = {}
    nodes: list[Node] = []
    for node in quantized.graph.nodes:
        if node.op in ELEMENTWISE or node.op in AVERAGES:
            continue
        if node.op == "quantize":
            nodes.append(_quantize(quantized, node))
        elif node.op in _MOVEMENTS:
            nodes.append(Node(node.name, _MOVEMENTS[node.op](**node.attributes), node.inputs))
        else:
            operands, op = _contraction(quantized, node, constants)
            nodes.append(Node(node.name, op, operands))
    return Graph(inputs, constants, tuple(nodes), quantized.graph.outputs, quantized.metadata)


def _contraction(quantized: QuantizedGraph, node: FloatNode, constants: dict[str, Value]) -> tuple[tuple[str, ...], Op]:
    accumulator = quantized.accumulators.get(node.name, Accumulator())
    if node.op == "matmul":
        return node.inputs, ops.Matmul(accumulator)
    record = quantized.weights[node.name]
    operands = [*node.inputs, f"{node.name}.weight"]
    constants[operands[-1]] = record.weight
    if record.bias is not None:
        largest = int(np.abs(record.bias).max(initial=0))
        if largest > S32.max:
            raise LoweringError(f"{node}: a bias of {largest} levels does not fit s32: the weight scales are too fine")
        operands.append(f"{node.name}.bias")
        bias = parameter(record.bias)
        # Biases stay one per channel even where all agree: they are added, not broadcast.
        codes = np.broadcast_to(bias.codes, record.bias.shape).copy()
        constants[operands[-1]] = Value(bias.type.with_shape(record.bias.shape), codes)
    if node.op == "linear":
        return tuple(operands), ops.Linear(accumulator)
    pad_code = quantized.pad_codes.get(node.name)
    return tuple(operands), ops.Conv2d(**node.attributes, pad_code=pad_code, accumulator=accumulator)


def _quantize(quantized: QuantizedGraph, node: FloatNode) -> Node:
    out = quantized.quantizers[node.name].grid
    if node.name not in quantized.chains:
        return Node(node.name, ops.Quantize(out), node.inputs)
    chain = quantized.chains[node.name]
    source = quantized.graph.by_name.get(chain.sources[0])
    if source is None or source.op not in AVERAGES:
        return Node(node.name, FloatChain(chain, out), chain.sources)
    # The pool only sums here; its grid and rounding are set when the chain becomes a division.
    pool_type = ops.AveragePool if source.op == "avg_pool" else ops.AdaptiveAveragePool
    pool = pool_type(out=out, rounding=quantized.quantizers[node.name].rounding, **source.attributes)
    return Node(node.name, FloatChain(chain, out, pool), source.inputs)
