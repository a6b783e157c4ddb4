"""Matrix product of activations with constant weights, over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, expect_bias, in_range, initial, sum_products
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Linear(Op):
    """Accumulators of a fully connected layer.

    x        codes (N, ..., K), one scale and zero point per tensor
    weight   codes (O, K), grid per tensor or per output
    bias     optional levels (O,) on the accumulator's grid
    returns  accumulators (N, ..., O), channels along the last axis
    Exact:   acc[o] = bias[o] + sum over k of level(x)[k] * level(weight)[o, k]
    """

    mnemonic: ClassVar[str] = "linear"
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> TensorType:
        expect(x.rank >= 2 and weight.rank == 2, f"expected x (N, .., K) and weight (O, K), got {x} and {weight}")
        depth = x.shape[-1]
        expect(depth == weight.shape[1], f"weight is {weight} but the input's last axis has {depth} entries")
        expect(x.integer.per_tensor, f"the input has one grid per channel ({x.grid}): sums over channels need one")
        outputs = int(weight.shape[0] or 0)
        expect_bias(bias, outputs)
        return accumulator_type(self.accumulator, x, weight, (*x.shape[:-1], outputs), axis=x.rank - 1)

    def evaluate(self, x: Value, weight: Value, bias: Value | None = None) -> NDArray[Any]:
        result = self.infer(x.type, weight.type, bias.type if bias else None)
        rows = x.levels.reshape(-1, x.codes.shape[-1])
        start = initial(bias, len(weight.codes))
        acc = sum_products(rows, weight.levels.T, start, self.accumulator)
        return in_range(acc.reshape(*x.codes.shape[:-1], -1), result)

    def parameters_from(self, operands: int) -> int:
        return 1

    def macs(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> int:
        return self.infer(x, weight, bias).elements() * int(weight.shape[1] or 0)
