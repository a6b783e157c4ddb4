"""Which integers a value can hold, over every possible input of its layer, and the inputs that reach the two ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import interval
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import AdaptiveAveragePool, AveragePool, Conv2d, Linear, Matmul
from intsim.ir.types import TensorType

CONTRACTIONS = (Conv2d, Linear, Matmul)
T = TypeVar("T")

Witness = dict[str, dict[str, Any]]
"""{"min": .., "max": ..}: inputs of the layer at which the least and the greatest accumulator of all appear."""
Pixel = list[int] | None
"""[y, x] of an output pixel; None where an operator has none."""


@dataclass(frozen=True)
class Reach:
    """The least and the greatest level that a value can hold: Python integers, one for each channel or one in all."""

    low: Sequence[int]
    high: Sequence[int]

    def at(self, channel: int) -> tuple[int, int]:
        return of_channel(self.low, channel), of_channel(self.high, channel)

    def magnitude(self, channel: int) -> int:
        return max(map(abs, self.at(channel)))


def of_channel(values: Sequence[T], channel: int) -> T:
    """The entry of a channel among one for each, or the only one."""
    return values[channel if len(values) > 1 else 0]


def level_reach(type: TensorType) -> Reach:
    """Every code of a type counts as possible."""
    grid = type.integer
    ends = [grid.level_range(channel) for channel in range(len(grid.zero_point))]
    return Reach([low for low, _ in ends], [high for _, high in ends])


def contraction_reach(graph: Graph, node: Node) -> tuple[Reach, Reach, Witness]:
    """What a contraction's accumulators reach, from its actual weights, bias, padding and image size.

    returns  the complete sums; any sum of some of the terms, the bias being one of them, as any order of additions
             may meet it; and a witness. It names the first output pixel, in row-major order, and there the first
             channel that reach the end. Every input that meets a positive weight holds `code_if_positive`, every other
             one `code_otherwise`; in a matmul each operand holds one code throughout.
    """
    x = graph.types[node.inputs[0]]
    if isinstance(node.op, Matmul):
        return _matmul_reach(x, graph.types[node.inputs[1]])
    weights = graph.constants[node.inputs[1]].levels
    rows = weights.reshape(len(weights), -1)
    bias = graph.constants[node.inputs[2]].levels if len(node.inputs) > 2 else np.zeros(len(rows), np.int64)
    kinds = [(pixel, interval(rows, low, high, bias)) for pixel, low, high in _windows(node, x, weights.shape)]
    bounds = [bound for _, bound in kinds]
    sums = Reach(_each(min, [b.minimum for b in bounds]), _each(max, [b.maximum for b in bounds]))
    partial = Reach(_each(min, [b.partial_minimum for b in bounds]), _each(max, [b.partial_maximum for b in bounds]))
    low, high = x.integer.element.min, x.integer.element.max
    witness = {
        "min": {**_first(min(sums.low), [(p, b.minimum) for p, b in kinds]), **_codes(low, high)},
        "max": {**_first(max(sums.high), [(p, b.maximum) for p, b in kinds]), **_codes(high, low)},
    }
    return sums, partial, witness


def weighted_reach(sources: Sequence[Reach], multipliers: Sequence[Sequence[int]]) -> Reach:
    """What the sum of levels times multipliers reaches; one multiplier for each channel, or one in all."""
    low, high = [], []
    for channel in range(max(len(values) for values in (*(source.low for source in sources), *multipliers))):
        products = [
            sorted(of_channel(factors, channel) * level for level in source.at(channel))
            for source, factors in zip(sources, multipliers, strict=True)
        ]
        low.append(sum(least for least, _ in products))
        high.append(sum(greatest for _, greatest in products))
    return Reach(low, high)


def average_reach(op: AveragePool | AdaptiveAveragePool, x: TensorType) -> Reach:
    """What the sums of an average pool reach, over all windows."""
    cells = cells_inside(op, x)
    low, high = x.integer.level_range()
    return Reach([int((cells * low).min())], [int((cells * high).max())])


def cells_inside(op: AveragePool | AdaptiveAveragePool, x: TensorType) -> NDArray[np.int64]:
    """How many cells of each window lie inside the image, int64 (H', W')."""
    rows, columns = op.windows(x)
    return np.outer([high - low for low, high, _ in rows], [high - low for low, high, _ in columns]).astype(np.int64)


def _each(choose: Any, lists: list[list[int]]) -> list[int]:
    return [choose(values) for values in zip(*lists, strict=True)]


def _codes(if_positive: int, otherwise: int) -> dict[str, int]:
    return {"code_if_positive": if_positive, "code_otherwise": otherwise}


def _first(end: int, kinds: list[tuple[Pixel, list[int]]]) -> dict[str, Any]:
    """The first pixel, and there the first channel, that reach `end`."""
    pixel, values = next((pixel, values) for pixel, values in kinds if end in values)
    return {**({} if pixel is None else {"pixel": pixel}), "channel": values.index(end)}


def _windows(
    node: Node, x: TensorType, shape: tuple[int, ...]
) -> Iterator[tuple[Pixel, NDArray[np.int64], NDArray[np.int64]]]:
    """The least and the greatest level that each weight meets, (1 or O, K), for every kind of output pixel.

    Pixels differ in the kernel taps that lie inside the image; the others meet the padding. Each kind comes with its
    first pixel, kinds in the order of those.
    """
    grid, op = x.integer, node.op
    zero = np.asarray(grid.zero_point, np.int64)
    least, greatest = grid.step * grid.element.min - zero, grid.step * grid.element.max - zero
    if not isinstance(op, Conv2d):
        yield None, least[None], greatest[None]
        return
    outputs, depth, kernel_height, kernel_width = shape
    padding = np.zeros_like(zero) if op.pad_code is None else grid.step * op.pad_code - zero

    def by_weight(level: NDArray[np.int64]) -> NDArray[np.int64]:
        """One level in all, or one for each input channel, to broadcast against (1 or O, C / groups, KH, KW)."""
        if level.size == 1:
            return level.reshape(1, 1, 1, 1)
        return level.reshape(op.groups, depth, 1, 1).repeat(outputs // op.groups, axis=0)

    rows = _taps_inside(int(x.shape[2] or 0), kernel_height, op.stride[0], op.dilation[0], *op.padding[:2])
    columns = _taps_inside(int(x.shape[3] or 0), kernel_width, op.stride[1], op.dilation[1], *op.padding[2:])
    for row, y in rows.items():
        for column, z in columns.items():
            inside = np.broadcast_to(np.outer(row, column), (1, depth, kernel_height, kernel_width))
            low = np.where(inside, by_weight(least), by_weight(padding))
            high = np.where(inside, by_weight(greatest), by_weight(padding))
            yield [y, z], low.reshape(len(low), -1), high.reshape(len(high), -1)


def _taps_inside(
    extent: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> dict[tuple[bool, ...], int]:
    """For every set of taps that meet the image along an axis the first output index where they do."""
    first: dict[tuple[bool, ...], int] = {}
    for index in range((extent + before + after - dilation * (kernel - 1) - 1) // stride + 1):
        start = index * stride - before
        first.setdefault(tuple(0 <= start + tap * dilation < extent for tap in range(kernel)), index)
    return first


def _matmul_reach(a: TensorType, b: TensorType) -> tuple[Reach, Reach, Witness]:
    depth = int(a.shape[-1] or 0)
    codes = [(t.integer.element.min, t.integer.element.max) for t in (a, b)]
    levels = [t.integer.level_range() for t in (a, b)]
    products = [(levels[0][i] * levels[1][j], [codes[0][i], codes[1][j]]) for i in (0, 1) for j in (0, 1)]
    (low, at_low), (high, at_high) = min(products, key=lambda p: p[0]), max(products, key=lambda p: p[0])
    partial = Reach([min(depth * low, 0)], [max(depth * high, 0)])
    return Reach([depth * low], [depth * high]), partial, {"min": {"codes": at_low}, "max": {"codes": at_high}}
