"""Two-dimensional convolution of levels, with any stride, dilation, padding and grouping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator, accumulate, matmul_exact
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._contraction import accumulator_type, expect_bias, in_range
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

    def infer(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> TensorType:  # type: ignore[override]
        expect(
            x.rank == 4 and weight.rank == 4, f"expected x (N, C, H, W) and weight (O, C, KH, KW), got {x} and {weight}"
        )
        _, channels, height, width = x.shape
        outputs, depth, kernel_height, kernel_width = (int(e or 0) for e in weight.shape)
        expect(
            min(self.stride + self.dilation) >= 1 and min(self.padding) >= 0,
            "stride and dilation are positive, padding is not negative",
        )
        expect(self.groups >= 1 and channels == depth * self.groups and outputs % self.groups == 0,
               f"weight is {weight} with {self.groups} groups but the input has {channels} channels")  # fmt: skip
        if max(self.padding) > 0 and self.pad_code is None:
            expect(x.integer.zero_codes() is not None, f"the grid {x.grid} has no zero to pad with: give a pad_code")
        if self.pad_code is not None:
            element = x.integer.element
            expect(element.min <= self.pad_code <= element.max, f"pad_code {self.pad_code} is not a {element}")
        top, bottom, left, right = self.padding
        out_height = (int(height or 0) + top + bottom - self.dilation[0] * (kernel_height - 1) - 1) // self.stride[
            0
        ] + 1
        out_width = (int(width or 0) + left + right - self.dilation[1] * (kernel_width - 1) - 1) // self.stride[1] + 1
        expect(
            out_height >= 1 and out_width >= 1,
            f"the kernel {kernel_height}x{kernel_width} does not fit the padded input of {x}",
        )
        expect_bias(bias, outputs)
        return accumulator_type(self.accumulator, x, weight, (x.shape[0], outputs, out_height, out_width))

    def pad(self, x: Value) -> NDArray[np.int64]:
        """Levels of the input with its padding, int64 (N, C, H + top + bottom, W + left + right)."""
        levels, (top, bottom, left, right) = x.levels, self.padding
        batch, channels, height, width = levels.shape
        padded = np.zeros((batch, channels, height + top + bottom, width + left + right), np.int64)
        if self.pad_code is not None:
            padded[:] = x.type.integer.levels(np.full((1, channels, 1, 1), self.pad_code))
        padded[:, :, top : top + height, left : left + width] = levels
        return padded

    def evaluate(self, x: Value, weight: Value, bias: Value | None = None) -> NDArray[Any]:  # type: ignore[override]
        result = self.infer(x.type, weight.type, bias.type if bias else None)
        padded, weights = self.pad(x), weight.levels
        outputs, depth, kernel_height, kernel_width = weights.shape
        batch, (_, _, out_height, out_width) = len(padded), result.shape
        assert out_height is not None and out_width is not None
        pixels, groups = out_height * out_width, self.groups
        weights = weights.reshape(1, groups, outputs // groups, depth, kernel_height, kernel_width)

        def tap(i: int, j: int) -> NDArray[np.int64]:
            """The input that kernel position (i, j) meets, (N, groups, C / groups, pixels)."""
            y, x = i * self.dilation[0], j * self.dilation[1]
            rows = slice(y, y + (out_height - 1) * self.stride[0] + 1, self.stride[0])
            columns = slice(x, x + (out_width - 1) * self.stride[1] + 1, self.stride[1])
            return padded[:, :, rows, columns].reshape(batch, groups, depth, pixels)

        taps = [(i, j) for i in range(kernel_height) for j in range(kernel_width)]
        start = np.zeros(outputs, np.int64) if bias is None else bias.levels
        start = start.reshape(1, groups, outputs // groups, 1)
        if self.accumulator.overflow == "exact":
            acc = np.broadcast_to(start, (batch, groups, outputs // groups, pixels)).copy()
            for i, j in taps:
                acc += matmul_exact(weights[..., i, j], tap(i, j))
        else:
            inputs = np.stack([tap(i, j) for i, j in taps], axis=-1)[:, :, None]
            products = inputs * weights.reshape(1, groups, outputs // groups, depth, 1, len(taps))
            products = np.moveaxis(products, 3, -2 if self.accumulator.order == "channel_major" else -1)
            acc = accumulate(products.reshape(*products.shape[:4], -1), start, self.accumulator)
        return in_range(acc.reshape(batch, outputs, out_height, out_width), result)

    def macs(self, x: TensorType, weight: TensorType, bias: TensorType | None = None) -> int:  # type: ignore[override]
        return self.infer(x, weight, bias).elements() * weight.with_shape((1, *weight.shape[1:])).elements()
