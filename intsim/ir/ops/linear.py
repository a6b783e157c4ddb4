"""Matrix product of activations with constant weights, over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator, accumulate, matmul_exact
from intsim.errors import GraphError
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, expect_bias, in_range
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Linear(Op):
    """Accumulators of a fully connected layer.

    x        codes (N, ..., K), one scale and zero point per tensor
    weight   codes (O, K), grid per tensor or per output
    bias     optional levels (O,) on the accumulator's grid
    returns  accumulators (N, ..., O)
    Exact:   acc[o] = bias[o] + sum over k of level(x)[k] * level(weight)[o, k]
    """

    mnemonic: ClassVar[str] = "linear"
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> TensorType:  # type: ignore[override]
        expect(x.rank >= 2 and weight.rank == 2, f"expected x (N, .., K) and weight (O, K), got {x} and {weight}")
        expect(
            x.shape[-1] == weight.shape[1], f"weight is {weight} but the input's last axis has {x.shape[-1]} entries"
        )
        expect(x.integer.per_tensor, f"the input has one grid per channel ({x.grid}): sums over channels need one")
        outputs = int(weight.shape[0] or 0)
        expect_bias(bias, outputs)
        shape = (*x.shape[:-1], outputs)
        result = accumulator_type(self.accumulator, x, weight, (*x.shape[:1], outputs))
        grid = result.integer
        return TensorType(Grid(grid.element, grid.scale, axis=len(shape) - 1), shape)

    def evaluate(self, x: Value, weight: Value, bias: Value | None = None) -> NDArray[Any]:  # type: ignore[override]
        result = self.infer(x.type, weight.type, bias.type if bias else None)
        start = np.zeros(len(weight.codes), np.int64) if bias is None else bias.levels
        if self.accumulator.overflow == "exact":
            acc = start + matmul_exact(x.levels, weight.levels.T)
        else:
            acc = accumulate(x.levels[..., None, :] * weight.levels, start, self.accumulator)
        return in_range(acc, result)

    def macs(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> int:  # type: ignore[override]
        if weight.shape[1] is None:
            raise GraphError("linear: the depth cannot be the batch")
        return self.infer(x, weight, bias).elements() * weight.shape[1]
