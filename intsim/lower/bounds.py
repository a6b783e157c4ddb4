"""What the integers of a graph can reach, from the actual weights and for every possible input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Interval, interval
from intsim.errors import LoweringError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Conv2d, Linear, Matmul
from intsim.ir.types import TensorType

CONTRACTIONS = (Conv2d, Linear, Matmul)


def level_range(type: TensorType) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest level of a tensor of codes, int64 (1,) or (C,)."""
    grid = type.integer
    zero = np.asarray(grid.zero_point, np.int64)
    return grid.step * grid.element.min - zero, grid.step * grid.element.max - zero


def accumulator_interval(graph: Graph, node: Node) -> Interval:
    """Bounds of a contraction's sums and partial sums, one entry for each output channel (one in all for a matmul).

    Every code of the input's type counts as possible, and so does the padding.
    """
    x = graph.types[node.inputs[0]]
    low, high = level_range(x)
    if isinstance(node.op, Matmul):
        other_low, other_high = level_range(graph.types[node.inputs[1]])
        products = [int(a) * int(b) for a in (*low, *high) for b in (*other_low, *other_high)]
        depth = int(x.shape[-1] or 0)
        smallest, largest = depth * min(products), depth * max(products)
        return Interval([smallest], [largest], [min(smallest, 0)], [max(largest, 0)])
    weights = graph.constants[node.inputs[1]].levels
    bias = graph.constants[node.inputs[2]].levels if len(node.inputs) > 2 else np.zeros(len(weights), np.int64)
    if isinstance(node.op, Conv2d):
        low, high = _input_channels(node.op, x, low), _input_channels(node.op, x, high)
        low, high = _with_padding(node.op, x, low, high)
        return _grouped(node.op.groups, weights, low, high, bias)
    return interval(weights.reshape(len(weights), -1), low[0], high[0], bias)


def _input_channels(op: Conv2d, x: TensorType, bound: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.broadcast_to(bound, (int(x.shape[1] or 0),))


def _with_padding(
    op: Conv2d, x: TensorType, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bounds that include the level of padded pixels."""
    if not any(op.padding):
        return low, high
    grid = x.integer
    zero = np.asarray(grid.zero_point, np.int64)
    pad = np.zeros_like(low) if op.pad_code is None else np.broadcast_to(grid.step * op.pad_code - zero, low.shape)
    return np.minimum(low, pad), np.maximum(high, pad)


def _grouped(
    groups: int, weights: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], bias: NDArray[np.int64]
) -> Interval:
    """Bounds of a grouped convolution: each group of outputs sees its own input channels."""
    taps = weights.shape[2] * weights.shape[3]
    bounds = []
    for part, lows, highs, start in zip(
        np.split(weights, groups), np.split(low, groups), np.split(high, groups), np.split(bias, groups), strict=True
    ):
        rows = part.reshape(len(part), -1)
        bounds.append(interval(rows, np.repeat(lows, taps), np.repeat(highs, taps), start))
    return Interval(
        minimum=[v for b in bounds for v in b.minimum],
        maximum=[v for b in bounds for v in b.maximum],
        partial_minimum=[v for b in bounds for v in b.partial_minimum],
        partial_maximum=[v for b in bounds for v in b.partial_maximum],
    )


def reach(graph: Graph, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest level of any integer value, int64 (1,) or (C,).

    An accumulator that wraps or saturates reaches all of its type. LoweringError where a bound leaves int64.
    """
    node = graph.by_name.get(name)
    if node is not None and isinstance(node.op, CONTRACTIONS) and node.op.accumulator.overflow == "exact":
        bounds = accumulator_interval(graph, node)
        if min(bounds.minimum) < -(1 << 63) or max(bounds.maximum) >= 1 << 63:
            raise LoweringError(f"{node.mnemonic} '{name}': accumulators reach {max(bounds.maximum)}, beyond int64")
        return np.asarray(bounds.minimum, np.int64), np.asarray(bounds.maximum, np.int64)
    return level_range(graph.types[name])
