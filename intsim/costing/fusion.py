"""Bit Fusion: every tile size and loop order tried at once, the fewest cycles taken, ties by energy.

The array has `rows` units along input channels and `columns` along output channels; at smaller widths a unit fuses its
2-bit bricks into more multipliers, all along the input channels (`throughput.k`). Five tile loops surround it: batch,
output columns and rows, input and output channels (fusion_tiles.py has their sizes).

Source: Sharma et al., Bit Fusion, ISCA 2018; its simulator, hsharma35/bitfusion, optimizer.py and stats.py, whose
        cycles, stalls, traffic and energy this reproduces. A group is a layer of its own there, and so it is here.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np

from intsim.costing.cost import Cost, priced
from intsim.costing.fusion_tiles import (
    COLUMNS,
    ROWS,
    TENSORS,
    Candidates,
    Ints,
    Tiles,
    ceil_div,
    held_bits,
    legal_tiles,
    unrolled,
)
from intsim.costing.memory import Stalls, Traffic
from intsim.costing.target import FusionTarget
from intsim.costing.workload import Layer

# The loops that leave each tensor where it is; the others move on to another piece of it. (tensors, loops)
REUSED_BY = np.array(
    [
        [True, True, True, False, False],
        [False, False, False, False, True],
        [False, False, False, True, False],
    ]
)
# Innermost loop first.
ORDERS = np.array(list(permutations(range(5))))
# Square tiles of a square image: exchanging rows and columns changes nothing.
SQUARE_ORDERS = ORDERS[(ORDERS == COLUMNS).argmax(axis=1) < (ORDERS == ROWS).argmax(axis=1)]


class Schedules(NamedTuple):
    """Candidates in every loop order: int64 (orders, candidates).

    moved      (tensors, orders, candidates), bits that pass from DRAM to each buffer; accumulators pass back as well
    transfer, waiting, cycles    of what moves while the array computes, of the array's stalls, and in total
    """

    moved: Ints
    transfer: Ints
    waiting: Ints
    cycles: Ints


def fusion_cost(layer: Layer, target: FusionTarget, batch: int) -> Cost:
    """The cost of the best schedule of one group, times the groups.

    raises   CostError: half of a buffer does not hold the smallest tile
    """
    gemm = layer.gemm(batch)
    samples = 1 if layer.kind == "matmul" else batch
    extents = (samples, layer.out_width, layer.out_height, layer.group_in_channels, layer.group_out_channels)
    candidates = _promising(legal_tiles(layer, target, extents), target)
    schedules, count = _schedules(candidates, target), candidates.trips.prod(axis=0)

    # Only the schedules with the fewest cycles are priced.
    order, tile = np.nonzero(schedules.cycles == schedules.cycles.min())
    moved, compute = schedules.moved[:, order, tile], candidates.compute[tile]
    stored = moved[TENSORS.index("accumulators")]
    reads, writes = _array_accesses(layer, target, candidates.tiles)
    read = {name: (count * bits)[tile] for name, bits in reads.items()}
    write = {name: (count * bits)[tile] + bits_in for (name, bits), bits_in in zip(writes.items(), moved, strict=True)}
    read["accumulators"] = read["accumulators"] + stored
    read["dram"], write["dram"] = moved.sum(axis=0), stored
    energy = compute * (target.mac_energy.unit.value * target.size.units)
    for name in read:
        memory = getattr(target.memory, name)
        energy = energy + read[name] * memory.read.value + write[name] * memory.write.value
    best = int(energy.argmin())

    at = order[best], tile[best]
    traffic = {name: Traffic(gemm.count * int(read[name][best]), gemm.count * int(write[name][best])) for name in read}
    bound = "dram" if schedules.transfer[at] > compute[best] else "compute"
    stalls = Stalls(gemm.count * int(schedules.waiting[at]), bound)
    return priced(layer, target, batch, gemm.count * int(compute[best]), stalls, traffic)


def _promising(candidates: Candidates, target: FusionTarget) -> Candidates:
    """The candidates that could be the best: their bound is not above what those with the smallest bound reach.

    Exact:   cycles >= max(compute + ceil(tile loads / bw) + ceil(tile stores / bw), ceil(least traffic / bw)), where
             every loop that can leave a tensor in place does
    """
    bandwidth, bits = target.memory.dram.bandwidth.value, candidates.bits
    least = bits * np.where(REUSED_BY[:, :, None], 1, candidates.trips).prod(axis=1)
    exposed = ceil_div(bits.sum(axis=0), bandwidth) + ceil_div(bits[-1], bandwidth)
    bound = np.maximum(candidates.compute + exposed, ceil_div(least.sum(axis=0) + least[-1], bandwidth))
    reached = _schedules(candidates.where(bound == bound.min()), target).cycles.min()
    return candidates.where(bound <= reached)


def _schedules(candidates: Candidates, target: FusionTarget) -> Schedules:
    """Every loop order of the candidates.

    Exact:   stall = ceil(first loads / bw) + ceil(last stores / bw) + max(0, ceil(remaining traffic / bw) - compute)
    """
    moved, kept = _walk(candidates, held_bits(target))
    first, last = kept.sum(axis=0), kept[-1]
    bandwidth = target.memory.dram.bandwidth.value
    transfer = ceil_div(moved.sum(axis=0) + moved[-1] - first - last, bandwidth)
    exposed = ceil_div(first, bandwidth) + ceil_div(last, bandwidth)
    waiting = np.maximum(0, transfer - candidates.compute) + exposed
    return Schedules(moved, transfer, waiting, candidates.compute + waiting)


def _walk(candidates: Candidates, half_bits: Ints) -> tuple[Ints, Ints]:
    """Bits that each tensor moves over all loops, and the largest part of it that stays in its buffer.

    From the innermost loop outwards: a loop that indexes the tensor multiplies its bits; one that does not reuses
    them, for as long as all that the loops inside it touch fits half the buffer.

    half_bits   int64 (tensors,)
    returns     two int64 (tensors, orders, candidates)
    """
    trips = candidates.trips
    orders = SQUARE_ORDERS if np.array_equal(trips[COLUMNS], trips[ROWS]) else ORDERS
    moved = np.repeat(candidates.bits[:, None], len(orders), axis=1)
    kept, stays = moved, np.ones(moved.shape, dtype=bool)
    for loop in orders.T:
        reused = stays & REUSED_BY[:, loop, None]
        moved = np.where(reused, moved, moved * trips[loop])
        stays &= moved <= half_bits[:, None, None]
        kept = np.where(stays, moved, kept)
    return moved, kept


def _array_accesses(layer: Layer, target: FusionTarget, tiles: Tiles) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Bits that the array reads from and writes to its buffers for one tile, in the cheapest of three inner orders.

    The order is chosen on sizes rounded up to the array, and counted on the true ones, as the simulator does; the
    first of input, output and weight stationary wins a tie.
    """
    window, lanes = layer.kernel[0] * layer.kernel[1], target.size.rows * target.throughput(layer).k
    act_bits, weight_bits, sum_bits = layer.act_bits, layer.weight_bits, target.accumulator.value
    pixels, depth, outputs = tiles.batch * tiles.rows * tiles.columns, window * tiles.inputs, tiles.outputs

    columns = ceil_div(outputs, target.size.columns) * target.size.columns
    rows = ceil_div(depth, lanes) * lanes if unrolled(layer) else ceil_div(tiles.inputs, lanes) * lanes * window
    order = np.argmin(
        [
            rows * pixels * (act_bits + columns * (weight_bits + sum_bits)),
            columns * pixels * (sum_bits + rows * (act_bits + weight_bits)),
            rows * columns * (weight_bits + pixels * (act_bits + sum_bits)),
        ],
        axis=0,
    )
    products = depth * pixels * outputs
    activations = np.choose(order, [depth * pixels, products, products]) * act_bits
    weights = np.choose(order, [products, products, depth * outputs]) * weight_bits
    sums = np.choose(order, [products, pixels * outputs, products]) * sum_bits
    none = np.zeros_like(products)
    return (
        {"weights": weights, "activations": activations, "accumulators": sums},
        {"weights": none, "activations": none, "accumulators": sums},
    )
