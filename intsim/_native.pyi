"""The compiled kernels (csrc/bindings*.cpp). ValueError: what no kernel computes exactly, with the layer's name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class ByteImages:
    """A batch of NHWC bytes (code - type.min) with a halo of (top, bottom, left, right) pixels that hold `fill`."""

    def __init__(
        self, batch: int, height: int, width: int, channels: int, bits: int, halo: Sequence[int] = ..., fill: int = 0
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int, int, int]: ...

class Int32Images:
    """A batch of NHWC int32 accumulators."""

    def __init__(self, batch: int, height: int, width: int, channels: int) -> None: ...
    @property
    def shape(self) -> tuple[int, int, int, int]: ...

class ScaleSpec:
    """code = clip(round(acc * multiplier / 2**shift) + zero_point, low, high), per channel (C,)."""

    def __init__(
        self,
        multiplier: NDArray[np.int64],
        shift: NDArray[np.int64],
        rounding: str,
        zero_point: int,
        zero_point_first: bool,
        low: int,
        high: int,
        out_bits: int,
        out_min: int,
    ) -> None: ...

class FloatSpec:
    """code = clip(rint(acc * scale) + zero_point, low, high), per channel (C,), in float32 (single) or float64."""

    def __init__(
        self,
        scale: NDArray[np.float64],
        single: bool,
        zero_point: int,
        zero_point_first: bool,
        low: int,
        high: int,
        out_bits: int,
        out_min: int,
    ) -> None: ...

class ThresholdSpec:
    """code = base + the number of thresholds (C, L) that acc reaches."""

    def __init__(
        self,
        thresholds: NDArray[np.int64],
        base: NDArray[np.int64],
        strict: NDArray[np.int64],
        descending: NDArray[np.int64],
        out_bits: int,
        out_min: int,
    ) -> None: ...

EpilogueSpec = ScaleSpec | FloatSpec | ThresholdSpec

class Requantize:
    """An epilogue for accumulators within low..high that stand in memory."""

    def __init__(self, name: str, spec: EpilogueSpec, low: int = ..., high: int = ...) -> None: ...
    def run(self, in_: Int32Images, out: ByteImages, threads: int) -> None: ...

class Conv:
    """A convolution or linear layer over bytes; weights are levels (O, I / groups, KH, KW), packed once."""

    def __init__(
        self,
        name: str,
        weights: NDArray[np.int64],
        bias: NDArray[np.int64],
        in_channels: int,
        stride: Sequence[int] = ...,
        dilation: Sequence[int] = ...,
        groups: int = 1,
        act_bits: int = 8,
        epilogue: EpilogueSpec | None = None,
        scheme: str | None = None,
        one_pixel: bool = False,
    ) -> None: ...
    def run(
        self, in_: ByteImages, padding: Sequence[int], pad_byte: int, out: ByteImages | Int32Images, threads: int
    ) -> None: ...
    @property
    def scheme(self) -> str: ...
    @property
    def kernel(self) -> str: ...
    @property
    def epilogue_kernel(self) -> str | None: ...
    @property
    def flushes(self) -> int: ...
    @property
    def quads(self) -> int: ...
    @property
    def acc_low(self) -> list[int]: ...
    @property
    def acc_high(self) -> list[int]: ...

class Add:
    """code = clip(round((m_a * a + m_b * b + offset) / 2**shift) + zero_point, low, high); a byte or accumulator."""

    def __init__(
        self,
        name: str,
        multiplier_a: NDArray[np.int64],
        multiplier_b: NDArray[np.int64],
        offset: NDArray[np.int64],
        shift: NDArray[np.int64],
        rounding: str,
        zero_point: int,
        zero_point_first: bool,
        low: int,
        high: int,
        out_bits: int,
        out_min: int,
        a_is_accumulator: bool,
        a_low: int,
        a_high: int,
    ) -> None: ...
    def run(self, a: ByteImages | Int32Images, b: ByteImages, out: ByteImages, threads: int) -> None: ...
    @property
    def kernel(self) -> str: ...

class Plan:
    """A graph compiled once: values, known by their numbers, and steps in order. A run is one call without the GIL."""

    def __init__(self) -> None: ...
    def bytes(
        self, height: int, width: int, channels: int, bits: int, halo: Sequence[int] = ..., fill: int = 0
    ) -> int: ...
    def accumulators(self, height: int, width: int, channels: int) -> int: ...
    def part(
        self,
        whole: int,
        place: Sequence[int],
        apart: Sequence[int],
        height: int,
        width: int,
        channels: int,
        bits: int,
    ) -> int: ...
    def quantize(self, name: str, scale: float, low: int, high: int, out: int) -> None: ...
    def import_codes(self, name: str, min: int, out: int) -> None: ...
    def import_accumulators(self, name: str, out: int) -> None: ...
    def export_codes(self, name: str, in_: int, min: int) -> None: ...
    def export_accumulators(self, name: str, in_: int) -> None: ...
    def conv(self, conv: Conv, in_: int, padding: Sequence[int], pad_byte: int, out: int) -> None: ...
    def conv_add(
        self, conv: Conv, add: Add, in_: int, padding: Sequence[int], pad_byte: int, stream: int, out: int
    ) -> None: ...
    def add(self, add: Add, a: int, b: int, out: int) -> None: ...
    def requantize(self, requantize: Requantize, in_: int, out: int) -> None: ...
    def lookup(self, name: str, tables: NDArray[np.uint8], in_: int, out: int) -> None: ...
    def max_pool(
        self,
        name: str,
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        padding: Sequence[int],
        in_: int,
        out: int,
    ) -> None: ...
    def average_pool(
        self,
        name: str,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        step: int,
        level_offset: int,
        multiplier: int,
        shift: int,
        zero_point: int,
        rounding: str,
        out_bits: int,
        out_min: int,
        in_: int,
        out: int,
    ) -> None: ...
    def copy(
        self,
        name: str,
        from_: Sequence[int],
        from_step: Sequence[int],
        to: Sequence[int],
        to_step: Sequence[int],
        extent: Sequence[int],
        in_: int,
        out: int,
    ) -> None: ...
    def fill(self, name: str, out: int) -> None: ...
    def run(self, inputs: Sequence[NDArray[Any]], batch: int, threads: int) -> list[NDArray[Any]]: ...
    def profile(
        self, inputs: Sequence[NDArray[Any]], batch: int, threads: int
    ) -> tuple[list[NDArray[Any]], list[tuple[str, int]]]: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def live_bytes(self) -> int: ...

class Kernel:
    """A row of the kernel table."""

    name: str
    op: str
    scheme: str
    isa: str
    mr: int
    nr: int
    act_bits: int
    weight_bits: int

def kernels() -> list[Kernel]: ...

class MicroKernel:
    """One tile of a gemm or roof kernel over `depth` products per output, in the first cache, for benchmarks."""

    def __init__(self, name: str, weight_bits: int, act_bits: int, depth: int) -> None: ...
    def run(self, times: int) -> None: ...
    @property
    def macs(self) -> int: ...

def dependent_adds(count: int) -> None: ...
def active_isa() -> str: ...
def available_threads() -> int: ...
def quantize(x: NDArray[np.float32], scale: float, low: int, high: int, out: ByteImages, threads: int) -> None: ...
def import_codes(codes: NDArray[np.uint8], min: int, out: ByteImages, threads: int) -> None: ...
def export_codes(images: ByteImages, min: int, threads: int) -> NDArray[np.uint8]: ...
def import_accumulators(values: NDArray[np.int32], out: Int32Images, threads: int) -> None: ...
def export_accumulators(images: Int32Images, threads: int) -> NDArray[np.int32]: ...
def lookup(in_: ByteImages, tables: NDArray[np.uint8], out: ByteImages, threads: int) -> None: ...
def max_pool(
    in_: ByteImages,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    out: ByteImages,
    threads: int,
) -> None: ...
def average_pool(
    in_: ByteImages,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    step: int,
    level_offset: int,
    multiplier: int,
    shift: int,
    zero_point: int,
    rounding: str,
    out_bits: int,
    out_min: int,
    out: ByteImages,
    threads: int,
) -> None: ...
def copy_region(
    in_: ByteImages,
    from_: Sequence[int],
    from_step: Sequence[int],
    to: Sequence[int],
    to_step: Sequence[int],
    extent: Sequence[int],
    out: ByteImages,
    threads: int,
) -> None: ...
