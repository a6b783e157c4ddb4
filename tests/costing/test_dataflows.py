"""Cycles of a systolic array equal those of a register-level model that is clocked cycle by cycle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.costing.dataflows import COUNTS, DATAFLOWS, Array
from intsim.costing.workload import Gemm
from tests.costing.clocked import output_stationary_fold, product

pytestmark = pytest.mark.torchless

SIDES = st.integers(1, 6)
EXTENTS = st.integers(1, 13)


@given(EXTENTS, EXTENTS, EXTENTS, SIDES, SIDES, EXTENTS, st.sampled_from(sorted(DATAFLOWS)), st.booleans())
def test_cycles_equal_the_clocked_model(
    m: int, k: int, n: int, rows: int, columns: int, buffer_rows: int, dataflow: str, tight: bool
) -> None:
    rng = np.random.default_rng(m + 17 * k + 289 * n)
    a, b = rng.integers(-8, 8, (m, k)), rng.integers(-8, 8, (k, n))
    result, cycles = product(dataflow, a, b, rows, columns, buffer_rows, tight)
    assert (result == a @ b).all()

    walk = DATAFLOWS[dataflow](Gemm(m, k, n), Array(rows, columns), buffer_rows, 1)
    assert COUNTS["tight" if tight else "full"](walk, Array(rows, columns)) == cycles


@given(SIDES, SIDES, EXTENTS)
def test_scalesim_forgets_the_drain_of_an_output_stationary_fold(rows: int, columns: int, depth: int) -> None:
    ones = np.ones((rows, depth), np.int64), np.ones((depth, columns), np.int64)
    _, last_mac, drained = output_stationary_fold(*ones, rows, columns)
    assert last_mac == rows + columns + depth - 2  # what it reports per fold
    assert drained == last_mac + rows


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
def test_serial_operands_multiply_the_streamed_cycles_only(dataflow: str) -> None:
    array, gemm = Array(4, 8), Gemm(5, 6, 7)
    once, thrice = (DATAFLOWS[dataflow](gemm, array, 100, cycles) for cycles in (1, 3))
    assert thrice.streamed_cycles == 3 * once.streamed_cycles
    assert (thrice.row_folds, thrice.column_folds) == (once.row_folds, once.column_folds)
