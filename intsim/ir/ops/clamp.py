"""Clamping of codes: ReLU, ReLU6 and hard limits on the grid that a tensor has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
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

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        element = x.integer.element
        low, high = self.bounds(x)
        expect(element.min <= low <= high <= element.max, f"bounds {self.low}..{self.high} leave {element}")
        return x

    def bounds(self, x: TensorType) -> tuple[int, int]:
        element = x.integer.element
        return element.min if self.low is None else self.low, element.max if self.high is None else self.high

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        low, high = self.bounds(x.type)
        return np.clip(x.codes, low, high)
