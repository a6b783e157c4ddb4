"""Every pass puts integers in the place of a float chain that give the same code on every accumulator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.errors import LoweringError
from intsim.ir.chain import (
    Chain,
    Clamp,
    CountThresholds,
    Divide,
    Function,
    Multiply,
    Offset,
    PRelu,
    Step,
    Terms,
    ToCodes,
)
from intsim.ir.check import check
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import AdaptiveAveragePool, Add, AveragePool, RequantizeMultiplier, RequantizeShift, Table, Threshold
from intsim.ir.types import Grid, Scale, TensorType, Value
from intsim.lower.divide_averages import divide_averages
from intsim.lower.float_chain import FloatChain
from intsim.lower.fold_thresholds import fold_thresholds
from intsim.lower.requantize_multipliers import requantize_multipliers
from intsim.lower.requantize_shifts import requantize_shifts
from intsim.lower.tabulate import tabulate

ACC = IntType(True, 11)
CHANNELS = 3
U4 = Grid(IntType(False, 4), Scale((0,), True))


def u4(zero: int) -> Grid:
    return Grid(U4.element, U4.scale, (zero,))


ROUNDINGS = st.sampled_from(list(Rounding))


def graph_of(chain: Chain, out: Grid, sources: int = 1, element: IntType = ACC) -> Graph:
    """A graph of one float chain over accumulators of CHANNELS channels."""
    inputs = {f"acc{i}": TensorType(Grid(element, Scale((0,), True)), (None, CHANNELS, 1)) for i in range(sources)}
    return Graph(inputs, {}, (Node("q", FloatChain(chain, out), tuple(inputs)),), ("q",))


def every(element: IntType) -> np.ndarray:
    """Every code of a type, in every channel: (codes, CHANNELS, 1)."""
    codes = np.arange(element.min, element.max + 1, dtype=element.storage)
    return np.repeat(codes[:, None, None], CHANNELS, axis=1)


def run(graph: Graph, *codes: np.ndarray) -> np.ndarray:
    values = dict(graph.constants)
    values.update({n: Value(t, c) for (n, t), c in zip(graph.inputs.items(), codes, strict=True)})
    (node,) = graph.nodes
    return node.op.evaluate(*(values[name] for name in node.inputs))


def assert_same(before: Graph, transform: Callable[[Graph], Graph], kind: type, *codes: np.ndarray) -> Graph:
    """The pass yields the operator, in a well-formed graph, with equal codes on all the given accumulators."""
    after = check(transform(before))
    assert isinstance(after.nodes[0].op, kind)
    np.testing.assert_array_equal(run(after, *codes), run(before, *codes))
    return after


def chain(steps: list[Step], form: str, sources: int = 1) -> Chain:
    return Chain(tuple(f"acc{i}" for i in range(sources)), tuple(steps), form)


def tail(rounding: Rounding, zero: int = 0, first: bool = False, low: int = 0, high: int = 15) -> ToCodes:
    return ToCodes(rounding, zero, first, low, high)


@given(
    st.lists(st.integers(-4, 12), min_size=CHANNELS, max_size=CHANNELS), ROUNDINGS, st.integers(0, 15), st.booleans()
)
def test_shifts_equal_the_chain_on_every_accumulator(shifts, rounding, zero, first):
    coefficients = np.ldexp(1.0, -np.array(shifts))
    before = graph_of(chain([Terms((coefficients,)), tail(rounding, zero, first, low=zero)], "shift"), u4(zero))
    assert_same(before, requantize_shifts, RequantizeShift, every(ACC))


@given(st.floats(-3, 20), st.floats(-3, 20), ROUNDINGS, st.integers(0, 15))
def test_a_clamp_before_rounding_becomes_bounds_on_codes(a, b, rounding, zero):
    clamp = Clamp(min(a, b), max(a, b))
    before = graph_of(chain([Terms((np.float64(0.0625),)), clamp, tail(rounding, zero)], "shift"), u4(zero))
    assert_same(before, requantize_shifts, RequantizeShift, every(ACC))


def dyadics(bits: int) -> st.SearchStrategy[float]:
    """Numbers m / 2**s with |m| < 2**bits, about 1/100 in size."""
    return st.builds(
        lambda m, s: m / 2.0**s, st.integers(-(1 << bits) + 1, (1 << bits) - 1), st.integers(bits, bits + 8)
    )


@given(st.lists(dyadics(26), min_size=CHANNELS, max_size=CHANNELS), ROUNDINGS, st.integers(0, 15), st.booleans())
def test_multipliers_equal_the_chain_on_every_accumulator(coefficients, rounding, zero, first):
    steps: list[Step] = [Terms((np.array(coefficients),)), tail(rounding, zero, first)]
    assert_same(
        graph_of(chain(steps, "multiplier"), u4(zero)), requantize_multipliers, RequantizeMultiplier, every(ACC)
    )


@given(st.lists(dyadics(12), min_size=4, max_size=4), ROUNDINGS, st.integers(0, 15))
def test_additions_round_once_as_the_chain_does(coefficients, rounding, zero):
    element = IntType(True, 6)
    first, second = np.array(coefficients[:CHANNELS]), np.float64(coefficients[-1])
    steps: list[Step] = [Terms((first, second)), tail(rounding, zero, low=zero)]
    a, b = (
        grid.reshape(-1, 1, 1).repeat(CHANNELS, 1) for grid in np.meshgrid(every(element)[:, 0], every(element)[:, 0])
    )
    before = graph_of(chain(steps, "multiplier", 2), u4(zero), 2, element)
    assert_same(before, requantize_multipliers, Add, a.astype(np.int8), b.astype(np.int8))


@given(st.lists(st.integers(-6, 10), min_size=4, max_size=4), ROUNDINGS)
def test_additions_on_power_of_two_scales_align_by_shifts(exponents, rounding):
    element = IntType(True, 6)
    first, second = np.ldexp(1.0, -np.array(exponents[:CHANNELS])), np.ldexp(1.0, -exponents[-1])
    steps: list[Step] = [Terms((first, np.float64(second))), tail(rounding)]
    a, b = (
        grid.reshape(-1, 1, 1).repeat(CHANNELS, 1) for grid in np.meshgrid(every(element)[:, 0], every(element)[:, 0])
    )
    before = graph_of(chain(steps, "shift", 2), U4, 2, element)
    after = assert_same(before, requantize_shifts, Add, a.astype(np.int8), b.astype(np.int8))
    for name in ("q.multiplier0", "q.multiplier1"):
        assert all(int(m).bit_count() == 1 for m in after.constants[name].codes)


reals = st.floats(-2, 2, allow_subnormal=False).filter(lambda v: abs(v) > 1e-3)


@given(
    st.lists(reals, min_size=CHANNELS, max_size=CHANNELS),
    st.lists(st.floats(-50, 50), min_size=CHANNELS, max_size=CHANNELS),
    st.lists(st.floats(0, 1.5), min_size=CHANNELS, max_size=CHANNELS),
    st.floats(1, 40),
    ROUNDINGS,
)
def test_thresholds_equal_any_monotone_chain_on_every_accumulator(factors, offsets, slopes, step, rounding):
    """Negative factors give falling channels; ties, saturation and unreachable levels are all in the range."""
    steps: list[Step] = [
        Terms((np.float64(0.37),)),
        Multiply(np.array(factors)),
        Offset(np.array(offsets)),
        PRelu(np.array(slopes)),
        Clamp(-100.0, 300.0),
        Divide(np.float64(step)),
        tail(rounding, zero=3),
    ]
    assert_same(graph_of(chain(steps, "threshold"), u4(3)), fold_thresholds, Threshold, every(ACC))


@given(st.lists(st.floats(-200, 200), min_size=7, max_size=7), st.booleans(), reals)
def test_learned_thresholds_fold_with_their_side_of_the_comparison(thresholds, strict, factor):
    rounded = np.round(np.sort(thresholds))  # on integers, so that equality really happens
    steps: list[Step] = [Terms((np.sign(factor) * np.ones(CHANNELS),)), CountThresholds(rounded, strict, 1)]
    assert_same(graph_of(chain(steps, "threshold"), U4), fold_thresholds, Threshold, every(ACC))


def test_a_negative_slope_folds_only_where_the_channel_stays_monotone():
    steps: list[Step] = [
        Terms((np.float64(1.0),)),
        PRelu(np.array([-0.5, 0.5, -1.0])),
        Divide(np.float64(100)),
        tail(Rounding.HALF_EVEN),
    ]
    with pytest.raises(LoweringError, match="'q': channel 0 rises and falls"):
        fold_thresholds(graph_of(chain(steps, "threshold"), U4))
    unsigned = IntType(False, 10)
    assert_same(graph_of(chain(steps, "threshold"), U4, 1, unsigned), fold_thresholds, Threshold, every(unsigned))


@given(st.sampled_from(["sigmoid", "gelu", "silu", "tanh", "hardswish"]), st.integers(-8, 8))
def test_tables_equal_the_function_on_every_code(function, zero):
    element, out = IntType(True, 8), Grid(IntType(True, 5), Scale((0.05,)), (zero,))
    steps: list[Step] = [
        Terms((np.float64(0.03),)),
        Function(function),
        Divide(np.float64(0.05)),
        ToCodes(Rounding.HALF_EVEN, zero, False, -16, 15),
    ]
    assert_same(graph_of(chain(steps, "table"), out, 1, element), tabulate, Table, every(element))


@pytest.mark.parametrize(
    ("pool", "cells"),
    [
        (AveragePool(U4, Rounding.HALF_EVEN, (3, 3), (2, 2), (1, 1, 1, 1), True), np.float64(9)),
        (AveragePool(U4, Rounding.HALF_EVEN, (2, 3), (1, 2), (0, 1, 1, 1), False), None),
        (AdaptiveAveragePool(U4, Rounding.HALF_EVEN, (3, 2)), None),
    ],
)
@pytest.mark.parametrize("coefficient", [1.0, 0.5, 3.0, 181 / 256])
def test_averages_become_one_exact_division(pool, cells, coefficient):
    type = TensorType(Grid(IntType(False, 8), Scale((0,), True), (7,)), (None, 2, 7, 5))
    counted = pool.cells(type).astype(np.float64) if cells is None else cells
    float_chain = Chain(
        ("x",), (Terms((np.float64(coefficient),)), Divide(counted), tail(Rounding.HALF_EVEN, 3)), "divide"
    )
    codes = np.random.default_rng(0).integers(0, 40, (50, 2, 7, 5)).astype(np.uint8)
    before = Graph({"x": type}, {}, (Node("q", FloatChain(float_chain, u4(3), pool), ("x",)),), ("q",))
    assert_same(before, divide_averages, pool.__class__, codes)


def test_channels_that_are_all_constant_have_a_threshold_that_nothing_reaches() -> None:
    steps: list[Step] = [Terms((np.asarray(1e-6),)), tail(Rounding.HALF_EVEN, 5)]
    after = assert_same(graph_of(chain(steps, "threshold"), u4(5)), fold_thresholds, Threshold, every(ACC))
    assert after.constants["q.thresholds"].type.shape == (1, 1)


@pytest.mark.parametrize(
    ("steps", "form", "message"),
    [
        ([Terms((np.float64(0.3),)), tail(Rounding.FLOOR)], "shift", "powers of two"),
        ([Terms((np.float64(0.3),)), tail(Rounding.FLOOR)], "multiplier", "fewer bits"),
        ([Terms((np.float64(0.5),)), Offset(np.float64(1)), tail(Rounding.FLOOR)], "shift", "use thresholds"),
    ],
)
def test_what_a_form_cannot_express_is_refused_by_name(steps, form, message):
    passes = {"shift": requantize_shifts, "multiplier": requantize_multipliers}
    with pytest.raises(LoweringError, match=f"'q': .*{message}"):
        passes[form](graph_of(chain(steps, form), U4))
