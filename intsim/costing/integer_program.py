"""One option out of each group, the smallest sum, within limits: an integer program, solved and proven exactly.

Dynamic programming over the groups, as in `front.py`, but in whole numbers and with any number of limits. A partial
choice, options for the first groups, is kept while no other equals or beats it in every sum, and while no price shows
that it cannot end well. A price weighs the sums together: a choice may weigh no more than the limits and the best known
objective do, and each remaining group adds what its lightest option weighs. The dual values of linear relaxations are
prices that show much; any others would do, so nothing that HiGHS computes has to be exact. Weights are doubles, with
their rounding allowed for; sums, limits and comparisons of choices are exact. A sweep over all groups that left nothing
else away is a proof: of the best choice there is, or that there is none.

The first sweeps leave away what promises least, which finds a choice to beat. What they do not prove goes to HiGHS, and
its answer to the last sweep. Only where that one has to leave something away too, the answer is that of HiGHS: it keeps
all limits exactly, and what is better and keeps them HiGHS would have had to lose without presolve, in limits wider
than its tolerance. Twenty layers in three limits are proven in about a second; fifty in three may stay open.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intsim.errors import CostError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDTHS = (256, 4096)
"""Partial choices that a sweep goes on with, before HiGHS is asked."""
LAST_WIDTH = 16384
BLOCK = 256
"""Rows that are compared with others at once."""
OBJECTIVE_BITS = 30
"""HiGHS stops at a gap of 1e-6; against sums of up to 2^30 that is as fine as doubles are."""
SLACK = 2e-6
"""HiGHS takes limits for kept that are missed by 1e-6, and may take for missed what is nearer than that."""


class Limit(NamedTuple):
    """The terms of the picked options add up to at most `bound`."""

    terms: Sequence[Fraction]
    bound: Fraction


class Pick(NamedTuple):
    """The position of one option in each group, and whether nothing better is proven to keep all limits."""

    positions: tuple[int, ...]
    proven: bool


def pick(sizes: Sequence[int], objective: Sequence[Fraction], limits: Sequence[Limit]) -> Pick | None:
    """One option of each group, by the smallest sum of `objective`; None if no choice keeps all limits.

    sizes    options in each group; `objective` and the terms of limits list them all, group after group
    raises   CostError: a program that the first sweeps leave open, and HiGHS gives up
    """
    program = _Program(sizes, [_Column(sizes, objective), *(_Column(sizes, *limit) for limit in limits)])
    best: _Choice | None = None
    for width in WIDTHS:
        found, proven = program.sweep(best, width)
        best = found or best
        if proven:
            return best and Pick(best.picked, True)
    answer = program.asked()
    if answer is not None and (best is None or answer.sums[0] < best.sums[0]):
        best = answer
    found, proven = program.sweep(best, LAST_WIDTH)
    best = found or best
    return best and Pick(best.picked, proven)


class _Choice(NamedTuple):
    """One option in each group, and what they add up to, in every column."""

    picked: tuple[int, ...]
    sums: tuple[int, ...]


class _Column:
    """One amount of every option, in whole numbers, and as doubles with the largest sum below 1.

    bound   the largest sum that is allowed, at most the largest there is
    """

    def __init__(self, sizes: Sequence[int], terms: Sequence[Fraction], bound: Fraction | None = None):
        unit = lcm(*(term.denominator for term in terms))
        whole = [term.numerator * (unit // term.denominator) for term in terms]
        common = gcd(*whole) or 1
        whole = [value // common for value in whole]
        ends = np.cumsum(sizes)
        groups = [whole[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        self.largest = sum(max(map(abs, group)) for group in groups) or 1
        dtype = np.int64 if self.largest < 2**62 else object
        self.exact: list[NDArray[Any]] = [np.array(group, dtype) for group in groups]
        self.doubles = [np.array([value / self.largest for value in group]) for group in groups]
        least, most = (sum(extreme(group) for group in groups) for extreme in (min, max))
        self.bound = most if bound is None else max(least - 1, min(bound * unit // common, most))


class _Program:
    """The groups, those first that decide most about the limits, and what the columns allow."""

    def __init__(self, sizes: Sequence[int], columns: Sequence[_Column]):
        self.columns = columns
        doubles = [np.stack(parts, axis=1) for parts in zip(*(column.doubles for column in columns), strict=True)]
        self.order = sorted(range(len(sizes)), key=lambda g: -np.ptp(doubles[g], axis=0)[1:].max(initial=0))
        self.doubles = [doubles[g] for g in self.order]
        self.exact = [[column.exact[g] for column in columns] for g in self.order]

    def sweep(self, best: _Choice | None, width: int) -> tuple[_Choice | None, bool]:
        """A choice that is better than `best`, and whether that is proven to be the best, or that there is none.

        width   partial choices to go on with; others are left away, and nothing is proven
        """
        allowed = [column.bound for column in self.columns]
        if best is not None:
            allowed[0] = best.sums[0] - 1
        caps = np.array([cap / column.largest for cap, column in zip(allowed, self.columns, strict=True)])
        prices = np.array(list(self._prices(caps, best)))
        lightest = [(options @ prices.T).min(axis=0) for options in self.doubles]
        rest = np.cumsum([np.zeros(len(prices)), *reversed(lightest)], axis=0)[::-1]
        # A weight rounds twice in every group and thrice in every column, and is at most 2.
        room = prices @ caps + 8 * (len(lightest) + len(caps) + 4) * 2.0**-52
        doubles, exact = np.zeros((1, len(caps))), [np.zeros(1, column.exact[0].dtype) for column in self.columns]
        steps: list[tuple[Ints, Ints]] = []
        proven = True
        for options, whole, remaining in zip(self.doubles, self.exact, rest[1:], strict=True):
            before, more = doubles @ prices.T + (remaining - room), options @ prices.T
            open_ = np.ones((len(before), len(more)), bool)
            for a, b in zip(before.T, more.T, strict=True):
                open_ &= np.add.outer(a, b) <= 0
            parents, picked = np.nonzero(open_)
            if len(parents) > width:
                proven = False
                telling = prices[:, 0] > 0  # of the objective that a partial choice can still end with
                bounds = (before[parents] + more[picked])[:, telling] / prices[telling, 0]
                kept = np.argpartition(bounds.max(axis=1), width)[:width]
                parents, picked = parents[kept], picked[kept]
            exact = [sums[parents] + terms[picked] for sums, terms in zip(exact, whole, strict=True)]
            kept = _undominated(exact)
            parents, picked, exact = parents[kept], picked[kept], [sums[kept] for sums in exact]
            doubles = doubles[parents] + options[picked]
            steps.append((parents, picked))
        ends = [i for i in range(len(doubles)) if all(s[i] <= cap for s, cap in zip(exact, allowed, strict=True))]
        if not ends:
            return None, proven
        end = state = min(ends, key=lambda i: int(exact[0][i]))
        positions = [0] * len(self.order)
        for group, (parents, picked) in zip(reversed(self.order), reversed(steps), strict=True):
            positions[group] = int(picked[state])
            state = int(parents[state])
        return _Choice(tuple(positions), tuple(int(sums[end]) for sums in exact)), proven

    def asked(self) -> _Choice | None:
        """What HiGHS answers, added up again: an answer that misses a limit is forbidden by a cut and asked again."""
        cuts: list[tuple[int, ...]] = []
        while (picked := _solve(self.columns, cuts)) is not None:
            sums = tuple(sum(int(of[i]) for of, i in zip(c.exact, picked, strict=True)) for c in self.columns)
            if all(total <= column.bound for total, column in zip(sums, self.columns, strict=True)):
                return _Choice(picked, sums)
            cuts.append(picked)
        return None

    def _prices(self, caps: Floats, best: _Choice | None) -> Iterator[Floats]:
        """Weights of the columns, of 1 in all: each alone, and the dual values where the best choice leads along."""
        yield from np.eye(len(caps))
        left = caps.copy()
        for done, options in enumerate(self.doubles):
            price = _duals(self.doubles[done:], left[1:])
            if 0 < price.sum() < np.inf:
                yield price / price.sum()
            if best is None:
                return
            left -= options[best.picked[self.order[done]]]


def _duals(groups: Sequence[Floats], bounds: Floats) -> Floats:
    """Prices of the columns by the linear relaxation; where that keeps no limits, those that show so; 0 if unknown."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    columns = np.concatenate(groups)
    count, width = columns.shape
    one_of_each, ones = _one_of_each(np.cumsum([0, *map(len, groups)])), np.ones(len(groups))
    if width == 1:
        return np.zeros(1)
    result = linprog(columns[:, 0], columns[:, 1:].T, bounds, one_of_each, ones)
    if result.status == 0:
        return np.array([1, *np.maximum(-result.ineqlin.marginals, 0)])
    missing = csr_array(np.append(columns[:, 1:].T, -np.ones((width - 1, 1)), axis=1))  # all limits, by one amount
    one_of_each.resize(len(groups), count + 1)
    result = linprog([0] * count + [1], missing, bounds, one_of_each, ones, [(0, None)] * count + [(None, None)])
    return np.array([0, *np.maximum(-result.ineqlin.marginals, 0)]) if result.status == 0 else np.zeros(width)


def _solve(columns: Sequence[_Column], cuts: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """What HiGHS picks from each group."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second to import
    from scipy.sparse import csr_array, vstack

    objective, *limits = columns
    starts = np.cumsum([0, *map(len, columns[0].doubles)])
    count, groups = int(starts[-1]), len(starts) - 1
    rows, lower, upper = [_one_of_each(starts)], [np.ones(groups)], [np.ones(groups)]
    for limit in limits:
        terms = np.concatenate(limit.doubles)
        scale = 1 / (np.abs(terms).max() or 1.0)  # larger terms would magnify the tolerance
        rows.append(csr_array(scale * terms[None]))
        lower.append(np.array([-np.inf]))
        upper.append(np.array([scale * (limit.bound / limit.largest) + SLACK]))
    for cut in cuts:
        rows.append(csr_array((np.ones(groups), starts[:-1] + cut, np.array([0, groups])), shape=(1, count)))
        lower.append(np.array([-np.inf]))
        upper.append(np.array([groups - 1.0]))
    with _stdout_closed():
        result = milp(
            np.concatenate(objective.doubles) * 2.0**OBJECTIVE_BITS,
            integrality=np.ones(count),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(vstack(rows, format="csc"), np.concatenate(lower), np.concatenate(upper)),
            options={"mip_rel_gap": 0.0, "presolve": False},
        )
    infeasible = 2
    if result.status == infeasible:
        return None
    if result.status != 0:
        raise CostError(
            f"{groups} groups of options within {len(limits)} limits: expected an optimum, HiGHS gave up "
            f"({' '.join(result.message.split())}); state fewer widths or budgets"
        )
    return tuple(int(result.x[i:j].argmax()) for i, j in zip(starts, starts[1:], strict=False))


def _one_of_each(starts: Ints) -> Any:
    """The rows of a sparse matrix that add up the options of each group."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(starts[-1]), np.arange(starts[-1]), starts))


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


def _undominated(columns: Sequence[NDArray[Any]]) -> Ints:
    """The rows that no other equals or beats in every column."""
    if not len(columns[0]):
        return np.zeros(0, np.int64)
    # Whole numbers beyond 64 bits compare as their ranks do.
    ranks = [c if c.dtype == np.int64 else np.unique(c, return_inverse=True)[1] for c in columns]
    order = np.lexsort(ranks[::-1])
    rows = np.stack([column[order] for column in ranks], axis=1)
    if rows.shape[1] <= 2:
        last = rows[:, -1]
        return order[np.append(True, last[1:] < np.minimum.accumulate(last)[:-1])]
    kept: Ints = np.zeros(0, np.int64)
    for block in np.split(np.arange(len(rows)), range(BLOCK, len(rows), BLOCK)):
        open_ = block[~_beats(rows[kept], rows[block]).any(axis=1)]
        among = np.tril(_beats(rows[open_], rows[open_]), -1)
        kept = np.append(kept, open_[~among.any(axis=1)])
    return order[kept]


def _beats(others: Ints, rows: Ints) -> NDArray[np.bool_]:
    """[i, j]: whether others[j] is no larger than rows[i] in any column."""
    found = np.ones((len(rows), len(others)), bool)
    for own, other in zip(rows.T, others.T, strict=True):
        found &= other <= own[:, None]
    return found
