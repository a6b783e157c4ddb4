"""Plain meanings to compare kernels with, and their inputs and outputs as NumPy codes."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from intsim import _native

native: Any = _native
"""Untyped here: tests call it with arguments of every kind, wrong ones included."""

ROUNDINGS = (
    "half_even", "half_up", "half_down", "half_away", "half_to_zero", "floor", "ceil", "toward_zero", "away_from_zero",
)  # fmt: skip


def rounded(x: Fraction, rounding: str) -> int:
    """A rational rounded by the words of its rounding."""
    low, high = floor(x), ceil(x)
    away, inward = (high, low) if x > 0 else (low, high)
    directed = {"floor": low, "ceil": high, "toward_zero": inward, "away_from_zero": away}
    if rounding in directed:
        return directed[rounding]
    if x - low != Fraction(1, 2):
        return floor(x + Fraction(1, 2))
    even = low if low % 2 == 0 else high
    return {"half_even": even, "half_up": high, "half_down": low, "half_away": away, "half_to_zero": inward}[rounding]


def byte_images(
    codes: NDArray[Any], bits: int = 8, halo: tuple[int, ...] = (0, 0, 0, 0), fill: int = 0, threads: int = 1
) -> _native.ByteImages:
    """Unsigned codes (N, C, H, W) as native images."""
    batch, channels, height, width = codes.shape
    images = _native.ByteImages(batch, height, width, channels, bits, halo, fill)
    _native.import_codes(np.ascontiguousarray(codes, np.uint8), 0, images, threads)
    return images


def codes_of(images: _native.ByteImages) -> NDArray[np.uint8]:
    return _native.export_codes(images, 0, 1)


def int32_images(values: NDArray[Any]) -> _native.Int32Images:
    batch, channels, height, width = values.shape
    images = _native.Int32Images(batch, height, width, channels)
    _native.import_accumulators(np.ascontiguousarray(values, np.int32), images, 1)
    return images


def convolve(
    x: NDArray[Any],
    weights: NDArray[Any],
    bias: NDArray[Any],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, ...] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    pad_code: int = 0,
) -> NDArray[np.int64]:
    """Convolution by PyTorch in float64, which is exact below 2**53."""
    top, bottom, left, right = padding
    padded = torch.nn.functional.pad(torch.from_numpy(x).double(), (left, right, top, bottom), value=float(pad_code))
    w, b = torch.from_numpy(weights).double(), torch.from_numpy(bias).double()
    return torch.nn.functional.conv2d(padded, w, b, stride, 0, dilation, groups).numpy().astype(np.int64)


def convolve_native(
    x: NDArray[Any],
    weights: NDArray[Any],
    bias: NDArray[Any],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, ...] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    pad_code: int = 0,
    *,
    bits: int = 8,
    scheme: str | None = None,
    threads: int = 1,
) -> NDArray[np.int32]:
    """The same by the native kernels, to accumulators."""
    outputs, _, kernel_height, kernel_width = weights.shape
    conv = _native.Conv("layer", weights, bias, x.shape[1], stride, dilation, groups, bits, None, scheme)
    height = (x.shape[2] + padding[0] + padding[1] - dilation[0] * (kernel_height - 1) - 1) // stride[0] + 1
    width = (x.shape[3] + padding[2] + padding[3] - dilation[1] * (kernel_width - 1) - 1) // stride[1] + 1
    out = _native.Int32Images(len(x), height, width, outputs)
    conv.run(byte_images(x, bits, padding, pad_code), padding, pad_code, out, threads)
    return _native.export_accumulators(out, threads)
