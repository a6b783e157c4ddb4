"""Compiled loops of the numba backend: sums of products, roundings, comparisons. Plain integers, one thread, no Python.

Each loop takes few types, so that little is compiled: levels and sums are int32 or int64, everything else is int64. The
machine code is kept beside this file. Integers wrap modulo their width; the caller has proved where none may.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding

Integers = NDArray[Any]  # int32 or int64
Int64 = NDArray[np.int64]

TILE = 64  # pixels whose sums stay in the first cache while products are added: some 9 GMAC/s on one core with AVX2

ROUNDINGS = (
    Rounding.HALF_EVEN,
    Rounding.HALF_UP,
    Rounding.HALF_DOWN,
    Rounding.HALF_AWAY,
    Rounding.HALF_TO_ZERO,
    Rounding.FLOOR,
    Rounding.CEIL,
    Rounding.TOWARD_ZERO,
    Rounding.AWAY_FROM_ZERO,
)
"""A rounding is its index here: compiled code knows no enumerations."""
HALF_EVEN, HALF_UP, HALF_DOWN, HALF_AWAY, HALF_TO_ZERO, FLOOR, CEIL, TOWARD_ZERO, AWAY_FROM_ZERO = range(len(ROUNDINGS))


# --- sums of products -------------------------------------------------------------------------------------------------
#
# Convolution, linear and matmul are one thing here. The sum of output o in group g at pixel q,
#     start[g, o] + weights[g, o, 0] * source[base[q] + taps[g, 0]] + .. + weights[g, o, K - 1] * source[..],
# goes to out[target[q] + (g * O + o) * plane]. Stride, dilation, grouping and the order of the products are all in
# `base` (Q,) and `taps` (G, K). Products are added one at a time, in the order of k.


@njit(cache=True, nogil=True)
def sum_products(
    source: Integers,
    base: Int64,
    taps: Int64,
    weights: Integers,
    start: Integers,
    out: Integers,
    target: Int64,
    plane: int,
) -> None:
    """Sums modulo the width of `out`, which all arrays but the indices share."""
    groups, outputs, depth = weights.shape
    tile, acc = np.zeros((depth, TILE), source.dtype), np.zeros(TILE, source.dtype)
    for group in range(groups):
        for first in range(0, len(base), TILE):
            count = min(TILE, len(base) - first)
            width = (count + 7) // 8 * 8  # whole vectors
            _gather(source, base, taps[group], first, count, tile)
            for output in range(outputs):
                acc[:] = start[group, output]
                for k in range(depth):
                    weight = weights[group, output, k]
                    for t in range(width):
                        acc[t] += weight * tile[k, t]
                place = (group * outputs + output) * plane
                for t in range(count):
                    out[target[first + t] + place] = acc[t]


@njit(cache=True, nogil=True)
def saturate_products(
    source: Integers,
    base: Int64,
    taps: Int64,
    weights: Integers,
    start: Integers,
    out: Integers,
    target: Int64,
    plane: int,
    low: int,
    high: int,
) -> None:
    """Sums in a register that is clipped to low..high after each addition; start is in it, and products fit int64."""
    groups, outputs, depth = weights.shape
    tile, acc = np.zeros((depth, TILE), source.dtype), np.zeros(TILE, source.dtype)
    for group in range(groups):
        for first in range(0, len(base), TILE):
            count = min(TILE, len(base) - first)
            width = (count + 7) // 8 * 8  # whole vectors
            _gather(source, base, taps[group], first, count, tile)
            for output in range(outputs):
                acc[:] = start[group, output]
                for k in range(depth):
                    weight = weights[group, output, k]
                    for t in range(width):
                        term, held = np.int64(weight * tile[k, t]), np.int64(acc[t])
                        total = held + term
                        left_int64 = ((held ^ total) & (term ^ total)) < 0  # then the term's sign says on which side
                        limit = low if term < 0 else high
                        acc[t] = limit if left_int64 else min(max(total, low), high)
                place = (group * outputs + output) * plane
                for t in range(count):
                    out[target[first + t] + place] = acc[t]


@njit(cache=True, nogil=True)
def _gather(source: Integers, base: Int64, taps: Int64, first: int, count: int, tile: Integers) -> None:
    """What `count` pixels from `first` on meet, (K, TILE); the rest of the tile keeps what it has."""
    for k in range(len(taps)):
        tap = taps[k]
        for t in range(count):
            tile[k, t] = source[np.uint64(base[first + t] + tap)]


# --- from sums to codes -----------------------------------------------------------------------------------------------
#
# Tensors are seen as (A, C, B) with the channels in the middle; parameters have one entry for each channel.


@njit(cache=True, nogil=True)
def add_term(total: Int64, codes: Integers, factor: Int64, offset: Int64) -> None:
    """total += codes * factor + offset"""
    for a in range(total.shape[0]):
        for c in range(total.shape[1]):
            for b in range(total.shape[2]):
                total[a, c, b] += np.int64(codes[a, c, b]) * factor[c] + offset[c]


@njit(cache=True, nogil=True)
def round_shifts(
    values: Int64, shift: Int64, rounding: int, zero_before: int, zero_after: int, low: int, high: int
) -> None:
    """values = clip(round(values / 2**shift + zero_before) + zero_after, low, high), shifts -31..62."""
    for a in range(values.shape[0]):
        for c in range(values.shape[1]):
            right, left = max(shift[c], 0), max(-shift[c], 0)
            half = (np.int64(1) << right) >> 1
            mask = (np.int64(1) << right) - 1
            for b in range(values.shape[2]):
                rest = values[a, c, b] & mask
                level = ((values[a, c, b] >> right) << left) + zero_before
                inexact = rest != 0
                level += _rounds_up(rounding, level, inexact, inexact & (rest == half), rest > half)
                values[a, c, b] = min(max(level + zero_after, low), high)


@njit(cache=True, nogil=True)
def round_quotients(
    values: Int64, divisors: Int64, multiplier: int, rounding: int, zero: int, low: int, high: int
) -> None:
    """values (A, P) = clip(round(values * multiplier / divisors) + zero, low, high), divisors (P,) positive."""
    for a in range(values.shape[0]):
        for p in range(values.shape[1]):
            product, divisor = values[a, p] * multiplier, divisors[p]
            level = product // divisor
            rest = product - level * divisor
            level += _rounds_up(rounding, level, rest != 0, rest == divisor - rest, rest > divisor - rest)
            values[a, p] = min(max(level + zero, low), high)


@njit(cache=True, nogil=True)
def _rounds_up(rounding: int, floor: int, inexact: bool, tie: bool, above: bool) -> bool:
    """Whether a number goes up from its floor, by where its fraction lies; no branch that could be mispredicted."""
    if rounding == HALF_EVEN:
        return above | (tie & (floor & 1 == 1))
    if rounding == HALF_UP:
        return above | tie
    if rounding == HALF_DOWN:
        return above
    if rounding == HALF_AWAY:
        return above | (tie & (floor >= 0))
    if rounding == HALF_TO_ZERO:
        return above | (tie & (floor < 0))
    if rounding == CEIL:
        return inexact
    if rounding == TOWARD_ZERO:
        return inexact & (floor < 0)
    if rounding == AWAY_FROM_ZERO:
        return inexact & (floor >= 0)
    return False


@njit(cache=True, nogil=True)
def count_thresholds(
    values: Int64, rows: Int64, base: Int64, strict: NDArray[np.bool_], descending: NDArray[np.bool_]
) -> None:
    """values = base + the number of thresholds reached, by bisection in rows (C, L), ascending."""
    for a in range(values.shape[0]):
        for c in range(values.shape[1]):
            # Counted are the thresholds below: T <= v, or T < v. Descending asks for the complement, and there
            # strictness goes with the other side.
            without_equals = strict[c] != descending[c]
            for b in range(values.shape[2]):
                value, low, high = values[a, c, b], 0, rows.shape[1]
                while low < high:
                    middle = (low + high) >> 1
                    if rows[c, middle] < value or (rows[c, middle] == value and not without_equals):
                        low = middle + 1
                    else:
                        high = middle
                values[a, c, b] = base[c] + (rows.shape[1] - low if descending[c] else low)


@njit(cache=True, nogil=True)
def sum_windows(images: Integers, rows: Int64, columns: Int64, out: Int64) -> None:
    """out (A, R, S) = sums of images (A, H, W) over rows (R, 2) by columns (S, 2), first and one past the last."""
    for a in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total = np.int64(0)
                for y in range(rows[i, 0], rows[i, 1]):
                    for x in range(columns[j, 0], columns[j, 1]):
                        total += images[a, y, x]
                out[a, i, j] = total
