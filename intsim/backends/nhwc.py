"""How values of a graph lie in native memory, and what of its arithmetic is done once, before any image comes.

A value of codes of at most 8 bits is a batch of NHWC bytes, byte = code - type.min; accumulators are NHWC int32. A
value (N, F) is a batch of images of one pixel. Everything else stays what it is in the graph: NumPy codes, channels
first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.dtypes import IntType
from intsim.errors import GraphError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType, Value

Sides = tuple[int, int, int, int]
"""Top, bottom, left, right, in pixels."""

INT32 = IntType(True, 32)


def is_bytes(type: TensorType) -> bool:
    """Whether a value lies as NHWC bytes."""
    return _is_batch_of_images(type) and type.integer.element.bits <= 8


def is_accumulator(type: TensorType) -> bool:
    """Whether a value lies as NHWC int32: plain levels of more than 8 bits."""
    if not _is_batch_of_images(type) or type.integer.element.bits <= 8:
        return False
    element = type.integer.element
    plain = type.integer.step == 1 and set(type.integer.zero_point) == {0}
    return plain and element.min >= INT32.min and element.max <= INT32.max


def _is_batch_of_images(type: TensorType) -> bool:
    return type.grid is not None and type.rank in (2, 4) and type.shape[0] is None


def extents(type: TensorType) -> tuple[int, int, int]:
    """Height, width and channels of a value (N, C, H, W) or (N, F)."""
    channels, height, width = (*(int(e or 0) for e in type.shape[1:]), 1, 1)[:3]
    return height, width, channels


@dataclass(frozen=True)
class Layout:
    """Extents of one image, the halo around it, and the byte that fills the halo (None: any)."""

    height: int
    width: int
    channels: int
    bits: int
    halo: Sides = (0, 0, 0, 0)
    fill: int | None = None

    def provides(self, padding: Sides, fill: int) -> bool:
        """Whether a convolution can read its padding out of the halo."""
        return not any(padding) or (fill == self.fill and all(h >= p for h, p in zip(self.halo, padding, strict=True)))

    def padded(self, padding: Sides, fill: int) -> Layout:
        """This layout with a halo that serves `padding` too; unchanged if another byte already fills it."""
        if not any(padding) or self.fill not in (None, fill):
            return self
        top, bottom, left, right = (max(h, p) for h, p in zip(self.halo, padding, strict=True))
        return replace(self, halo=(top, bottom, left, right), fill=fill)


def pad_byte(op: ops.Conv2d, x: TensorType) -> int | None:
    """The byte that stands for pixels outside the image; None where one byte cannot: a zero code per channel."""
    grid = x.integer
    codes = (op.pad_code,) if op.pad_code is not None else grid.zero_codes()
    if codes is None or len(set(codes)) > 1:
        return None if any(op.padding) else 0
    return codes[0] - grid.element.min


def layouts(graph: Graph) -> dict[str, Layout]:
    """The layout of every value that lies as bytes, with the halo that its consumers read."""
    result = {
        name: Layout(*extents(type), type.integer.element.bits) for name, type in graph.types.items() if is_bytes(type)
    }
    for node in graph.nodes:
        source = node.inputs[0]
        if isinstance(node.op, ops.Pad) and node.name in result:
            code = node.op.fill(graph.types[source])
            result[node.name] = replace(result[node.name], fill=code - graph.types[source].integer.element.min)
        if isinstance(node.op, ops.Conv2d) and source in result:
            fill = pad_byte(node.op, graph.types[source])
            if fill is not None:
                result[source] = result[source].padded(node.op.padding, fill)
    return result


def level_offsets(x: TensorType) -> NDArray[np.int64]:
    """What to add to step * byte to have the level, int64 (1,) or (C,)."""
    grid = x.integer
    return grid.step * grid.element.min - np.asarray(grid.zero_point, np.int64)


def fold_weights(
    op: ops.Conv2d | ops.Linear, x: TensorType, weight: Value, bias: Value | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights and bias of the same convolution over bytes.

    returns  weights int64 (O, I, KH, KW), bias int64 (O,)
    Exact:   level(x) = step * byte + offset, so sum level(x) * level(w) = sum byte * (step * level(w))
             + sum offset * level(w), and the second sum is a constant
    """
    levels = weight.levels if isinstance(op, ops.Conv2d) else weight.levels[:, :, np.newaxis, np.newaxis]
    outputs, depth = levels.shape[:2]
    groups = op.groups if isinstance(op, ops.Conv2d) else 1
    start = np.zeros(outputs, np.int64) if bias is None else bias.levels
    offsets = np.broadcast_to(level_offsets(x), groups * depth).reshape(groups, depth)
    weights = levels if x.integer.step == 1 else x.integer.step * levels
    if not offsets.any():
        return weights, start
    of_output = np.repeat(offsets, outputs // groups, axis=0)
    return weights, start + (of_output * levels.sum(axis=(2, 3))).sum(axis=1)


def accumulator_range(weights: NDArray[np.int64], bias: NDArray[np.int64], act_bits: int) -> tuple[int, int]:
    """Smallest and largest accumulator that any input gives in any channel: what the actual weights allow."""
    largest = (1 << act_bits) - 1
    low = bias + largest * np.minimum(weights, 0).sum(axis=(1, 2, 3))
    high = bias + largest * np.maximum(weights, 0).sum(axis=(1, 2, 3))
    return int(low.min()), int(high.max())


def byte_tables(graph: Graph, node: Node) -> NDArray[np.uint8] | None:
    """What an operator on codes of one tensor does to every byte: uint8 (1, 256) or (C, 256).

    The tables come from the operator's own reference meaning. None where that refuses one of the codes.
    """
    name, *parameters = node.inputs
    type, result = graph.types[name], graph.types[node.name]
    element, channels = type.integer.element, extents(type)[2]
    codes = np.arange(element.min, element.max + 1, dtype=np.int64).astype(element.storage)
    shape = (len(codes), channels, *(1,) * (type.rank - 2))
    every = np.broadcast_to(codes.reshape(-1, *(1,) * (type.rank - 1)), shape)
    x = Value(type.with_shape((None, *shape[1:])), every)
    try:
        outcome = node.op.evaluate(x, *(graph.constants[p] for p in parameters))
    except (GraphError, OverflowError):
        return None
    tables = np.zeros((channels, 256), np.uint8)
    tables[:, : len(codes)] = (outcome.reshape(len(codes), channels).T.astype(np.int64)) - result.integer.element.min
    return tables[:1] if (tables == tables[0]).all() else tables


def to_codes(native: NDArray[Any], type: TensorType) -> NDArray[Any]:
    """Exported codes (N, C, H, W) in the shape and storage of the graph."""
    storage = type.integer.element.storage
    codes = native.view(storage) if native.dtype.itemsize == storage.itemsize else native.astype(storage)
    return codes.reshape(len(codes), -1) if type.rank == 2 else codes
