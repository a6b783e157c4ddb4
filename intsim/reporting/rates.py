"""The figure of `intsim bench`: every engine's rate as a bar, against the roof of float32 multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from intsim.benchmark.rate import Rate

LONGEST = 70.0
"""Percent of the room that the longest bar takes: the rest is for its text."""


@dataclass(frozen=True)
class Bar:
    """An engine's rate in multiples of the roof, drawn `percent` long."""

    label: str
    kind: str
    ms: float
    times_roof: float
    percent: float
    remark: str


@dataclass(frozen=True)
class Race:
    """Engines that ran in turns, the fastest first."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Races:
    """The page: its races, where the roof stands in them, and the slowest and the fastest that it was measured."""

    title: str
    races: tuple[Race, ...]
    roof_percent: float
    roof_gmacs: tuple[float, float]


def compare_rates(title: str, rates: Sequence[Rate]) -> Races:
    """One race for each layer or network, batch and number of threads."""
    every = [rate.times_roof for rate in rates] + [rate.peer_times_roof(peer) for rate in rates for peer in rate.peers]
    unit = LONGEST / max(every)

    def bar(label: str, kind: str, ms: float, times_roof: float, remark: str = "") -> Bar:
        return Bar(label, kind, ms, times_roof, round(times_roof * unit, 2), remark)

    races = []
    for (name, batch, threads), alike in groupby(rates, lambda rate: (rate.name, rate.batch, rate.threads)):
        own = list(alike)
        bars = [bar(rate.label, "own", rate.ms, rate.times_roof) for rate in own]
        for peer, ms in own[0].peers.items():
            kind = "float" if "float32" in peer else "int8"
            bars.append(bar(peer, kind, ms, own[0].peer_times_roof(peer), own[0].remark(peer)))
        threads_text = f"{threads} thread{'s' if threads > 1 else ''}"
        races.append(Race(f"{name}, batch {batch}, {threads_text}", tuple(sorted(bars, key=lambda bar: bar.ms))))
    roofs = [rate.fp32_roof_gmacs for rate in rates]
    return Races(title, tuple(races), round(unit, 2), (min(roofs), max(roofs)))
