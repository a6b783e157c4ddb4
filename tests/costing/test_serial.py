"""Bit-serial targets, against loops that count every step, published speed-ups, and real activations in groups."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.costing import Array, Layer, estimate, load_target
from intsim.costing.load_target import with_array
from intsim.costing.target import SerialTarget, Target
from intsim.costing.trimming import act_groups, trimmed_layers
from intsim.errors import CostError
from tests.costing.layers import conv, layers

pytestmark = pytest.mark.torchless

LANES = 16
ARRAYS = st.builds(Array, st.integers(1, 20), st.integers(1, 20))


def step_cycles(name: str, layer: Layer) -> int:
    return layer.act_bits if name == "stripes" else layer.act_bits * layer.weight_bits


def counted(layer: Layer, array: Array, batch: int, step: int) -> int:
    """Every step of every pass, as a simulator goes through them."""
    cycles, pixels = 0, layer.out_height * layer.out_width
    for _image in range(batch):
        for _window in range(0, pixels, array.columns):
            for _filter in range(0, layer.group_out_channels, array.rows):
                for _tap in range(layer.kernel[0] * layer.kernel[1]):
                    for _channel in range(0, layer.group_in_channels, LANES):
                        cycles += step
    return layer.groups * cycles


def staggered(layer: Layer, array: Array, batch: int, step: int) -> int:
    """Steps in one column after the other: each starts a cycle after the last, and when its column is free."""
    clock, column, free = 0, 0, [0] * array.columns
    for _position in range(batch * layer.out_height * layer.out_width):
        for _filter in range(0, layer.group_out_channels, array.rows):
            for _channel in range(0, layer.group_in_channels, LANES):
                clock = max(clock, free[column])
                free[column] = clock + step
                clock, column = clock + 1, (column + 1) % array.columns
    return layer.groups * max(free)


@given(layers(), st.sampled_from(["stripes", "loom"]), ARRAYS, st.integers(1, 2))
def test_cycles_are_those_of_the_loops(layer: Layer, name: str, array: Array, batch: int) -> None:
    step, samples = step_cycles(name, layer), 1 if layer.kind == "matmul" else batch
    expected = counted(layer, array, samples, step)
    if layer.kind != "conv":
        expected = min(expected, staggered(layer, array, samples, step))
    products = batch if layer.kind == "matmul" else 1
    assert estimate([layer], name, array, batch).compute_cycles == products * expected


@pytest.mark.parametrize("act_bits", range(1, 17))
@pytest.mark.parametrize("weight_bits", [1, 3, 8, 16])
def test_the_ideal_speed_up(weight_bits: int, act_bits: int) -> None:
    """Stripes: 16 / a for convolutions and none without windows; Loom: 256 / (a * w), and 16 / w."""
    convolution = conv("x", 64, 256, 16, 3, weight_bits=16, act_bits=16)
    linear = Layer("x", "linear", 1 << 16, 256, 16, 16, 16)

    def speed_up(name: str, layer: Layer) -> float:
        narrow = replace(layer, weight_bits=weight_bits, act_bits=act_bits)
        return estimate([layer], name).compute_cycles / estimate([narrow], name).compute_cycles

    assert speed_up("stripes", convolution) == 16 / act_bits
    assert speed_up("stripes", linear) == pytest.approx(1, rel=0.01)
    assert speed_up("loom", convolution) == 256 / (act_bits * weight_bits)
    if act_bits == 16:  # with fewer the columns wait for their weights
        assert speed_up("loom", linear) == pytest.approx(16 / weight_bits, rel=0.01)


def loom() -> SerialTarget:
    target: Target = load_target("loom")
    assert isinstance(target, SerialTarget)
    return target


@pytest.mark.parametrize("signed", [False, True])
def test_groups_need_the_bits_of_their_widest_activation(signed: bool) -> None:
    rng = np.random.default_rng(1)
    codes = (rng.integers(0, 128, (3, 21, 5, 7)) >> rng.integers(0, 8, (3, 21, 5, 7))).astype(np.int8)
    codes = codes * rng.choice([1, -1], codes.shape).astype(np.int8) if signed else codes
    lanes, columns = 4, 6
    expected = [0] * 8
    for image in codes.reshape(3, 21, 35):
        for channel in range(0, 21, lanes):
            for position in range(0, 35, columns):
                group = [int(v) for v in image[channel : channel + lanes, position : position + columns].ravel()]
                bits = max(1, max(abs(v).bit_length() for v in group) + any(v < 0 for v in group))
                expected[bits - 1] += 1
    assert act_groups(codes, 8, lanes, columns) == tuple(expected)


def test_trimming_saves_cycles_of_the_groups_that_need_fewer_bits() -> None:
    layer = conv("x", 16, 128, 8, 1, weight_bits=4, act_bits=8)
    codes = np.zeros((1, 16, 8, 8), np.uint8)
    codes[0, :, :4] = 5  # two groups of 3 bits and two of none
    whole, trimmed = (estimate(network, "loom") for network in ([layer], trimmed_layers([layer], {"x": codes}, loom())))
    assert whole.compute_cycles == 4 * 4 * 8
    assert trimmed.compute_cycles == 4 * (3 + 3 + 1 + 1)
    assert trimmed.dram_bits == whole.dram_bits
    assert 0 < trimmed.utilisation <= 1
    assert estimate(trimmed_layers([layer], {}, loom()), "loom").to_dict() == whole.to_dict()
    # Stripes knows widths of whole layers only.
    stripes = [estimate([x], "stripes").compute_cycles for x in (layer, replace(layer, act_groups=(4,)))]
    assert stripes[0] == stripes[1]


@given(layers(), st.data())
def test_trimming_never_costs_cycles(layer: Layer, data: st.DataObject) -> None:
    groups = tuple(data.draw(st.lists(st.integers(0, 9), min_size=layer.act_bits, max_size=layer.act_bits)))
    if sum(groups) == 0:
        return
    target = with_array(loom(), Array(8, 4))
    whole, trimmed = estimate([layer], target), estimate([replace(layer, act_groups=groups)], target)
    assert trimmed.compute_cycles <= whole.compute_cycles
    assert trimmed.compute_cycles * layer.act_bits >= whole.compute_cycles / 4
    if layer.kind == "conv":
        mean = sum(count * bits for bits, count in enumerate(groups, 1)) / sum(groups)
        assert trimmed.compute_cycles == pytest.approx(ceil(whole.compute_cycles * mean / layer.act_bits), abs=1)


def test_groups_that_cannot_be() -> None:
    for groups in ((1, 2, 3), (0, 0)):
        with pytest.raises(CostError, match="layer 'x': expected groups of at most 2 bits, got"):
            replace(conv("x", 4, 4, 8, 3, act_bits=2), act_groups=groups)
