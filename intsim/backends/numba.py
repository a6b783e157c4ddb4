"""Numba: compiled integer loops, with accumulators of any width that wrap or saturate in the order the model states.

Each node is prepared once: its arithmetic becomes one of the loops of _numba_kernels.py, if bounds from the types and
the actual weights show that the loop's integers hold it. Every other node keeps the reference meaning: what moves or
looks up codes is as fast in NumPy, and numbers too large for the loops are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.backends.node_by_node import NodeByNode
from intsim.backends.numba_contractions import Step, convolution, linear, matmul
from intsim.backends.numba_epilogues import averaging, comparison, scaling
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Value


class NumbaBackend(NodeByNode):
    """Runs a graph by compiled loops."""

    def __init__(self, graph: Graph, threads: int | None = None):
        super().__init__(graph, threads)
        self._steps = {node.name: prepare(graph, node) for node in graph.nodes}

    def evaluate(self, node: Node, operands: Sequence[Value]) -> NDArray[Any]:
        step = self._steps[node.name]
        return node.op.evaluate(*operands) if step is None else step(operands)


def prepare(graph: Graph, node: Node) -> Step | None:
    """The compiled step of a node, or None where it keeps the reference meaning."""
    types = graph.operands(node)
    constants = [graph.constants[name] for name in node.inputs[node.op.parameters_from(len(types)) :]]
    match node.op:
        case ops.Conv2d() as op:
            return convolution(op, types[0], *constants)
        case ops.Linear() as op:
            return linear(op, types[0], *constants)
        case ops.Matmul() as op:
            return matmul(op, *types)
        case ops.RequantizeShift() as op:
            return scaling(op, types[:1], [np.ones(1, np.int64)], constants[0].levels)
        case ops.RequantizeMultiplier(rounding=Rounding()) as op:
            return scaling(op, types[:1], [constants[0].levels], constants[1].levels)
        case ops.Add() as op:
            *multipliers, shift = (constant.levels for constant in constants)
            return scaling(op, types[: len(multipliers)], multipliers, shift)
        case ops.Threshold() as op:
            return comparison(op, types[0], *constants)
        case ops.AveragePool() | ops.AdaptiveAveragePool() as op:
            return averaging(op, types[0])
    return None
