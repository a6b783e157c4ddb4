"""Chains that are a weighted sum of levels, rounded once: what shifts, multipliers and additions realise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import round_float
from intsim.errors import LoweringError
from intsim.ir.chain import Chain, Clamp, Terms, ToCodes


@dataclass(frozen=True, eq=False)
class Affine:
    """q = clamp(round(sum of coefficient * level) + zero_point, low, high)

    coefficients  float64 (1,) or (C,) for each source
    tail          rounding and zero point
    low, high     codes
    """

    coefficients: tuple[NDArray[np.float64], ...]
    tail: ToCodes
    low: int
    high: int


def affine_form(chain: Chain) -> Affine:
    """The affine form of a chain Terms, Clamp.., ToCodes; LoweringError for any other.

    Clamping before rounding is clamping after it at the rounded bound, because rounding is monotone.
    """
    first, *between, tail = chain.steps
    if not isinstance(first, Terms) or not isinstance(tail, ToCodes) or not all(isinstance(s, Clamp) for s in between):
        steps = ", ".join(type(step).__name__ for step in chain.steps)
        raise LoweringError(f"a {chain.form} needs Terms, Clamp and ToCodes, the chain has {steps}: use thresholds")
    low, high = tail.low, tail.high
    for step in between:
        assert isinstance(step, Clamp)
        low, high = max(low, _code(step.low, tail)), min(high, _code(step.high, tail))
    # A clamp beyond the code range leaves one code: the nearest bound.
    low, high = min(low, tail.high), max(high, tail.low)
    if low > high:
        raise LoweringError(f"the bounds {low}..{high} leave no code")
    return Affine(tuple(np.atleast_1d(c) for c in first.coefficients), tail, low, high)


def _code(bound: float, tail: ToCodes) -> int:
    """The code at which a bound in output units clamps."""
    if np.isinf(bound):
        return tail.low if bound < 0 else tail.high
    if tail.zero_point_first:
        return int(round_float(np.float64(bound + tail.zero_point), tail.rounding))
    return int(round_float(np.float64(bound), tail.rounding)) + tail.zero_point


def dyadic_parts(coefficient: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers (m, s) with coefficient = m / 2**s exactly and m odd (0 and s = 0 for 0); s may be negative."""
    mantissa, exponent = np.frexp(coefficient)
    numerator = np.ldexp(mantissa, 53).astype(np.int64)
    shift = 53 - exponent.astype(np.int64)
    lowest = numerator & -numerator
    zeros = np.where(numerator == 0, 0, np.log2(np.where(lowest == 0, 1, lowest).astype(np.float64))).astype(np.int64)
    return numerator >> zeros, np.where(numerator == 0, 0, shift - zeros)


def common_denominator(
    coefficients: tuple[NDArray[np.float64], ...],
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Multipliers for each source and one shift per channel, smallest possible: coefficient = multiplier / 2**shift.

    LoweringError where a multiplier would exceed 62 bits.
    """
    parts = [dyadic_parts(c) for c in np.broadcast_arrays(*coefficients)]
    shift = np.max(np.where([m == 0 for m, _ in parts], np.iinfo(np.int64).min, [s for _, s in parts]), axis=0)
    shift = np.where(shift == np.iinfo(np.int64).min, 0, shift)
    multipliers = []
    for numerator, own in parts:
        lift = np.where(numerator == 0, 0, shift - own)
        if (lift + np.ceil(np.log2(np.abs(numerator) + 1.0)) > 62).any():
            raise LoweringError("the scales of the operands differ by more than 2**62: they have no common grid")
        multipliers.append(numerator << lift)
    return multipliers, shift
