"""Convolutions, linear layers and residual additions as native operators, and what follows them in their tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.backends.native_epilogues import broadcast, codes_of, epilogue_spec
from intsim.backends.nhwc import (
    Sides,
    accumulator_range,
    extents,
    fold_weights,
    is_accumulator,
    is_bytes,
    level_offsets,
    pad_byte,
)
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType

if TYPE_CHECKING:
    from intsim.backends.native_lowering import Emit, Lowering
    from intsim.backends.native_program import Segment


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

    @property
    def adds_in_tiles(self) -> bool:
        """Whether a tile's outputs are a block of 16 channels of an addition: not so with several groups of many."""
        outputs, depth = self.weights.shape[:2]
        return self.groups == 1 or (depth == 1 and outputs == self.groups)


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


def contraction(lowering: Lowering, node: Node, follower: Node | None) -> Emit | None:
    """A convolution or linear layer, with the epilogue or the addition that follows it in its tiles, if one does."""
    folded = lowering.take_folded(node)
    if folded is None:
        return None
    total = addition_of(lowering, follower) if follower and isinstance(follower.op, ops.Add) else None
    conv = _native.Conv(
        node.name,
        folded.weights,
        folded.bias,
        folded.in_channels,
        folded.stride,
        folded.dilation,
        folded.groups,
        folded.act_bits,
        epilogue=epilogue_spec(lowering, follower) if follower and total is None else None,
        one_pixel=extents(lowering.graph.types[node.name])[:2] == (1, 1),
    )
    lowering.kernels[node.name] = conv.kernel
    lowering.proofs[node.name] = proof_of(conv)
    source, result = node.inputs[0], (follower or node).name
    padding, fill = folded.padding, folded.pad_byte
    layout = lowering.layouts[source]
    padded = None if layout.provides(padding, fill) else replace(layout, halo=padding, fill=fill)

    def emit(segment: Segment) -> None:
        x = segment.read(source)
        if padded is not None:
            copy = segment.scratch(padded)
            segment.copy_all(node.name, x, copy, padded)
            x = copy
        if total is None:
            segment.plan.conv(conv, x, padding, fill, segment.new(result))
        else:
            stream = segment.read(total.b)
            segment.plan.conv_add(conv, total.add, x, padding, fill, stream, segment.new(result))

    return emit


def proof_of(conv: Any) -> str:
    """Why no lane of a convolution's kernel overflows: bounds over every input, from its actual weights."""
    largest = f"|acc| <= {max(-min(conv.acc_low), max(conv.acc_high)):,}"
    if conv.scheme in ("w16", "w16x8", "dot"):
        return f"{conv.scheme}: int32 from the first product; {largest}"
    if conv.kernel.startswith("strip_"):
        return f"{conv.scheme}: int16 for all 9 taps, which cannot leave it, then int32; {largest}"
    if conv.scheme.startswith("a32"):
        return f"{conv.scheme}: int16 for {4 * int(conv.scheme[-1])} k, which cannot leave it, then int32; {largest}"
    widened = f"widened every {4 * conv.quads / conv.flushes:.0f} k, before any could overflow"
    return f"{conv.scheme}: narrow lanes {widened}; {largest}"


@dataclass(frozen=True)
class Addition:
    """A residual addition: the native operator, and its operands, of which the first may be accumulators."""

    add: Any
    a: str
    b: str


def addition(lowering: Lowering, node: Node) -> Emit | None:
    total = addition_of(lowering, node)
    if total is None:
        return None
    return lambda segment: segment.plan.add(
        total.add, segment.read(total.a), segment.read(total.b), segment.new(node.name)
    )


def addition_of(lowering: Lowering, node: Node) -> Addition | None:
    """The sum of two tensors of bytes, or of one of accumulators and one of bytes."""
    types, op, result = lowering.graph.types, node.op, lowering.graph.types[node.name]
    assert isinstance(op, ops.Add)
    parameters = [lowering.graph.constants[name] for name in node.inputs[2:] if name in lowering.graph.constants]
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

    low, high = lowering.range_of(a)
    add = _native.Add(
        node.name,
        multiplier_a,
        multiplier_b,
        offset_a + offset_b,
        shift,
        a_is_accumulator=is_accumulator(types[a]),
        a_low=low,
        a_high=high,
        rounding=str(op.rounding),
        **codes_of(op, result.integer.element),
    )
    return Addition(add, a, b)


def term(type: TensorType, factor: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(multiplier, offset) with factor * level = multiplier * stored + offset; stored is a byte or an accumulator."""
    if is_accumulator(type):
        return factor, np.zeros_like(factor)
    return factor * type.integer.step, factor * level_offsets(type)
