"""Register-level systolic arrays, clocked one cycle at a time: the ground truth for cycles per fold.

Every register is an array entry, moves one place per cycle, and is never read across more than one place. The models
know nothing of the formulas that they check: they stop when the last result has left.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def weight_stationary_fold(weights: Ints, inputs: Ints, rows: int, columns: int) -> tuple[Ints, int]:
    """inputs (T, k) @ weights (k, n) on rows x columns units with k <= rows and n <= columns.

    Weights shift in from the top, one row per cycle. Then row i takes inputs[t, i] at cycle t + i from the left, and
    partial sums move down one unit per cycle and leave at the bottom.
    """
    depth, outputs = weights.shape
    held = np.zeros((rows, columns), np.int64)
    padded = np.zeros((rows, columns), np.int64)
    padded[:depth, :outputs] = weights
    cycles = 0
    for row in padded[::-1]:
        held = np.vstack([row, held[:-1]])
        cycles += 1

    results = np.zeros((len(inputs), columns), np.int64)
    missing = np.ones(results.shape, bool)
    moving, sums, clock = np.zeros((rows, columns), np.int64), np.zeros((rows, columns), np.int64), 0
    while missing.any():
        entering = [inputs[clock - i, i] if i < depth and 0 <= clock - i < len(inputs) else 0 for i in range(rows)]
        moving = np.column_stack([entering, moving[:, :-1]])
        sums = np.vstack([np.zeros(columns, np.int64), sums[:-1]]) + moving * held
        for j in range(columns):
            t = clock - (rows - 1) - j
            if 0 <= t < len(inputs):
                results[t, j], missing[t, j] = sums[-1, j], False
        clock += 1
        cycles += 1
    return results[:, :outputs], cycles


def output_stationary_fold(left: Ints, top: Ints, rows: int, columns: int) -> tuple[Ints, int, int]:
    """left (m, T) @ top (T, n) on rows x columns units, with the cycle of the last MAC and the cycles until the last
    result has shifted out at the bottom.

    Row i takes left[i, t] and column j takes top[t, j] at cycle t + i and t + j.
    """
    (height, depth), width = left.shape, top.shape[1]
    a, b, acc = (np.zeros((rows, columns), np.int64) for _ in range(3))
    a_valid, b_valid = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
    macs, clock = np.zeros((rows, columns), np.int64), 0
    while (macs < depth).any():
        times = [clock - i for i in range(max(rows, columns))]
        valid = [0 <= t < depth for t in times]
        from_left = [left[i, times[i]] if i < height and valid[i] else 0 for i in range(rows)]
        from_top = [top[times[j], j] if j < width and valid[j] else 0 for j in range(columns)]
        a, b = np.column_stack([from_left, a[:, :-1]]), np.vstack([from_top, b[:-1]])
        a_valid, b_valid = np.column_stack([valid[:rows], a_valid[:, :-1]]), np.vstack([valid[:columns], b_valid[:-1]])
        assert (a_valid == b_valid).all(), "operands of one product meet in the same cycle"
        acc, macs, clock = acc + a * b, macs + a_valid, clock + 1
    last_mac, results = clock, np.zeros((rows, columns), np.int64)
    for k in range(rows):
        results[rows - 1 - k] = acc[-1]
        acc = np.vstack([np.zeros(columns, np.int64), acc[:-1]])
        clock += 1
    return results[:height, :width], last_mac, clock


def pieces(extent: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, extent)) for start in range(0, extent, size))


def product(
    dataflow: str, a: Ints, b: Ints, rows: int, columns: int, buffer_rows: int, tight: bool = False
) -> tuple[Ints, int]:
    """a (M, K) @ b (K, N) fold by fold, with the cycles of all folds; `tight` builds each fold's array to its size."""
    result, cycles = np.zeros((len(a), b.shape[1]), np.int64), 0
    if dataflow == "input_stationary":
        transposed, cycles = product("weight_stationary", b.T, a.T, rows, columns, buffer_rows, tight)
        return transposed.T, cycles
    for n in pieces(b.shape[1], columns):
        c = n.stop - n.start if tight else columns
        if dataflow == "output_stationary":
            for m in pieces(len(a), rows):
                r = m.stop - m.start if tight else rows
                result[m, n], _, taken = output_stationary_fold(a[m], b[:, n], r, c)
                cycles += taken
        else:
            for m in pieces(len(a), buffer_rows):
                for k in pieces(a.shape[1], rows):
                    r = k.stop - k.start if tight else rows
                    partial, taken = weight_stationary_fold(b[k, n], a[m, k], r, c)
                    result[m, n] += partial
                    cycles += taken
    return result, cycles
