"""Bit-serial accelerators such as Stripes and Loom: a step of 16 lanes, 16 windows and all rows lasts as many cycles as
its operands have bits.

Every row holds a filter, every column a window, and the lanes lie along the input channels; how many cycles a step
takes at which widths is data in the target (Stripes: activation bits; Loom: activation bits times weight bits).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from intsim.costing.cost import Cost, priced
from intsim.costing.memory import Traffic, fetched_operands, stalls
from intsim.costing.target import SerialTarget
from intsim.costing.workload import Layer, ceil_div


def serial_cost(layer: Layer, target: SerialTarget, batch: int) -> Cost:
    """Groups run one after the other. Sums stay in the units until they are complete; buffers keep up with the units.

    Exact:   images * ceil(windows / columns) * ceil(filters / rows) * kh * kw * ceil(channels / lanes) * t, with t
             cycles per step. A layer without windows takes the next step in the next column, one cycle later, if that
             is faster: S steps end at floor((S-1) / columns) * max(t, columns) + (S-1) % columns + t.
    Source:  DNNsim, core/Stripes.cpp and core/Loom.cpp (FC_MULTIPLEX_COLUMNS); its depthwise layers, which give every
             row activations of its own, are not followed.
    """
    gemm, memory, size = layer.gemm(batch), target.memory, target.size
    throughput = target.throughput(layer)
    pixels = layer.out_height * layer.out_width
    filters = ceil_div(gemm.n, size.rows)
    steps = filters * layer.kernel[0] * layer.kernel[1] * ceil_div(layer.group_in_channels, throughput.k)
    windows = gemm.m // pixels * ceil_div(pixels, size.columns)
    cycles = windows * steps * throughput.mean_cycles
    if layer.kind != "conv":
        cycles = min(cycles, _staggered(gemm.m * steps, size.columns, throughput.mean_cycles))
    compute_cycles = ceil(gemm.count * cycles)

    weights, activations = fetched_operands(layer, gemm, windows, filters, memory.weights, memory.activations)
    results = gemm.m * gemm.n * layer.out_bits
    kept, stored = (results, 0) if layer.output_on_chip else (0, results)
    sums = gemm.m * gemm.n * target.accumulator.value
    traffic = {
        "weights": Traffic(windows * gemm.k * gemm.n * layer.weight_bits, weights),
        "activations": Traffic(filters * gemm.m * gemm.k * layer.act_bits, activations + kept),
        "accumulators": Traffic(sums, sums),
        "dram": Traffic(weights + activations, stored),
    }
    traffic = {name: Traffic(gemm.count * t.read_bits, gemm.count * t.write_bits) for name, t in traffic.items()}
    first_load = min(layer.input_bits(gemm, ceil_div(gemm.m, windows)), memory.activations.half_bits, activations)
    first_load += min(ceil_div(gemm.n, filters) * gemm.k * layer.weight_bits, memory.weights.half_bits)
    last_store = min(ceil_div(gemm.m, windows) * ceil_div(gemm.n, filters) * layer.out_bits, stored)
    hidden = {"dram": traffic["dram"].bits - first_load - last_store}
    bandwidth = {"dram": memory.dram.bandwidth.value}
    waiting = stalls(compute_cycles, hidden, bandwidth, first_load, last_store)
    return priced(layer, target, batch, compute_cycles, waiting, traffic)


def _staggered(steps: int, columns: int, step_cycles: Fraction) -> Fraction:
    """Cycles when each step goes to the next column: one starts per cycle, in a column that has ended its last."""
    rounds, rest = divmod(steps - 1, columns)
    return rounds * max(step_cycles, Fraction(columns)) + rest + step_cycles
