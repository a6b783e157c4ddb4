"""Every rounding against plain rational arithmetic, ties and extremes included."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.rounding import (
    INT64_MAX,
    INT64_MIN,
    Rounding,
    exact_product,
    round_divide,
    round_float,
    round_shift,
)
from tests.arithmetic.rational import RATIONAL

roundings = st.sampled_from(list(Rounding))
# Near zero, near powers of two (where ties and carries live) and anywhere.
int64s = st.one_of(
    st.integers(-40, 40),
    st.builds(lambda p, d, sign: sign * (2**p + d), st.integers(0, 62), st.integers(-2, 2), st.sampled_from([-1, 1])),
    st.integers(INT64_MIN, INT64_MAX),
    st.sampled_from([INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX]),
)


def test_every_rule_has_a_rational_meaning() -> None:
    assert set(RATIONAL) == set(Rounding)


@given(st.lists(st.tuples(int64s, st.integers(-70, 200)), min_size=1), roundings)
def test_round_shift_is_the_rational_rounding(pairs: list[tuple[int, int]], rounding: Rounding) -> None:
    expected = [RATIONAL[rounding](Fraction(value) / Fraction(2) ** shift) for value, shift in pairs]
    value, shift = np.array(pairs, dtype=np.int64).T
    if all(INT64_MIN <= e <= INT64_MAX for e in expected):
        result = round_shift(value, shift, rounding)
        assert result.dtype == np.int64
        assert result.tolist() == expected
    else:
        with pytest.raises(OverflowError, match="left shift"):
            round_shift(value, shift, rounding)


@pytest.mark.parametrize("rounding", Rounding)
def test_round_shift_at_the_ends_of_int64(rounding: Rounding) -> None:
    for value in (INT64_MIN, INT64_MIN + 1, INT64_MIN // 2, -1, 0, 1, 2**62 - 1, 2**62, INT64_MAX - 1, INT64_MAX):
        for shift in (0, 1, 61, 62, 63, 64, 65, 66, 127, 2**40):
            expected = RATIONAL[rounding](Fraction(value, 2 ** min(shift, 127)))  # beyond 65 bits nothing changes
            assert round_shift(value, shift, rounding) == expected, (value, shift)


@pytest.mark.parametrize(
    ("value", "places", "fits"),
    [(-1, 63, True), (1, 62, True), (1, 63, False), (-1, 64, False), (0, 64, True), (0, 2**40, True), (-2, 63, False)],
)
def test_the_largest_left_shifts(value: int, places: int, fits: bool) -> None:
    if fits:
        assert round_shift(value, -places, Rounding.HALF_EVEN) == value * 2 ** min(places, 64)
    else:
        with pytest.raises(OverflowError, match="left shift"):
            round_shift(value, -places, Rounding.HALF_EVEN)


@given(int64s, st.integers(0, 80), st.integers(-300, 300), roundings)
def test_an_offset_takes_part_in_sign_and_parity(value: int, shift: int, offset: int, rounding: Rounding) -> None:
    expected = RATIONAL[rounding](Fraction(value, 2**shift) + offset)
    if math.floor(Fraction(value, 2**shift)) + offset >= INT64_MIN and expected <= INT64_MAX:
        assert round_shift(value, shift, rounding, offset) == expected
    else:
        with pytest.raises(OverflowError):
            round_shift(value, shift, rounding, offset)


@given(int64s, st.one_of(st.integers(1, 64), st.integers(1, INT64_MAX), st.just(INT64_MAX)), roundings)
def test_round_divide_is_the_rational_rounding(numerator: int, denominator: int, rounding: Rounding) -> None:
    assert round_divide(numerator, denominator, rounding) == RATIONAL[rounding](Fraction(numerator, denominator))


@given(st.floats(allow_nan=False, allow_infinity=False), roundings)
def test_round_float_is_the_rational_rounding(x: float, rounding: Rounding) -> None:
    assert int(round_float(x, rounding)) == RATIONAL[rounding](Fraction(x))


@given(st.integers(-1000, 1000), st.sampled_from([-1, 0, 1]), roundings)
def test_round_float_at_and_next_to_ties(doubled: int, step: int, rounding: Rounding) -> None:
    x = doubled / 2
    x = x if step == 0 else math.nextafter(x, step * math.inf)
    assert int(round_float(x, rounding)) == RATIONAL[rounding](Fraction(x))


@pytest.mark.parametrize("rounding", Rounding)
def test_round_float_keeps_infinities_and_nan(rounding: Rounding) -> None:
    np.testing.assert_array_equal(round_float([np.inf, -np.inf, np.nan], rounding), [np.inf, -np.inf, np.nan])


def test_half_even_is_what_torch_rounds() -> None:
    x = np.arange(-4096, 4096, dtype=np.int64)
    for shift in range(1, 14):
        expected = torch.round(torch.from_numpy(x).double() / 2**shift).long().numpy()
        np.testing.assert_array_equal(round_shift(x, shift, Rounding.HALF_EVEN), expected)


@given(int64s, int64s)
def test_exact_product_or_an_error(a: int, b: int) -> None:
    if abs(a * b) <= INT64_MAX:
        assert exact_product(a, b) == a * b
    else:
        with pytest.raises(OverflowError, match="leaves int64"):
            exact_product(a, b)


def test_shapes_broadcast_and_other_kinds_are_refused() -> None:
    assert round_shift(np.zeros((2, 3, 1), np.int32), np.array([1, 2], np.int8), Rounding.FLOOR).shape == (2, 3, 2)
    with pytest.raises(TypeError, match="must be integer"):
        round_shift(np.array([1.5]), 1, Rounding.FLOOR)
    with pytest.raises(OverflowError, match="leaves int64"):
        round_shift(2**63, 1, Rounding.FLOOR)
    with pytest.raises(ValueError, match="must be positive"):
        round_divide([4, 5], [2, 0], Rounding.FLOOR)
