"""What the tile kernels reach on their own, against float32 multiply-adds measured in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from intsim.backends.native import MicroKernel, dependent_adds, kernels
from intsim.benchmark.measure import Timing, interleave

DEPTH = 512
WIDE_DEPTH = 256
"""Products of each output: panel and operands then lie in the first cache, which for wide operands holds fewer."""
WIDE = ("float32", "lut6")
TIMES = 100
"""Tiles in one measurement."""
ADDS = 200_000

WIDTHS = {
    "a16": ((4, 4), (4, 8)),
    "a32s4": ((5, 8),),
    "a32s2": ((6, 8),),
    "a32s1": ((7, 8),),
    "w16": ((8, 8),),
    "w16x8": ((8, 8),),
    "a16x4": ((4, 4), (4, 8)),
    "dot": ((8, 8),),
    "lut": ((2, 2), (2, 4)),
    "lutodd": ((2, 2), (2, 4)),
    "lutsign": ((1, 2), (1, 4)),
    "lut6": ((2, 2), (2, 3), (2, 4)),
}
"""Scheme -> the (weight, activation) bits that it is measured at: what it is meant for."""


@dataclass(frozen=True)
class KernelRate:
    """One kernel at one pair of widths, on one thread.

    ms, spread_ms     median, and distance of the quartiles, of TIMES tiles
    batch             rows of a tile
    gmacs             10**9 multiply-accumulates a second, at the median
    macs_per_cycle    at the clock that dependent additions ran at meanwhile
    fp32_roof_gmacs   of float32 multiply-adds by the same instruction set
    peers             other engines' ms: a tile of a kernel has none
    """

    name: str
    weight_bits: int
    act_bits: int
    threads: int
    batch: int
    ms: float
    spread_ms: float
    gmacs: float
    macs_per_cycle: float
    fp32_roof_gmacs: float
    times_roof: float
    peers: dict[str, float] = field(default_factory=dict)


def kernel_rates(rounds: int = 31) -> list[KernelRate]:
    """Rates of the roof and of every gemm kernel that this processor runs, in turns, `rounds` times (at least 2)."""
    measured = {
        (kernel.name, *widths): (
            kernel,
            MicroKernel(kernel.name, *widths, WIDE_DEPTH if kernel.scheme in WIDE else DEPTH),
        )
        for kernel in kernels()
        if kernel.op in ("roof", "gemm", "gemmpair")
        for widths in WIDTHS.get(kernel.scheme, ((8, 8),))
    }
    clock = "clock"
    competitors: dict[str, Callable[[], None]] = {clock: partial(dependent_adds, ADDS)}
    competitors |= {str(key): partial(tile.run, TIMES) for key, (_, tile) in measured.items()}
    timings = interleave(competitors, rounds)

    def gmacs(key: tuple[str, int, int]) -> float:
        return TIMES * measured[key][1].macs / timings[str(key)].median_ms / 1e6

    cycles_per_ns = ADDS / timings[clock].median_ms / 1e6
    roofs, roof = dict[str, float](), 0.0
    for key, (kernel, _) in reversed(measured.items()):
        roof = gmacs(key) if kernel.op == "roof" else roof
        roofs[kernel.isa] = roof  # where it has none, that of the instruction set that it builds on
    rates = []
    for key, (kernel, _) in measured.items():
        timing, rate, roof = timings[str(key)], gmacs(key), roofs[kernel.isa]
        widths = key[1:] if kernel.op != "roof" else (kernel.weight_bits, kernel.act_bits)
        times = (timing.median_ms, timing.spread_ms)
        rates.append(
            KernelRate(kernel.name, *widths, 1, kernel.mr, *times, rate, rate / cycles_per_ns, roof, rate / roof)
        )
    return rates


def race(competitors: Mapping[str, Callable[[], Any]], rounds: int, settle: int = 0) -> tuple[dict[str, Timing], float]:
    """`interleave`, with the roof as one more competitor: everyone's times, and the roof's 10**9 MACs a second."""
    kernel = next(kernel for kernel in kernels() if kernel.op == "roof")  # the widest instruction set comes first
    tile = MicroKernel(kernel.name, 8, 8, WIDE_DEPTH)
    timings = interleave({**competitors, kernel.name: partial(tile.run, TIMES)}, rounds, settle=settle)
    return timings, TIMES * tile.macs / timings[kernel.name].median_ms / 1e6
