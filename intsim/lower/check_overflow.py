"""The proof that no integer of the graph overflows, or an error that names the layer, the channel and the bound."""

from __future__ import annotations

import numpy as np

from intsim.arithmetic.accumulate import signed_bits
from intsim.errors import LoweringError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Add, RequantizeMultiplier, RequantizeShift
from intsim.lower.bounds import CONTRACTIONS, accumulator_interval, reach

INT64 = 1 << 63


def check_overflow(graph: Graph) -> Graph:
    """The graph itself, once products, partial sums in any order, biases, alignment and rounding are shown to fit."""
    for node in graph.nodes:
        if isinstance(node.op, CONTRACTIONS):
            _check_accumulator(graph, node)
        elif isinstance(node.op, RequantizeShift | RequantizeMultiplier | Add):
            _check_requantization(graph, node)
    return graph


def _check_accumulator(graph: Graph, node: Node) -> None:
    assert isinstance(node.op, CONTRACTIONS)
    accumulator = node.op.accumulator
    if accumulator.overflow != "exact":
        return  # wrapping and saturating are meant
    bounds = accumulator_interval(graph, node)
    for channel, (low, high) in enumerate(zip(bounds.partial_minimum, bounds.partial_maximum, strict=True)):
        needed = signed_bits(low, high)
        if needed > accumulator.bits:
            raise LoweringError(
                f"{node.mnemonic} '{node.name}': channel {channel} reaches {low}..{high}, which needs s{needed}, "
                f"but the accumulator is {accumulator}: use fewer bits, or an accumulator of {needed}"
            )


def _check_requantization(graph: Graph, node: Node) -> None:
    """Products with multipliers, their sum and the rounding constant stay inside int64."""
    count = len(node.inputs) // 2 if isinstance(node.op, Add) else 1
    parameters = [graph.constants[name].levels.astype(object) for name in node.inputs[count:]]
    shift = parameters[-1]
    multipliers = parameters[:-1] or [2 ** np.maximum(-shift, 0)]
    total: object = 0
    for name, multiplier in zip(node.inputs[:count], multipliers, strict=True):
        low, high = reach(graph, name)
        total = total + np.maximum(np.abs(low.astype(object)), np.abs(high.astype(object))) * abs(multiplier)
    rounding = 2 ** np.maximum(shift - 1, 0)
    largest = int(np.max(total + rounding + max(abs(z) for z in node.op.out.zero_point)))  # type: ignore[attr-defined]
    if largest >= INT64:
        raise LoweringError(f"{node.mnemonic} '{node.name}': an intermediate reaches {largest}, beyond int64")
