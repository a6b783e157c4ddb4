"""Rounding to an integer: nine directions, applied to shifts, to quotients and to floats.

Every integer rounding here is floor plus at most one. Whether the one is added depends only on where the discarded
fraction lies (zero, below, at or above one half), on the sign and on the parity, so one table serves both shifts and
divisions.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


class Rounding(StrEnum):
    """A direction of rounding; the half_ rules go to the nearest integer and differ only at ties.

    half_even is torch.round, np.rint and ONNX; half_up is `(x + half) >> s`; half_away is C's round().
    Source: IEEE 754-2019, 4.3, for half_even, half_away, ceil, floor and toward_zero.
    """

    HALF_EVEN = "half_even"
    HALF_UP = "half_up"  # ties toward +infinity
    HALF_DOWN = "half_down"  # ties toward -infinity
    HALF_AWAY = "half_away"  # ties away from zero
    HALF_TO_ZERO = "half_to_zero"
    FLOOR = "floor"
    CEIL = "ceil"
    TOWARD_ZERO = "toward_zero"
    AWAY_FROM_ZERO = "away_from_zero"


def round_shift(value: ArrayLike, shift: ArrayLike, rounding: Rounding, offset: int = 0) -> NDArray[np.int64]:
    """Shift integers right by `shift` bits and round; a negative shift is an exact left shift.

    value       integer (...)
    shift       integer, broadcasts against value; any size, 63 and beyond included
    rounding    Rounding
    offset      added before rounding, so that it takes part in sign and parity
    returns     int64, the broadcast shape
    raises      OverflowError if a left shift or the offset leaves int64
    Exact:      round(value / 2**shift + offset)
    """
    value, shift = as_int64(value, "value"), as_int64(shift, "shift")
    # |value| <= 2**63, so from 65 on the quotient is below one half in magnitude whatever the shift.
    right, left = np.clip(shift, 0, 65), np.clip(-shift, 0, 64)
    shifted = _shift_left(value, left) if np.any(left) else value

    quotient = _add(shifted >> np.minimum(right, 63), offset)
    # The discarded bits of an endless two's complement number: the highest one says half, the others say beyond. Past
    # bit 63 they repeat the sign: set for every negative value, absent for the others.
    place = np.clip(right - 1, 0, 63)
    half = (right > 0) & ((value >> place) & 1 == 1)
    lower_bits = np.where(right == 65, -1, ~(np.int64(-1) << place))
    beyond = (right > 0) & (value & lower_bits != 0)
    return quotient + _rounds_up(rounding, quotient, inexact=half | beyond, tie=half & ~beyond, above=half & beyond)


def round_divide(numerator: ArrayLike, denominator: ArrayLike, rounding: Rounding) -> NDArray[np.int64]:
    """Divide integers and round, as an exact rational.

    numerator    integer (...)
    denominator  positive integer, broadcasts against numerator
    returns      int64, the broadcast shape
    raises       ValueError if a denominator is not positive
    Exact:       round(numerator / denominator); nothing inside can overflow
    """
    numerator, denominator = as_int64(numerator, "numerator"), as_int64(denominator, "denominator")
    if np.any(denominator <= 0):
        raise ValueError(f"the denominator must be positive, got {denominator.min()}")
    quotient, remainder = np.divmod(numerator, denominator)
    rest = denominator - remainder  # compared with the remainder in place of doubling it, which could overflow
    inexact = remainder != 0
    return quotient + _rounds_up(rounding, quotient, inexact=inexact, tie=remainder == rest, above=remainder > rest)


def round_float(x: ArrayLike, rounding: Rounding) -> NDArray[np.float64]:
    """Round floats to integral floats by the same rules.

    x           float64 (...); infinities and NaN stay what they are
    returns     float64 (...)
    Exact:      round(x); the fraction is taken from the magnitude, where the subtraction loses no bit
    """
    x = np.asarray(x, dtype=np.float64)
    match rounding:
        case Rounding.HALF_EVEN:
            return np.rint(x)
        case Rounding.FLOOR:
            return np.floor(x)
        case Rounding.CEIL:
            return np.ceil(x)
        case Rounding.TOWARD_ZERO:
            return np.trunc(x)
        case Rounding.AWAY_FROM_ZERO:
            return np.copysign(np.ceil(np.abs(x)), x)
    fraction, magnitude = np.modf(np.abs(x))
    negative = np.signbit(x)
    tie_grows = {
        Rounding.HALF_UP: ~negative,
        Rounding.HALF_DOWN: negative,
        Rounding.HALF_AWAY: np.True_,
        Rounding.HALF_TO_ZERO: np.False_,
    }[rounding]
    return np.copysign(magnitude + ((fraction > 0.5) | ((fraction == 0.5) & tie_grows)), x)


def exact_product(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Multiply integers elementwise.

    a, b        integer, broadcast against each other
    returns     int64
    raises      OverflowError if a product leaves int64
    """
    a, b = as_int64(a, "factor"), as_int64(b, "factor")
    # Magnitudes as uint64 hold 2**63 too; a product of magnitudes within 2**63 - 1 has a sign to spare.
    limit = np.uint64(INT64_MAX) // np.maximum(magnitude(b), 1)
    if np.any((magnitude(a) > limit) & (b != 0)):
        raise OverflowError(
            f"a product of up to {magnitude(a).max()} by {magnitude(b).max()} leaves int64: "
            "use a multiplier of fewer bits or a narrower accumulator"
        )
    return a * b


def magnitude(value: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Absolute values of int64 (...) as uint64 (...), which unlike int64 has room for 2**63."""
    return np.abs(value).view(np.uint64)


def as_int64(value: ArrayLike, name: str) -> NDArray[np.int64]:
    """Integers of any width as an int64 array; TypeError for other kinds, OverflowError beyond int64."""
    array = np.asarray(value)
    if array.dtype == np.int64:
        return array
    if array.dtype.kind not in "iu":
        if array.dtype == object and all(isinstance(element, int) for element in array.flat):
            raise OverflowError(f"{name} leaves int64")
        raise TypeError(f"{name} must be integer, got {array.dtype}")
    if array.dtype == np.uint64 and np.any(array > INT64_MAX):
        raise OverflowError(f"{name} leaves int64: {array.max()}")
    return array.astype(np.int64)


def _rounds_up(
    rounding: Rounding,
    quotient: NDArray[np.int64],
    *,
    inexact: NDArray[np.bool_],
    tie: NDArray[np.bool_],
    above: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Where floor + 1 is the answer, given where the discarded fraction lies. The value's sign is its floor's sign."""
    negative = quotient < 0
    match rounding:
        case Rounding.FLOOR:
            return np.zeros_like(inexact)
        case Rounding.CEIL:
            return inexact
        case Rounding.TOWARD_ZERO:
            return inexact & negative
        case Rounding.AWAY_FROM_ZERO:
            return inexact & ~negative
        case Rounding.HALF_EVEN:
            return above | (tie & (quotient & 1 == 1))
        case Rounding.HALF_UP:
            return above | tie
        case Rounding.HALF_DOWN:
            return above
        case Rounding.HALF_AWAY:
            return above | (tie & ~negative)
        case Rounding.HALF_TO_ZERO:
            return above | (tie & negative)


def _shift_left(value: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.minimum(left, 63)
    fits = (value >= np.int64(INT64_MIN) >> places) & (value <= np.int64(INT64_MAX) >> places)
    if not np.all(np.where(left == 64, value == 0, fits)):
        raise OverflowError(f"a left shift by up to {left.max()} bits takes a value out of int64")
    return value << places


def _add(value: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    leaves = value > INT64_MAX - offset if offset > 0 else value < INT64_MIN - offset
    if np.any(leaves):
        raise OverflowError(f"adding {offset} takes a value out of int64")
    return value + offset
