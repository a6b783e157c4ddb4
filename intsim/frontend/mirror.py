"""The PyTorch mirror: the quantized graph in exact arithmetic, written without a look at lowering.

Contractions run on integer-valued tensors, float32 while no sum of any of their products can reach 2**24 and float64
otherwise, so that every partial sum is an integer that the format holds. Chains follow step by step in float64. What
comes out must equal the integer graph on every element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intsim.arithmetic.accumulate import interval
from intsim.arithmetic.rounding import Rounding
from intsim.frontend.execute import FUNCTIONS, along, as_tensor, run_node
from intsim.ir import chain as steps
from intsim.ir.chain import Chain, Step
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, ELEMENTWISE, FloatNode
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Grid

FLOAT32_EXACT = 1 << 24


class Mirror:
    """Runs a quantized graph; codes and accumulators come out under the names that the integer graph has for them."""

    def __init__(self, quantized: QuantizedGraph):
        self.quantized = quantized
        self.weights: dict[str, tuple[Tensor, Tensor | None]] = {}
        self.bounds: dict[str, int] = {}
        for node in quantized.graph.weighted:
            record = quantized.weights[node.name]
            self.bounds[node.name] = self._bound(node)
            kind = torch.float32 if self.bounds[node.name] < FLOAT32_EXACT else torch.float64
            bias = None if record.bias is None else as_tensor(record.bias).to(kind)
            self.weights[node.name] = (as_tensor(record.weight.levels).to(kind), bias)

    def run(self, *inputs: Tensor, wanted: Collection[str] | None = None) -> dict[str, Tensor]:
        """int64 codes of every quantize, movement and max_pool node, and levels of every accumulator, by name.

        inputs  one tensor for each graph input, float32 (N, ...), or codes where the input is quantized already
        wanted  names to return; None returns all
        """
        graph, levels, results = self.quantized.graph, dict[str, Tensor](), dict[str, Tensor]()
        last_use = {name: node.name for node in graph.nodes for name in self._reads(node)}
        for name, value in zip(graph.inputs, inputs, strict=True):
            grid = self.quantized.grid_of(name)
            levels[name] = value if grid is None else to_levels(grid, value.double())
        with torch.no_grad(), sums_of_products():
            for node in graph.nodes:
                if node.op in ELEMENTWISE:
                    continue
                levels[node.name] = self._level(node, levels)
                if node.op not in AVERAGES and (wanted is None or node.name in wanted):
                    results[node.name] = self._codes(node, levels[node.name])
                for name in self._reads(node):
                    if last_use[name] == node.name:
                        levels.pop(name, None)
        return results

    def _reads(self, node: FloatNode) -> tuple[str, ...]:
        chain = self.quantized.chains.get(node.name)
        return () if node.op in ELEMENTWISE else node.inputs if chain is None else chain.sources

    def _codes(self, node: FloatNode, level: Tensor) -> Tensor:
        grid = self.quantized.grid_of(node.name)
        return level.long() if grid is None else from_levels(grid, level).long()

    def _level(self, node: FloatNode, levels: dict[str, Tensor]) -> Tensor:
        if node.op == "quantize":
            grid = self.quantized.quantizers[node.name].grid
            chain = self.quantized.chains.get(node.name)
            if chain is None:
                return to_levels(grid, quantize_input(grid, levels[node.inputs[0]]).double())
            return to_levels(grid, run_chain(chain, [levels[name].double() for name in chain.sources]))
        operands = [levels[name] for name in node.inputs]
        if node.op in AVERAGES:
            return window_sums(node, operands[0].double())
        return self._contraction(node, operands) if node.op in CONTRACTIONS else run_node(node, *operands)

    def _contraction(self, node: FloatNode, operands: list[Tensor]) -> Tensor:
        if node.op == "matmul":
            return torch.matmul(operands[0].double(), operands[1].double())
        weight, bias = self.weights[node.name]
        x = operands[0].to(weight.dtype)
        if node.op == "linear":
            return F.linear(x, weight, bias)
        a = node.attributes
        top, bottom, left, right = a["padding"]
        x = F.pad(x, (left, right, top, bottom), value=self._pad_level(node))
        return F.conv2d(x, weight, bias, a["stride"], 0, a["dilation"], a["groups"])

    def _pad_level(self, node: FloatNode) -> float:
        """The level of a pixel outside the image."""
        code = self.quantized.pad_codes.get(node.name)
        grid = self.quantized.grid_of(node.inputs[0])
        return 0.0 if code is None or grid is None else float(grid.step * code - grid.zero_point[0])

    def _bound(self, node: FloatNode) -> int:
        """The largest magnitude that any sum of some of a layer's products and its bias can reach."""
        record, grid = self.quantized.weights[node.name], self.quantized.grid_of(node.inputs[0])
        assert grid is not None
        ranges = [grid.level_range(channel) for channel in range(len(grid.zero_point))]
        low, high = min(0, *(r[0] for r in ranges)), max(0, *(r[1] for r in ranges))
        rows = record.weight.levels.reshape(len(record.weight.codes), -1)
        bias = np.zeros(len(rows), np.int64) if record.bias is None else record.bias
        reach = [interval(rows, low, high, start) for start in (bias, np.zeros_like(bias))]
        return max(abs(v) for r in reach for v in (*r.partial_minimum, *r.partial_maximum))


@contextmanager
def sums_of_products() -> Iterator[None]:
    """Only algorithms that add products: NNPACK (which transforms, and errs far below 2**24) and TF32 are off."""
    with torch.backends.nnpack.flags(enabled=False), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = allowed


def to_levels(grid: Grid, codes: Tensor) -> Tensor:
    """step * code - zero_point, in the codes' floating type."""
    zero = torch.tensor(grid.zero_point, dtype=codes.dtype)
    return grid.step * codes - along(zero, codes, grid.axis)


def from_levels(grid: Grid, levels: Tensor) -> Tensor:
    """The codes of levels that lie on the grid."""
    zero = torch.tensor(grid.zero_point, dtype=levels.dtype)
    return (levels + along(zero, levels, grid.axis)) / grid.step


def quantize_input(grid: Grid, x: Tensor) -> Tensor:
    """clip(round(x / scale) + zero_point), in float32 as fake-quantization has it."""
    scale = torch.tensor(float(grid.scale.array[0]), dtype=torch.float32)
    return torch.clamp(torch.round(x / scale) + grid.zero_point[0], grid.element.min, grid.element.max)


def window_sums(node: FloatNode, levels: Tensor) -> Tensor:
    """Sums of levels over the windows of an average pool, float64."""
    a = node.attributes
    if node.op == "avg_pool":
        top, bottom, left, right = a["padding"]
        return F.avg_pool2d(F.pad(levels, (left, right, top, bottom)), a["kernel"], a["stride"], divisor_override=1)
    for axis, count in zip((2, 3), a["output"], strict=True):
        extent = levels.shape[axis]
        bounds = [(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]
        parts = [levels.narrow(axis, low, high - low).sum(axis, keepdim=True) for low, high in bounds]
        levels = torch.cat(parts, dim=axis)
    return levels


def run_chain(chain: Chain, levels: list[Tensor]) -> Tensor:
    """Codes, as float64, for float64 levels of the chain's sources."""
    value = levels[0]
    for step in chain.steps:
        value = _step(step, value, levels, chain.axis)
    return value


def _step(step: Step, value: Tensor, levels: list[Tensor], axis: int) -> Tensor:
    def parameter(array: np.ndarray) -> Tensor:
        tensor = as_tensor(np.asarray(array, np.float64))
        return tensor if tensor.ndim > 1 else along(tensor, value, axis)

    if isinstance(step, steps.Terms):
        products = [parameter(c) * level for c, level in zip(step.coefficients, levels, strict=True)]
        total = products[0]
        for product in products[1:]:
            total = total + product
        return total
    if isinstance(step, steps.Multiply):
        return value * parameter(step.factor)
    if isinstance(step, steps.Divide):
        return value / parameter(step.divisor)
    if isinstance(step, steps.Offset):
        return value + parameter(step.offset)
    if isinstance(step, steps.Clamp):
        return value.clamp(step.low, step.high)
    if isinstance(step, steps.PRelu):
        return torch.where(value < 0, value * parameter(step.slope), value)
    if isinstance(step, steps.Function):
        return FUNCTIONS[step.name](value)
    if isinstance(step, steps.CountThresholds):
        return step.low + torch.bucketize(value, as_tensor(step.thresholds), right=not step.strict).double()
    if step.zero_point_first:
        return _round(value + step.zero_point, step.rounding).clamp(step.low, step.high)
    return (_round(value, step.rounding) + step.zero_point).clamp(step.low, step.high)


def _round(x: Tensor, rounding: Rounding) -> Tensor:
    if rounding is Rounding.HALF_EVEN:
        return torch.round(x)
    below = torch.floor(x)
    rest = x - below  # exact: both have the same exponent range
    tie, more = rest == 0.5, rest > 0.5
    ups = {
        Rounding.HALF_UP: more | tie,
        Rounding.HALF_DOWN: more,
        Rounding.HALF_AWAY: more | (tie & (x > 0)),
        Rounding.HALF_TO_ZERO: more | (tie & (x < 0)),
        Rounding.FLOOR: torch.zeros_like(tie),
        Rounding.CEIL: rest > 0,
        Rounding.TOWARD_ZERO: (rest > 0) & (x < 0),
        Rounding.AWAY_FROM_ZERO: (rest > 0) & (x > 0),
    }
    return below + ups[rounding].to(x.dtype)
