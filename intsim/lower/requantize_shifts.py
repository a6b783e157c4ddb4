"""Chains over power-of-two scales become shifts, and additions of aligned levels."""

from __future__ import annotations

import numpy as np

from intsim.errors import LoweringError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Add, RequantizeShift
from intsim.lower.affine import affine_form, common_denominator
from intsim.lower.constants import parameter
from intsim.lower.float_chain import FloatChain, Replacement, replace_chains


def requantize_shifts(graph: Graph) -> Graph:
    """Replace every chain of the form "shift"."""
    return replace_chains(graph, "shift", _rewrite)


def _rewrite(graph: Graph, node: Node, op: FloatChain) -> Replacement:
    affine = affine_form(op.chain)
    for coefficient in affine.coefficients:
        if (np.frexp(coefficient)[0] != 0.5).any():
            raise LoweringError(f"a shift needs powers of two, the chain multiplies by {float(coefficient[0])!r}")
    multipliers, shift = common_denominator(affine.coefficients)
    rounding, first = affine.tail.rounding, affine.tail.zero_point_first
    if len(multipliers) == 1:
        # multiplier = 1 here: an odd numerator of a power of two.
        return RequantizeShift(op.out, rounding, first, affine.low, affine.high), {"shift": parameter(shift)}
    factors = {f"multiplier{i}": parameter(m) for i, m in enumerate(multipliers)}
    return Add(op.out, rounding, first, affine.low, affine.high), {**factors, "shift": parameter(shift)}
