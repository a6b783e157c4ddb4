"""How deployed engines scale an accumulator by an integer multiplier: rules that are more than one exact rounding.

Every rule scales by multiplier / 2**shift. The engines write the same thing as m * 2**(s - 31) with m in Q31 and an
exponent s that is negative for a right shift, so m = multiplier and s = 31 - shift; the functions here keep their s.
Where C code would overflow, wrap or be undefined, there is no answer to reproduce: these functions raise OverflowError.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intsim.arithmetic.rounding import Rounding, as_int64, exact_product, round_shift

Int64 = NDArray[np.int64]


class EngineRule(StrEnum):
    """The rounding of a named engine; the formulas are those of the functions below."""

    GEMMLOWP_DOUBLE = "gemmlowp_double"  # TFLite reference CONV_2D, CMSIS-NN s8, TOSA DOUBLE_ROUND
    SINGLE_ROUND = "single_round"  # TFLITE_SINGLE_ROUNDING, LiteRT reference FULLY_CONNECTED, TOSA SINGLE_ROUND
    RUY = "ruy"  # LiteRT's optimised builtin kernels
    TFLITE_INT16 = "tflite_int16"  # TFLite kernels with int16 activations and int64 accumulators
    CMSIS_S64 = "cmsis_s64"  # CMSIS-NN arm_nn_requantize_s64
    TOSA_SCALE16 = "tosa_scale16"  # TOSA RESCALE with scale32 = false
    PULP = "pulp"  # Deeploy and quantlib's RequantShift
    NEMO = "nemo"  # NEMO and DORY
    HAWQ_DYADIC = "hawq_dyadic"  # HAWQ-v3, in double precision


def engine_round(acc: ArrayLike, multiplier: ArrayLike, exponent: ArrayLike, rule: EngineRule) -> Int64:
    """Scale accumulators by multiplier * 2**(exponent - 31) as the engine does, before zero point and clamp.

    acc         integer (...); 32 bits, or 48 for TFLITE_INT16, CMSIS_S64 and TOSA_SCALE16
    multiplier  integer >= 0, broadcasts against acc; Q31 (below 2**31), 16 bits signed for TOSA_SCALE16
    exponent    integer, broadcasts against acc; 31 - shift
    returns     int64
    raises      ValueError for a multiplier that the engine cannot hold;
                OverflowError where a value leaves the type in which the engine holds it
    Source:     TensorFlow Lite kernels/internal/common.cc, CMSIS-NN Include/arm_nnsupportfunctions.h, the TOSA
                specification's apply_scale_16 and apply_scale_32, ruy apply_multiplier.cc, HAWQ quant_utils.py.
    """
    acc, multiplier, exponent = as_int64(acc, "acc"), as_int64(multiplier, "multiplier"), as_int64(exponent, "exponent")
    multiplier_bits = 15 if rule is EngineRule.TOSA_SCALE16 else 31
    if np.any((multiplier < 0) | (multiplier >= 1 << multiplier_bits)):
        raise ValueError(
            f"{rule}: a multiplier must be in 0..2**{multiplier_bits} - 1, got {multiplier.min()}..{multiplier.max()}"
        )
    match rule:
        case EngineRule.GEMMLOWP_DOUBLE:
            return _high_multiply_then_shift(acc, multiplier, exponent, Rounding.HALF_AWAY)
        case EngineRule.RUY:
            return _high_multiply_then_shift(acc, multiplier, exponent, Rounding.HALF_UP)
        case EngineRule.SINGLE_ROUND:
            return _single_round(acc, multiplier, exponent)
        case EngineRule.TFLITE_INT16:
            return _tflite_int16(acc, multiplier, exponent)
        case EngineRule.CMSIS_S64:
            return _cmsis_s64(acc, multiplier, exponent)
        case EngineRule.TOSA_SCALE16:
            return _tosa_scale16(acc, multiplier, exponent)
        case EngineRule.PULP:
            return round_shift(exact_product(acc, multiplier), 31 - exponent, Rounding.HALF_UP)
        case EngineRule.NEMO:
            return round_shift(exact_product(acc, multiplier), 31 - exponent, Rounding.FLOOR)
        case EngineRule.HAWQ_DYADIC:
            return _hawq_dyadic(acc, multiplier, exponent)


def _high_multiply_then_shift(acc: Int64, multiplier: Int64, exponent: Int64, second: Rounding) -> Int64:
    """round(SRDHM(acc << max(s, 0), m) / 2**max(-s, 0)) with SRDHM(a, m) = floor((a * m + 2**30) / 2**31).

    gemmlowp writes SRDHM with a nudge of the product's sign and a division that truncates, which is the same number.
    Its saturation needs both factors to be -2**31, and a multiplier is never negative.
    """
    shifted = _held(round_shift(acc, -np.maximum(exponent, 0), Rounding.FLOOR), 32, "acc << exponent")
    high = round_shift(shifted * multiplier, 31, Rounding.HALF_UP)
    return round_shift(high, np.maximum(-exponent, 0), second)


def _single_round(acc: Int64, multiplier: Int64, exponent: Int64) -> Int64:
    """(acc * m + 2**(30 - s)) >> (31 - s)"""
    product = _held(acc, 32, "acc") * multiplier
    return _held(round_shift(product, 31 - exponent, Rounding.HALF_UP), 32, "the scaled accumulator")


def _tflite_int16(acc: Int64, multiplier: Int64, exponent: Int64) -> Int64:
    """(acc * m16 + 2**(14 - s)) >> (15 - s)"""
    product = _held(acc, 48, "acc") * reduced_multiplier(multiplier)
    return _held(round_shift(product, 15 - exponent, Rounding.HALF_UP), 32, "the scaled accumulator")


def _cmsis_s64(acc: Int64, multiplier: Int64, exponent: Int64) -> Int64:
    """((acc * m16 >> (14 - s)) + 1) >> 1: one bit more than the result must fit 32 bits."""
    product = _held(acc, 48, "acc") * reduced_multiplier(multiplier)
    doubled = _held(round_shift(product, 14 - exponent, Rounding.FLOOR), 32, "twice the scaled accumulator")
    return round_shift(doubled, 1, Rounding.HALF_UP)


def _tosa_scale16(acc: Int64, multiplier: Int64, exponent: Int64) -> Int64:
    """(acc * m + 2**(shift - 1)) >> shift with shift = 31 - s, the multiplier being the 16-bit one itself."""
    product = _held(acc, 48, "acc") * multiplier
    return _held(round_shift(product, 31 - exponent, Rounding.HALF_UP), 32, "the scaled accumulator")


def _hawq_dyadic(acc: Int64, multiplier: Int64, exponent: Int64) -> Int64:
    """rint(double(acc) * m / 2**(31 - s)): the product is rounded to 53 bits first."""
    product = _held(acc, 32, "acc").astype(np.float64) * multiplier
    scaled = np.rint(np.ldexp(product, exponent - 31))
    if np.any(np.abs(scaled) >= 2.0**63):
        raise OverflowError("the scaled accumulator leaves int64")
    return scaled.astype(np.int64)


def reduced_multiplier(multiplier: Int64) -> Int64:
    """A Q31 multiplier rounded half up to Q15, held below 2**15."""
    return np.minimum((multiplier + (1 << 15)) >> 16, 0x7FFF)


def _held(value: Int64, bits: int, name: str) -> Int64:
    if np.any((value < -(1 << (bits - 1))) | (value >= 1 << (bits - 1))):
        raise OverflowError(f"{name} is in {value.min()}..{value.max()}, but the engine holds it in {bits} bits")
    return value
