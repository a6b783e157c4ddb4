"""Chains over the sums of an average pool become one exact division."""

from __future__ import annotations

import numpy as np

from intsim.errors import LoweringError
from intsim.ir.chain import Chain, Divide, Terms, ToCodes
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import AdaptiveAveragePool, AveragePool
from intsim.lower.affine import dyadic_parts
from intsim.lower.float_chain import FloatChain, Replacement, replace_chains


def divide_averages(graph: Graph) -> Graph:
    """Replace every chain of the form "divide"."""
    return replace_chains(graph, "divide", _rewrite)


def _rewrite(graph: Graph, node: Node, op: FloatChain) -> Replacement:
    pool = op.pool
    if pool is None:
        raise LoweringError("a division stands behind an average pool only")
    coefficient, divisor, tail = _steps(op.chain)
    if not (divisor == pool.cells(graph.types[node.inputs[0]])).all():
        raise LoweringError(f"the chain divides by {divisor.ravel()[0]}, which is not the pool's number of cells")
    if tail.zero_point_first or (tail.low, tail.high) != (op.out.element.min, op.out.element.max):
        raise LoweringError("an average rounds before the zero point and clips to its type only")
    multipliers, shifts = dyadic_parts(np.atleast_1d(coefficient))
    multiplier, shift = int(multipliers[0]) << max(-int(shifts[0]), 0), max(int(shifts[0]), 0)
    if isinstance(pool, AveragePool):
        average = AveragePool(
            op.out, tail.rounding, pool.kernel, pool.stride, pool.padding, pool.count_include_pad, multiplier, shift
        )
        return average, {}
    return AdaptiveAveragePool(op.out, tail.rounding, pool.output, multiplier, shift), {}


def _steps(chain: Chain) -> tuple[np.ndarray, np.ndarray, ToCodes]:
    match chain.steps:
        case (Terms((coefficient,)), Divide(divisor), ToCodes() as tail) if coefficient.size == 1:
            return coefficient, divisor, tail
    raise LoweringError("a division needs the steps Terms with one coefficient, Divide, ToCodes")
