"""Requantization, thresholds, additions and averages for the numba backend: from sums to codes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import INT64_MAX, Rounding
from intsim.backends import _numba_kernels as kernels
from intsim.backends.numba_contractions import Step, largest_level, levels_of
from intsim.ir import ops
from intsim.ir.types import Grid, TensorType, Value

LIMIT = (1 << 63) - (1 << 33)  # of int64 sums that a zero point and a rounding are still added to


def by_channel(array: NDArray[Any], type: TensorType) -> NDArray[Any]:
    """A tensor as (A, C, B) with its channels in the middle; (1, 1, B) where it has no channel axis."""
    axis = type.integer.axis
    if axis >= type.rank or type.shape[axis] is None:
        return array.reshape(1, 1, -1)
    return array.reshape(prod(array.shape[:axis]), array.shape[axis], -1)


def channels(type: TensorType) -> int:
    """Extent of the middle axis of `by_channel`."""
    axis = type.integer.axis
    return (type.shape[axis] if axis < type.rank else None) or 1


def spread(parameter: NDArray[Any], count: int) -> NDArray[Any]:
    """A parameter (1, ...) or (C, ...) with one entry for each channel."""
    return np.ascontiguousarray(np.broadcast_to(parameter, (count, *parameter.shape[1:])))


def codes_as_words(x: Value) -> NDArray[Any]:
    """Codes as int32 where that holds them, else int64."""
    element = x.type.integer.element
    return np.ascontiguousarray(x.codes, np.int32 if element.max < 1 << 31 else np.int64)


def bounds_of(out: Grid, low: int | None = None, high: int | None = None) -> tuple[int, int]:
    """The least and the greatest code of a result."""
    return out.element.min if low is None else low, out.element.max if high is None else high


def scaling(
    op: ops.RequantizeShift | ops.RequantizeMultiplier | ops.Add,
    terms: Sequence[TensorType],
    multipliers: Sequence[NDArray[np.int64]],
    shift: NDArray[np.int64],
) -> Step | None:
    """Levels times multipliers, summed, shifted and rounded once: level * m = code * (step * m) - zero_point * m."""
    largest = sum(
        largest_level(t.integer) * max(abs(int(m.min())), abs(int(m.max())))
        for t, m in zip(terms, multipliers, strict=True)
    )
    element = op.out.element
    in_words = all(t.integer.element.max <= INT64_MAX for t in terms) and element.max <= INT64_MAX
    if not in_words or shift.max() > 62 or largest << max(-int(shift.min()), 0) > LIMIT:
        return None
    count = channels(terms[0])
    factors = [spread(m * t.integer.step, count) for m, t in zip(multipliers, terms, strict=True)]
    offsets = [
        spread(-m * np.asarray(t.integer.zero_point, np.int64), count) for m, t in zip(multipliers, terms, strict=True)
    ]
    shifts, rounding, zero = spread(shift, count), kernels.ROUNDINGS.index(Rounding(op.rounding)), op.out.zero_point[0]
    before, after = (zero, 0) if op.zero_point_first else (0, zero)
    low, high = bounds_of(op.out, op.low, op.high)

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        total = np.zeros(operands[0].codes.shape, np.int64)
        values = by_channel(total, terms[0])
        for x, factor, offset in zip(operands, factors, offsets, strict=False):
            kernels.add_term(values, by_channel(codes_as_words(x), terms[0]), factor, offset)
        kernels.round_shifts(values, shifts, rounding, before, after, low, high)
        return total.astype(element.storage)

    return step


def comparison(
    op: ops.Threshold, x: TensorType, thresholds: Value, base: Value, strict: Value, descending: Value
) -> Step | None:
    """Thresholds are compared with int64 levels; codes that leave the result's type are the reference's to refuse."""
    if largest_level(x.integer) > INT64_MAX or op.out.element.max > INT64_MAX:
        return None
    count, element = channels(x), op.out.element
    operands_of = (
        spread(thresholds.levels, count),
        spread(base.levels, count),
        spread(strict.codes.astype(np.bool_), count),
        spread(descending.codes.astype(np.bool_), count),
    )

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        levels = levels_of(operands[0], np.int64)
        kernels.count_thresholds(by_channel(levels, x), *operands_of)
        if levels.min() < element.min or levels.max() > element.max:
            return op.evaluate(*operands)
        return levels.astype(element.storage)

    return step


def averaging(op: ops.AveragePool | ops.AdaptiveAveragePool, x: TensorType) -> Step | None:
    """Sums of windows, then one division; the type rule has shown that neither leaves int64."""
    if x.integer.element.max > INT64_MAX or op.out.element.max > INT64_MAX:
        return None
    multiplier, shift = op.rescale
    rows, columns = (np.array(windows)[:, :2].copy() for windows in op.windows(x))
    divisors = op.cells(x).ravel() << max(shift, 0)
    rounding, zero = kernels.ROUNDINGS.index(op.rounding), op.out.zero_point[0]
    dtype = np.int32 if largest_level(x.integer) < 1 << 31 else np.int64

    def step(operands: Sequence[Value]) -> NDArray[Any]:
        levels = levels_of(operands[0], dtype)
        shape = (*levels.shape[:2], len(rows), len(columns))
        sums = np.empty(shape, np.int64)
        kernels.sum_windows(
            levels.reshape(-1, *levels.shape[2:]), rows, columns, sums.reshape(-1, len(rows), len(columns))
        )
        values = sums.reshape(-1, divisors.size)
        kernels.round_quotients(values, divisors, multiplier << max(-shift, 0), rounding, zero, *bounds_of(op.out))
        return sums.astype(op.out.element.storage)

    return step
