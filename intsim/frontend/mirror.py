"""The PyTorch mirror: the quantized graph in exact arithmetic, written without a look at lowering.

Contractions run on integer-valued tensors, float32 while no sum of any of their products can reach 2**24 and float64
otherwise, so that every partial sum is an integer that the format holds. Chains follow step by step in float64. What
comes out must equal the integer graph on every element.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intsim.arithmetic.accumulate import Accumulator, interval
from intsim.errors import BackendError
from intsim.frontend.execute import along, as_tensor, run_node
from intsim.frontend.run_chain import run_chain
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, ELEMENTWISE, FloatNode
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Grid

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
ELEMENTS_AT_ONCE = 1 << 20  # of the largest tensor, 8 MiB; beyond 32 MiB each result is new memory, 3 times slower


class Mirror:
    """Runs a quantized graph; codes and accumulators come out under the names that the integer graph has for them."""

    def __init__(self, quantized: QuantizedGraph):
        self.quantized = quantized
        self.weights: dict[str, tuple[Tensor, Tensor | None]] = {}
        self.bounds: dict[str, int] = {}
        for node in quantized.graph.weighted:
            record = quantized.weights[node.name]
            self.bounds[node.name] = self._bound(node)
            if self.bounds[node.name] >= FLOAT64_EXACT:
                raise BackendError(f"{node}: sums of up to {self.bounds[node.name]} are beyond float64 and the mirror")
            if self._register(node).overflow == "saturate":
                raise BackendError(f"{node}: the mirror does not saturate: its sums have no order of additions")
            kind = torch.float32 if self.bounds[node.name] < FLOAT32_EXACT else torch.float64
            bias = None if record.bias is None else as_tensor(record.bias).to(kind)
            self.weights[node.name] = (as_tensor(record.weight.levels).to(kind), bias)

    def run(self, *inputs: Tensor, wanted: Collection[str] | None = None) -> dict[str, Tensor]:
        """int64 codes of every quantize, movement and max_pool node, and levels of every accumulator, by name.

        inputs  one tensor for each graph input, float32 (N, ...), or codes where the input is quantized already
        wanted  names to return; None returns all
        """
        shapes = self.quantized.graph.shapes.values()
        largest = max(math.prod(extent or 1 for extent in shape) for shape in shapes)
        images = max(1, ELEMENTS_AT_ONCE // largest)
        with torch.no_grad(), sums_of_products():
            parts = [self._run(chunk, wanted) for chunk in zip(*(x.split(images) for x in inputs), strict=True)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if len(parts) > 1 else parts[0]

    def _run(self, inputs: Sequence[Tensor], wanted: Collection[str] | None) -> dict[str, Tensor]:
        graph, levels, results = self.quantized.graph, dict[str, Tensor](), dict[str, Tensor]()
        last_use = {name: node.name for node in graph.nodes for name in self._reads(node)}
        for name, value in zip(graph.inputs, inputs, strict=True):
            grid = self.quantized.grid_of(name)
            levels[name] = value if grid is None else to_levels(grid, value.double())
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
        if node.op not in CONTRACTIONS:
            return run_node(node, *operands)
        sums, register = self._contraction(node, operands), self._register(node)
        return sums if register.overflow == "exact" else wrapped(sums, register.bits)

    def _contraction(self, node: FloatNode, operands: list[Tensor]) -> Tensor:
        if node.op == "matmul":
            return torch.matmul(operands[0].double(), operands[1].double())
        weight, bias = self.weights[node.name]
        x = operands[0].to(weight.dtype)
        if node.op == "linear":
            return F.linear(x, weight, bias)
        a = node.attributes
        x = padded(x, node, self._outside(node, x))
        return F.conv2d(x, weight, bias, a["stride"], 0, a["dilation"], a["groups"])

    def _outside(self, node: FloatNode, levels: Tensor) -> Tensor:
        """The level of pixels outside the image: that of the pad code, 0 where there is none."""
        code, grid = self.quantized.pad_codes.get(node.name), self.quantized.grid_of(node.inputs[0])
        pixel = torch.zeros_like(levels[:1, :, :1, :1])
        return pixel if code is None or grid is None else to_levels(grid, pixel + code)

    def _register(self, node: FloatNode) -> Accumulator:
        return self.quantized.accumulators.get(node.name, Accumulator())

    def _bound(self, node: FloatNode) -> int:
        """The largest magnitude that any sum of some of a layer's products and its bias can reach."""
        record, grid = self.quantized.weights[node.name], self.quantized.grid_of(node.inputs[0])
        assert grid is not None
        ranges = [grid.level_range(channel) for channel in range(len(grid.zero_point))]
        low, high = min(0, *(r[0] for r in ranges)), max(0, *(r[1] for r in ranges))
        rows = record.weight.levels.reshape(len(record.weight.codes), -1)
        bias = np.zeros(len(rows), np.int64) if record.bias is None else record.bias
        reach = interval(rows, low, high, bias)
        return max(abs(bound) for bound in (*reach.partial_minimum, *reach.partial_maximum))


@contextmanager
def sums_of_products() -> Iterator[None]:
    """Only algorithms that add products in full precision.

    Off are NNPACK, which transforms and errs far below 2**24; cuDNN, which may transform too; autocast; and the
    bfloat16 and TF32 that a lower matmul precision allows. oneDNN stays: PyTorch has it convolve directly.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.backends.nnpack.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
            torch.autocast("cpu", enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def sides(node: FloatNode) -> tuple[int, int, int, int]:
    """A node's padding in the order of F.pad."""
    top, bottom, left, right = node.attributes["padding"]
    return left, right, top, bottom


def padded(x: Tensor, node: FloatNode, outside: Tensor) -> Tensor:
    """An image with a convolution's padding, which holds `outside` (1, C, 1, 1)."""
    inside = F.pad(torch.ones_like(x[:1, :1], dtype=torch.bool), sides(node))
    return torch.where(inside, F.pad(x, sides(node)), outside)


def wrapped(sums: Tensor, bits: int) -> Tensor:
    """Sums modulo 2**bits, from -2**(bits - 1) on: what a register of two's complement holds."""
    half = 2.0 ** (bits - 1)
    return torch.remainder(sums.double() + half, 2 * half) - half


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
        return F.avg_pool2d(F.pad(levels, sides(node)), a["kernel"], a["stride"], divisor_override=1)
    for axis, count in zip((2, 3), a["output"], strict=True):
        extent = levels.shape[axis]
        bounds = [(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]
        parts = [levels.narrow(axis, low, high - low).sum(axis, keepdim=True) for low, high in bounds]
        levels = torch.cat(parts, dim=axis)
    return levels
