"""Concatenation, slices, padding, upsampling and flattening: no work where memory allows, else copies of regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from intsim.backends.nhwc import extents, is_bytes
from intsim.ir import ops
from intsim.ir.graph import Node

if TYPE_CHECKING:
    from intsim.backends.native_lowering import Emit, Lowering
    from intsim.backends.native_program import Segment

Place = tuple[int, int, int]
"""Row, column and channel."""

START, TOGETHER = (0, 0, 0), (1, 1, 1)
MOST_FLATTENED = 64
"""Pixels; one copy each."""


def movement(lowering: Lowering, node: Node) -> Emit | None:
    """Codes that go elsewhere as they are."""
    types = [lowering.graph.types[i] for i in node.inputs]
    if not all(map(is_bytes, (*types, lowering.graph.types[node.name]))):
        return None
    match node.op:
        case ops.Reshape():
            return flattening(lowering, node)
        case ops.Concat():
            return concatenation(lowering, node)
        case ops.Slice():
            return slicing(lowering, node)
        case ops.Pad():
            return padding(lowering, node)
    return upsampling(lowering, node)


def flattening(lowering: Lowering, node: Node) -> Emit | None:
    """(N, C, H, W) to (N, C * H * W): nothing for one pixel; else each pixel's channels lie H * W apart."""
    source, name = node.inputs[0], node.name
    height, width, channels = extents(lowering.graph.types[source])
    if extents(lowering.graph.types[name]) != (1, 1, height * width * channels) or height * width > MOST_FLATTENED:
        return None
    if height * width == 1:
        lowering.layouts[name] = lowering.layouts[source]
        return lambda segment: segment.share(name, source)

    def emit(segment: Segment) -> None:
        x, out = segment.read(source), segment.new(name)
        for y, z in np.ndindex(height, width):
            place, apart = (0, 0, y * width + z), (1, 1, height * width)
            segment.plan.copy(name, (y, z, 0), TOGETHER, place, apart, (1, 1, channels), x, out)

    return emit


def concatenated(lowering: Lowering, node: Node) -> dict[str, tuple[str, Place]]:
    """Operands that their own steps can write to their place in a concatenation: (it, place).

    Nobody else reads them, so nobody needs their pixels to be contiguous or to have a halo.
    """
    graph = lowering.graph
    if not isinstance(node.op, ops.Concat) or not is_bytes(graph.types[node.name]):
        return {}
    return {
        name: (node.name, place)
        for name, place in zip(node.inputs, places(lowering, node), strict=True)
        if graph.consumers[name] == (node,)
        and node.inputs.count(name) == 1
        and name in graph.by_name
        and not isinstance(graph.by_name[name].op, ops.Reshape | ops.Slice)
    }


def places(lowering: Lowering, node: Node) -> list[Place]:
    """Where each operand of a concatenation begins."""
    assert isinstance(node.op, ops.Concat)
    axis = nhwc_axis(node.op.axis)
    starts = np.cumsum([0, *(extents(type)[axis] for type in lowering.graph.operands(node)[:-1])]).tolist()
    return [(s if axis == 0 else 0, s if axis == 1 else 0, s if axis == 2 else 0) for s in starts]


def concatenation(lowering: Lowering, node: Node) -> Emit | None:
    def emit(segment: Segment) -> None:
        out = segment.new(node.name)
        for part, place in zip(node.inputs, places(lowering, node), strict=True):
            if not segment.is_part(part):
                segment.copy_all(node.name, segment.read(part), out, lowering.layouts[part], place)

    return emit


def slicing(lowering: Lowering, node: Node) -> Emit | None:
    """The same memory where every reader takes pixels that are apart; else a copy."""
    op, source, name = node.op, node.inputs[0], node.name
    assert isinstance(op, ops.Slice)
    start, apart = to_nhwc(op.starts, 0), to_nhwc(op.steps, 1)
    extent = extents(lowering.graph.types[name])
    readers = lowering.graph.consumers[name]
    if apart[2] == 1 and not any(lowering.layouts[name].halo) and all(map(takes_pixels_apart, readers)):
        return lambda segment: segment.view(name, source, start, apart[:2])
    return lambda segment: segment.plan.copy(
        name, start, apart, START, TOGETHER, extent, segment.read(source), segment.new(name)
    )


def takes_pixels_apart(node: Node) -> bool:
    """Whether an operator's native step reads pixels at any distance: not if a run of weights goes over several."""
    op = node.op
    if isinstance(op, ops.Conv2d):
        return False
    return not isinstance(op, ops.Linear | ops.Reshape)


def padding(lowering: Lowering, node: Node) -> Emit | None:
    op, source = node.op, node.inputs[0]
    assert isinstance(op, ops.Pad)
    layout, x = lowering.layouts[node.name], lowering.graph.types[source]
    if layout.fill != op.fill(x) - x.integer.element.min:
        return None
    before = to_nhwc(op.before, 0)

    def emit(segment: Segment) -> None:
        out = segment.new(node.name)
        segment.plan.fill(node.name, out)
        segment.copy_all(node.name, segment.read(source), out, lowering.layouts[source], before)

    return emit


def upsampling(lowering: Lowering, node: Node) -> Emit | None:
    op, source = node.op, node.inputs[0]
    assert isinstance(op, ops.Upsample)
    x = lowering.graph.types[source]
    if x.rank != 4 or len(op.factors) > 2:
        return None
    factors = (*(1,) * (2 - len(op.factors)), *op.factors)

    def emit(segment: Segment) -> None:
        images, out = segment.read(source), segment.new(node.name)
        for y, z in np.ndindex(factors):
            segment.plan.copy(node.name, START, TOGETHER, (y, z, 0), (*factors, 1), extents(x), images, out)

    return emit


def nhwc_axis(axis: int) -> int:
    """Where axis 1, 2 or 3 of (N, C, H, W), or 1 of (N, F), stands among (height, width, channels)."""
    return 2 if axis == 1 else axis - 2


def to_nhwc(values: tuple[int, ...], absent: int) -> Place:
    """One value per axis, reordered to (height, width, channels); `absent` for axes that (N, F) lacks."""
    channels, height, width = (*values[1:], absent, absent)[:3]
    return height, width, channels
