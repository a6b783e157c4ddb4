"""What operators that end in accumulators share: the accumulator's type, its bias, and its range check."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator, accumulate, matmul_exact
from intsim.arithmetic.rounding import exact_product
from intsim.errors import GraphError
from intsim.ir.op import expect
from intsim.ir.ops._channels import expect_plain
from intsim.ir.types import Grid, Shape, TensorType, Value


def accumulator_type(
    accumulator: Accumulator, x: TensorType, weight: TensorType, shape: Shape, axis: int = 1
) -> TensorType:
    """Accumulators of `shape` whose scale is the product of the operands' scales, channels along `axis`."""
    expect(len(x.integer.scale) == 1, f"the input has {len(x.integer.scale)} scales: sums over channels need one")
    scale = weight.integer.scale
    along_outputs = len(scale) == 1 or weight.integer.axis == 0
    expect(along_outputs, f"the weight has scales along axis {weight.integer.axis}: sums need them along axis 0")
    return TensorType(Grid(accumulator.type, x.integer.scale * scale, axis=axis), shape)


def expect_bias(bias: TensorType | None, outputs: int) -> None:
    if bias is not None:
        expect(bias.shape == (outputs,), f"bias: expected shape [{outputs}], got {bias}")
        expect_plain(bias, "bias")


def initial(bias: Value | None, outputs: int) -> NDArray[np.int64]:
    """What accumulators start from, int64 (O,): the bias where there is one."""
    return np.zeros(outputs, np.int64) if bias is None else bias.levels


def sum_products(
    a: NDArray[np.int64], b: NDArray[np.int64], start: NDArray[np.int64], accumulator: Accumulator
) -> NDArray[np.int64]:
    """Matrix product in a register, the products added in the order of k.

    a, b     int64 (..., M, K) and (..., K, L)
    start    what each sum begins with, broadcasts against (..., M, L)
    returns  int64 (..., M, L)
    raises   OverflowError where a product, or an exact sum, leaves int64
    """
    if accumulator.overflow != "exact":
        products = exact_product(a[..., :, np.newaxis, :], b.swapaxes(-1, -2)[..., np.newaxis, :, :])
        return accumulate(products, start, accumulator)
    sums = matmul_exact(a, b)
    total = start + sums
    if (((start ^ total) & (sums ^ total)) < 0).any():
        raise OverflowError("a bias takes sums out of int64")
    return total


def in_range(acc: NDArray[np.int64], result: TensorType) -> NDArray[Any]:
    """Accumulators in their storage type; GraphError where one leaves it, which a proof must have excluded."""
    element = result.integer.element
    if acc.size and (acc.min() < element.min or acc.max() > element.max):
        raise GraphError(f"accumulators {acc.min()}..{acc.max()} overflow {element}: use more accumulator bits")
    return acc.astype(element.storage)
