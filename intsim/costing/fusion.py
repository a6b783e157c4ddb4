"""Bit Fusion: every tile size and loop order tried at once, the fewest cycles taken, ties by energy.

The array has `rows` units along input channels and `columns` along output channels; at smaller widths a unit fuses its
2-bit bricks into more multipliers, all along the input channels (`throughput.k`). Five tile loops surround it: batch,
output columns and rows, input and output channels. Arrays here are int64 (candidates,) or (orders, candidates).

Source: Sharma et al., Bit Fusion, ISCA 2018; its simulator, hsharma35/bitfusion, optimizer.py and stats.py, whose
        cycles, stalls, traffic and energy this reproduces. A group is a layer of its own there, and so it is here.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intsim.costing.cost import Cost, priced
from intsim.costing.memory import Stalls, Traffic
from intsim.costing.target import FusionTarget
from intsim.costing.workload import Layer
from intsim.errors import CostError

Ints = NDArray[np.int64]

BATCH, COLUMNS, ROWS, INPUTS, OUTPUTS = range(5)
# Which loops move on to another piece of each tensor; while the others run it can stay where it is.
INDEXED_BY = {
    "weights": (INPUTS, OUTPUTS),
    "activations": (BATCH, COLUMNS, ROWS, INPUTS),
    "accumulators": (BATCH, COLUMNS, ROWS, OUTPUTS),
}
# Innermost loop first.
ORDERS = np.array(list(permutations(range(5))))
# Square tiles of a square image: exchanging rows and columns changes nothing.
SQUARE_ORDERS = ORDERS[(ORDERS == COLUMNS).argmax(axis=1) < (ORDERS == ROWS).argmax(axis=1)]


class Tiles(NamedTuple):
    """Candidate tile sizes of the five loops, each int64 (candidates,)."""

    batch: Ints
    columns: Ints
    rows: Ints
    inputs: Ints
    outputs: Ints


def fusion_cost(layer: Layer, target: FusionTarget, batch: int) -> Cost:
    """The cost of the best schedule of one group, times the groups.

    Exact:   stall = ceil(first loads / bw) + ceil(last stores / bw) + max(0, ceil(remaining traffic / bw) - compute)
    raises   CostError: half of a buffer does not hold the smallest tile
    """
    gemm = layer.gemm(batch)
    samples = 1 if layer.kind == "matmul" else batch
    extents = (samples, layer.out_width, layer.out_height, layer.group_in_channels, layer.group_out_channels)
    tiles = _legal(layer, target, _candidates(layer, target, extents))
    trips = np.stack([_ceil_div(extent, tile) for extent, tile in zip(extents, tiles, strict=True)])
    count = trips.prod(axis=0)
    orders = SQUARE_ORDERS if np.array_equal(trips[COLUMNS], trips[ROWS]) else ORDERS

    moved: dict[str, Ints] = {}
    kept: dict[str, Ints] = {}
    for name, bits in _tile_bits(layer, target, tiles).items():
        moved[name], kept[name] = _walk(bits, trips, orders, INDEXED_BY[name], getattr(target.memory, name).half_bits)
    loads, stores = moved["weights"] + moved["activations"] + moved["accumulators"], moved["accumulators"]
    first, last = kept["weights"] + kept["activations"] + kept["accumulators"], kept["accumulators"]

    bandwidth = target.memory.dram.bandwidth.value
    compute = count * _tile_cycles(layer, target, tiles)
    transfer = _ceil_div(loads + stores - first - last, bandwidth)
    waiting = np.maximum(0, transfer - compute) + _ceil_div(first, bandwidth) + _ceil_div(last, bandwidth)
    cycles = compute + waiting

    # Only the schedules with the fewest cycles are priced.
    order, tile = np.nonzero(cycles == cycles.min())
    reads, writes = _array_accesses(layer, target, tiles)
    read = {name: (count * bits)[tile] for name, bits in reads.items()}
    write = {name: (count * bits)[tile] + moved[name][order, tile] for name, bits in writes.items()}
    read["accumulators"] = read["accumulators"] + stores[order, tile]
    read["dram"], write["dram"] = loads[order, tile], stores[order, tile]
    energy = compute[tile] * (target.mac_energy.unit.value * target.size.units)
    for name in read:
        memory = getattr(target.memory, name)
        energy = energy + read[name] * memory.read.value + write[name] * memory.write.value
    best = int(energy.argmin())

    at = order[best], tile[best]
    traffic = {name: Traffic(gemm.count * int(read[name][best]), gemm.count * int(write[name][best])) for name in read}
    bound = "dram" if transfer[at] > compute[at[1]] else "compute"
    stalls = Stalls(gemm.count * int(waiting[at]), bound)
    return priced(layer, target, batch, gemm.count * int(compute[at[1]]), stalls, traffic)


def _ceil_div(a: Ints | int, b: Ints | int) -> Ints:
    return np.asarray(-(-a // b))


def _unrolled(layer: Layer) -> bool:
    """The host unrolls the windows of the network's input into channels, which are too few otherwise."""
    return layer.kind == "conv" and layer.from_input


def _candidates(layer: Layer, target: FusionTarget, extents: tuple[int, int, int, int, int]) -> Tiles:
    """Powers of two up to each extent, in square pieces of the image; output channels in whole rounds of columns."""

    def powers(extent: int) -> list[int]:
        return [1 << i for i in range((extent - 1).bit_length() + 1)]

    samples, out_width, out_height, in_channels, out_channels = extents
    step = 1 if _unrolled(layer) else target.size.columns
    rounds = powers(-(-out_channels // step))
    axes = np.meshgrid(powers(samples), powers(max(out_width, out_height)), powers(in_channels), rounds)
    batch, side, inputs, outputs = (axis.ravel() for axis in axes)
    sizes = (batch, side, side, inputs, step * outputs)
    return Tiles(*(np.minimum(size, extent) for size, extent in zip(sizes, extents, strict=True)))


def _tile_bits(layer: Layer, target: FusionTarget, tiles: Tiles) -> dict[str, Ints]:
    """Bits of one tile of each tensor: weights in whole rows of the array, partial sums in whole columns."""
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = layer.kernel, layer.stride, layer.dilation
    window = kernel_h * kernel_w
    depth = target.size.rows * target.throughput(layer).k
    if _unrolled(layer):
        positions = tiles.rows * tiles.columns * window
    else:
        height = (kernel_h - 1) * dilation_h + 1 + (tiles.rows - 1) * stride_h
        width = (kernel_w - 1) * dilation_w + 1 + (tiles.columns - 1) * stride_w
        positions = height * width
    columns = _ceil_div(tiles.outputs, target.size.columns) * target.size.columns
    return {
        "weights": _ceil_div(window * tiles.inputs, depth) * depth * tiles.outputs * layer.weight_bits,
        "activations": positions * tiles.inputs * tiles.batch * layer.act_bits,
        "accumulators": tiles.rows * tiles.columns * columns * tiles.batch * target.accumulator.value,
    }


def _legal(layer: Layer, target: FusionTarget, tiles: Tiles) -> Tiles:
    """The candidates whose tensors each fit half of their buffer."""
    fits = np.ones(len(tiles.batch), dtype=bool)
    for name, bits in _tile_bits(layer, target, tiles).items():
        half_bits = getattr(target.memory, name).half_bits
        if bits.min() > half_bits:
            raise CostError(
                f"layer '{layer.name}': its smallest tile has {bits.min()} bits of {name}, but half of "
                f"memory.{name} of target '{target.name}' holds {half_bits}; enlarge it"
            )
        fits &= bits <= half_bits
    if not fits.any():
        raise CostError(
            f"layer '{layer.name}': no tile fits half of every buffer of target '{target.name}'; enlarge memory.weights"
        )
    return Tiles(*(size[fits] for size in tiles))


def _tile_cycles(layer: Layer, target: FusionTarget, tiles: Tiles) -> Ints:
    """Compute cycles of one tile.

    Exact:   b * oh * ow * ceil(oc / columns) * kh * kw * ceil(ic / (rows * lanes)), the kernel inside the last ceil
             where the host unrolls the windows.
    """
    window, throughput = layer.kernel[0] * layer.kernel[1], target.throughput(layer)
    depth = target.size.rows * throughput.k
    unrolled, inputs = _unrolled(layer), tiles.inputs
    steps = _ceil_div(window * inputs, depth) if unrolled else window * _ceil_div(inputs, depth)
    pixels = tiles.batch * tiles.rows * tiles.columns
    return pixels * _ceil_div(tiles.outputs, target.size.columns) * steps * throughput.cycles


def _walk(tile_bits: Ints, trips: Ints, orders: Ints, indexed_by: tuple[int, ...], half_bits: int) -> tuple[Ints, Ints]:
    """Bits that a tensor moves over all loops, and the largest part of it that stays in its buffer.

    From the innermost loop outwards: a loop that indexes the tensor multiplies its bits; one that does not reuses
    them, for as long as all that the loops inside it touch fits half the buffer.

    returns   two int64 (orders, candidates)
    """
    moved = np.broadcast_to(tile_bits, (len(orders), len(tile_bits)))
    kept, stays = moved, np.ones(moved.shape, dtype=bool)
    for loop in orders.T:
        reused = stays & ~np.isin(loop, indexed_by)[:, None]
        moved = np.where(reused, moved, moved * trips[loop])
        stays = stays & (moved <= half_bits)
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

    columns = _ceil_div(outputs, target.size.columns) * target.size.columns
    rows = _ceil_div(depth, lanes) * lanes if _unrolled(layer) else _ceil_div(tiles.inputs, lanes) * lanes * window
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
