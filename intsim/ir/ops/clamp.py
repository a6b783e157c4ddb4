"""Clamping of codes: ReLU, ReLU6 and hard limits on the grid that a tensor has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.ir.op import Op, register
from intsim.ir.ops._codes import bound, expect_bounds
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Clamp(Op):
    """q = min(max(q, low), high) on codes; ReLU is low = the code of zero. The grid stays.

    low, high  codes, None for no bound
    """

    mnemonic: ClassVar[str] = "clamp"
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType) -> TensorType:
        expect_bounds(x.integer, self.low, self.high)
        return x

    def evaluate(self, x: Value) -> NDArray[Any]:
        return bound(x.codes, self.low, self.high)
