"""PReLU and LeakyReLU on integers: a slope m / 2**bits for negative levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import exact_product
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import by_channel, expect_parameter
from intsim.ir.ops._contraction import in_range
from intsim.ir.types import Grid, Scale, TensorType, Value


@register
@dataclass(frozen=True)
class PRelu(Op):
    """Levels on a grid that is 2**fraction_bits finer, the negative ones times their slope.

    x        codes or accumulators
    slope    plain integers (1,) or (C,): slope * 2**fraction_bits; may be negative
    returns  accumulators, scale x.scale / 2**fraction_bits
    Exact:   y = level << fraction_bits where level >= 0, level * slope where it is negative
    """

    mnemonic: ClassVar[str] = "prelu"
    fraction_bits: int
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, slope: TensorType) -> TensorType:
        expect(0 <= self.fraction_bits <= 31, f"fraction_bits: expected 0..31, got {self.fraction_bits}")
        expect_parameter(slope, x, "slope")
        scale = x.integer.scale * Scale((-self.fraction_bits,), True)
        return TensorType(Grid(self.accumulator.type, scale, axis=x.integer.axis), x.shape)

    def evaluate(self, x: Value, slope: Value) -> NDArray[Any]:
        levels = x.levels
        factors = np.where(levels >= 0, 1 << self.fraction_bits, by_channel(slope, x))
        return in_range(exact_product(levels, factors), self.infer(x.type, slope.type))

    def parameters_from(self, operands: int) -> int:
        return 1
