"""Requantization: from accumulators, or from codes, to codes of another grid by shift, multiplier or float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import EngineRule, requantize_float32, requantize_multiplier, requantize_shift
from intsim.arithmetic.rounding import Rounding
from intsim.ir.op import Op, channels_of, expect, expect_parameter, register
from intsim.ir.types import Grid, TensorType, Value


def expect_codes(out: Grid, low: int | None, high: int | None) -> None:
    """The result has one grid, step 1, and bounds within it."""
    expect(out.per_tensor and out.step == 1, f"the result needs one scale, one zero point and step 1, got {out}")
    bounds = (out.element.min if low is None else low, out.element.max if high is None else high)
    expect(out.element.min <= bounds[0] <= bounds[1] <= out.element.max, f"bounds {low}..{high} leave {out.element}")


def bound(codes: NDArray[Any], low: int | None, high: int | None) -> NDArray[Any]:
    """Codes clamped to the optional bounds: ReLU is low = the zero point, ReLU6 has a high one as well."""
    return codes if low is None and high is None else np.clip(codes, low, high)


@register
@dataclass(frozen=True)
class RequantizeShift(Op):
    """q = clamp(clip(round(level / 2**shift) + zero_point), low, high); power-of-two scales need nothing else.

    x      accumulators or codes, channel axis 1
    shift  plain integers (1,) or (C,), -31..31; negative shifts left
    """

    mnemonic: ClassVar[str] = "requantize_shift"
    out: Grid
    rounding: Rounding
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType, shift: TensorType) -> TensorType:  # type: ignore[override]
        expect_codes(self.out, self.low, self.high)
        expect_parameter(shift, channels_of(x), "shift")
        expect(x.grid is not None, "expected integer codes, got float32")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, shift: Value) -> NDArray[Any]:  # type: ignore[override]
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_shift(x.levels, shift.levels, zero, element, self.rounding, self.zero_point_first)
        return bound(codes, self.low, self.high)


@register
@dataclass(frozen=True)
class RequantizeMultiplier(Op):
    """q = clamp(clip(round(level * multiplier / 2**shift) + zero_point), low, high), or an engine's two-step rule.

    x                  accumulators or codes, channel axis 1
    multiplier, shift  plain integers (1,) or (C,): 32-bit multipliers, shifts 0..62
    """

    mnemonic: ClassVar[str] = "requantize_multiplier"
    out: Grid
    rounding: Rounding | EngineRule
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType, multiplier: TensorType, shift: TensorType) -> TensorType:  # type: ignore[override]
        expect_codes(self.out, self.low, self.high)
        expect_parameter(multiplier, channels_of(x), "multiplier")
        expect_parameter(shift, channels_of(x), "shift")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, multiplier: Value, shift: Value) -> NDArray[Any]:  # type: ignore[override]
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_multiplier(
            x.levels, multiplier.levels, shift.levels, zero, element, self.rounding, self.zero_point_first
        )
        return bound(codes, self.low, self.high)


@register
@dataclass(frozen=True)
class RequantizeFloat32(Op):
    """q = clamp(clip(rint(float32(level) * float32(factor)) + zero_point), low, high): engines that scale in floating point.

    x        accumulators or codes, channel axis 1
    factors  float32 multipliers, one or one per channel
    """

    mnemonic: ClassVar[str] = "requantize_float32"
    out: Grid
    factors: tuple[float, ...]
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        expect_codes(self.out, self.low, self.high)
        expect(
            len(self.factors) in (1, channels_of(x)), f"expected 1 or {channels_of(x)} factors, got {len(self.factors)}"
        )
        expect(x.grid is not None, "expected integer codes, got float32")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        factors = np.asarray(self.factors, np.float32)
        factors = factors if factors.size > 1 else factors.reshape(())
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_float32(x.levels, factors, zero, element, self.zero_point_first)
        return bound(codes, self.low, self.high)
