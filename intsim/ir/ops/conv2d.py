"""Two-dimensional convolution of levels, with any stride, dilation, padding and grouping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, expect_bias, in_range, initial, sum_products
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Conv2d(Op):
    """Accumulators of a convolution.

    x         codes (N, C, H, W), one scale per tensor; zero points may be one per channel
    weight    codes (O, C / groups, KH, KW), grid per tensor or per output channel
    bias      optional levels (O,) on the accumulator's grid
    returns   accumulators (N, O, H', W') with scale x.scale * weight.scale
    Exact:    acc[o] = bias[o] + sum over c, kh, kw of level(x) * level(weight); pixels outside the image have level 0,
              or the level of `pad_code` where that is given (a grid without zero needs it).

    stride, dilation  (height, width)
    padding           (top, bottom, left, right)
    """

    mnemonic: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pad_code: int | None = None
    accumulator: Accumulator = Accumulator()

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> TensorType:
        ranks = x.rank == 4 and weight.rank == 4
        expect(ranks, f"expected x (N, C, H, W) and weight (O, C / groups, KH, KW), got {x} and {weight}")
        positive = min(self.stride + self.dilation) >= 1 and min(self.padding) >= 0
        expect(positive, "stride and dilation are positive, padding is not negative")
        outputs, depth, *kernel = (int(e or 0) for e in weight.shape)
        fits = self.groups >= 1 and x.shape[1] == depth * self.groups and outputs % self.groups == 0
        expect(fits, f"weight is {weight} with {self.groups} groups but the input has {x.shape[1]} channels")
        self._expect_padding(x)
        extents = [
            (int(extent or 0) + before + after - dilation * (size - 1) - 1) // stride + 1
            for extent, before, after, dilation, size, stride in zip(
                x.shape[2:], self.padding[::2], self.padding[1::2], self.dilation, kernel, self.stride, strict=True
            )
        ]
        expect(min(extents) >= 1, f"the kernel {kernel[0]}x{kernel[1]} does not fit the padded input of {x}")
        expect_bias(bias, outputs)
        return accumulator_type(self.accumulator, x, weight, (x.shape[0], outputs, *extents))

    def _expect_padding(self, x: TensorType) -> None:
        if self.pad_code is not None:
            element = x.integer.element
            expect(element.min <= self.pad_code <= element.max, f"pad_code {self.pad_code} is not a {element}")
        elif max(self.padding) > 0:
            expect(x.integer.zero_codes() is not None, f"the grid {x.grid} has no zero to pad with: give a pad_code")

    def pad(self, x: Value) -> NDArray[np.int64]:
        """Levels of the input with its padding, int64 (N, C, H + top + bottom, W + left + right)."""
        levels, (top, bottom, left, right) = x.levels, self.padding
        batch, channels, height, width = levels.shape
        padded = np.zeros((batch, channels, height + top + bottom, width + left + right), np.int64)
        if self.pad_code is not None:
            padded[:] = x.type.integer.levels(np.full((1, channels, 1, 1), self.pad_code))
        padded[:, :, top : top + height, left : left + width] = levels
        return padded

    def columns(self, image: NDArray[np.int64], kernel: tuple[int, ...], out: tuple[int, int]) -> NDArray[np.int64]:
        """What each output pixel of a padded image (C, ..) meets, in the register's order: (groups, K, pixels)."""
        (height, width), (down, right) = out, self.stride
        channels = image.reshape(self.groups, -1, *image.shape[1:])
        taps = [
            channels[:, :, y : y + (height - 1) * down + 1 : down, x : x + (width - 1) * right + 1 : right]
            for y in range(0, kernel[0] * self.dilation[0], self.dilation[0])
            for x in range(0, kernel[1] * self.dilation[1], self.dilation[1])
        ]
        axis = 2 if self.accumulator.order == "channel_major" else 1
        return np.stack(taps, axis=axis).reshape(self.groups, -1, height * width)

    def rows(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Weights (O, C / groups, KH, KW) in the register's order: (groups, O / groups, K)."""
        ordered = weights if self.accumulator.order == "channel_major" else np.moveaxis(weights, 1, -1)
        return ordered.reshape(self.groups, len(weights) // self.groups, -1)

    def evaluate(self, x: Value, weight: Value, bias: Value | None = None) -> NDArray[Any]:
        result = self.infer(x.type, weight.type, bias.type if bias else None)
        outputs, height, width = (int(e or 0) for e in result.shape[1:])
        kernel, out = weight.codes.shape[-2:], (height, width)
        rows, start = self.rows(weight.levels), initial(bias, outputs).reshape(self.groups, -1, 1)
        acc = [sum_products(rows, self.columns(image, kernel, out), start, self.accumulator) for image in self.pad(x)]
        return in_range(np.stack(acc).reshape(-1, outputs, height, width), result)

    def parameters_from(self, operands: int) -> int:
        return 1

    def macs(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> int:
        return self.infer(x, weight, bias).elements() * (weight.elements() // int(weight.shape[0] or 1))
