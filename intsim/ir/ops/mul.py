"""Multiplication by integer constants, one per tensor or per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import per_channel
from intsim.dtypes import IntType
from intsim.ir.op import Op, channels_of, expect, register
from intsim.ir.ops._contraction import in_range
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Mul(Op):
    """Levels times constants.

    x        codes or accumulators, channel axis 1, one scale per tensor
    factor   constant codes (1,) or (C,) on a grid of their own (axis 0)
    returns  accumulators of x's shape, scale x.scale * factor.scale
    Exact:   y = level(x) * level(factor)
    """

    mnemonic: ClassVar[str] = "mul"
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, factor: TensorType) -> TensorType:  # type: ignore[override]
        fits = factor.rank == 1 and factor.shape[0] in (1, channels_of(x))
        expect(fits, f"factor: expected shape [1] or [{channels_of(x)}], got {factor}")
        element = IntType(True, self.accumulator.bits)
        return TensorType(Grid(element, x.integer.scale * factor.integer.scale), x.shape)

    def evaluate(self, x: Value, factor: Value) -> NDArray[Any]:  # type: ignore[override]
        return in_range(x.levels * per_channel(factor.levels, x.codes.ndim), self.infer(x.type, factor.type))
