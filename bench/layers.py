"""make bench: every convolution of the three networks, against the engines installed and the roof of the same run."""

from __future__ import annotations

from typing import Any

from intsim.benchmark.layers import layer_rates


def test_layers_against_other_engines(benchmark: Any) -> None:
    """Under `extra_info`: for each layer and pair of widths the ratio to the roof, and to the fastest int8 engine."""
    rates = benchmark.pedantic(layer_rates, rounds=1)
    for rate in rates:
        benchmark.extra_info[f"{rate.name} {rate.label}"] = rate.to_dict()
    assert all(rate.gmacs > 0 for rate in rates)
