"""The border between float32 and integers: where a graph begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.ops._codes import expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Quantize(Op):
    """Codes of float32 inputs.

    x        float32, any shape
    returns  codes of `out`, same shape
    Exact:   q = clip(rint(float32(x) / float32(scale)) + zero_point), the division in float32, ties to even
    Source:  torch.fake_quantize_per_tensor_affine and ONNX QuantizeLinear agree on it.
    """

    mnemonic: ClassVar[str] = "quantize"
    out: Grid

    def infer(self, x: TensorType) -> TensorType:
        expect(x.grid is None, f"expected float32, got {x}")
        expect_codes(self.out)
        expect(self.out.element.bits <= 32, f"float32 gives at most 32 bits, got {self.out.element}")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value) -> NDArray[Any]:
        element, zero = self.out.element, self.out.zero_point[0]
        scaled = np.rint(x.codes.astype(np.float32) / np.float32(self.out.scale.array[0]))
        # Clipping before the cast: float32 beyond the integer type has no defined conversion. Both bounds are exact.
        clipped = np.clip(scaled.astype(np.float64), element.min - zero, element.max - zero)
        return (clipped.astype(np.int64) + zero).astype(element.storage)
