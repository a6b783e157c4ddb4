"""Requantization by a shift: all that power-of-two scales need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.requantize import requantize_shift
from intsim.arithmetic.rounding import Rounding
from intsim.ir.op import Op, register
from intsim.ir.ops._channels import by_channel, expect_parameter, expect_within
from intsim.ir.ops._codes import bound, expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class RequantizeShift(Op):
    """Levels divided by a power of two.

    x          accumulators or codes
    shift      plain integers (1,) or (C,), -31..31; negative shifts left
    returns    codes of `out`
    low, high  bounds on the codes: ReLU is low = the zero point
    Exact:     q = clamp(clip(round(level / 2**shift) + zero_point), low, high)
    """

    mnemonic: ClassVar[str] = "requantize_shift"
    out: Grid
    rounding: Rounding
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, x: TensorType, shift: TensorType) -> TensorType:
        expect_codes(self.out, self.low, self.high)
        expect_parameter(shift, x, "shift")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, shift: Value) -> NDArray[Any]:
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_shift(x.levels, by_channel(shift, x), zero, element, self.rounding, self.zero_point_first)
        return bound(codes, self.low, self.high)

    def parameters_from(self, operands: int) -> int:
        return 1

    def check_parameters(self, shift: Value) -> None:
        expect_within(shift, -31, 31, "shifts")
