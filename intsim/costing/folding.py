"""Folding: how much hardware each layer of a streaming network gets, so that all keep the same pace.

A matrix unit of PE rows and SIMD columns walks over its matrix once per window; a window unit before it cuts windows
out of the stream of pixels. Both divide their extents without remainder.

Source:  FINN, transformation/fpgadataflow/set_folding.py (the search) and get_exp_cycles of MVAU, VVAU and the RTL
         ConvolutionInputGenerator in custom_op/fpgadataflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt, prod

from intsim.costing.target import StreamingTarget
from intsim.costing.workload import Layer, ceil_div


@dataclass(frozen=True)
class Stage:
    """One layer's hardware.

    pe, simd        rows and columns of the matrix unit; for a depthwise layer channels and taps at once
    cycles          of the matrix unit, for one image
    window_simd     channels that the window unit takes at once, 0 where there is none
    window_cycles   of the window unit, for one image
    parallel        it puts out whole windows at once
    """

    layer: Layer
    pe: int
    simd: int
    cycles: int
    window_simd: int
    window_cycles: int
    parallel: bool

    @property
    def interval(self) -> int:
        return max(self.cycles, self.window_cycles)


def fold(layer: Layer, target: StreamingTarget, frame: int) -> Stage:
    """The smallest units that stay below `frame` cycles per image in FINN's order of search, or the largest there are.

    SIMD first, while the stream of weights into one PE is not too wide, then PE; for a depthwise layer PE, then SIMD.
    """
    gemm, taps = layer.gemm(1), prod(layer.kernel)
    if is_depthwise(layer):
        channels = layer.out_channels
        work = channels * taps * gemm.m
        pe = _smallest(channels, frame, lambda pe: work // pe)
        simd = _smallest(taps, frame, lambda simd: work // pe // simd) if work // pe > frame else 1
        window_simd, parallel = pe, simd > 1
    else:
        simd = 1
        for wider in _divisors(gemm.k):
            meets = gemm.n * (gemm.k // wider) * gemm.m < frame
            if not meets and layer.weight_bits * wider > target.weight_stream.value:
                break
            simd = wider
            if meets:
                break
        pe = _smallest(gemm.n, frame, lambda pe: (gemm.n // pe) * (gemm.k // simd) * gemm.m)
        work = gemm.n * gemm.k * gemm.m
        window_simd = _smallest(layer.in_channels, frame, lambda simd: _window_cycles(layer, simd, parallel=False))
        parallel = window_simd == layer.in_channels and _window_cycles(layer, window_simd, parallel=False) > frame
    if taps == 1 and layer.stride == (1, 1):
        return Stage(layer, pe, simd, work // (pe * simd), 0, 0, False)
    return Stage(
        layer, pe, simd, work // (pe * simd), window_simd, _window_cycles(layer, window_simd, parallel), parallel
    )


def is_depthwise(layer: Layer) -> bool:
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def padded(layer: Layer) -> tuple[int, int]:
    """Rows and columns of the input with its padding."""
    axes = zip(
        (layer.in_height, layer.in_width),
        (layer.out_height, layer.out_width),
        layer.kernel,
        layer.stride,
        layer.dilation,
        strict=True,
    )
    height, width = (
        max(size, (out - 1) * stride + (kernel - 1) * dilation + 1) for size, out, kernel, stride, dilation in axes
    )
    return height, width


def _divisors(number: int) -> list[int]:
    """In ascending order."""
    small = [i for i in range(1, isqrt(number) + 1) if number % i == 0]
    return small + [number // i for i in reversed(small) if i * i != number]


def _smallest(extent: int, frame: int, cycles: Callable[[int], int]) -> int:
    """The smallest divisor of `extent` that stays below the frame, or else `extent`."""
    return next((i for i in _divisors(extent) if cycles(i) < frame), extent)


def _window_cycles(layer: Layer, simd: int, parallel: bool) -> int:
    """Cycles of the window unit for one image, padding included."""
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = layer.kernel, layer.stride, layer.dilation
    height, width = padded(layer)
    folds = ceil_div(layer.in_channels, simd)
    if parallel:
        return height * width * folds + 2
    if 1 in (height, width):
        out, kernel, stride = (
            (layer.out_width, kernel_w, stride_w) if height == 1 else (layer.out_height, kernel_h, stride_h)
        )
        cycles = out * kernel * folds + 2
        return cycles + (kernel - 1) * (folds * (stride - 1) - 1) if is_depthwise(layer) else cycles
    filled = ((kernel_h - 1) * dilation_h * width + (kernel_w - 1) * dilation_w + 1) * folds
    line = max(layer.out_width * kernel_w * kernel_h, stride_w * width) * folds
    if not is_depthwise(layer):
        return filled + layer.out_height * line
    line += layer.out_width * (stride_w - 1) * (folds - 1)
    return filled + layer.out_height * line + (stride_h - 1) * width * folds
