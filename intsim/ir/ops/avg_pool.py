"""Average pooling, over sliding and over adaptive windows: exact rationals, rounded once."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import requantize_divide
from intsim.arithmetic.rounding import Rounding
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._codes import expect_codes
from intsim.ir.types import Grid, TensorType, Value

Window = tuple[int, int, int]
"""First and one-past-last index of a window inside the image, and the number of cells it divides by."""


def sliding_windows(extent: int, kernel: int, stride: int, before: int, after: int, include_pad: bool) -> list[Window]:
    """The windows of a pooling along one axis."""
    windows = []
    for start in range(-before, extent + after - kernel + 1, stride):
        low, high = max(start, 0), min(start + kernel, extent)
        windows.append((low, high, kernel if include_pad else high - low))
    return windows


def adaptive_windows(extent: int, count: int) -> list[Window]:
    """The windows of adaptive pooling: floor(i * extent / count) up to ceil((i + 1) * extent / count)."""
    bounds = [(i * extent // count, -((-(i + 1) * extent) // count)) for i in range(count)]
    return [(low, high, high - low) for low, high in bounds]


@dataclass(frozen=True)
class _Average(Op):
    """Averages of levels with one rounding: the requantization `divide`.

    Exact: q = clip(round(sum of levels * multiplier / (cells * 2**shift)) + zero_point), an exact rational
    """

    out: Grid
    rounding: Rounding

    @abstractmethod
    def windows(self, x: TensorType) -> tuple[list[Window], list[Window]]:
        """Windows along height and width."""

    @property
    @abstractmethod
    def rescale(self) -> tuple[int, int]:
        """(multiplier, shift) from the operand's grid to the result's."""

    def infer(self, x: TensorType) -> TensorType:
        expect(x.rank == 4 and x.integer.per_tensor, f"expected (N, C, H, W) on one grid, got {x}")
        expect_codes(self.out)
        rows, columns = self.windows(x)
        expect(bool(rows and columns), f"no window fits the input of {x}")
        multiplier, shift = self.rescale
        cells = max(cells for _, _, cells in rows) * max(cells for _, _, cells in columns)
        largest = cells * max(map(abs, x.integer.level_range())) * abs(multiplier) << max(-shift, 0)
        fits = largest < 1 << 63 and cells << max(shift, 0) < 1 << 63
        expect(fits, f"averages of {cells} cells of {x.grid} times {multiplier} / 2**{shift} leave int64")
        return TensorType(self.out, (*x.shape[:2], len(rows), len(columns)))

    def sums(self, x: Value) -> NDArray[np.int64]:
        """Sums of levels, int64 (N, C, H', W')."""
        levels = x.levels
        rows, columns = self.windows(x.type)
        by_row = np.stack([levels[:, :, low:high].sum(axis=2) for low, high, _ in rows], axis=2)
        return np.stack([by_row[..., low:high].sum(axis=3) for low, high, _ in columns], axis=3)

    def cells(self, x: TensorType) -> NDArray[np.int64]:
        """Cells that each sum is divided by, int64 (H', W')."""
        rows, columns = self.windows(x)
        return np.outer([r[2] for r in rows], [c[2] for c in columns]).astype(np.int64)

    def evaluate(self, x: Value) -> NDArray[Any]:
        multiplier, shift = self.rescale
        return requantize_divide(
            self.sums(x), self.cells(x.type), self.out.zero_point[0], self.out.element, self.rounding, multiplier, shift
        )


@register
@dataclass(frozen=True)
class AveragePool(_Average):
    """Average over windows of (N, C, H, W); a global average is a kernel of the image's size.

    kernel, stride     (height, width)
    padding            (top, bottom, left, right); padded cells have level 0
    count_include_pad  whether padded cells count in the division
    """

    mnemonic: ClassVar[str] = "avg_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_include_pad: bool = True
    multiplier: int = 1
    shift: int = 0

    @property
    def rescale(self) -> tuple[int, int]:
        return self.multiplier, self.shift

    def windows(self, x: TensorType) -> tuple[list[Window], list[Window]]:
        expect(min(self.kernel + self.stride) >= 1 and min(self.padding) >= 0, "kernel and stride are positive")
        top, bottom, left, right = self.padding
        fits = max(top, bottom) < self.kernel[0] and max(left, right) < self.kernel[1]
        expect(fits, f"padding {self.padding} is not smaller than the kernel {self.kernel}")
        (height, width), counted = x.shape[2:], self.count_include_pad
        return (
            sliding_windows(int(height or 0), self.kernel[0], self.stride[0], top, bottom, counted),
            sliding_windows(int(width or 0), self.kernel[1], self.stride[1], left, right, counted),
        )


@register
@dataclass(frozen=True)
class AdaptiveAveragePool(_Average):
    """Average over `output` = (height, width) windows that cover (N, C, H, W) as PyTorch's adaptive pooling does."""

    mnemonic: ClassVar[str] = "adaptive_avg_pool"
    output: tuple[int, int]
    multiplier: int = 1
    shift: int = 0

    @property
    def rescale(self) -> tuple[int, int]:
        return self.multiplier, self.shift

    def windows(self, x: TensorType) -> tuple[list[Window], list[Window]]:
        height, width = (int(e or 0) for e in x.shape[2:])
        expect(1 <= self.output[0] <= height and 1 <= self.output[1] <= width, f"output {self.output} exceeds {x}")
        return adaptive_windows(height, self.output[0]), adaptive_windows(width, self.output[1])
