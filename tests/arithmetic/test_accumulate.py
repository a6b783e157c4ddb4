"""Accumulators and intervals against Python integers and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.accumulate import Accumulator, Overflow, accumulate, interval, matmul_exact, signed_bits
from intsim.arithmetic.rounding import INT64_MAX, INT64_MIN
from intsim.dtypes import IntType

terms = st.one_of(
    st.lists(st.integers(-300, 300), max_size=8),
    st.lists(st.one_of(st.integers(INT64_MIN, INT64_MAX), st.sampled_from([INT64_MIN, INT64_MAX])), max_size=5),
)


def wrapped(value: int, bits: int) -> int:
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


@given(terms, st.integers(-300, 300), st.integers(1, 64))
def test_wrap_is_the_sum_modulo_a_power_of_two(products: list[int], initial: int, bits: int) -> None:
    result = accumulate(np.array(products, np.int64), initial, Accumulator(bits, "wrap"))
    assert result == wrapped(initial + sum(products), bits)


@given(terms, st.integers(-300, 300), st.integers(1, 64))
def test_saturate_clips_after_each_addition(products: list[int], initial: int, bits: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    expected = min(max(initial, low), high)
    for product in products:
        expected = min(max(expected + product, low), high)
    assert accumulate(np.array(products, np.int64), initial, Accumulator(bits, "saturate")) == expected


@given(st.lists(st.integers(-9, 9), max_size=5), st.integers(-9, 9), st.integers(1, 7))
def test_exact_raises_where_some_order_of_the_additions_leaves_the_type(
    products: list[int], initial: int, bits: int
) -> None:
    kind, orders = IntType(True, bits), itertools.permutations([initial, *products])
    partial_sums = [partial for order in orders for partial in itertools.accumulate(order)]
    array = np.array(products, np.int64)
    if all(kind.min <= partial <= kind.max for partial in partial_sums):
        assert accumulate(array, initial, Accumulator(bits)) == initial + sum(products)
    else:
        with pytest.raises(OverflowError, match=f"but the accumulator is s{bits}"):
            accumulate(array, initial, Accumulator(bits))


@given(terms, st.integers(-300, 300))
def test_exact_at_64_bits_sees_sums_beyond_int64(products: list[int], initial: int) -> None:
    low = min(initial, 0) + sum(p for p in products if p < 0)
    high = max(initial, 0) + sum(p for p in products if p > 0)
    if low >= INT64_MIN and high <= INT64_MAX:
        assert accumulate(np.array(products, np.int64), initial, Accumulator(64)) == initial + sum(products)
    else:
        with pytest.raises(OverflowError, match=f"needs s{signed_bits(low, high)}, but"):
            accumulate(np.array(products, np.int64), initial, Accumulator(64))


def test_saturation_depends_on_the_order_and_the_bias_broadcasts() -> None:
    s8 = Accumulator(8, "saturate")
    products = np.array([[[100, 100, -100]], [[100, -100, 100]]])
    assert accumulate(products, np.array([0]), s8).tolist() == [[27], [100]]
    assert accumulate(products, np.array([[[5], [500]]]), s8).shape == (1, 2, 1)


@pytest.mark.parametrize(
    ("text", "accumulator"),
    [
        ("s32", Accumulator()),
        ("s16 wrap", Accumulator(16, "wrap")),
        ("s16 saturate pixel_major", Accumulator(16, "saturate", "pixel_major")),
        ("s64 pixel_major", Accumulator(64, "exact", "pixel_major")),
    ],
)
def test_an_accumulator_prints_and_parses_back(text: str, accumulator: Accumulator) -> None:
    assert str(accumulator) == text
    assert Accumulator.parse(text) == accumulator


@pytest.mark.parametrize(
    "text", ["", "32", "u32", "s65", "s16 wraps", "s16 wrap wrap", "s16 pixel_major wrap", "s16  wrap"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is written like|1 to 64 bits"):
        Accumulator.parse(text)


@pytest.mark.parametrize(("bits", "overflow"), [(0, "wrap"), (65, "wrap"), (16, "clamp")])
def test_there_are_no_other_accumulators(bits: int, overflow: Overflow) -> None:
    with pytest.raises(ValueError, match="no such accumulator"):
        Accumulator(bits, overflow)


@pytest.mark.parametrize("magnitude", [2**3, 2**22, 2**27, 2**28])  # float64 and int64 alike
def test_matmul_is_the_sum_of_products(magnitude: int) -> None:
    generator = np.random.default_rng(magnitude)
    a = generator.integers(-magnitude, magnitude, (2, 3, 50), endpoint=True)
    b = generator.integers(-magnitude, magnitude, (50, 4), endpoint=True)
    expected = (a[..., np.newaxis].astype(object) * b.astype(object)).sum(axis=-2)
    assert matmul_exact(a, b).tolist() == expected.tolist()
    assert matmul_exact(a.astype(np.int32), b).dtype == np.int64


def test_matmul_at_the_largest_sums_and_beyond() -> None:
    row, column = np.full((1, 2), 2**31), np.full((2, 1), -(2**31 - 1))
    assert matmul_exact(row, column).tolist() == [[-(2**32) * (2**31 - 1)]]
    assert matmul_exact(np.zeros((3, 0), np.int64), np.zeros((0, 2), np.int64)).tolist() == [[0, 0]] * 3
    with pytest.raises(OverflowError, match="sums of 2 products may reach"):
        matmul_exact(row, column - 1)


@given(st.data())
def test_interval_is_reached_and_never_left(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 3))
    weights = data.draw(st.lists(st.integers(-5, 5), min_size=k, max_size=k))
    ranges = data.draw(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=k, max_size=k))
    inputs = [range(low, low + span + 1) for low, span in ranges]
    initial = data.draw(st.integers(-9, 9))
    products = [[w * x for w, x in zip(weights, xs, strict=True)] for xs in itertools.product(*inputs)]
    sums = [initial + sum(p) for p in products]
    # Any subset of the terms, the bias being one of them.
    partials = [
        sum(subset) for p in products for size in range(k + 2) for subset in itertools.combinations([initial, *p], size)
    ]

    result = interval([weights], [r[0] for r in inputs], [r[-1] for r in inputs], [initial])

    assert (result.minimum, result.maximum) == ([min(sums)], [max(sums)])
    assert (result.partial_minimum, result.partial_maximum) == ([min(partials)], [max(partials)])


def test_interval_is_exact_beyond_int64_and_beyond_float() -> None:
    """A width computed in float32 is the known bug: 2**31 in place of 2**31 + 1 hides the 33rd bit."""
    result = interval([[2**31, 1], [-1, 0]], 0, 1, [0, 2**31])
    assert (result.minimum, result.maximum) == ([0, 2**31 - 1], [2**31 + 1, 2**31])
    huge = interval(np.full((1, 3), INT64_MIN), 0, INT64_MAX, INT64_MIN)
    assert huge.minimum == huge.partial_minimum == [3 * INT64_MIN * INT64_MAX + INT64_MIN]
    assert (huge.maximum, huge.partial_maximum) == ([INT64_MIN], [0])
    assert all(type(bound) is int for bound in [*result.minimum, *huge.minimum])
    with pytest.raises(ValueError, match="above its greatest"):
        interval([[1]], 1, 0, 0)


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**70))
def test_signed_bits_is_the_smallest_width(low: int, span: int) -> None:
    high, bits = low + span, signed_bits(low, low + span)
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)
    assert bits == 1 or not -(2 ** (bits - 2)) <= low <= high < 2 ** (bits - 2)


def test_signed_bits_takes_each_sign_by_itself() -> None:
    assert [signed_bits(0, v) for v in (0, 1, 4095, 4096)] == [1, 2, 13, 14]
    assert [signed_bits(v, 0) for v in (-1, -4095, -4096, -4097)] == [1, 13, 13, 14]
    with pytest.raises(ValueError, match="no integers"):
        signed_bits(1, 0)
