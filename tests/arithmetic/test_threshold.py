"""Thresholds against counting in plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.rounding import INT64_MAX, INT64_MIN
from intsim.arithmetic.threshold import apply_thresholds
from intsim.dtypes import IntType

U4, S16 = IntType.parse("u4"), IntType.parse("s16")
COMPARE: dict[tuple[bool, bool], Callable[[int, int], bool]] = {  # by (strict, descending)
    (False, False): operator.ge,
    (True, False): operator.gt,
    (False, True): operator.le,
    (True, True): operator.lt,
}
# A small range, so that equal values and duplicates are common; and the ends.
integers = st.one_of(st.integers(-6, 6), st.sampled_from([INT64_MIN, INT64_MAX]))


def per_channel_or_scalar(data: st.DataObject, values: st.SearchStrategy[Any], channels: int) -> Any:
    return data.draw(st.one_of(values, st.lists(values, min_size=channels, max_size=channels)))


@given(st.data())
def test_a_code_is_the_base_and_the_count(data: st.DataObject) -> None:
    channels, length = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 9))
    rows = data.draw(st.sampled_from([1, channels]))
    thresholds = [sorted(data.draw(st.lists(integers, min_size=length, max_size=length))) for _ in range(rows)]
    base = per_channel_or_scalar(data, st.integers(-3, 3), channels)
    strict = per_channel_or_scalar(data, st.booleans(), channels)
    descending = per_channel_or_scalar(data, st.booleans(), channels)
    acc = np.array(data.draw(st.lists(integers, min_size=6 * channels, max_size=6 * channels)), np.int64)
    acc = acc.reshape(2, channels, 3)

    table = np.array(thresholds, np.int64).reshape(rows, length)
    codes = apply_thresholds(acc, table, base, S16, strict, descending)

    assert codes.dtype == S16.storage
    for n, c, i in np.ndindex(acc.shape):
        row = thresholds[c % rows]
        b, s, d = (np.broadcast_to(parameter, channels)[c] for parameter in (base, strict, descending))
        assert codes[n, c, i] == b + sum(COMPARE[bool(s), bool(d)](int(acc[n, c, i]), t) for t in row)


def test_channels_may_lie_on_another_axis() -> None:
    acc = np.array([[0, 5], [3, 9], [4, 10]])
    thresholds = np.array([[3, 4], [6, 10]])
    codes = apply_thresholds(acc, thresholds, 0, U4, False, False, axis=-1)
    assert codes.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert apply_thresholds(acc.T, thresholds, 0, U4, False, False, axis=0).tolist() == codes.T.tolist()


def test_a_short_channel_pads_with_a_threshold_that_nothing_reaches() -> None:
    acc = np.array([[-(2**31), 2**31 - 1]])
    padded = np.array([[0, INT64_MAX]]), np.array([[INT64_MIN, 0]])
    assert apply_thresholds(acc, padded[0], 0, U4, False, False).tolist() == [[0, 1]]
    assert apply_thresholds(acc, padded[1], 0, U4, False, True).tolist() == [[1, 0]]


def test_bad_thresholds_are_refused() -> None:
    acc = np.zeros((1, 3), np.int64)
    with pytest.raises(ValueError, match="channel 1 must ascend, but T_0 = 2 > T_1 = 1"):
        apply_thresholds(acc, np.array([[1, 1], [2, 1], [0, 0]]), 0, U4, False, False)
    with pytest.raises(ValueError, match="thresholds is for 2 channels, but axis 1 of the accumulator has 3"):
        apply_thresholds(acc, np.zeros((2, 1), np.int64), 0, U4, False, False)
    with pytest.raises(ValueError, match="strict is for 2 channels"):
        apply_thresholds(acc, np.zeros((1, 1), np.int64), 0, U4, [True, False], False)
    with pytest.raises(ValueError, match="must be"):
        apply_thresholds(acc, np.zeros(3, np.int64), 0, U4, False, False)
    with pytest.raises(OverflowError, match=r"codes 16..16, outside u4"):
        apply_thresholds(acc, np.zeros((1, 1), np.int64), 15, U4, False, False)
