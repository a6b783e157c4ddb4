"""From accumulators to bytes: every rule of a requantization, and thresholds, as the kernels take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.arithmetic.engine_rules import EngineRule, engine_round, reduced_multiplier
from intsim.backends.nhwc import extents, is_accumulator, is_bytes
from intsim.dtypes import IntType
from intsim.ir import ops
from intsim.ir.graph import Node

if TYPE_CHECKING:
    from intsim.backends.native_lowering import Emit, Lowering

MOST_ZERO_POINT = 1 << 20
"""Of a requantization in floating point: so that its bounds are exact in float32."""

EXACT_FORM = {
    EngineRule.SINGLE_ROUND: "half_up",
    EngineRule.TFLITE_INT16: "half_up",
    EngineRule.CMSIS_S64: "half_up",
    EngineRule.TOSA_SCALE16: "half_up",
    EngineRule.PULP: "half_up",
    EngineRule.NEMO: "floor",
    EngineRule.RUY: "ruy",
    EngineRule.GEMMLOWP_DOUBLE: "gemmlowp_double",
}
"""What the rounding of an engine comes to where nothing overflows; rounding.h has the last two."""


def epilogue_spec(lowering: Lowering, node: Node) -> Any | None:
    """A requantization or threshold of int32 accumulators as the kernels take it, or None."""
    graph = lowering.graph
    types, result = graph.types, graph.types[node.name]
    if not node.inputs or not is_accumulator(types[node.inputs[0]]) or not is_bytes(result):
        return None
    parameters = [graph.constants.get(name) for name in node.inputs[1:]]
    if any(parameter is None for parameter in parameters):
        return None
    channels = extents(result)[2]
    element = result.integer.element
    spread = [broadcast(p.levels, channels) for p in parameters if p is not None]
    match node.op:
        case ops.Threshold():
            thresholds, base, strict, descending = spread
            return _native.ThresholdSpec(thresholds, base, strict, descending, element.bits, element.min)
        case ops.RequantizeShift(rounding=rounding):
            return scale_spec(node.op, element, np.ones(channels, np.int64), spread[0], rounding)
        case ops.RequantizeMultiplier(rounding=EngineRule() as rule):
            multiplier, shift = spread
            return engine_spec(node.op, element, multiplier, shift, rule, lowering.range_of(node.inputs[0]))
        case ops.RequantizeMultiplier(rounding=rounding):
            multiplier, shift = spread
            return scale_spec(node.op, element, multiplier, shift, rounding)
        case ops.RequantizeFloat32(factors=factors):
            return float_spec(node.op, element, broadcast(np.asarray(factors), channels), single=True)
    return None


def scale_spec(
    op: Any, element: IntType, multiplier: NDArray[np.int64], shift: NDArray[np.int64], rounding: str
) -> Any | None:
    """round(acc * multiplier / 2**shift); a left shift goes into a multiplier other than 1, exactly."""
    if (multiplier != 1).any():
        left = np.clip(-shift, 0, 31)
        multiplier, shift = multiplier << left, shift + left
    if abs(multiplier).max() >= 1 << 31:
        return None
    return _native.ScaleSpec(multiplier, shift, rounding=str(rounding), **codes_of(op, element))


def engine_spec(
    op: Any,
    element: IntType,
    multiplier: NDArray[np.int64],
    shift: NDArray[np.int64],
    rule: EngineRule,
    bounds: tuple[int, int],
) -> Any | None:
    """The rounding of an engine; None where it may overflow, which the reference refuses only if it happens."""
    try:  # every rule is monotone, so what holds at both ends holds between them
        engine_round(np.array(bounds)[:, np.newaxis], multiplier, 31 - shift, rule)
    except (OverflowError, ValueError):
        return None
    if rule is EngineRule.HAWQ_DYADIC:  # a power of two moves no rounding of the product
        return float_spec(op, element, np.ldexp(multiplier.astype(np.float64), -shift), single=False)
    if rule in (EngineRule.TFLITE_INT16, EngineRule.CMSIS_S64):
        multiplier, shift = reduced_multiplier(multiplier), shift - 16
    return scale_spec(op, element, multiplier, shift, EXACT_FORM[rule])


def float_spec(op: Any, element: IntType, scale: NDArray[np.float64], single: bool) -> Any | None:
    """rint(acc * scale) in float32 or float64; with the zero point first always in float64."""
    if abs(op.out.zero_point[0]) > MOST_ZERO_POINT:
        return None
    if single:
        scale = scale.astype(np.float32).astype(np.float64)
    return _native.FloatSpec(scale, single and not op.zero_point_first, **codes_of(op, element))


def codes_of(op: Any, element: IntType) -> dict[str, Any]:
    """What an operator makes of rounded values: codes of `element`, as the constructors of _native take it."""
    return {
        "zero_point": op.out.zero_point[0],
        "zero_point_first": op.zero_point_first,
        "low": element.min if op.low is None else op.low,
        "high": element.max if op.high is None else op.high,
        "out_bits": element.bits,
        "out_min": element.min,
    }


def broadcast(parameter: NDArray[Any], channels: int) -> NDArray[Any]:
    """A per-tensor or per-channel parameter for every channel, contiguous."""
    return np.ascontiguousarray(np.broadcast_to(parameter, (channels, *parameter.shape[1:])))


def accumulator_epilogue(lowering: Lowering, node: Node) -> Emit | None:
    """Requantization of accumulators that others read too."""
    spec = epilogue_spec(lowering, node)
    if spec is None:
        return None
    source = node.inputs[0]
    requantize = _native.Requantize(node.name, spec, *lowering.range_of(source))
    return lambda segment: segment.plan.requantize(requantize, segment.read(source), segment.new(node.name))
