"""Budgets as users write them: `cycles=0.6`, `cycles=2e6`, `energy=3.5mJ`, `size=300kB`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from intsim.costing.menu import MEASURES, Measure
from intsim.errors import CostError, one_of

_BITS = {
    "bit": 1,
    "kbit": 10**3,
    "Mbit": 10**6,
    "B": 8,
    "kB": 8 * 10**3,
    "MB": 8 * 10**6,
    "GB": 8 * 10**9,
    "KiB": 8 * 2**10,
    "MiB": 8 * 2**20,
}
_PICOJOULES = {"pJ": 1, "nJ": 10**3, "uJ": 10**6, "mJ": 10**9, "J": 10**12}
UNITS: dict[Measure, dict[str, int]] = {
    "loss": {"": 1},
    "cycles": {"": 1, "cycles": 1},
    "energy": _PICOJOULES,
    "size": _BITS,
    "bops": {"": 1},
    "peak": _BITS,
}
_NUMBER = re.compile(r"(\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE]([+-]?\d{1,2}))?")


@dataclass(frozen=True)
class Budget:
    """At most `amount` of a measure: in its unit, or as a fraction of what uniform 8/8 bits take."""

    measure: Measure
    amount: Fraction
    relative: bool = False


def parse_measure(text: str) -> Measure:
    """The measure of that name; CostError with those there are."""
    return cast(Measure, one_of("measure", text, tuple(MEASURES), CostError))


def parse_budget(text: str) -> Budget:
    """The budget that `measure=amount` states: a number below 1 is a fraction, others have a unit; a loss has none.

    raises   CostError: an unknown measure or unit, a missing one, or no number above 0
    """
    name, _, amount = (part.strip() for part in text.partition("="))
    measure = parse_measure(name)
    number = _NUMBER.match(amount)
    value = Fraction(number[0]) if number else Fraction(0)
    if number is None or value == 0:
        raise CostError(f"budget '{text}': expected {name}= a number above 0, got '{amount}'")
    unit = amount[number.end() :].strip()
    if not unit and value < 1 and measure != "loss":
        return Budget(measure, value, relative=True)
    known = UNITS[measure]
    if unit not in known:
        choices = ", ".join(name for name in known if name) or "none"
        problem = f"unknown unit '{unit}'" if unit else "no unit"
        raise CostError(
            f"budget '{text}': {problem}; units are {choices}, and a number below 1 is a fraction of 8/8 bits"
        )
    return Budget(measure, value * known[unit])
