"""The oracle of the rounding tests: each rule as a function on rational numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from intsim.arithmetic.rounding import Rounding

HALF = Fraction(1, 2)


def half_away(x: Fraction) -> int:
    return math.floor(x + HALF) if x >= 0 else math.ceil(x - HALF)


def half_to_zero(x: Fraction) -> int:
    return math.ceil(x - HALF) if x >= 0 else math.floor(x + HALF)


RATIONAL: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.HALF_EVEN: round,  # Python rounds a Fraction half to even
    Rounding.HALF_UP: lambda x: math.floor(x + HALF),
    Rounding.HALF_DOWN: lambda x: math.ceil(x - HALF),
    Rounding.HALF_AWAY: half_away,
    Rounding.HALF_TO_ZERO: half_to_zero,
    Rounding.FLOOR: math.floor,
    Rounding.CEIL: math.ceil,
    Rounding.TOWARD_ZERO: math.trunc,
    Rounding.AWAY_FROM_ZERO: lambda x: math.ceil(x) if x >= 0 else math.floor(x),
}
