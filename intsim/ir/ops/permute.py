"""Axes in another order: transposition, and the middle of a channel shuffle."""

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
class Permute(Op):
    """Axes in another order: axis i of the result is axis order[i] of x. An unknown batch stays first."""

    mnemonic: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        expect_one_grid(x)
        expect(sorted(self.order) == list(range(x.rank)), f"order {self.order} is no permutation of {x.rank} axes")
        expect(x.shape[0] is not None or self.order[0] == 0, "the batch stays the first axis")
        return x.with_shape(tuple(x.shape[axis] for axis in self.order))

    def evaluate(self, x: Value) -> NDArray[Any]:
        return np.ascontiguousarray(x.codes.transpose(self.order))
