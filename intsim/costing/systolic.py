"""The physical systolic array: cycles of its walk, traffic of three buffers, stalls of every port."""

from __future__ import annotations

from intsim.costing.cost import Cost, priced
from intsim.costing.dataflows import COUNTS, DATAFLOWS
from intsim.costing.memory import Traffic, fetched_operands, stalls
from intsim.costing.target import SystolicTarget
from intsim.costing.workload import Layer, ceil_div
from intsim.errors import CostError


def systolic_cost(layer: Layer, target: SystolicTarget, batch: int) -> Cost:
    """Groups and products run one after the other; only the first waits for its operands, the last for its results.

    Accumulated on chip: every partial sum is written and read back once per piece of K. Operands enter their buffers
    from DRAM once, or once per pass where the part that a pass comes back to does not fit.
    """
    gemm, throughput, memory = layer.gemm(batch), target.throughput(layer), target.memory
    walk = DATAFLOWS[target.dataflow.kind](
        throughput.steps(gemm), target.size, _buffered_rows(layer, target), throughput.cycles
    )
    compute_cycles = gemm.count * COUNTS[target.dataflow.count](walk, target.size)

    weights, activations = fetched_operands(layer, gemm, walk.m_tiles, walk.n_tiles, memory.weights, memory.activations)
    results = gemm.m * gemm.n * layer.out_bits
    kept, stored = (results, 0) if layer.output_on_chip else (0, results)
    sums = walk.k_tiles * gemm.m * gemm.n * target.accumulator.value
    traffic = {
        "weights": Traffic(walk.m_tiles * gemm.k * gemm.n * layer.weight_bits, weights),
        "activations": Traffic(walk.n_tiles * gemm.m * gemm.k * layer.act_bits, activations + kept),
        "accumulators": Traffic(sums, sums),
        "dram": Traffic(weights + activations, stored),
    }
    traffic = {name: Traffic(gemm.count * t.read_bits, gemm.count * t.write_bits) for name, t in traffic.items()}

    tile_m, tile_k, tile_n = (
        ceil_div(gemm.m, walk.m_tiles),
        ceil_div(gemm.k, walk.k_tiles),
        ceil_div(gemm.n, walk.n_tiles),
    )
    first_load = min(tile_k * tile_n * layer.weight_bits, memory.weights.half_bits)
    first_load += min(layer.input_bits(gemm, tile_m), memory.activations.half_bits, activations)
    last_store = min(tile_m * tile_n * layer.out_bits, stored)
    hidden = {name: moved.bits for name, moved in traffic.items()}
    hidden["dram"] -= first_load + last_store
    bandwidths = {"dram": memory.dram.bandwidth.value}
    for name in ("weights", "activations", "accumulators"):
        bandwidths[name] = getattr(memory, name).bits_per_cycle(target.size)
    waiting = stalls(compute_cycles, hidden, bandwidths, first_load, last_store)
    return priced(layer, target, batch, compute_cycles, waiting, traffic)


def _buffered_rows(layer: Layer, target: SystolicTarget) -> int:
    """Steps of the streamed axis whose partial sums fit half the accumulator buffer."""
    throughput = target.throughput(layer)
    sums_per_step = target.size.columns * throughput.m * throughput.n
    rows = target.memory.accumulators.half_bits // (sums_per_step * target.accumulator.value)
    if rows == 0:
        raise CostError(
            f"target '{target.name}': memory.accumulators: half of it must hold {sums_per_step} partial sums of "
            f"{target.accumulator.value} bits, got {target.memory.accumulators.capacity.value} bits; enlarge it"
        )
    return rows
