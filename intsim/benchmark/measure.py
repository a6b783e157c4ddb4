"""Timing by turns: whatever the machine does meanwhile, it does to every competitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of one competitor, in milliseconds, one for each round."""

    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return median(self.times_ms)

    @property
    def spread_ms(self) -> float:
        """Distance of the quartiles: the middle half of the rounds lies within it."""
        low, _, high = quantiles(self.times_ms, n=4, method="inclusive")
        return high - low


def interleave(
    competitors: Mapping[str, Callable[[], Any]], rounds: int = 15, warm_up: int = 2, settle: int = 0
) -> dict[str, Timing]:
    """Run every competitor once a round, `rounds` times (at least 2), after `warm_up` rounds that do not count.

    Every other round goes backwards, so that none always runs in the wake of the same neighbour.
    settle  calls right before each one that counts: the caches are then the competitor's own, and what its neighbour's
            threads still do is over
    """
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(-warm_up, rounds):
        order = list(competitors)[:: 1 if number % 2 else -1]
        for name in order:
            for _ in range(settle):
                competitors[name]()
            start = time.perf_counter_ns()
            competitors[name]()
            elapsed = time.perf_counter_ns() - start
            if number >= 0:
                times[name].append(elapsed / 1e6)
    return {name: Timing(tuple(ms)) for name, ms in times.items()}
