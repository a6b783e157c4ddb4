"""Maximum pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class MaxPool(Op):
    """Largest code in each window of (N, C, H, W); cells outside the image do not count.

    kernel, stride, dilation  (height, width)
    padding                   (top, bottom, left, right), less than the dilated kernel
    """

    mnemonic: ClassVar[str] = "max_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def infer(self, x: TensorType) -> TensorType:
        expect(x.rank == 4, f"expected (N, C, H, W), got {x}")
        expect(x.grid is not None, "expected integer codes, got float32: quantize first")
        expect(min(self.kernel + self.stride + self.dilation) >= 1, "kernel, stride and dilation are positive")
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        pads = (self.padding[:2], self.padding[2:])
        smaller = all(max(p) < r for p, r in zip(pads, reach, strict=True)) and min(self.padding) >= 0
        expect(smaller, f"padding {self.padding} is not smaller than the kernel {self.kernel}")
        extents = [
            (int(e or 0) + sum(p) - r) // s + 1
            for e, p, r, s in zip(x.shape[2:], pads, reach, self.stride, strict=True)
        ]
        expect(min(extents) >= 1, f"the kernel {self.kernel} does not fit the padded input of {x}")
        return x.with_shape((*x.shape[:2], *extents))

    def evaluate(self, x: Value) -> NDArray[Any]:
        height, width = (int(e or 0) for e in self.infer(x.type).shape[2:])
        top, bottom, left, right = self.padding
        lowest = x.type.integer.element.min
        padded = np.pad(x.codes, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=lowest)
        result = np.full((*x.codes.shape[:2], height, width), lowest, x.codes.dtype)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                y, z = i * self.dilation[0], j * self.dilation[1]
                shifted = padded[:, :, y :: self.stride[0], z :: self.stride[1]][:, :, :height, :width]
                result = np.maximum(result, shifted)
        return result
