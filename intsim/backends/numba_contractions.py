"""Convolution, linear and matmul for the numba backend: one loop over products, and where its operands lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.backends import _numba_kernels as kernels
from intsim.ir import ops
from intsim.ir.ops._contraction import in_range, initial
from intsim.ir.types import Grid, TensorType, Value

Step = Callable[[Sequence[Value]], NDArray[Any]]
"""From the operands of a node to the codes of its result."""


def levels_of(x: Value, dtype: DTypeLike) -> NDArray[Any]:
    """Levels of a value, modulo the width of int32 or int64, contiguous."""
    grid = x.type.integer
    levels = x.codes.astype(dtype, order="C")
    if grid.step != 1:
        levels *= levels.dtype.type(grid.step)
    if any(grid.zero_point):
        levels -= grid.along(np.asarray(grid.zero_point, np.int64), levels.ndim).astype(dtype)
    return levels


def largest_level(grid: Grid) -> int:
    """The greatest magnitude of a level."""
    return max(abs(grid.step * code - z) for z in grid.zero_point for code in (grid.element.min, grid.element.max))


class Places(NamedTuple):
    """Where the operands and the results of sums lie; see _numba_kernels.py."""

    base: NDArray[np.int64]
    taps: NDArray[np.int64]
    target: NDArray[np.int64]
    plane: int


class Register:
    """An accumulator as the loops have it: sums in int32 or int64, and what becomes of them.

    largest_product, largest_sum  bounds on the magnitude of a product, and of a sum with its bias
    """

    def __init__(self, accumulator: Accumulator, result: TensorType, largest_product: int, largest_sum: int):
        self.accumulator, self.result = accumulator, result
        self.surely_in_range = largest_sum <= accumulator.type.max
        match accumulator.overflow:
            case "exact":
                narrow, self.holds = largest_sum < 1 << 31, largest_sum < 1 << 63
            case "wrap":  # modulo 2**32 or 2**64, of which the register keeps the lower bits
                narrow, self.holds = accumulator.bits <= 32, largest_product < 1 << 63
            case "saturate":
                largest_step = largest_product + (1 << (accumulator.bits - 1))
                narrow, self.holds = largest_step < 1 << 31, largest_product < 1 << 63
        self.dtype = np.dtype(np.int32 if narrow else np.int64)

    def start(self, bias: NDArray[np.int64]) -> NDArray[Any]:
        """What the sums begin with."""
        if self.accumulator.overflow == "saturate":
            bias = np.clip(bias, self.accumulator.type.min, self.accumulator.type.max)
        return bias.astype(self.dtype)

    def run(
        self,
        source: NDArray[Any],
        weights: NDArray[Any],
        start: NDArray[Any],
        places: Places,
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        """Accumulators of `shape` in their storage type."""
        register = self.accumulator.type
        out = np.empty(prod(shape), self.dtype)
        operands = source.reshape(-1), places.base, places.taps, weights, start, out, places.target, places.plane
        if self.accumulator.overflow == "saturate":
            kernels.saturate_products(*operands, register.min, register.max)
        else:
            kernels.sum_products(*operands)
        if self.accumulator.overflow == "wrap":
            spare = 8 * self.dtype.itemsize - register.bits  # a shift there and back extends the sign
            out = out << spare >> spare
        elif self.accumulator.overflow == "exact" and not self.surely_in_range:
            return in_range(out, self.result).reshape(shape)
        return out.reshape(shape).astype(register.storage, copy=False)


def constant_register(
    accumulator: Accumulator, x: TensorType, result: TensorType, rows: NDArray[np.int64], bias: NDArray[np.int64]
) -> Register | None:
    """The register of sums with constant weights (.., O, K); None where int64 might not hold them."""
    largest, largest_weight = largest_level(x.integer), max(abs(int(rows.min())), abs(int(rows.max())))
    product, largest_bias = largest * largest_weight, max(abs(int(bias.min())), abs(int(bias.max())))
    largest_sum = product * rows.shape[-1] + largest_bias
    if largest_sum < 1 << 63:  # and then so is the sharper bound that each output's own weights give
        largest_sum = largest * int(np.abs(rows).sum(axis=-1).max()) + largest_bias
    register = Register(accumulator, result, product, largest_sum)
    return register if register.holds else None


def convolution(op: ops.Conv2d, x: TensorType, weight: Value, bias: Value | None = None) -> Step | None:
    """Columns of the padded image are gathered at the places that the reference's own columns have."""
    result = op.infer(x, weight.type, bias.type if bias else None)
    _, channels, height, width = (int(e or 0) for e in x.shape)
    _, outputs, *out = (int(e or 0) for e in result.shape)
    top, bottom, left, right = op.padding
    padded = (channels, height + top + bottom, width + left + right)
    rows, start = op.rows(weight.levels), initial(bias, outputs)
    register = constant_register(op.accumulator, x, result, rows, start)
    if register is None:
        return None
    index = np.arange(prod(padded)).reshape(padded)
    taps = np.ascontiguousarray(op.columns(index, weight.codes.shape[2:], (1, 1))[..., 0])
    pixels = op.columns(index, (1, 1), (out[0], out[1]))[0, 0]
    weights, starts = np.ascontiguousarray(rows, register.dtype), register.start(start).reshape(op.groups, -1)
    margin = np.zeros((1, channels, 1, 1), np.int64)
    if op.pad_code is not None:
        margin += x.integer.levels(np.full_like(margin, op.pad_code))

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        levels = levels_of(operands[0], register.dtype)
        if any(op.padding):
            image, levels = levels, np.empty((len(levels), *padded), register.dtype)
            levels[:] = margin
            levels[:, :, top : top + height, left : left + width] = image
        images = np.arange(len(levels))
        base = np.add.outer(images * index.size, pixels).ravel()
        target = np.add.outer(images * outputs * pixels.size, np.arange(pixels.size)).ravel()
        places = Places(base, taps, target, pixels.size)
        return register.run(levels, weights, starts, places, (len(levels), outputs, *out))

    return step


def linear(op: ops.Linear, x: TensorType, weight: Value, bias: Value | None = None) -> Step | None:
    """Each row of the input is a pixel with K channels."""
    result = op.infer(x, weight.type, bias.type if bias else None)
    outputs, depth = weight.codes.shape
    rows, start = weight.levels, initial(bias, outputs)
    register = constant_register(op.accumulator, x, result, rows, start)
    if register is None:
        return None
    taps, weights = np.arange(depth)[np.newaxis], np.ascontiguousarray(rows[np.newaxis], register.dtype)
    starts = register.start(start)[np.newaxis]

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        levels = levels_of(operands[0], register.dtype)
        pixels = np.arange(levels.size // depth)
        places = Places(pixels * depth, taps, pixels * outputs, 1)
        return register.run(levels, weights, starts, places, (*levels.shape[:-1], outputs))

    return step


def matmul(op: ops.Matmul, a: TensorType, b: TensorType) -> Step | None:
    """Each matrix of a batch is a group, whose weights are the rows of `a`."""
    product = largest_level(a.integer) * largest_level(b.integer)
    register = Register(op.accumulator, op.infer(a, b), product, product * int(a.shape[-1] or 0))
    if not register.holds:
        return None

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        left, right = (levels_of(operand, register.dtype) for operand in operands)
        depth, columns = right.shape[-2:]
        weights = left.reshape(-1, *left.shape[-2:])
        groups = np.arange(len(weights)) * depth * columns
        taps, pixels = np.add.outer(groups, np.arange(depth) * columns), np.arange(columns)
        starts = np.zeros(weights.shape[:2], register.dtype)
        return register.run(right, weights, starts, Places(pixels, taps, pixels, columns), (*left.shape[:-1], columns))

    return step
