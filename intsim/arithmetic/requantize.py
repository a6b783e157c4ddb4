"""From accumulators to codes: scale, round, add the zero point, clip.

Parameters are () for the whole tensor or (C,) for axis 1; an array that already has the accumulators' rank broadcasts
as it is, which is how `per_channel` puts channels on another axis.
"""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intsim.arithmetic.engine_rules import EngineRule, engine_round
from intsim.arithmetic.multiplier import dyadic, quantize_multiplier
from intsim.arithmetic.rounding import (
    INT64_MAX,
    INT64_MIN,
    Rounding,
    as_int64,
    exact_product,
    round_divide,
    round_shift,
)
from intsim.dtypes import IntType

__all__ = [
    "EngineRule",
    "dyadic",
    "engine_round",
    "per_channel",
    "quantize_multiplier",
    "requantize_divide",
    "requantize_float32",
    "requantize_multiplier",
    "requantize_shift",
    "saturate",
]


def per_channel(parameter: ArrayLike, ndim: int, axis: int = 1) -> NDArray:
    """Shape a parameter so that it broadcasts against a tensor of `ndim` axes.

    parameter   (), (C,) laid along `axis`, or already of `ndim` axes
    returns     (), (1, .., C, .., 1), or the parameter as it is
    raises      ValueError for another rank, or an axis that the tensor does not have
    """
    parameter = np.asarray(parameter)
    if parameter.ndim in (0, ndim):
        return parameter
    if parameter.ndim != 1 or not -ndim <= axis < ndim:
        raise ValueError(f"a parameter of shape {parameter.shape} does not lie along axis {axis} of {ndim} axes")
    shape = [1] * ndim
    shape[axis] = -1
    return parameter.reshape(shape)


def saturate(level: ArrayLike, zero_point: SupportsIndex, out: IntType) -> NDArray:
    """Add the zero point and clip into a type.

    level       integer (...)
    zero_point  integer (), at most 2**62 in magnitude
    returns     out.storage (...)
    raises      ValueError for another zero point
    Exact:      clip(level + zero_point, out.min, out.max), also where the sum leaves int64
    """
    zero_point = zero_point.__index__()
    if abs(zero_point) > 1 << 62:
        raise ValueError(f"a zero point must be at most 2**62 in magnitude, got {zero_point}")
    low, high = (min(max(bound - zero_point, INT64_MIN), INT64_MAX) for bound in (out.min, out.max))
    clipped = np.clip(as_int64(level, "level"), low, high)
    # The sum is a code of `out`, so arithmetic modulo 2**64 is exact even where int64 could not hold it.
    return np.add(clipped.astype(np.uint64), np.uint64(zero_point % (1 << 64))).astype(out.storage)


def requantize_shift(
    acc: ArrayLike,
    shift: ArrayLike,
    zero_point: SupportsIndex,
    out: IntType,
    rounding: Rounding,
    zero_point_first: bool = False,
) -> NDArray:
    """Shift accumulators right by `shift` bits into codes of type `out`, saturating.

    acc         integer (N, C, ...)
    shift       integer (C,) or (); negative shifts left
    zero_point  integer (), added after rounding, or before it with zero_point_first
    returns     out.storage (N, C, ...) in [out.min, out.max]
    raises      OverflowError if a left shift, or the zero point before rounding, leaves int64
    Exact:      q = clip(round(acc / 2**shift) + zero_point), no floating point involved;
                q = clip(round(acc / 2**shift + zero_point)) with zero_point_first
    Source:     Yao et al. 2022 (RAPQ); rounding directions after IEEE 754-2019, 4.3.
    """
    acc = as_int64(acc, "acc")
    shift = per_channel(shift, acc.ndim)
    if zero_point_first:
        return saturate(round_shift(acc, shift, rounding, zero_point.__index__()), 0, out)
    return saturate(round_shift(acc, shift, rounding), zero_point, out)


def requantize_multiplier(
    acc: ArrayLike,
    multiplier: ArrayLike,
    shift: ArrayLike,
    zero_point: SupportsIndex,
    out: IntType,
    rounding: Rounding | EngineRule,
    zero_point_first: bool = False,
) -> NDArray:
    """Scale accumulators by multiplier / 2**shift into codes of type `out`, saturating.

    acc         integer (N, C, ...)
    multiplier  integer (C,) or (); Q31 and not negative for most engine rules (see `engine_round`)
    shift       integer (C,) or (); an engine's exponent s is 31 - shift
    zero_point  integer (), added after rounding, or before it with zero_point_first
    rounding    Rounding of the exact product, or the EngineRule of an engine that rounds otherwise
    returns     out.storage (N, C, ...) in [out.min, out.max]
    raises      OverflowError if a product leaves int64, or a value the width in which an engine holds it;
                ValueError for an engine rule with zero_point_first, which no such engine does
    Exact:      q = clip(round(acc * multiplier / 2**shift) + zero_point)
    Source:     Jacob et al. 2018, 2.2; Yao et al. 2021 (HAWQ-v3).
    """
    acc = as_int64(acc, "acc")
    multiplier, shift = per_channel(multiplier, acc.ndim), per_channel(shift, acc.ndim)
    if not isinstance(rounding, EngineRule):
        return requantize_shift(exact_product(acc, multiplier), shift, zero_point, out, rounding, zero_point_first)
    if zero_point_first:
        raise ValueError(f"{rounding} adds the zero point after rounding, never before")
    return saturate(engine_round(acc, multiplier, 31 - as_int64(shift, "shift"), rounding), zero_point, out)


def requantize_float32(
    acc: ArrayLike,
    scale: ArrayLike,
    zero_point: SupportsIndex,
    out: IntType,
    zero_point_first: bool = False,
) -> NDArray:
    """Scale accumulators in floating point into codes of type `out`, half to even, saturating.

    acc         integer (N, C, ...)
    scale       float32 (C,) or ()
    zero_point  integer (), added after rounding, or before it with zero_point_first
    out         at most 32 bits wide
    returns     out.storage (N, C, ...) in [out.min, out.max]
    raises      TypeError if the scale is not float32, ValueError if it is not finite or `out` is too wide
    Exact:      q = clip(rint(float32(acc) * scale) + zero_point), the product rounded to float32;
                q = clip(rint(float64(acc) * scale + zero_point)) with zero_point_first
    Source:     XNNPACK qs8 requantization and ONNX Runtime QLinearConv; with zero_point_first the reference evaluator
                of ONNX, where int32 times float32 is a float64.
    """
    acc, scale = as_int64(acc, "acc"), per_channel(scale, np.ndim(acc))
    if scale.dtype != np.float32:
        raise TypeError(f"the scale must be float32, got {scale.dtype}")
    if not np.all(np.isfinite(scale)):
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scale))} of {scale.size} scales are infinite or NaN")
    if out.bits > 32:
        raise ValueError(f"codes that come from float32 have at most 32 bits, got {out}")
    zero_point = zero_point.__index__()
    if zero_point_first:
        real = acc.astype(np.float64) * scale.astype(np.float64) + zero_point
        return np.clip(np.rint(real), out.min, out.max).astype(out.storage)
    with np.errstate(over="ignore"):  # an infinity is clipped like any large value
        level = np.rint(acc.astype(np.float32) * scale).astype(np.float64)
    return (np.clip(level, out.min - zero_point, out.max - zero_point) + zero_point).astype(out.storage)


def requantize_divide(
    total: ArrayLike,
    denominator: ArrayLike,
    zero_point: SupportsIndex,
    out: IntType,
    rounding: Rounding,
    multiplier: ArrayLike = 1,
    shift: ArrayLike = 0,
) -> NDArray:
    """Divide sums by counts, and scale by multiplier / 2**shift, with one rounding: average pooling.

    total        integer (N, C, ...)
    denominator  positive integer, broadcasts against total: at borders the count depends on the position
    zero_point   integer (), added after rounding
    multiplier   integer (C,) or ()
    shift        integer (C,) or ()
    returns      out.storage, the broadcast shape, in [out.min, out.max]
    raises       OverflowError if total * multiplier or denominator * 2**shift leaves int64;
                 ValueError if a denominator is not positive
    Exact:       q = clip(round(total * multiplier / (denominator * 2**shift)) + zero_point), a rational
    """
    total = as_int64(total, "total")
    multiplier, shift = per_channel(multiplier, total.ndim), as_int64(per_channel(shift, total.ndim), "shift")
    numerator = round_shift(exact_product(total, multiplier), np.minimum(shift, 0), Rounding.FLOOR)
    divisor = round_shift(denominator, -np.maximum(shift, 0), Rounding.FLOOR)
    return saturate(round_divide(numerator, divisor, rounding), zero_point, out)
