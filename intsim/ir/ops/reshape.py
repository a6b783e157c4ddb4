"""The same codes under another shape: flattening, and both ends of a channel shuffle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.ops._movement import expect_one_grid
from intsim.ir.types import Shape, TensorType, Value


@register
@dataclass(frozen=True)
class Reshape(Op):
    """The same codes in row-major order under another shape; None keeps the batch."""

    mnemonic: ClassVar[str] = "reshape"
    shape: Shape

    def infer(self, x: TensorType) -> TensorType:
        expect_one_grid(x)
        expect(bool(self.shape) and (x.shape[0] is None) == (self.shape[0] is None), "the batch stays the first axis")
        result = x.with_shape(self.shape)
        counts = x.elements(), result.elements()
        expect(counts[0] == counts[1], f"{x} has {counts[0]} elements an image, {result} {counts[1]}")
        return result

    def evaluate(self, x: Value) -> NDArray[Any]:
        return x.codes.reshape([len(x.codes) if e is None else e for e in self.shape])
