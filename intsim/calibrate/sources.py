"""What a chain begins with: the scale of one level of its sources, and how many bits hold every level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import interval, signed_bits
from intsim.arithmetic.rounding import Rounding
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, FloatNode
from intsim.ir.ops import AdaptiveAveragePool, AveragePool
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Grid, Scale, TensorType


def grid_of(quantized: QuantizedGraph, name: str) -> Grid:
    """The grid of a value that placement made codes."""
    grid = quantized.grid_of(name)
    assert grid is not None, f"'{name}' has no codes"
    return grid


def scale_of(quantized: QuantizedGraph, source: str) -> Scale:
    """Real value of one level of an accumulator, of an average's sum, or of codes."""
    node = quantized.graph.by_name.get(source)
    if node is None or node.op not in CONTRACTIONS | AVERAGES:
        return grid_of(quantized, source).scale
    operand = grid_of(quantized, node.inputs[0]).scale
    if node.op == "matmul":
        return operand * grid_of(quantized, node.inputs[1]).scale
    return operand if node.op in AVERAGES else operand * quantized.weights[source].weight.type.integer.scale


def level_bits(quantized: QuantizedGraph, source: str) -> int:
    """Signed bits that hold every level of a source, for every possible input of its layer."""
    node = quantized.graph.by_name.get(source)
    if node is None or node.op not in CONTRACTIONS | AVERAGES:
        return signed_bits(*_level_range(grid_of(quantized, source)))
    low, high = _level_range(grid_of(quantized, node.inputs[0]))
    if node.op in AVERAGES:
        cells = int(cells_of(quantized, node).max())
        return signed_bits(low * cells, high * cells)
    if node.op == "matmul":
        depth = int(quantized.graph.shapes[node.inputs[0]][-1] or 0)
        other = max(map(abs, _level_range(grid_of(quantized, node.inputs[1]))))
        bound = depth * max(-low, high) * other
        return signed_bits(-bound, bound)
    record = quantized.weights[source]
    levels = record.weight.levels.reshape(len(record.weight.codes), -1)
    bounds = interval(levels, low, high, 0 if record.bias is None else record.bias)
    return signed_bits(min(bounds.minimum), max(bounds.maximum))


def cells_of(quantized: QuantizedGraph, pool: FloatNode) -> NDArray[np.int64]:
    """How many cells each of a pool's averages has, int64 (H', W')."""
    grid = grid_of(quantized, pool.inputs[0])
    kind = AveragePool if pool.op == "avg_pool" else AdaptiveAveragePool
    operator = kind(out=grid, rounding=Rounding.HALF_EVEN, **pool.attributes)  # neither changes the cells
    return operator.cells(TensorType(grid, quantized.graph.shapes[pool.inputs[0]]))


def _level_range(grid: Grid) -> tuple[int, int]:
    """Smallest and largest level of any channel; 0 among them, which padding has."""
    ranges = [grid.level_range(channel) for channel in range(len(grid.zero_point))]
    return min(0, *(low for low, _ in ranges)), max(0, *(high for _, high in ranges))
