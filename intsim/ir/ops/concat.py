"""Concatenation of codes that are on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.ops._movement import expect_one_grid
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Concat(Op):
    """Tensors of one grid, one after the other along `axis` (not the batch)."""

    mnemonic: ClassVar[str] = "concat"
    axis: int

    def infer(self, *operands: TensorType) -> TensorType:
        expect(bool(operands), "expected at least one tensor")
        first, axis = operands[0], self.axis
        expect_one_grid(first)
        expect(1 <= axis < first.rank, f"axis {axis} of {first}: expected 1..{first.rank - 1}")
        for other in operands[1:]:
            expect(other.grid == first.grid, f"grids differ: {first.grid} and {other.grid}; requantize to one first")
            same = other.shape[:axis] == first.shape[:axis] and other.shape[axis + 1 :] == first.shape[axis + 1 :]
            expect(other.rank == first.rank and same, f"{first} and {other} do not fit along axis {axis}")
        extent = sum(int(t.shape[axis] or 0) for t in operands)
        return first.with_shape((*first.shape[:axis], extent, *first.shape[axis + 1 :]))

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        return np.concatenate([operand.codes for operand in operands], axis=self.axis)
