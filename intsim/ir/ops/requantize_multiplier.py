"""Requantization by an integer multiplier and a shift: any scale, and the rules of deployed engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.requantize import EngineRule, requantize_multiplier
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import by_channel, expect_parameter, expect_within
from intsim.ir.ops._codes import bound, expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class RequantizeMultiplier(Op):
    """Levels times multiplier / 2**shift.

    x                  accumulators or codes
    multiplier, shift  plain integers (1,) or (C,): signed 32-bit multipliers, shifts -31..62
    returns            codes of `out`
    rounding           of the exact product, or the two-step rule of an engine
    low, high          bounds on the codes: ReLU is low = the zero point
    Exact:             q = clamp(clip(round(level * multiplier / 2**shift) + zero_point), low, high)
    """

    mnemonic: ClassVar[str] = "requantize_multiplier"
    out: Grid
    rounding: Rounding | EngineRule
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType, multiplier: TensorType, shift: TensorType) -> TensorType:
        expect_codes(self.out, self.low, self.high)
        after = isinstance(self.rounding, Rounding) or not self.zero_point_first
        expect(after, f"{self.rounding} adds the zero point after rounding, never before")
        expect_parameter(multiplier, x, "multiplier")
        expect_parameter(shift, x, "shift")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, multiplier: Value, shift: Value) -> NDArray[Any]:
        zero, element = self.out.zero_point[0], self.out.element
        factors, shifts = by_channel(multiplier, x), by_channel(shift, x)
        codes = requantize_multiplier(x.levels, factors, shifts, zero, element, self.rounding, self.zero_point_first)
        return bound(codes, self.low, self.high)

    def parameters_from(self, operands: int) -> int:
        return 1

    def check_parameters(self, multiplier: Value, shift: Value) -> None:
        least = S32.min if isinstance(self.rounding, Rounding) else 0  # no engine has negative multipliers
        expect_within(multiplier, least, S32.max, "multipliers")
        expect_within(shift, -31, 62, "shifts")
