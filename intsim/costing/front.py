"""The front of loss against one cost: dynamic programming over the groups, with the linear relaxation as its bound.

A hundred integer programs that differ in one limit take HiGHS seconds, and this milliseconds. A partial choice, options
for the first groups, is kept while no other has both less cost and less loss, and while the rest of the budget, spent
on fractions of options in the remaining groups, could still end below a choice that is known: some hundred at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDING = 1e-12
"""Relative error of the bounds, generously: what lies within it is kept."""


class Curve(NamedTuple):
    """Options by ascending cost and descending loss, or the corners of a convex curve through some."""

    cost: Floats
    loss: Floats


class _Group(NamedTuple):
    """The options of a group that no other beats in both, with their positions."""

    curve: Curve
    positions: Ints


def least_losses(groups: Sequence[Curve], budgets: Sequence[float]) -> list[tuple[int, ...] | None]:
    """For every budget the position of one option in each group: the least total loss, and among those the least cost.

    budgets   of the total cost; None where no choice keeps one
    """
    order = sorted(range(len(groups)), key=lambda g: -np.ptp(groups[g].cost))
    pruned = [_undominated(groups[g]) for g in order]
    hulls = [_hull(group.curve) for group in pruned]
    rest = [_joined(hulls[i:]) for i in range(len(hulls) + 1)]

    picks: list[tuple[int, ...] | None] = []
    last_cost, last = np.inf, None
    for budget in sorted(budgets, reverse=True):
        if last is None or last_cost > budget:
            found = _least_loss(pruned, rest, budget)
            if found is not None:
                last_cost, in_order = found
                last = tuple(option for _, option in sorted(zip(order, in_order, strict=True)))
            else:
                last = None
        picks.append(last)
    ranks = np.argsort(np.argsort([-budget for budget in budgets], kind="stable"), kind="stable")
    return [picks[rank] for rank in ranks]


def _least_loss(groups: Sequence[_Group], rest: Sequence[Curve], budget: float) -> tuple[float, list[int]] | None:
    """The cost of the best choice within the budget, and its option in each group."""
    budget += ROUNDING * rest[0].cost[-1]
    known = np.flatnonzero(rest[0].cost <= budget)
    if not len(known):
        return None
    enough = rest[0].loss[known[-1]] + ROUNDING * np.abs(rest[0].loss).max()
    budget += ROUNDING * rest[0].cost[-1]  # sums in another order
    cost, loss = np.zeros(1), np.zeros(1)
    steps: list[tuple[Ints, Ints]] = []
    for group, remaining in zip(groups, rest[1:], strict=True):
        options = len(group.positions)
        cost, loss = (np.add.outer(a, b).ravel() for a, b in zip((cost, loss), group.curve, strict=True))
        bound = loss + np.interp(budget - cost, *remaining, left=np.inf)
        kept = np.flatnonzero(bound <= enough)
        kept = kept[np.lexsort((loss[kept], cost[kept]))]
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], loss[kept][:-1]]))
        kept = kept[loss[kept] < best_before]
        cost, loss = cost[kept], loss[kept]
        steps.append((kept // options, group.positions[kept % options]))
    state = len(loss) - 1  # the least loss, which costs the most
    picked = []
    for parents, options_of in reversed(steps):
        picked.append(int(options_of[state]))
        state = parents[state]
    return float(cost[-1]), picked[::-1]


def _undominated(options: Curve) -> _Group:
    order = np.lexsort((options.loss, options.cost))
    loss = options.loss[order]
    kept = order[loss < np.minimum.accumulate(np.concatenate([[np.inf], loss[:-1]]))]
    return _Group(Curve(options.cost[kept], options.loss[kept]), kept)


def _hull(curve: Curve) -> Curve:
    """The corners of the lower convex hull."""
    corners: list[int] = []
    for i, (cost, loss) in enumerate(zip(*curve, strict=True)):
        while len(corners) >= 2:
            (c0, l0), (c1, l1) = ((curve.cost[j], curve.loss[j]) for j in corners[-2:])
            if (l1 - l0) * (cost - c0) < (loss - l0) * (c1 - c0):
                break
            corners.pop()
        corners.append(i)
    return Curve(curve.cost[corners], curve.loss[corners])


def _joined(hulls: Sequence[Curve]) -> Curve:
    """The convex curve of all together: their segments, the steepest first."""
    cost_steps, loss_steps = (np.concatenate([[], *map(np.diff, axes)]) for axes in _axes(hulls))
    order = np.argsort(loss_steps / cost_steps, kind="stable")
    cost, loss = (float(sum(axis[0] for axis in axes)) for axes in _axes(hulls))
    return Curve(
        np.concatenate([[cost], cost + np.cumsum(cost_steps[order])]),
        np.concatenate([[loss], loss + np.cumsum(loss_steps[order])]),
    )


def _axes(curves: Sequence[Curve]) -> tuple[list[Floats], list[Floats]]:
    return [curve.cost for curve in curves], [curve.loss for curve in curves]
