"""Nearest-neighbour upsampling by integer factors."""

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
class Upsample(Op):
    """Every element repeated along the last axes, factors[i] times along each."""

    mnemonic: ClassVar[str] = "upsample"
    factors: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        expect_one_grid(x)
        expect(0 < len(self.factors) < x.rank and min(self.factors) >= 1, f"factors {self.factors} do not fit {x}")
        kept = x.rank - len(self.factors)
        grown = (int(e or 0) * f for e, f in zip(x.shape[kept:], self.factors, strict=True))
        return x.with_shape((*x.shape[:kept], *grown))

    def evaluate(self, x: Value) -> NDArray[Any]:
        codes = x.codes
        for axis, factor in enumerate(self.factors, start=codes.ndim - len(self.factors)):
            codes = np.repeat(codes, factor, axis=axis)
        return codes
