"""The vectorised search of Bit Fusion equals one that walks every loop nest, tile by tile, in plain Python."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.costing import Array, FusionTarget, Layer, estimate, load_target
from intsim.costing.load_target import with_array
from intsim.errors import CostError
from tests.costing.layers import conv

pytestmark = pytest.mark.torchless

INDICES = {"weights": "ci", "activations": "bxyi", "accumulators": "bxyc"}  # batch, x, y, input and output channel


def small(weights: int, activations: int, accumulators: int) -> FusionTarget:
    """Bit Fusion with 2x4 units and buffers of so many bits, so that small layers need several tiles."""
    target = with_array(load_target("bitfusion"), Array(2, 4))
    assert isinstance(target, FusionTarget)
    memory = target.memory
    for name, bits in {"weights": weights, "activations": activations, "accumulators": accumulators}.items():
        buffer = getattr(memory, name)
        capacity = buffer.capacity.model_copy(update={"value": bits})
        memory = memory.model_copy(update={name: buffer.model_copy(update={"capacity": capacity})})
    return target.model_copy(update={"memory": memory})


def transfers(
    order: tuple[str, ...], trips: dict[str, int], indices: str, tile_bits: int, half: int
) -> tuple[int, int]:
    """Bits moved and bits kept of a tensor, by running the nest (outermost loop first) with what its buffer holds.

    The buffer holds what the longest run of inner loops touches that still fits half of it; it is filled anew
    whenever a loop outside of that run moves on.
    """
    depth = len(order)
    touched = tile_bits
    kept = tile_bits
    while depth and (touched := touched * (trips[order[depth - 1]] if order[depth - 1] in indices else 1)) <= half:
        depth, kept = depth - 1, touched
    held: set[tuple[int, ...]] = set()
    moved, outside = 0, None
    for at in product(*(range(trips[loop]) for loop in order)):
        if at[:depth] != outside:
            outside, held = at[:depth], set()
        piece = tuple(i for loop, i in zip(order, at, strict=True) if loop in indices)
        if piece not in held:
            moved += tile_bits
            held.add(piece)
    return moved, kept


def fewest_cycles(layer: Layer, target: FusionTarget, batch: int, lanes: int) -> int:
    """Cycles of one group by trying everything; kernels and images are square, tiles are powers of two."""
    rows, columns = target.size
    kernel, stride, window = layer.kernel[0], layer.stride[0], layer.kernel[0] * layer.kernel[1]
    halves = {name: getattr(target.memory, name).half_bits for name in INDICES}
    bandwidth = target.memory.dram.bandwidth.value
    extents = {
        "b": batch,
        "x": layer.out_width,
        "y": layer.out_height,
        "i": layer.in_channels // layer.groups,
        "c": layer.out_channels // layer.groups,
    }
    unrolled = layer.from_input
    sizes = [{min(2**p, extents[loop]) for p in range(7)} for loop in "bxi"]
    sizes.append({min(2**p * (1 if unrolled else columns), extents["c"]) for p in range(7)})

    best = []
    for b, side, i, c in product(*sizes):
        tile = {"b": b, "x": side, "y": side, "i": i, "c": c}
        trips = {loop: -(-extents[loop] // tile[loop]) for loop in "bxyic"}
        span = kernel + (side - 1) * stride
        depth = rows * lanes
        bits = {
            "weights": -(-window * i // depth) * depth * c * layer.weight_bits,
            "activations": (side * side * window if unrolled else span * span) * i * b * layer.act_bits,
            "accumulators": side * side * -(-c // columns) * columns * b * 32,
        }
        if any(bits[name] > halves[name] for name in bits):
            continue
        steps = -(-window * i // depth) if unrolled else window * -(-i // depth)
        count = trips["b"] * trips["x"] * trips["y"] * trips["i"] * trips["c"]
        compute = count * b * side * side * -(-c // columns) * steps
        for order in permutations("bxyic"):
            moved, kept = zip(*(transfers(order, trips, INDICES[n], bits[n], halves[n]) for n in INDICES), strict=True)
            first, last = sum(kept), kept[2]
            waiting = max(0, -(-(sum(moved) + moved[2] - first - last) // bandwidth) - compute)
            best.append(compute + waiting + -(-first // bandwidth) + -(-last // bandwidth))
    return min(best)


@settings(max_examples=6)
@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([(2, 2, 16), (3, 8, 2), (8, 8, 1)]),
    st.booleans(),
)
def test_the_search_finds_what_trying_everything_finds(
    in_channels: int, out_channels: int, size: int, kernel: int, stride: int, batch: int, widths: tuple[int, int, int],
    from_input: bool,
) -> None:  # fmt: skip
    weight_bits, act_bits, lanes = widths
    layer = conv(
        "x",
        in_channels,
        out_channels,
        size,
        kernel,
        stride,
        weight_bits=weight_bits,
        act_bits=act_bits,
        from_input=from_input,
    )
    target = small(weights=4800, activations=1200, accumulators=1800)
    cost = estimate([layer], target, batch=batch).layers[0].cost
    assert cost.cycles == fewest_cycles(layer, target, batch, lanes)


def test_groups_are_layers_of_their_own() -> None:
    whole, half = conv("x", 64, 96, 13, 3, groups=2), conv("x", 32, 48, 13, 3)
    two, one = (estimate([layer], "bitfusion").layers[0].cost for layer in (whole, half))
    assert (two.cycles, two.stall_cycles, two.dram_bits) == (2 * one.cycles, 2 * one.stall_cycles, 2 * one.dram_bits)
    assert two.energy_pj == pytest.approx(2 * one.energy_pj)


def test_an_oblong_image_costs_the_same_on_its_side() -> None:
    tall = Layer("x", "conv", 32, 32, 8, 8, 8, 30, 5, 30, 5)
    wide = Layer("x", "conv", 32, 32, 8, 8, 8, 5, 30, 5, 30)
    assert estimate([tall], "bitfusion").total_cycles == estimate([wide], "bitfusion").total_cycles


@pytest.mark.parametrize("batch", [1, 10**30])
def test_a_layer_too_large_to_count_is_named(batch: int) -> None:
    layer = conv("vast", 1, 2**30 if batch == 1 else 1, 2**15, 1)
    with pytest.raises(CostError, match="layer 'vast': too large for target 'bitfusion' to search"):
        estimate([layer], "bitfusion", batch=batch)


def test_a_buffer_too_small_for_any_tile_is_named() -> None:
    message = "layer 'x': its smallest tile has 72 bits of activations, but half of memory.activations .* holds 50"
    with pytest.raises(CostError, match=message):
        estimate([conv("x", 4, 4, 8, 3)], small(weights=48000, activations=100, accumulators=18000))
