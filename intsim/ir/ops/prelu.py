"""PReLU and LeakyReLU on integers: a slope m / 2**bits for negative levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import per_channel
from intsim.dtypes import IntType
from intsim.ir.op import Op, channels_of, expect, expect_parameter, register
from intsim.ir.ops._contraction import in_range
from intsim.ir.types import Grid, Scale, TensorType, Value


@register
@dataclass(frozen=True)
class PRelu(Op):
    """Levels on a grid that is 2**fraction_bits finer, the negative ones times their slope.

    x        codes or accumulators, channel axis 1
    slope    plain integers (1,) or (C,): slope * 2**fraction_bits; may be negative
    returns  accumulators, scale x.scale / 2**fraction_bits
    Exact:   y = level << fraction_bits where level >= 0, level * slope where it is negative
    """

    mnemonic: ClassVar[str] = "prelu"
    fraction_bits: int
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, slope: TensorType) -> TensorType:  # type: ignore[override]
        expect(0 <= self.fraction_bits <= 31, f"fraction_bits: expected 0..31, got {self.fraction_bits}")
        expect_parameter(slope, channels_of(x), "slope")
        element = IntType(True, self.accumulator.bits)
        scale = x.integer.scale * Scale((-self.fraction_bits,), True)
        return TensorType(Grid(element, scale, axis=x.integer.axis), x.shape)

    def evaluate(self, x: Value, slope: Value) -> NDArray[Any]:  # type: ignore[override]
        levels, slopes = x.levels, per_channel(slope.levels, x.codes.ndim)
        result = np.where(levels >= 0, levels << self.fraction_bits, levels * slopes)
        return in_range(result, self.infer(x.type, slope.type))
