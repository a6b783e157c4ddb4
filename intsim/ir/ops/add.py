"""Addition of tensors on different grids, with one rounding: residual connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import requantize_shift
from intsim.arithmetic.rounding import Rounding, exact_product
from intsim.dtypes import S32
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import by_channel, expect_parameter, expect_within
from intsim.ir.ops._codes import bound, expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Add(Op):
    """Sum of n tensors, each with its multiplier, rounded once.

    operands   x_1 .. x_n   codes or accumulators of one shape and channel axis
               m_1 .. m_n   plain signed 32-bit multipliers (1,) or (C,); powers of two where all scales are
               shift        plain integers (1,) or (C,), -31..62
    returns    codes of `out`
    low, high  bounds on the codes: ReLU is low = the zero point
    raises     OverflowError where a product or the sum leaves int64
    Exact:     q = clamp(clip(round((m_1 * level_1 + .. + m_n * level_n) / 2**shift) + zero_point), low, high)
    """

    mnemonic: ClassVar[str] = "add"
    out: Grid
    rounding: Rounding
    zero_point_first: bool = False
    low: int | None = None
    high: int | None = None

    def infer(self, *operands: TensorType) -> TensorType:
        count = len(operands) // 2
        expect(len(operands) == 2 * count + 1 and count >= 1, "expected n tensors, n multipliers and a shift")
        first, *others = operands[:count]
        shown = ", ".join(map(str, operands[:count]))
        expect(all(t.shape == first.shape for t in others), f"the terms differ in shape: {shown}")
        # Where the channels lie matters to parameters that have one entry for each of them.
        one_axis = all(t.integer.axis == first.integer.axis for t in others)
        per_tensor = all(p.shape == (1,) for p in operands[count:])
        expect(one_axis or per_tensor, f"the terms differ in channel axis: {shown}")
        for multiplier in operands[count:-1]:
            expect_parameter(multiplier, first, "multiplier")
        expect_parameter(operands[-1], first, "shift")
        expect_codes(self.out, self.low, self.high)
        return TensorType(self.out, first.shape)

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        count, x = len(operands) // 2, operands[0]
        total: NDArray[np.int64] = np.zeros(x.codes.shape, np.int64)
        for term, multiplier in zip(operands[:count], operands[count:-1], strict=True):
            product = exact_product(term.levels, by_channel(multiplier, term))
            previous, total = total, total + product
            if (((previous ^ total) & (product ^ total)) < 0).any():
                raise OverflowError("a sum of products leaves int64: use multipliers of fewer bits")
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_shift(
            total, by_channel(operands[-1], x), zero, element, self.rounding, self.zero_point_first
        )
        return bound(codes, self.low, self.high)

    def parameters_from(self, operands: int) -> int:
        return operands // 2

    def check_parameters(self, *parameters: Value) -> None:
        *multipliers, shift = parameters
        for multiplier in multipliers:
            expect_within(multiplier, S32.min, S32.max, "multipliers")
        expect_within(shift, -31, 62, "shifts")
