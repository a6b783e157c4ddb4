"""What every estimate must obey, on every target: physics, and the document that others read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.costing import Array, Estimate, Layer, Target, estimate, list_targets, load_target
from intsim.errors import CostError
from tests.costing.layers import conv, layers, resnet20, with_bits

pytestmark = pytest.mark.torchless

# Layers that take turns on an array; a streaming network has tests of its own.
ON_ARRAYS = [name for name in list_targets() if load_target(name).size is not None]
TARGETS = st.sampled_from(ON_ARRAYS)
ARRAYS = st.builds(Array, st.integers(1, 40), st.integers(1, 40))


def with_dram_bandwidth(target: Target, bits_per_cycle: int) -> Target:
    """The target behind a channel of another width."""
    dram = target.memory.dram
    bandwidth = dram.bandwidth.model_copy(update={"value": bits_per_cycle})
    memory = target.memory.model_copy(update={"dram": dram.model_copy(update={"bandwidth": bandwidth})})
    return target.model_copy(update={"memory": memory})


@settings(max_examples=200)
@given(st.lists(layers(), min_size=1, max_size=3), TARGETS, ARRAYS, st.integers(1, 3))
def test_nothing_beats_the_peak_or_costs_less_than_its_products(
    network: list[Layer], name: str, array: Array, batch: int
) -> None:
    result = estimate(network, name, array, batch)
    if not name.startswith("scalesim3"):  # it reports one cycle too few, and forgets to drain
        for costed in result.layers:
            assert costed.cost.cycles * costed.cost.peak_macs_per_cycle >= costed.cost.macs
        assert 0 < result.utilisation <= 1
    for layer, costed in zip(network, result.layers, strict=True):
        cost = costed.cost
        assert cost.macs == batch * layer.macs
        assert cost.energy_pj >= cost.energy_by_component_pj["mac"] > 0
        assert min(cost.compute_cycles, cost.stall_cycles, cost.dram_bits) >= 0
        assert cost.bound in ("compute", *cost.traffic)
        assert cost.cycles == cost.compute_cycles + cost.stall_cycles


@given(layers(), TARGETS, st.integers(1, 300), st.integers(1, 300))
def test_more_bandwidth_never_costs_cycles(layer: Layer, name: str, one: int, other: int) -> None:
    narrow, wide = (with_dram_bandwidth(load_target(name), bits) for bits in sorted((one, other)))
    assert estimate([layer], wide).total_cycles <= estimate([layer], narrow).total_cycles


@given(st.lists(layers(), min_size=1, max_size=5), TARGETS, st.data())
def test_totals_do_not_depend_on_how_layers_are_grouped(network: list[Layer], name: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(network)))
    whole, first, rest = (estimate(part, name) for part in (network, network[:cut], network[cut:]))
    for total in ("macs", "total_cycles", "compute_cycles", "stall_cycles", "dram_bits"):
        assert getattr(whole, total) == getattr(first, total) + getattr(rest, total)
    assert whole.energy_pj == pytest.approx(first.energy_pj + rest.energy_pj, rel=1e-12)


@given(layers(), TARGETS)
def test_totals_are_the_sums_of_the_parts(layer: Layer, name: str) -> None:
    result = estimate([layer, replace(layer, name="again")], name)
    assert result.energy_pj == pytest.approx(sum(result.energy_by_component_pj.values()), rel=1e-12)
    assert result.traffic_bits["dram"] == result.dram_bits
    assert result.layers[0].cost == result.layers[1].cost


@given(layers(), st.sampled_from(["systolic_ws", "systolic_os", "systolic_is"]), st.data())
def test_fewer_bits_never_cost_more_on_fixed_units(layer: Layer, name: str, data: st.DataObject) -> None:
    narrow = replace(
        layer,
        weight_bits=data.draw(st.integers(1, layer.weight_bits)),
        act_bits=data.draw(st.integers(1, layer.act_bits)),
        out_bits=data.draw(st.integers(1, layer.out_bits)),
    )
    before, after = estimate([layer], name), estimate([narrow], name)
    assert after.total_cycles <= before.total_cycles
    assert after.dram_bits <= before.dram_bits
    assert after.energy_pj <= before.energy_pj


@pytest.mark.parametrize("name", [name for name in ON_ARRAYS if not name.startswith("scalesim3")])
def test_widths_change_cycles_traffic_and_energy(name: str) -> None:
    eight, four, two = (estimate(with_bits(resnet20(), bits, bits), name) for bits in (8, 4, 2))
    for wide, narrow in ((eight, four), (four, two)):
        assert narrow.total_cycles < wide.total_cycles
        assert narrow.dram_bits < wide.dram_bits
        assert narrow.energy_pj < wide.energy_pj


def test_widths_move_bit_fusion_in_its_steps() -> None:
    def compute_cycles(weight_bits: int, act_bits: int) -> int:
        layer = conv("x", 1024, 64, 8, 3, weight_bits=weight_bits, act_bits=act_bits)
        return estimate([layer], "bitfusion").compute_cycles

    eight = compute_cycles(8, 8)
    table = {(2, 2): 16, (2, 4): 8, (4, 4): 4, (2, 8): 4, (4, 8): 2, (8, 8): 1, (3, 3): 4, (5, 6): 1, (1, 1): 16}
    for (weight_bits, act_bits), factor in table.items():
        assert eight == factor * compute_cycles(weight_bits, act_bits) == factor * compute_cycles(act_bits, weight_bits)


def test_a_depthwise_convolution_costs_its_groups_one_after_the_other() -> None:
    depthwise, one = conv("dw", 96, 96, 14, 3, groups=96), conv("one", 1, 1, 14, 3)
    for name in ON_ARRAYS:
        many, single = estimate([depthwise], name), estimate([one], name)
        assert many.macs == 96 * single.macs == 96 * 14 * 14 * 9
        assert many.compute_cycles == 96 * single.compute_cycles
        assert many.dram_bits == 96 * single.dram_bits


def test_one_batch_loads_the_weights_once() -> None:
    layer = Layer("fc", "linear", 64, 10, 8, 8, 8)
    for name in ("systolic_ws", "systolic_os", "systolic_is"):
        assert estimate([layer], name, batch=7).dram_bits == 64 * 10 * 8 + 7 * (64 + 10) * 8


def test_a_product_of_activations_has_operands_of_its_own_for_every_sample() -> None:
    layer = Layer("qk", "matmul", 3 * 64, 3 * 50, 8, 8, 8, in_width=50, out_width=50, groups=3)
    one, seven = (estimate([layer], "systolic_ws", batch=batch) for batch in (1, 7))
    assert layer.macs == 3 * 50 * 64 * 50
    assert (seven.macs, seven.dram_bits) == (7 * one.macs, 7 * one.dram_bits)


def test_the_document_has_what_others_read() -> None:
    result = estimate(resnet20(), "bitfusion", array="8x16", batch=2)
    document = json.loads(json.dumps(result.to_dict()))
    assert document.keys() >= {"target", "total_cycles", "compute_cycles", "stall_cycles", "energy_pj", "layers"}
    assert (document["target"], document["array"], document["batch"]) == ("bitfusion", [8, 16], 2)
    first = document["layers"][0]
    assert first.keys() >= {"name", "macs", "cycles", "compute_cycles", "stall_cycles", "dram_bits", "energy_pj"}
    assert first["name"] == "conv1"
    assert document["total_cycles"] == sum(layer["cycles"] for layer in document["layers"])


def notes_at(weight_bits: int, act_bits: int) -> str:
    result: Estimate = estimate(with_bits(resnet20(), weight_bits, act_bits), "systolic_ws")
    return " ".join(result.notes)


def test_figures_that_nobody_measured_are_labelled() -> None:
    assert "unverified extrapolation" in notes_at(4, 8)
    assert "unverified interpolation" in notes_at(5, 5)
    assert "unverified" not in notes_at(4, 4)


def test_a_width_that_the_target_lacks_names_layer_width_and_what_it_has() -> None:
    with pytest.raises(
        CostError, match=r"layer 'fc': activations have 16 bits, but target 'bitfusion' supports 1 to 8"
    ):
        estimate([Layer("fc", "linear", 8, 8, 8, 16, 8)], "bitfusion")


@pytest.mark.parametrize("text", ["16", "16x", "0x8", "16x8x2", "-1x4", "axb", "16 8", "1e3x2"])
def test_an_array_that_is_none(text: str) -> None:
    with pytest.raises(CostError, match="expected rows x columns such as 16x8"):
        estimate(resnet20(), "systolic_ws", array=text)


def test_an_array_without_columns() -> None:
    with pytest.raises(CostError, match="array 4x0: expected at least one row and one column"):
        estimate(resnet20(), "systolic_ws", array=Array(4, 0))


def test_a_batch_of_none() -> None:
    with pytest.raises(CostError, match="batch must be at least 1, got 0"):
        estimate(resnet20(), "systolic_ws", batch=0)


def test_an_empty_network_costs_nothing() -> None:
    result = estimate([], "bitfusion")
    assert (result.total_cycles, result.energy_pj, result.utilisation) == (0, 0, 0)
