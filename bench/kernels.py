"""make bench: every gemm kernel against a float32 multiply-add roof that is measured in the same run."""

from __future__ import annotations

from typing import Any

from intsim.benchmark.kernels import kernel_rates


def test_kernels_against_the_roof(benchmark: Any) -> None:
    """The table is under `extra_info`: MACs per second, MACs per cycle and the ratio to the roof of each kernel."""
    rates = benchmark.pedantic(kernel_rates, rounds=1)
    for rate in rates:
        row = {"gmacs": rate.gmacs, "macs_per_cycle": rate.macs_per_cycle, "times_roof": rate.times_roof}
        benchmark.extra_info[f"{rate.name} W{rate.weight_bits}A{rate.act_bits}"] = row
    assert all(rate.gmacs > 0 for rate in rates)
