"""Addition of tensors on different grids, with one rounding: residual connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import per_channel, requantize_shift
from intsim.arithmetic.rounding import Rounding
from intsim.ir.op import Op, channels_of, expect, expect_parameter, register
from intsim.ir.ops.requantize import bound, expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Add(Op):
    """Sum of n tensors, each with its multiplier, rounded once.

    operands  x_1 .. x_n   codes or accumulators of one shape, channel axis 1
              m_1 .. m_n   plain integer multipliers (1,) or (C,); powers of two where all scales are
              shift        plain integers (1,) or (C,), -31..62
    returns   codes of `out`
    Exact:    q = clamp(clip(round((m_1 * level_1 + .. + m_n * level_n) / 2**shift) + zero_point), low, high), in int64
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
        terms = operands[:count]
        expect(all(t.shape == terms[0].shape for t in terms),
               f"the terms differ in shape: {', '.join(map(str, terms))}")  # fmt: skip
        expect(all(t.grid is not None for t in terms), "expected integer codes, got float32")
        for parameter in operands[count:]:
            expect_parameter(parameter, channels_of(terms[0]), "multiplier or shift")
        expect_codes(self.out, self.low, self.high)
        return TensorType(self.out, terms[0].shape)

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        count = len(operands) // 2
        total: NDArray[np.int64] = np.zeros((), np.int64)
        for term, multiplier in zip(operands[:count], operands[count:-1], strict=True):
            total = total + term.levels * per_channel(multiplier.levels, term.codes.ndim)
        zero, element = self.out.zero_point[0], self.out.element
        codes = requantize_shift(total, operands[-1].levels, zero, element, self.rounding, self.zero_point_first)
        return bound(codes, self.low, self.high)
