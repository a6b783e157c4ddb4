"""Chains over dyadic coefficients become integer multipliers and a shift, exactly."""

from __future__ import annotations

import numpy as np

from intsim.errors import LoweringError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Add, RequantizeMultiplier
from intsim.lower.affine import affine_form, common_denominator
from intsim.lower.constants import parameter
from intsim.lower.float_chain import FloatChain, Replacement, replace_chains

MULTIPLIER_BITS = 32


def requantize_multipliers(graph: Graph) -> Graph:
    """Replace every chain of the form "multiplier"."""
    return replace_chains(graph, "multiplier", _rewrite)


def _rewrite(graph: Graph, node: Node, op: FloatChain) -> Replacement:
    affine = affine_form(op.chain)
    multipliers, shift = common_denominator(affine.coefficients)
    # A shift that would be negative moves into the multipliers: they are integers all the same.
    multipliers = [m << np.maximum(-shift, 0) for m in multipliers]
    shift = np.maximum(shift, 0)
    largest = max(int(np.abs(m).max()) for m in multipliers)
    if largest.bit_length() >= MULTIPLIER_BITS or int(shift.max()) > 62:
        raise LoweringError(
            f"a coefficient needs a multiplier of {largest.bit_length()} bits and a shift of {int(shift.max())}, "
            f"at most {MULTIPLIER_BITS - 1} and 62 are there: round the coefficient to fewer bits"
        )
    rounding, first = affine.tail.rounding, affine.tail.zero_point_first
    if len(multipliers) == 1:
        requantize = RequantizeMultiplier(op.out, rounding, first, affine.low, affine.high)
        return requantize, {"multiplier": parameter(multipliers[0]), "shift": parameter(shift)}
    factors = {f"multiplier{i}": parameter(m) for i, m in enumerate(multipliers)}
    return Add(op.out, rounding, first, affine.low, affine.high), {**factors, "shift": parameter(shift)}
