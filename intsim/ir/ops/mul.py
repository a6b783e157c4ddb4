"""Multiplication by integer constants, one per tensor or per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import exact_product
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import by_channel, channels_of
from intsim.ir.ops._contraction import in_range
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Mul(Op):
    """Levels times constants.

    x        codes or accumulators
    factor   constant codes (1,) or (C,) on a grid of their own (axis 0)
    returns  accumulators of x's shape, scale x.scale * factor.scale
    Exact:   y = level(x) * level(factor)
    """

    mnemonic: ClassVar[str] = "mul"
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, factor: TensorType) -> TensorType:
        fits = factor.rank == 1 and factor.shape[0] in (1, channels_of(x))
        expect(fits, f"factor: expected shape [1] or [{channels_of(x)}], got {factor}")
        scale = x.integer.scale * factor.integer.scale
        return TensorType(Grid(self.accumulator.type, scale, axis=x.integer.axis), x.shape)

    def evaluate(self, x: Value, factor: Value) -> NDArray[Any]:
        return in_range(exact_product(x.levels, by_channel(factor, x)), self.infer(x.type, factor.type))

    def parameters_from(self, operands: int) -> int:
        return 1
