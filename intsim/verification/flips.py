"""Claim 3: what plain float32 fake-quantization makes of the same inputs, and why its codes may flip."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.ir.chain import Clamp, Terms, ToCodes, apply_step
from intsim.ir.file import Model
from intsim.ir.ops import AdaptiveAveragePool, AveragePool
from intsim.ir.types import Value
from intsim.verification.reach import CONTRACTIONS, Reach, contraction_reach, level_reach, of_channel

FLOAT32_EXACT = 1 << 24  # integers up to here are exact in float32
TIES = (Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.HALF_DOWN, Rounding.HALF_AWAY, Rounding.HALF_TO_ZERO)


def float32_reason(model: Model, name: str) -> str | None:
    """What float32 rounds in the layer that ends in a quantizer; None where every intermediate is exact.

    That is so where all scales are powers of two and every sum that can occur, counted in units of its finest term,
    stays below 2**24: dequantized values, their products, sums in any order and the division by the scale are exact.
    """
    assert model.quantized is not None
    chain = model.quantized.chains[name]
    if chain.form == "table":
        return "a function in float32"
    if chain.form == "divide":
        return "an average divides in float32"
    first = chain.steps[0]
    if chain.form != "shift" or not isinstance(first, Terms):
        return "factors that are not powers of two"
    scale = model.quantized.quantizers[name].grid.scale.array[0]
    bounds = [step for step in chain.steps if isinstance(step, Clamp)]
    if any(np.float32(end * scale) != end * scale for step in bounds for end in (step.low, step.high)):
        return "a bound that is not a float32"
    largest = 0
    reaches = [_partial_reach(model, source) for source in chain.sources]
    coefficients = [[Fraction(c) for c in np.atleast_1d(c).tolist()] for c in first.coefficients]
    for channel in range(max(len(values) for values in (*coefficients, *(reach.low for reach in reaches)))):
        factors = [of_channel(c, channel) for c in coefficients]
        total = sum(f * reach.magnitude(channel) for f, reach in zip(factors, reaches, strict=True))
        largest = max(largest, int(total / min(factors)))
    return f"sums of up to {largest}, beyond 2**24" if largest >= FLOAT32_EXACT else None


def _partial_reach(model: Model, name: str) -> Reach:
    """Levels of codes, or sums of any of a contraction's terms."""
    node = model.graph.by_name.get(name)
    if node is not None and isinstance(node.op, CONTRACTIONS):
        return contraction_reach(model.graph, node)[1]
    return level_reach(model.graph.types[name])


def tie_distance(
    model: Model, name: str, codes: Mapping[str, NDArray[Any]], flipped: NDArray[np.bool_]
) -> float | None:
    """The farthest that a flipped value lies from the tie between two codes, in steps of the quantizer.

    codes    of every value, and accumulators, by name
    flipped  which codes differ
    returns  None where the chain does not end in rounding to the nearest
    """
    assert model.quantized is not None
    chain = model.quantized.chains[name]
    if not isinstance(chain.tail, ToCodes) or chain.tail.rounding not in TIES:
        return None
    node = model.graph.by_name[name]
    operands = [Value(model.graph.types[source], codes[source]) for source in node.inputs[: len(chain.sources)]]
    levels = [operand.levels for operand in operands]
    if isinstance(node.op, AveragePool | AdaptiveAveragePool):
        levels = [node.op.sums(operands[0])]
    value = np.zeros((), np.float64)
    for step in chain.steps[:-1]:
        value = apply_step(step, value, levels, chain.axis)
    return float(np.abs(np.abs(value[flipped]) % 1 - 0.5).max())
