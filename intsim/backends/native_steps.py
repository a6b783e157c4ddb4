"""The native step of every operator: weights packed, parameters in the kernels' form, once for all images.

A function takes the plan and a node, and returns a closure over native objects that computes the node for a chunk of
images; or None where no kernel computes the node exactly, in which case its reference meaning does, on NumPy codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.arithmetic.engine_rules import EngineRule
from intsim.backends.nhwc import (
    Layout,
    Sides,
    accumulator_range,
    byte_tables,
    extents,
    fold_weights,
    is_accumulator,
    is_bytes,
    level_offsets,
    pad_byte,
)
from intsim.dtypes import IntType
from intsim.errors import BackendError, GraphError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType, Value

if TYPE_CHECKING:
    from intsim.backends.native import Chunk, Plan

Step = Callable[["Chunk"], None]
Images = Any  # _native.ByteImages or _native.Int32Images, as the value's type says


def prepare(plan: Plan, node: Node, epilogue: Node | None) -> Step | None:
    """The native step of a node, or None where it has none."""
    match node.op:
        case ops.Conv2d() | ops.Linear():
            return contraction(plan, node, epilogue)
        case ops.Add():
            return addition(plan, node)
        case ops.Quantize():
            return quantization(plan, node)
        case ops.MaxPool() | ops.AveragePool() | ops.AdaptiveAveragePool():
            return pooling(plan, node)
        case ops.Concat() | ops.Slice() | ops.Pad() | ops.Upsample() | ops.Reshape():
            return movement(plan, node)
        case _:
            return code_mapping(plan, node) or accumulator_epilogue(plan, node)


def reference_step(graph: Graph, node: Node) -> Step:
    """The operator's own meaning, on NumPy codes."""

    def run(chunk: Chunk) -> None:
        operands = (Value(graph.types[name], chunk.codes(name)) for name in node.inputs)
        try:
            chunk.put_codes(node.name, node.op.evaluate(*operands))
        except (GraphError, OverflowError) as error:
            raise BackendError(f"{node.mnemonic} '{node.name}': {error}") from None

    return run


# --- convolution, linear, and what follows them -----------------------------------------------------------------------


@dataclass(frozen=True)
class Contraction:
    """A convolution or linear layer over bytes: what `_native.Conv` takes."""

    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    low: int  # of the accumulators
    high: int
    in_channels: int
    act_bits: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    padding: Sides
    pad_byte: int


def fold(graph: Graph, node: Node) -> Contraction | None:
    """A convolution or linear layer as the kernels take it; None for others and for what no kernel does exactly."""
    op = node.op
    if not isinstance(op, ops.Conv2d | ops.Linear) or op.accumulator.overflow != "exact":
        return None
    source, *parameters = node.inputs
    x, acc = graph.types[source], graph.types[node.name]
    constants = [graph.constants[name] for name in parameters if name in graph.constants]
    if not is_bytes(x) or not is_accumulator(acc) or len(constants) < len(parameters):
        return None
    if isinstance(op, ops.Linear) and x.rank != 2:
        return None  # its channels lie along the last axis, the kernels' along the second
    weights, bias = fold_weights(op, x, *constants)
    channels, bits = extents(x)[2], x.integer.element.bits
    low, high = accumulator_range(weights, bias, bits)
    element = acc.integer.element
    if low < element.min or high > element.max or weights.min() < -(1 << 15) or weights.max() >= 1 << 15:
        return None
    if isinstance(op, ops.Linear):
        return Contraction(weights, bias, low, high, channels, bits, (1, 1), (1, 1), 1, (0, 0, 0, 0), 0)
    fill = pad_byte(op, x)
    if fill is None:
        return None
    return Contraction(weights, bias, low, high, channels, bits, op.stride, op.dilation, op.groups, op.padding, fill)


def contraction(plan: Plan, node: Node, epilogue: Node | None) -> Step | None:
    """A convolution or linear layer, with its fused epilogue if it has one."""
    folded = plan.contractions.pop(node.name, None) or fold(plan.graph, node)
    if folded is None:
        return None
    conv = _native.Conv(
        node.name,
        folded.weights,
        folded.bias,
        folded.in_channels,
        folded.stride,
        folded.dilation,
        folded.groups,
        folded.act_bits,
        epilogue=epilogue_spec(plan.graph, epilogue) if epilogue else None,
    )
    plan.kernels[node.name] = conv.kernel
    source, result = node.inputs[0], (epilogue or node).name
    padding, fill, sides = folded.padding, folded.pad_byte, list(folded.padding)
    if plan.layouts[source].provides(padding, fill):
        return lambda chunk: conv.run(chunk.images(source), sides, fill, chunk.new(result), chunk.threads)

    copy = f"{node.name}:padded"
    layout = replace(plan.layouts[source], halo=padding, fill=fill)

    def run(chunk: Chunk) -> None:
        padded = chunk.scratch(copy, layout)
        copy_all(chunk.images(source), padded, layout, (0, 0, 0), chunk.threads)
        conv.run(padded, sides, fill, chunk.new(result), chunk.threads)

    return run


def epilogue_spec(graph: Graph, node: Node) -> Any | None:
    """A requantization or threshold of int32 accumulators as the kernels take it, or None."""
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
        case ops.RequantizeShift():
            multiplier, shift = np.ones(channels, np.int64), spread[0]
        case ops.RequantizeMultiplier(rounding=rounding) if not isinstance(rounding, EngineRule):
            multiplier, shift = spread
            if shift.min() < 0 or abs(multiplier).max() >= 1 << 31:
                return None
        case _:
            return None
    return _native.ScaleSpec(multiplier, shift, **rounding_of(node.op, element))


def rounding_of(op: Any, element: IntType) -> dict[str, Any]:
    """How an operator rounds to codes of `element`, as the constructors of _native take it."""
    return {
        "rounding": str(op.rounding),
        "zero_point": op.out.zero_point[0],
        "zero_point_first": op.zero_point_first,
        "low": element.min if op.low is None else op.low,
        "high": element.max if op.high is None else op.high,
        "out_bits": element.bits,
        "out_min": element.min,
    }


def broadcast(parameter: NDArray[np.int64], channels: int) -> NDArray[np.int64]:
    """A per-tensor or per-channel parameter for every channel, contiguous."""
    return np.ascontiguousarray(np.broadcast_to(parameter, (channels, *parameter.shape[1:])))


def accumulator_epilogue(plan: Plan, node: Node) -> Step | None:
    """Requantization of accumulators that others read too."""
    spec = epilogue_spec(plan.graph, node)
    if spec is None:
        return None
    source = node.inputs[0]
    requantize = _native.Requantize(node.name, spec, *plan.range_of(source))
    return lambda chunk: requantize.run(chunk.images(source), chunk.new(node.name), chunk.threads)


# --- between convolutions ---------------------------------------------------------------------------------------------


def quantization(plan: Plan, node: Node) -> Step | None:
    type, source = plan.graph.types[node.name], node.inputs[0]
    grid = type.integer
    low, high = grid.element.min - grid.zero_point[0], grid.element.max - grid.zero_point[0]
    if not is_bytes(type) or max(-low, high) > 1 << 21:
        return None
    scale = float(np.float32(grid.scale.array[0]))
    height, width, channels = extents(type)

    def run(chunk: Chunk) -> None:
        x = chunk.codes(source).reshape(chunk.batch, channels, height, width)
        _native.quantize(x, scale, low, high, chunk.new(node.name), chunk.threads)

    return run


def code_mapping(plan: Plan, node: Node) -> Step | None:
    """Any operator from the codes of one tensor to codes: a table of bytes."""
    types = plan.graph.types
    source, *parameters = node.inputs
    constant = all(name in plan.graph.constants for name in parameters)
    if not (constant and is_bytes(types[source]) and is_bytes(types[node.name])) or isinstance(node.op, ops.Permute):
        return None
    tables = byte_tables(plan.graph, node)
    if tables is None:
        return None
    return lambda chunk: _native.lookup(chunk.images(source), tables, chunk.new(node.name), chunk.threads)


def addition(plan: Plan, node: Node) -> Step | None:
    """The sum of two tensors of bytes, or of one of accumulators and one of bytes."""
    types, op, result = plan.graph.types, node.op, plan.graph.types[node.name]
    assert isinstance(op, ops.Add)
    parameters = [plan.graph.constants[name] for name in node.inputs[2:] if name in plan.graph.constants]
    if len(node.inputs) != 5 or len(parameters) != 3 or not is_bytes(result):
        return None
    # The kernel's first operand may be accumulators, its second one is bytes.
    first, second = (0, 1) if is_bytes(types[node.inputs[1]]) else (1, 0)
    a, b = node.inputs[first], node.inputs[second]
    if not is_bytes(types[b]) or not (is_bytes(types[a]) or is_accumulator(types[a])):
        return None
    if types[a].integer.axis != types[b].integer.axis:
        return None  # they lie in memory in different orders
    channels = extents(result)[2]
    shift = broadcast(parameters[2].levels, channels)
    left = np.clip(-shift, 0, 31)  # the kernels shift right only: a left shift goes into the multipliers, exactly
    multiplier_a, offset_a = term(types[a], broadcast(parameters[first].levels, channels) << left)
    multiplier_b, offset_b = term(types[b], broadcast(parameters[second].levels, channels) << left)
    shift = shift + left
    if max(abs(multiplier_a).max(), abs(multiplier_b).max()) >= 1 << 31 or shift.min() < 0 or shift.max() > 61:
        return None

    low, high = plan.range_of(a)
    add = _native.Add(
        node.name,
        multiplier_a,
        multiplier_b,
        offset_a + offset_b,
        shift,
        a_is_accumulator=is_accumulator(types[a]),
        a_low=low,
        a_high=high,
        **rounding_of(op, result.integer.element),
    )
    return lambda chunk: add.run(chunk.images(a), chunk.images(b), chunk.new(node.name), chunk.threads)


def term(type: TensorType, factor: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(multiplier, offset) with factor * level = multiplier * stored + offset; stored is a byte or an accumulator."""
    if is_accumulator(type):
        return factor, np.zeros_like(factor)
    return factor * type.integer.step, factor * level_offsets(type)


def pooling(plan: Plan, node: Node) -> Step | None:
    graph, op, source = plan.graph, node.op, node.inputs[0]
    x, result = graph.types[source], graph.types[node.name]
    if not is_bytes(x) or not is_bytes(result):
        return None
    if isinstance(op, ops.MaxPool):
        geometry = (list(op.kernel), list(op.stride), list(op.dilation), list(op.padding))
        return lambda chunk: _native.max_pool(chunk.images(source), *geometry, chunk.new(node.name), chunk.threads)
    assert isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool)
    rows, columns = (np.asarray(windows, np.int64) for windows in op.windows(x))
    (multiplier, shift), element = op.rescale, result.integer.element
    step, offset, zero = x.integer.step, int(level_offsets(x)[0]), op.out.zero_point[0]
    rule = (step, offset, multiplier, shift, zero, str(op.rounding), element.bits, element.min)

    def average(chunk: Chunk) -> None:
        _native.average_pool(chunk.images(source), rows, columns, *rule, chunk.new(node.name), chunk.threads)

    return average


def movement(plan: Plan, node: Node) -> Step | None:
    """Concatenation, slices, padding and upsampling as copies of regions; flattening one pixel is no work at all."""
    graph, op, name = plan.graph, node.op, node.name
    types = [graph.types[i] for i in node.inputs]
    result = graph.types[name]
    if not all(map(is_bytes, (*types, result))):
        return None
    source, x = node.inputs[0], types[0]
    layout = plan.layouts[name]
    match op:
        case ops.Reshape():
            if extents(x) != extents(result) or extents(x)[:2] != (1, 1):
                return None
            plan.layouts[name] = plan.layouts[source]
            return lambda chunk: chunk.share(name, source)
        case ops.Concat():
            axis = nhwc_axis(op.axis)
            starts = np.cumsum([0, *(extents(t)[axis] for t in types[:-1])])
            places = [tuple(int(s) if i == axis else 0 for i in range(3)) for s in starts]
            parts = [(i, plan.layouts[i], place) for i, place in zip(node.inputs, places, strict=True)]

            def concat(chunk: Chunk) -> None:
                out = chunk.new(name)
                for part, extent, place in parts:
                    copy_all(chunk.images(part), out, extent, place, chunk.threads)

            return concat
        case ops.Slice():
            start, step = to_nhwc(op.starts, 0), to_nhwc(op.steps, 1)
            extent = list(extents(result))
            return lambda chunk: _native.copy_region(
                chunk.images(source), start, step, [0, 0, 0], [1, 1, 1], extent, chunk.new(name), chunk.threads
            )
        case ops.Pad():
            # The margin is there since the buffer was made, like a halo, and nothing writes it.
            before = tuple(to_nhwc(op.before, 0))
            if layout.fill != op.fill(x) - x.integer.element.min:
                return None
            return lambda chunk: copy_all(
                chunk.images(source), chunk.new(name), plan.layouts[source], before, chunk.threads
            )
        case ops.Upsample():
            if x.rank != 4 or len(op.factors) > 2:
                return None
            factors = (*(1,) * (2 - len(op.factors)), *op.factors)
            extent, apart = list(extents(x)), [*factors, 1]

            def upsample(chunk: Chunk) -> None:
                images, out = chunk.images(source), chunk.new(name)
                for y, z in np.ndindex(factors):
                    _native.copy_region(
                        images, [0, 0, 0], [1, 1, 1], [y, z, 0], apart, extent, out, chunk.threads
                    )  # fmt: skip

            return upsample
    return None


def nhwc_axis(axis: int) -> int:
    """Where axis 1, 2 or 3 of (N, C, H, W), or 1 of (N, F), stands among (height, width, channels)."""
    return 2 if axis == 1 else axis - 2


def to_nhwc(values: tuple[int, ...], absent: int) -> list[int]:
    """One value per axis, reordered to (height, width, channels); `absent` for axes that (N, F) lacks."""
    channels, height, width = (*values[1:], absent, absent)[:3]
    return [height, width, channels]


def copy_all(source: Images, out: Images, layout: Layout, place: tuple[int, ...], threads: int) -> None:
    """Copy whole images of a layout to (y, x, channel) of others."""
    extent = [layout.height, layout.width, layout.channels]
    _native.copy_region(source, [0, 0, 0], [1, 1, 1], list(place), [1, 1, 1], extent, out, threads)
