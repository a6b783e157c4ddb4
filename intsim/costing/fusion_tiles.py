"""Tile sizes that a Bit Fusion array can work with, and what follows of each whatever the order of the loops around it.

Arrays are int64 with one column for each candidate.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intsim.costing.target import FusionTarget
from intsim.costing.workload import Layer
from intsim.errors import CostError

Ints = NDArray[np.int64]
Extents = tuple[int, int, int, int, int]
"""Of the five loops: samples, output columns and rows, input and output channels."""

BATCH, COLUMNS, ROWS, INPUTS, OUTPUTS = range(5)
TENSORS = ("weights", "activations", "accumulators")
MOST = 2**50
"""Values and products of a layer, which int64 counts with their bits and what tiles add at the edges."""
LARGEST = 2**60
"""Bits of traffic that leave int64 room for sums."""


class Tiles(NamedTuple):
    """Candidate tile sizes of the five loops, each int64 (candidates,)."""

    batch: Ints
    columns: Ints
    rows: Ints
    inputs: Ints
    outputs: Ints


class Candidates(NamedTuple):
    """Tile sizes and what follows of them whatever the order of the loops.

    trips      int64 (loops, candidates), how often each loop runs
    bits       int64 (tensors, candidates), of one tile
    compute    int64 (candidates,), cycles of the array over all tiles
    """

    tiles: Tiles
    trips: Ints
    bits: Ints
    compute: Ints

    def where(self, mask: NDArray[np.bool_]) -> Candidates:
        tiles = Tiles(*(size[mask] for size in self.tiles))
        return Candidates(tiles, self.trips[:, mask], self.bits[:, mask], self.compute[mask])


def ceil_div(a: Ints | int, b: Ints | int) -> Ints:
    return np.asarray(-(-a // b))


def unrolled(layer: Layer) -> bool:
    """The host unrolls the windows of the network's input into channels, which are too few otherwise."""
    return layer.kind == "conv" and layer.from_input


def held_bits(target: FusionTarget) -> Ints:
    """Half of each tensor's buffer, int64 (tensors,)."""
    return np.array([min(getattr(target.memory, name).half_bits, LARGEST) for name in TENSORS])


def legal_tiles(layer: Layer, target: FusionTarget, extents: Extents) -> Candidates:
    """The candidates whose tensors each fit half of their buffer.

    raises   CostError: half of a buffer does not hold the smallest tile, or a layer that int64 cannot count
    """
    too_large = CostError(
        f"layer '{layer.name}': too large for target '{target.name}' to search; state a smaller batch"
    )
    samples, *_, out_channels = extents
    reads = layer.in_height * layer.in_width * prod(layer.kernel) * layer.group_in_channels
    writes = layer.out_height * layer.out_width * out_channels
    if samples * max(reads, writes, layer.macs) > MOST:
        raise too_large
    tiles, trips = _tilings(extents, 1 if unrolled(layer) else target.size.columns)
    bits, half_bits = _tile_bits(layer, target, tiles), held_bits(target)
    if (bits * np.prod(trips, axis=0, dtype=np.float64)).max() > LARGEST:
        raise too_large
    for name, smallest, held in zip(TENSORS, bits.min(axis=1), half_bits, strict=True):
        if smallest > held:
            raise CostError(
                f"layer '{layer.name}': its smallest tile has {smallest} bits of {name}, but half of "
                f"memory.{name} of target '{target.name}' holds {held}; enlarge it"
            )
    fits = np.all(bits <= half_bits[:, None], axis=0)
    if not fits.any():
        raise CostError(
            f"layer '{layer.name}': no tile fits half of every buffer of target '{target.name}'; enlarge memory.weights"
        )
    compute = trips.prod(axis=0) * _tile_cycles(layer, target, tiles)
    return Candidates(tiles, trips, bits, compute).where(fits)


@lru_cache(maxsize=4096)
def _tilings(extents: Extents, step: int) -> tuple[Tiles, Ints]:
    """Powers of two up to each extent, in square pieces of the image and whole steps of output channels; and how often
    each loop then runs, int64 (loops, candidates)."""

    def powers(extent: int) -> list[int]:
        return [1 << i for i in range((extent - 1).bit_length() + 1)]

    samples, out_width, out_height, in_channels, out_channels = extents
    rounds = powers(-(-out_channels // step))
    axes = np.meshgrid(powers(samples), powers(max(out_width, out_height)), powers(in_channels), rounds)
    batch, side, inputs, outputs = (axis.ravel() for axis in axes)
    sizes = (batch, side, side, inputs, step * outputs)
    tiles = Tiles(*(np.minimum(size, extent) for size, extent in zip(sizes, extents, strict=True)))
    return tiles, np.stack([ceil_div(extent, tile) for extent, tile in zip(extents, tiles, strict=True)])


def _tile_bits(layer: Layer, target: FusionTarget, tiles: Tiles) -> Ints:
    """Bits of one tile of each tensor: weights in whole rows of the array, partial sums in whole columns."""
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = layer.kernel, layer.stride, layer.dilation
    window = kernel_h * kernel_w
    depth = target.size.rows * target.throughput(layer).k
    if unrolled(layer):
        positions = tiles.rows * tiles.columns * window
    else:
        height = (kernel_h - 1) * dilation_h + 1 + (tiles.rows - 1) * stride_h
        width = (kernel_w - 1) * dilation_w + 1 + (tiles.columns - 1) * stride_w
        positions = height * width
    columns = ceil_div(tiles.outputs, target.size.columns) * target.size.columns
    return np.stack(
        [
            ceil_div(window * tiles.inputs, depth) * depth * tiles.outputs * layer.weight_bits,
            positions * tiles.inputs * tiles.batch * layer.act_bits,
            tiles.rows * tiles.columns * columns * tiles.batch * target.accumulator.value,
        ]
    )


def _tile_cycles(layer: Layer, target: FusionTarget, tiles: Tiles) -> Ints:
    """Compute cycles of one tile.

    Exact:   b * oh * ow * ceil(oc / columns) * kh * kw * ceil(ic / (rows * lanes)), the kernel inside the last ceil
             where the host unrolls the windows.
    """
    window, throughput = layer.kernel[0] * layer.kernel[1], target.throughput(layer)
    depth = target.size.rows * throughput.k
    steps = ceil_div(window * tiles.inputs, depth) if unrolled(layer) else window * ceil_div(tiles.inputs, depth)
    pixels = tiles.batch * tiles.rows * tiles.columns
    return pixels * ceil_div(tiles.outputs, target.size.columns) * steps * throughput.cycles
