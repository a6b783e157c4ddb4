"""A real scale as an integer multiplier and a shift: how engines derive it, and how this project does by itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantize_multiplier(real: float) -> tuple[int, int]:
    """The Q31 multiplier m and exponent s of TFLite, with real near m * 2**(s - 31).

    real        float64, 0 <= real < 2**30
    returns     (m, s) with 2**30 <= m < 2**31 and -31 <= s <= 30, or (0, 0) below about 2**-32
    raises      ValueError for a negative, infinite or NaN scale and for one that is too large
    Exact:      f, s = frexp(real); m = round half away(f * 2**31); m = 2**31 becomes m = 2**30, s + 1
    Source:     TensorFlow Lite kernels/internal/quantization_util.cc, QuantizeMultiplier.
    """
    if not 0 <= real < math.inf:
        raise ValueError(f"a scale must be finite and not negative, got {real}")
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(math.ldexp(fraction, 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = 1 << 30, exponent + 1
    if exponent > 30:
        raise ValueError(f"a scale must be below 2**30 to fit a Q31 multiplier, got {real}")
    return (multiplier, exponent) if exponent >= -31 and multiplier else (0, 0)


def dyadic(real: ArrayLike, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The multiplier / 2**shift nearest to each real, with multipliers of exactly `bits` bits.

    real        float64 (...)
    bits        1..62
    returns     (multiplier, shift), int64 (...): 2**(bits - 1) <= |multiplier| < 2**bits with the sign of real,
                or (0, 0) where real is 0
    raises      ValueError for other bits and for infinities or NaN
    Exact:      f, e = frexp(real); multiplier = rint(f * 2**bits), ties to even; shift = bits - e
    Source:     Yao et al. 2021 (HAWQ-v3), dyadic quantization.
    """
    real = np.asarray(real, dtype=np.float64)
    if not 1 <= bits <= 62:
        raise ValueError(f"a multiplier has 1 to 62 bits, got {bits}")
    if not np.all(np.isfinite(real)):
        raise ValueError(f"{np.count_nonzero(~np.isfinite(real))} of {real.size} scales are infinite or NaN")
    fraction, exponent = np.frexp(real)
    multiplier = np.rint(np.ldexp(fraction, bits)).astype(np.int64)
    carried = np.abs(multiplier) == 1 << bits
    multiplier = np.where(carried, multiplier >> 1, multiplier)
    shift = np.where(real == 0, 0, bits - exponent.astype(np.int64) - carried)
    return multiplier, shift
