"""Budgets as users write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from intsim.costing.budget import Budget, parse_budget
from intsim.errors import CostError

pytestmark = pytest.mark.torchless


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("cycles=0.6", Budget("cycles", Fraction(3, 5), relative=True)),
        ("energy=.125", Budget("energy", Fraction(1, 8), relative=True)),
        ("cycles=2e6", Budget("cycles", Fraction(2_000_000))),
        ("cycles = 1500 cycles", Budget("cycles", Fraction(1500))),
        ("size=300kB", Budget("size", Fraction(2_400_000))),
        ("size=0.5MB", Budget("size", Fraction(4_000_000))),
        ("peak=64KiB", Budget("peak", Fraction(524_288))),
        ("peak=1e-3GB", Budget("peak", Fraction(8_000_000))),
        ("energy=3.5mJ", Budget("energy", Fraction(3_500_000_000))),
        ("energy=12 uJ", Budget("energy", Fraction(12_000_000))),
        ("loss=0.25", Budget("loss", Fraction(1, 4))),
        ("loss=3", Budget("loss", Fraction(3))),
    ],
)
def test_a_fraction_or_an_amount_with_a_unit(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cycle=0.5", "measure 'cycle': expected loss or cycles or .*; did you mean 'cycles'"),
        ("0.5", "measure '0.5': expected loss or"),
        ("cycles", "budget 'cycles': expected cycles= a number above 0, got ''"),
        ("cycles=fast", "expected cycles= a number above 0, got 'fast'"),
        ("cycles=-3", "expected cycles= a number above 0, got '-3'"),
        ("cycles=0", "expected cycles= a number above 0, got '0'"),
        ("cycles=nan", "expected cycles= a number above 0, got 'nan'"),
        ("size=300", "budget 'size=300': no unit; units are bit, kbit, Mbit, B, kB"),
        ("size=300pJ", "budget 'size=300pJ': unknown unit 'pJ'; units are bit"),
        ("energy=5kB", "unknown unit 'kB'; units are pJ, nJ, uJ, mJ, J"),
        ("loss=3pJ", "unknown unit 'pJ'; units are none"),
        ("cycles=1e999999999", "unknown unit"),
    ],
)
def test_a_budget_that_is_none(text: str, complaint: str) -> None:
    with pytest.raises(CostError, match=complaint) as error:
        parse_budget(text)
    assert "\n" not in str(error.value)
