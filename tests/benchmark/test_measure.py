"""Timing by turns: who runs when, and what is counted. No test here depends on how fast anything is."""

from __future__ import annotations

import pytest

from intsim.benchmark import measure
from intsim.benchmark.measure import Timing, interleave

pytestmark = pytest.mark.torchless


def test_competitors_take_turns_and_every_other_round_goes_backwards():
    runs: list[str] = []
    interleave({name: lambda name=name: runs.append(name) for name in "abc"}, rounds=4, warm_up=0)
    assert "".join(runs) == "cbaabccbaabc"


def test_a_competitor_is_charged_for_its_own_time_in_the_rounds_that_count(monkeypatch):
    clock = [0]
    monkeypatch.setattr(measure.time, "perf_counter_ns", lambda: clock[0])

    def taking(milliseconds):
        def run():
            clock[0] += milliseconds * 1_000_000

        return run

    timings = interleave({"fast": taking(1), "slow": taking(7)}, rounds=3, warm_up=2)
    assert timings["fast"].times_ms == (1, 1, 1)
    assert timings["slow"].times_ms == (7, 7, 7)


def test_the_median_and_the_middle_half():
    timing = Timing((5.0, 1.0, 2.0, 100.0, 3.0))
    assert timing.median_ms == 3.0
    assert timing.spread_ms == 3.0  # from 2 to 5
