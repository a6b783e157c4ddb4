"""Matrix product of two activations, batched over the leading axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, in_range, sum_products
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Matmul(Op):
    """Accumulators of a product of two tensors that are both computed at run time (attention, for one).

    a, b     codes (N, ..., M, K) and (N, ..., K, L) with equal leading extents, one grid per tensor each
    returns  accumulators (N, ..., M, L)
    Exact:   acc[m, l] = sum over k of level(a)[m, k] * level(b)[k, l]
    """

    mnemonic: ClassVar[str] = "matmul"
    accumulator: Accumulator = Accumulator()

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        fits = a.rank == b.rank >= 3 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2]
        expect(fits, f"expected a (N, .., M, K) and b (N, .., K, L), got {a} and {b}")
        expect(a.integer.per_tensor and b.integer.per_tensor, "both operands need one grid per tensor")
        return accumulator_type(self.accumulator, a, b, (*a.shape[:-1], b.shape[-1]))

    def evaluate(self, a: Value, b: Value) -> NDArray[Any]:
        acc = sum_products(a.levels, b.levels, np.zeros((), np.int64), self.accumulator)
        return in_range(acc, self.infer(a.type, b.type))

    def macs(self, a: TensorType, b: TensorType) -> int:
        return self.infer(a, b).elements() * int(a.shape[-1] or 0)
