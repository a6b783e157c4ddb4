"""The requantization unit at the array's edge: every rounding and side, at ties, at the ends of the range and beyond.

The input is zero, so that sums are the biases: each channel asks the unit one question of our choice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32, IntType
from intsim.exporters.registers import ONE_STEP, TWO_STEP
from intsim.ir import ops
from tests.costing.rtl.equality import assert_equal
from tests.costing.rtl.networks import BIT, Network, constant, grid
from tests.costing.rtl.simulator import RtlArray

pytestmark = [pytest.mark.torchless, pytest.mark.usefixtures("verilator")]

ARRAY = RtlArray("output_stationary", 5, 7, levels=255)
CHANNELS = 210
S8 = IntType(True, 8)
WIDE = IntType(True, 40)


class Questions(Network):
    """Linear layers without a product that matters: x is 0."""

    def __init__(self, seed: int) -> None:
        super().__init__(grid("u1"), (1, 1), seed)

    def codes(self) -> NDArray[np.integer]:
        return np.zeros((1, 1), np.uint8)

    def sums(self, values: NDArray[np.int64]) -> str:
        bias = constant(np.clip(values, S32.min, S32.max))
        return self.add(ops.Linear(), "x", weight=self.weight((CHANNELS, 1), grid("s2", axis=0)), bias=bias)

    def near_ties(self, shift: NDArray[np.int64]) -> NDArray[np.int64]:
        """Integers whose quotient by 2**shift is an integer or lies half way between two, or one beside that."""
        halves = self.rng.integers(-300, 300, CHANNELS) * 2.0 ** (shift - 1)
        return halves.astype(np.int64) + self.rng.integers(-1, 2, CHANNELS)


@pytest.mark.parametrize("rounding", Rounding)
def test_shifts(rounding: Rounding, tmp_path: Path) -> None:
    net = Questions(1)
    for before in (False, True):
        for zero_point, low, high in ((0, None, None), (-7, -100, 50)):
            shift = net.rng.integers(-31, 32, CHANNELS)
            sums = net.near_ties(shift)
            sums[:4], shift[:4] = (S32.min, S32.max, S32.min, S32.max), (31, 31, -31, -31)
            op = ops.RequantizeShift(grid("s8", zero_point), rounding, before, low, high)
            net.add(op, net.sums(sums), shift=constant(shift, S8))
    assert_equal(ARRAY, net, tmp_path)


@pytest.mark.parametrize("rounding", Rounding)
def test_multipliers(rounding: Rounding, tmp_path: Path) -> None:
    net = Questions(2)
    for before in (False, True):
        places = net.rng.integers(0, 31, CHANNELS)
        powers, near = 1 << places, net.rng.integers(0, 24, CHANNELS)
        powers[::2] *= -1
        powers = np.maximum(powers, -(1 << 30))
        anything = net.rng.integers(S32.min, S32.max, CHANNELS), net.rng.integers(S32.min, S32.max, CHANNELS)
        extremes = np.resize([S32.min, S32.max, -1, 0, 1], CHANNELS), np.resize([S32.min, S32.max], CHANNELS)
        for sums, multiplier, shift in (
            (net.near_ties(near), powers, places + near),
            (anything[0], anything[1], net.rng.integers(50, 63, CHANNELS)),
            (extremes[0], extremes[1], net.rng.integers(54, 63, CHANNELS)),
            (net.rng.integers(-3, 4, CHANNELS), net.rng.integers(-9, 9, CHANNELS), net.rng.integers(-31, 4, CHANNELS)),
        ):
            op = ops.RequantizeMultiplier(grid("u8", 119), rounding, before)
            net.add(op, net.sums(sums), multiplier=constant(multiplier), shift=constant(shift))
    assert_equal(ARRAY, net, tmp_path)


@pytest.mark.parametrize("rule", [*ONE_STEP, *TWO_STEP])
def test_rules_of_engines(rule: EngineRule, tmp_path: Path) -> None:
    net = Questions(3)
    multiplier_bits = 15 if rule is EngineRule.TOSA_SCALE16 else 31
    multiplier = net.rng.integers(1 << (multiplier_bits - 1), 1 << multiplier_bits, CHANNELS)
    multiplier[::3] = 1 << (multiplier_bits - 1)
    for sum_bits in (8, 16, 31):
        sums = net.rng.integers(-(1 << sum_bits), 1 << sum_bits, CHANNELS)
        shift = np.maximum(multiplier_bits - 6, multiplier_bits + sum_bits - net.rng.integers(6, 10, CHANNELS))
        op = ops.RequantizeMultiplier(grid("s8", -5), rule)
        net.add(op, net.sums(sums), multiplier=constant(multiplier), shift=constant(shift))
    assert_equal(ARRAY, net, tmp_path)


def test_thresholds(tmp_path: Path) -> None:
    """Duplicates, sums at thresholds and beside them, and thresholds that 32 bits cannot hold on either side."""
    net = Questions(4)
    for spread in (40, 1 << 20, 1 << 33):
        rows = np.sort(net.rng.integers(-spread, spread, (CHANNELS, 255)), axis=1)
        sums = rows[np.arange(CHANNELS), net.rng.integers(0, 255, CHANNELS)] + net.rng.integers(-1, 2, CHANNELS)
        flags = {"strict": np.arange(CHANNELS) % 2, "descending": np.arange(CHANNELS) // 2 % 2}
        net.add(
            ops.Threshold(grid("s8")),
            net.sums(sums),
            thresholds=constant(rows, WIDE),
            base=constant([-128]),
            **{name: constant(flag, BIT) for name, flag in flags.items()},
        )
    assert_equal(ARRAY, net, tmp_path)
