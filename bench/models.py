"""make bench: whole networks, against the engines installed and the roof of the same run."""

from __future__ import annotations

from typing import Any

from intsim.benchmark.models import model_rates


def test_networks_against_other_engines(benchmark: Any) -> None:
    """Under `extra_info`: for each network, batch, number of threads and pair of widths the times of all engines."""
    rates = benchmark.pedantic(model_rates, rounds=1)
    for rate in rates:
        benchmark.extra_info[f"{rate.name} {rate.label} batch {rate.batch} threads {rate.threads}"] = rate.to_dict()
    assert all(rate.gmacs > 0 for rate in rates)
