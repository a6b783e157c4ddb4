"""How a systolic array walks a matrix product: one pure function per dataflow, and the cycles of the walk.

An array of R rows and C columns holds one operand (or the results) and streams along the third axis of the product:

    dataflow             rows   columns   streamed
    output stationary     M        N         K       results stay, both operands stream
    weight stationary     K        N         M       weights stay, activations stream, partial sums leave at the bottom
    input stationary      K        M         N       activations stay, weights stream, likewise

A *fold* is one filling of the array. Partial sums of stationary operands wait in an accumulator buffer; where the
streamed axis is longer than that buffer, it is streamed in *chunks*, and each fold is filled once per chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from intsim.costing.workload import Gemm, ceil_div


class Array(NamedTuple):
    """Rows and columns of units."""

    rows: int
    columns: int

    @property
    def units(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class Walk:
    """One matrix product on one array.

    m_tiles, k_tiles, n_tiles    pieces that each axis is cut into
    row_folds, column_folds      pieces along the array's rows and columns
    chunks                       pieces of the streamed axis
    used_rows, used_columns      their extents
    streamed_cycles              cycles that the streamed axis takes to enter, over all chunks
    """

    m_tiles: int
    k_tiles: int
    n_tiles: int
    row_folds: int
    column_folds: int
    chunks: int
    used_rows: int
    used_columns: int
    streamed_cycles: int


def output_stationary(steps: Gemm, array: Array, buffer_rows: int, cycles_per_step: int) -> Walk:
    """Results stay in the array, so the accumulator buffer sets no limit to the streamed axis."""
    rows, columns = ceil_div(steps.m, array.rows), ceil_div(steps.n, array.columns)
    return Walk(rows, 1, columns, rows, columns, 1, steps.m, steps.n, steps.k * cycles_per_step)


def weight_stationary(steps: Gemm, array: Array, buffer_rows: int, cycles_per_step: int) -> Walk:
    """Weights stay; `buffer_rows` rows of partial sums fit the accumulator buffer."""
    rows, columns, chunks = (
        ceil_div(steps.k, array.rows),
        ceil_div(steps.n, array.columns),
        ceil_div(steps.m, buffer_rows),
    )
    return Walk(chunks, rows, columns, rows, columns, chunks, steps.k, steps.n, steps.m * cycles_per_step)


def input_stationary(steps: Gemm, array: Array, buffer_rows: int, cycles_per_step: int) -> Walk:
    """Activations stay; weights stream, `buffer_rows` of their columns at a time."""
    rows, columns, chunks = (
        ceil_div(steps.k, array.rows),
        ceil_div(steps.m, array.columns),
        ceil_div(steps.n, buffer_rows),
    )
    return Walk(columns, rows, chunks, rows, columns, chunks, steps.k, steps.m, steps.n * cycles_per_step)


DATAFLOWS = {
    "output_stationary": output_stationary,
    "weight_stationary": weight_stationary,
    "input_stationary": input_stationary,
}


def full_cycles(walk: Walk, array: Array) -> int:
    """Every fold pays for the whole array, the ragged ones at the edges included.

    Exact:   row_folds * column_folds * sum over chunks of (2R + C + T - 2); R to load or to drain, then the skew.
    Source:  a register-level clocked model (tests/costing/clocked.py); Samajdar et al., ISPASS 2020.
    """
    fill = 2 * array.rows + array.columns - 2
    return walk.row_folds * walk.column_folds * (walk.chunks * fill + walk.streamed_cycles)


def tight_cycles(walk: Walk, array: Array) -> int:
    """Edge folds pay only for the rows and columns that they use.

    Exact:   sum over folds and chunks of 2r + c + T - 2, summed in closed form over the ragged edges.
    """
    folds = walk.row_folds * walk.column_folds
    fill = 2 * walk.used_rows * walk.column_folds + walk.used_columns * walk.row_folds - 2 * folds
    return walk.chunks * fill + folds * walk.streamed_cycles


COUNTS = {"full": full_cycles, "tight": tight_cycles}
