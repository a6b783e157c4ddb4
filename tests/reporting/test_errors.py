"""Errors of layers: what one file gains on another, and the curves that show it."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.reporting.errors import LayerErrors
from intsim.reporting.figures import BOTTOM, TOP, LinearAxis, curve

pytestmark = pytest.mark.torchless

ERRORS = LayerErrors(
    10, {"plain": {"a": inf, "b": 10.0, "c": -3.0, "d": 5.0}, "trained": {"a": inf, "b": 14.0, "c": inf, "d": 4.0}}
)


def test_gains_are_over_the_first_file() -> None:
    assert ERRORS.gains("trained") == [0, 4, inf, -1]
    assert ERRORS.median_gain("trained") == 2
    assert ERRORS.gains("plain") == [0] * 4


def test_every_finite_value_lies_within_the_axes() -> None:
    plain, trained = ERRORS.curves
    assert (len(plain.dots), len(trained.dots)) == (3, 2)
    assert all(TOP <= y <= BOTTOM for _, y in plain.dots + trained.dots)
    assert plain.dots[0][1] < plain.dots[2][1] < plain.dots[1][1]  # 10 dB stand above 5, and those above -3


def test_a_value_without_noise_interrupts_the_line() -> None:
    axis = LinearAxis(0, 10, 0, 100)
    assert curve("x", [1, inf, 3, 4], axis, axis).path == "M10.0 10.0M30.0 30.0L40.0 40.0"
    assert [ERRORS.text(value) for value in (1.25, inf, -inf)] == ["1.2", "exact", "none"]


@given(st.floats(-100, 100), st.floats(1, 1000))
def test_ticks_are_few_and_evenly_spaced(low: float, length: float) -> None:
    ticks = LinearAxis(low, low + length, 0, 500).ticks
    assert len(ticks) <= 12
    values = [int(text.replace(",", "")) for _, text in ticks]
    assert len({b - a for a, b in zip(values, values[1:], strict=False)}) <= 1
    assert all(low <= value <= low + length for value in values)
