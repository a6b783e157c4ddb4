"""Matrix product of two activations, batched over the leading axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator, accumulate, matmul_exact
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, in_range
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Matmul(Op):
    """Accumulators of a product of two tensors that are both computed at run time (attention, for one).

    a, b     codes (..., M, K) and (..., K, L) with equal leading extents, one grid per tensor each
    returns  accumulators (..., M, L)
    Exact:   acc[m, l] = sum over k of level(a)[m, k] * level(b)[k, l]
    """

    mnemonic: ClassVar[str] = "matmul"
    accumulator: Accumulator = Accumulator()

    def infer(self, a: TensorType, b: TensorType) -> TensorType:  # type: ignore[override]
        fits = a.rank == b.rank >= 2 and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2]
        expect(fits and a.shape[-1] is not None, f"expected a (.., M, K) and b (.., K, L), got {a} and {b}")
        expect(a.integer.per_tensor and b.integer.per_tensor, "both operands need one grid per tensor")
        return accumulator_type(self.accumulator, a, b, (*a.shape[:-1], b.shape[-1]))

    def evaluate(self, a: Value, b: Value) -> NDArray[Any]:  # type: ignore[override]
        if self.accumulator.overflow == "exact":
            acc = matmul_exact(a.levels, b.levels)
        else:
            products = a.levels[..., None, :] * np.swapaxes(b.levels, -1, -2)[..., None, :, :]
            acc = accumulate(products, np.zeros((), np.int64), self.accumulator)
        return in_range(acc, self.infer(a.type, b.type))

    def macs(self, a: TensorType, b: TensorType) -> int:  # type: ignore[override]
        return self.infer(a, b).elements() * int(a.shape[-1] or 0)
