"""Requantization by float32 factors, for engines that scale in floating point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import requantize_float32
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import channels_of
from intsim.ir.ops._codes import bound, expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class RequantizeFloat32(Op):
    """Levels times float32 factors.

    x          accumulators or codes
    returns    codes of `out`, at most 32 bits
    factors    finite as float32, one or one per channel
    low, high  bounds on the codes: ReLU is low = the zero point
    Exact:     q = clamp(clip(rint(float32(level) * float32(factor)) + zero_point), low, high)
    """

    mnemonic: ClassVar[str] = "requantize_float32"
    out: Grid
    factors: tuple[float, ...]
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType) -> TensorType:
        expect_codes(self.out, self.low, self.high)
        expect(self.out.element.bits <= 32, f"float32 gives at most 32 bits, got {self.out.element}")
        count, channels = len(self.factors), channels_of(x)
        expect(count in (1, channels), f"expected 1 or {channels} factors, got {count}")
        expect(bool(np.isfinite(self._factors).all()), "a factor is NaN or infinite as float32")
        return TensorType(self.out, x.shape)

    @property
    def _factors(self) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return np.asarray(self.factors, np.float64).astype(np.float32)

    def evaluate(self, x: Value) -> NDArray[Any]:
        factors = x.type.integer.along(self._factors, x.codes.ndim)
        zero, element = self.out.zero_point[0], self.out.element
        return bound(requantize_float32(x.levels, factors, zero, element, self.zero_point_first), self.low, self.high)
