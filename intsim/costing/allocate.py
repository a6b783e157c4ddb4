"""The best widths within budgets: the least loss that the costs allow, or the least cost that the loss allows.

Source: Hubara et al. 2021 (AdaQuant), section 4; Yao et al., HAWQ-V3, ICML 2021, section 3.4: integer programs with one
        budget and a proxy of cost. Here the costs are those of the estimate, and several budgets hold at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intsim.costing.allocation import Allocation, Limits
from intsim.costing.budget import Budget, parse_budget
from intsim.costing.front import Curve, least_losses
from intsim.costing.integer_program import Limit, pick
from intsim.costing.menu import Measure, Menu, Option, Unit, total
from intsim.errors import CostError

Choice = tuple[Option, ...]
"""One option for each unit of a menu, in order."""


class _Least(NamedTuple):
    """A choice, and whether no other is proven to be less."""

    choice: Choice
    proven: bool


def allocate(menu: Menu, budgets: Iterable[Budget | str] = (), minimise: Measure = "loss") -> Allocation:
    """The widths with the least predicted loss, or the least of another measure, within all budgets.

    Budgets are kept exactly, and that nothing is better is proven exactly; for networks of fifty layers and more in
    several budgets it may rest on HiGHS instead, and `proven` says so (`integer_program.py`).

    `allocate(menu, ["loss=3.5"], "energy")` is the dual: the least energy that loses at most 3.5. Where nothing keeps
    all budgets, the allocation that comes nearest: all but one are kept, and that one is missed by the smallest factor;
    where even that is impossible, all but that one are dropped.
    raises   CostError: a budget that is none, or two for one measure; layers and budgets too many to solve
    """
    limits = _limits(menu, budgets)
    found = _least(menu, minimise, limits)
    if found is not None:
        return _allocation(menu, found.choice, limits, found.proven)
    others = {name: {other: limits[other] for other in limits if other != name} for name in limits}
    candidates = [best for name in limits if (best := _least(menu, name, others[name])) is not None]
    candidates = candidates or [best for name in limits if (best := _least(menu, name, {})) is not None]
    return min((_allocation(menu, best.choice, limits, best.proven) for best in candidates), key=_missed_by)


def pareto(menu: Menu, cost: Measure, points: int = 100) -> list[Allocation]:
    """The front of loss against one cost, cheapest first: at most `points` allocations, none better in both.

    Each has the least loss of all allocations that cost as much or less, for budgets evenly spaced from the cheapest
    allocation to the one of least loss.
    raises   CostError: fewer than two points
    """
    if points < 2:
        raise CostError(f"a front needs at least 2 points, got {points}")
    cheapest = [min(unit.options, key=lambda o: o.amounts[cost]) for unit in menu.units]
    best = [min(unit.options, key=lambda o: (o.amounts["loss"], o.amounts[cost])) for unit in menu.units]
    low, high = (total(option.amounts for option in choice)[cost] for choice in (cheapest, best))
    budgets = [low + (high - low) * i / (points - 1) for i in range(points)]
    return [_allocation(menu, choice, {}) for choice in dict.fromkeys(_front(menu, cost, budgets))]


def _front(menu: Menu, cost: Measure, budgets: Sequence[Fraction]) -> list[Choice]:
    """The choice of least loss within each budget, of several the cheapest."""
    if cost == "peak":  # nothing adds up: every unit for itself
        return [
            tuple(min(open_, key=lambda o: (o.amounts["loss"], o.amounts["peak"])) for open_ in _within(menu, budget))
            for budget in budgets
        ]
    picks = least_losses([_curve(unit, cost) for unit in menu.units], [float(budget) for budget in budgets])
    return [_chosen([unit.options for unit in menu.units], picked) for picked in picks if picked is not None]


def _curve(unit: Unit, cost: Measure) -> Curve:
    costs, losses = ([float(option.amounts[name]) for option in unit.options] for name in (cost, "loss"))
    return Curve(np.array(costs), np.array(losses))


def _least(menu: Menu, minimise: Measure, limits: Limits) -> _Least | None:
    """The choice with the least of a measure within limits; None where there is none."""
    if minimise == "peak":
        return _least_peak(menu, limits)
    summed = [name for name in limits if name != "peak"]
    groups = [_undominated(options, [minimise, *summed]) for options in _within(menu, limits.get("peak"))]
    if not all(groups):
        return None
    flat = [option.amounts for options in groups for option in options]
    rows = [Limit([amounts[name] for amounts in flat], limits[name]) for name in summed]
    picked = pick([len(options) for options in groups], [amounts[minimise] for amounts in flat], rows)
    return None if picked is None else _Least(_chosen(groups, picked.positions), picked.proven)


def _least_peak(menu: Menu, limits: Limits) -> _Least | None:
    """The peak is that of one option: the smallest of them that leaves a choice, by bisection."""
    peaks = sorted({option.amounts["peak"] for unit in menu.units for option in unit.options})
    peaks = [peak for peak in peaks if peak <= limits.get("peak", peak)]

    def choice(peak: Fraction) -> _Least | None:
        return _least(menu, "loss", {**limits, "peak": peak})

    first = bisect_left(peaks, True, key=lambda peak: choice(peak) is not None)
    return choice(peaks[first]) if first < len(peaks) else None


def _within(menu: Menu, peak: Fraction | None) -> list[tuple[Option, ...]]:
    """The options of each unit that a limit of the peak leaves."""
    return [tuple(o for o in unit.options if peak is None or o.amounts["peak"] <= peak) for unit in menu.units]


def _undominated(options: Sequence[Option], measures: Sequence[Measure]) -> list[Option]:
    """The options that no other equals or beats in every measure."""
    ranked = sorted(((tuple(o.amounts[name] for name in measures), o) for o in options), key=lambda item: item[0])
    kept: list[tuple[tuple[Fraction, ...], Option]] = []
    for amounts, option in ranked:
        if not any(all(a <= b for a, b in zip(better, amounts, strict=True)) for better, _ in kept):
            kept.append((amounts, option))
    return [option for _, option in kept]


def _chosen(groups: Sequence[Sequence[Option]], picked: Sequence[int]) -> Choice:
    return tuple(options[position] for options, position in zip(groups, picked, strict=True))


def _allocation(menu: Menu, choice: Choice, limits: Limits, proven: bool = True) -> Allocation:
    """The widths that a choice means, with its amounts added up again."""
    pairs = {name: option.pair for unit, option in zip(menu.units, choice, strict=True) for name in unit.layers}
    amounts = total(option.amounts for option in choice)
    kept = all(amounts[name] <= limit for name, limit in limits.items())
    bits = {name: pairs[name] for name in menu.layers}
    return Allocation(bits, amounts, menu.uniform, limits, "optimal" if kept else "infeasible", proven)


def _missed_by(allocation: Allocation) -> Fraction:
    """The largest factor by which it exceeds a limit; a loss may be limited to nothing or less."""
    excess = {name: allocation.amounts[name] - allocation.limits[name] for name in allocation.missed}
    return max(amount / (abs(allocation.limits[name]) or 1) for name, amount in excess.items())


def _limits(menu: Menu, budgets: Iterable[Budget | str]) -> Mapping[Measure, Fraction]:
    limits: dict[Measure, Fraction] = {}
    for budget in (parse_budget(b) if isinstance(b, str) else b for b in budgets):
        if budget.measure in limits:
            raise CostError(f"two budgets for {budget.measure}: state one for each measure")
        uniform = menu.uniform[budget.measure] if budget.relative else 1
        limits[budget.measure] = budget.amount * uniform
    return limits
