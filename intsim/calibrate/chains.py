"""The float chain of one quantizer: from the levels of its sources to its codes.

A chain is written so that integers can equal it exactly. As a shift or a multiplier its coefficients are dyadic numbers
m / 2**s, with so few bits that every product and every sum of products is exact in float64. As thresholds or as a table
it is the plain float formula, step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.multiplier import dyadic
from intsim.arithmetic.rounding import round_float
from intsim.calibrate.settings import Scales
from intsim.calibrate.sources import cells_of, level_bits, scale_of
from intsim.errors import CalibrationError
from intsim.ir.chain import (
    Chain,
    Clamp,
    CountThresholds,
    Divide,
    Function,
    Multiply,
    Offset,
    Parameter,
    PRelu,
    Step,
    Terms,
    ToCodes,
)
from intsim.ir.float_graph import AVERAGES, ELEMENTWISE, FloatNode
from intsim.ir.quantized import QuantizedGraph, Quantizer

EXACT_BITS = 52
"""Integers of this size and their sums stay exact in float64, with a bit to spare."""
MULTIPLIER_BITS = 31
LARGEST_SHIFT = 62
THRESHOLD_BITS = 6
"""Wider codes would need too many comparisons: they get multipliers where thresholds are asked for."""


@dataclass(frozen=True)
class Trace:
    """What a quantizer rounds: a weighted sum of sources, then elementwise operators in order."""

    sources: tuple[str, ...]
    signs: tuple[float, ...]
    operators: tuple[FloatNode, ...]


def build_chain(quantized: QuantizedGraph, node: FloatNode, scales: Scales) -> Chain:
    """The chain of a quantize node, in the form that the scales ask for and the operators allow.

    quantized  complete but for its chains
    raises     CalibrationError for a chain that no integer operator realises
    """
    trace = trace_back(quantized, node)
    quantizer = quantized.quantizers[node.name]
    first = quantized.graph.by_name.get(trace.sources[0])
    axis = len(quantized.graph.shapes[first.name]) - 1 if first is not None and first.op == "linear" else 1
    if any(operator.op == "function" for operator in trace.operators):
        return Chain(trace.sources, _float_steps(quantized, trace, quantizer), "table", axis)
    affine = _affine(trace, quantizer)
    averaged = first is not None and first.op in AVERAGES
    single = len(trace.sources) == 1 and not averaged
    if affine is None and not single:
        raise CalibrationError(
            f"'{node.name}': only one accumulator can be compared with thresholds, not a sum of values"
        )
    if first is not None and averaged:
        return Chain(trace.sources, _division(quantized, first, quantizer, scales), "divide", axis)
    compared = scales == "threshold" and single and quantizer.grid.element.bits <= THRESHOLD_BITS
    if affine is None or compared:
        return Chain(trace.sources, _float_steps(quantized, trace, quantizer), "threshold", axis)
    factor, tail = affine
    out = quantizer.grid.scale.array
    coefficients = [
        _parameter(sign * scale_of(quantized, source).array * factor / out)
        for source, sign in zip(trace.sources, trace.signs, strict=True)
    ]
    if scales == "pow2" and all((np.frexp(c)[0] == 0.5).all() for c in coefficients):
        return Chain(trace.sources, (Terms(tuple(coefficients)), tail), "shift", axis)
    widest = max(level_bits(quantized, source) for source in trace.sources)
    exact_bits = EXACT_BITS - widest - len(trace.sources).bit_length()
    return Chain(trace.sources, (Terms(snap(coefficients, exact_bits)), tail), "multiplier", axis)


def trace_back(quantized: QuantizedGraph, node: FloatNode) -> Trace:
    """Follow a quantize node's operand back to accumulators, sums of averages, or codes."""
    by_name = quantized.graph.by_name
    operators: list[FloatNode] = []
    name = node.inputs[0]
    while name in by_name and by_name[name].op in ELEMENTWISE and by_name[name].op != "add":
        operators.append(by_name[name])
        name = by_name[name].inputs[0]
    operators.reverse()
    if name in by_name and by_name[name].op == "add":
        add = by_name[name]
        return Trace(add.inputs, tuple(add.attributes["coefficients"]), tuple(operators))
    return Trace((name,), (1.0,), tuple(operators))


def snap(coefficients: list[Parameter], bits: int) -> tuple[Parameter, ...]:
    """Coefficients as m / 2**s, one s for all of a channel's, where the largest m has `bits` bits and at most 31.

    Exact: s = the shift of `dyadic` for the largest coefficient, at most 62; m = rint(coefficient * 2**s)
    """
    largest = np.max(np.abs(np.stack(np.broadcast_arrays(*coefficients))), axis=0)
    _, shift = dyadic(largest, min(bits, MULTIPLIER_BITS))
    shift = np.minimum(shift, LARGEST_SHIFT)
    return tuple(_parameter(np.ldexp(np.rint(np.ldexp(c, shift)), -shift)) for c in coefficients)


def _affine(trace: Trace, quantizer: Quantizer) -> tuple[NDArray[np.float64], ToCodes] | None:
    """The operators as one factor and bounds on the codes; None where they do more than that.

    Rounding is monotone, so clamping at a bound and rounding is rounding and clamping at the rounded bound. Bounds that
    differ among channels have to end at one code, such as the last.
    """
    if quantizer.thresholds is not None:
        return None
    factor, low, high = np.ones(1), np.array([-np.inf]), np.array([np.inf])
    for operator in trace.operators:
        if operator.op == "mul":
            own = np.atleast_1d(operator.arrays["factor"]).astype(np.float64)
            bounded = np.isfinite(low).any() or np.isfinite(high).any()
            if (own == 0).any() or (bounded and (own < 0).any()):
                return None
            factor = factor * own
            low, high = (low * own, high * own) if bounded else (low, high)
        elif operator.op in ("relu", "clamp"):
            low, high = (np.clip(bound, *_bounds(operator)) for bound in (low, high))
        else:
            return None
    ends = {_to_codes(quantizer, *bounds) for bounds in np.unique(np.stack(np.broadcast_arrays(low, high)), axis=1).T}
    return (factor, ends.pop()) if len(ends) == 1 else None


def _bounds(operator: FloatNode) -> tuple[float, float]:
    """What a relu or clamp limits its result to, infinite for no bound."""
    if operator.op == "relu":
        return 0.0, np.inf
    low, high = operator.attributes.get("low"), operator.attributes.get("high")
    return -np.inf if low is None else float(low), np.inf if high is None else float(high)


def _to_codes(quantizer: Quantizer, low: float = -np.inf, high: float = np.inf) -> ToCodes:
    """The rounding to codes, clipped to the type and to the codes of two real bounds."""
    grid, element = quantizer.grid, quantizer.grid.element
    zero = grid.zero_point[0]

    def code(bound: float) -> int:
        level = np.clip(bound / grid.scale.array[0], element.min - zero, element.max - zero)
        if quantizer.zero_point_first:
            return int(round_float(level + zero, quantizer.rounding))
        return int(round_float(level, quantizer.rounding)) + zero

    return ToCodes(quantizer.rounding, zero, quantizer.zero_point_first, code(low), code(high))


def _float_steps(quantized: QuantizedGraph, trace: Trace, quantizer: Quantizer) -> tuple[Step, ...]:
    """The plain formula on real values: the source's scale, the operators, the quantizer."""
    (source,), (sign,) = trace.sources, trace.signs
    steps: list[Step] = [Terms((_parameter(sign * scale_of(quantized, source).array),))]
    for operator in trace.operators:
        arrays = {name: _parameter(array.astype(np.float64)) for name, array in operator.arrays.items()}
        match operator.op:
            case "relu" | "clamp":
                steps.append(Clamp(*_bounds(operator)))
            case "mul":
                steps.append(Multiply(arrays["factor"]))
            case "affine":
                steps += [Multiply(arrays["factor"]), Offset(arrays["offset"])]
            case "prelu":
                steps.append(PRelu(arrays["slope"]))
            case "function":
                steps.append(Function(operator.attributes["function"]))
    if quantizer.thresholds is not None:
        return *steps, CountThresholds(quantizer.thresholds, quantizer.strict, quantizer.grid.element.min)
    return *steps, Divide(_parameter(quantizer.grid.scale.array)), _to_codes(quantizer)


def _division(quantized: QuantizedGraph, pool: FloatNode, quantizer: Quantizer, scales: Scales) -> tuple[Step, ...]:
    """An average: the rescaled sum over the number of cells, exact up to the one division, which rint cannot misread.

    With sums, multiplier and cells of together at most 52 bits, a quotient that is no tie stays clear of every tie.
    """
    cells = cells_of(quantized, pool)
    coefficient = _parameter(scale_of(quantized, pool.name).array / quantizer.grid.scale.array)
    bits = EXACT_BITS - level_bits(quantized, pool.name) - int(cells.max()).bit_length()
    terms = Terms((coefficient,) if scales == "pow2" else snap([coefficient], bits))
    divisor = cells if cells.min() != cells.max() else cells.max()
    return terms, Divide(np.asarray(divisor, np.float64)), _to_codes(quantizer)


def _parameter(values: NDArray[Any]) -> Parameter:
    """float64 () per tensor or (C,) per channel."""
    values = np.asarray(values, np.float64)
    return values.reshape(()) if values.size == 1 else values
