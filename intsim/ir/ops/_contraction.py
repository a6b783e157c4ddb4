"""What convolution, linear and matmul share: the accumulator's type and its range check."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.dtypes import IntType
from intsim.errors import GraphError
from intsim.ir.op import expect
from intsim.ir.types import Grid, Shape, TensorType, plain


def accumulator_type(accumulator: Accumulator, x: TensorType, weight: TensorType, shape: Shape) -> TensorType:
    """Accumulators of `shape` whose scale is the product of the operands' scales."""
    expect(len(x.integer.scale) == 1, f"the input has {len(x.integer.scale)} scales: sums over channels need one")
    return TensorType(Grid(IntType(True, accumulator.bits), x.integer.scale * weight.integer.scale), shape)


def expect_bias(bias: TensorType | None, outputs: int) -> None:
    if bias is not None:
        expect(bias.shape == (outputs,), f"bias: expected shape [{outputs}], got {bias}")
        expect(
            bias.integer == plain(bias.integer.element),
            f"bias: expected levels on the accumulator's grid, got {bias.grid}",
        )


def in_range(acc: NDArray[np.int64], result: TensorType) -> NDArray[Any]:
    """Accumulators in their storage type; GraphError where one leaves it, which a proof must have excluded."""
    element = result.integer.element
    if acc.size and (acc.min() < element.min or acc.max() > element.max):
        raise GraphError(f"accumulators {acc.min()}..{acc.max()} overflow {element}: use more accumulator bits")
    return acc.astype(element.storage)
