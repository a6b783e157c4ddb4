"""One option out of each group, the smallest sum, within limits: an integer program, by HiGHS, checked exactly.

HiGHS works in doubles and calls a limit kept that is missed by a millionth. So it gets limits a hair too wide, what it
returns is added up again in exact rationals, and an answer that misses a limit is forbidden by a cut and solved again.
Only that answer is lost, and it was none, so the result is optimal within the true limits.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OBJECTIVE_BITS = 30
"""HiGHS stops at a gap of 1e-6; against sums of up to 2^30 that is as fine as doubles are."""
LIMIT_BITS = 0
"""Larger terms of limits would magnify its tolerance for integers, 1e-6, and cost it extra rounds."""
SLACK = 1e-12


class Limit(NamedTuple):
    """The terms of the picked options add up to at most `bound`."""

    terms: Sequence[Fraction]
    bound: Fraction


def pick(sizes: Sequence[int], objective: Sequence[Fraction], limits: Sequence[Limit]) -> tuple[int, ...] | None:
    """The position of one option in each group, by the smallest sum of `objective`; None if no choice keeps all limits.

    sizes       options in each group; `objective` and the terms of limits list them all, group after group
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    cuts: list[tuple[int, ...]] = []
    while (picked := _solve(starts, objective, limits, cuts)) is not None:
        if all(sum((limit.terms[i] for i in picked), Fraction(0)) <= limit.bound for limit in limits):
            return tuple(int(i - start) for i, start in zip(picked, starts, strict=False))
        cuts.append(picked)
    return None


def _solve(
    starts: NDArray[np.int64],
    objective: Sequence[Fraction],
    limits: Sequence[Limit],
    cuts: Sequence[tuple[int, ...]],
) -> tuple[int, ...] | None:
    """What HiGHS picks, as positions in the list of all options."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second to import
    from scipy.sparse import csr_array, vstack

    count, groups = int(starts[-1]), len(starts) - 1
    one_of_each = csr_array((np.ones(count), np.arange(count), starts), shape=(groups, count))
    rows, lower, upper = [one_of_each], [np.ones(groups)], [np.ones(groups)]
    for limit in limits:
        scale = _scale(max(map(abs, limit.terms)), LIMIT_BITS)
        terms, bound = _doubles(limit.terms, scale), float(limit.bound * scale)
        rows.append(csr_array(terms[None]))
        lower.append(np.array([-np.inf]))
        upper.append(np.array([bound + SLACK * (np.abs(terms).max() + abs(bound))]))
    for cut in cuts:
        rows.append(csr_array((np.ones(groups), np.array(cut), np.array([0, groups])), shape=(1, count)))
        lower.append(np.array([-np.inf]))
        upper.append(np.array([groups - 1.0]))
    largest = sum((max(map(abs, objective[i:j])) for i, j in zip(starts, starts[1:], strict=False)), Fraction(0))
    with _stdout_closed():
        result = milp(
            _doubles(objective, _scale(largest, OBJECTIVE_BITS)),
            integrality=np.ones(count),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(vstack(rows, format="csc"), np.concatenate(lower), np.concatenate(upper)),
            options={"mip_rel_gap": 0.0},
        )
    infeasible = 2
    if result.status == infeasible:
        return None
    if result.status != 0:
        raise RuntimeError(f"HiGHS gave up: {result.message}")
    return tuple(int(i + result.x[i:j].argmax()) for i, j in zip(starts, starts[1:], strict=False))


@contextmanager
def _stdout_closed() -> Iterator[None]:
    """HiGHS 1.12 prints a line for its developers whatever its options say; a JSON document may be on its way there."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _scale(largest: Fraction, bits: int) -> Fraction:
    """The power of two that brings `largest` just below 2^bits: it changes no mantissa."""
    if largest == 0:
        return Fraction(1)
    exponent = bits - (largest.numerator.bit_length() - largest.denominator.bit_length() + 1)
    return Fraction(2) ** exponent


def _doubles(values: Sequence[Fraction], scale: Fraction) -> Floats:
    return np.array([float(value * scale) for value in values])
