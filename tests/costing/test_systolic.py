"""Traffic and stalls of the physical array, on layers small enough to work out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from intsim.costing import Layer, SystolicTarget, estimate, load_target
from intsim.errors import CostError
from tests.costing.layers import conv

pytestmark = pytest.mark.torchless


def with_capacity(memory: str, bits: int) -> SystolicTarget:
    """systolic_ws with another capacity of one of its buffers."""
    target = load_target("systolic_ws")
    assert isinstance(target, SystolicTarget)
    buffer = getattr(target.memory, memory)
    capacity = buffer.capacity.model_copy(update={"value": bits})
    memories = target.memory.model_copy(update={memory: buffer.model_copy(update={"capacity": capacity})})
    return target.model_copy(update={"memory": memories})


# 14 x 14 outputs, K = 64 * 9 = 576 = 18 * 32, N = 64 = 2 * 32.
LAYER = conv("x", 64, 64, 14, 3, weight_bits=4, act_bits=8, out_bits=6)
WEIGHTS, INPUTS, OUTPUTS = 576 * 64 * 4, 64 * 14 * 14 * 8, 64 * 14 * 14 * 6


def test_everything_fits() -> None:
    cost = estimate([LAYER], "systolic_ws").layers[0].cost
    assert cost.compute_cycles == 18 * 2 * (2 * 32 + 32 + 196 - 2)
    assert cost.traffic["dram"].read_bits == WEIGHTS + INPUTS
    assert cost.traffic["dram"].write_bits == OUTPUTS
    # The array reads each weight once, the unrolled input once per column fold, and a sum per row fold.
    assert (cost.traffic["weights"].read_bits, cost.traffic["weights"].write_bits) == (WEIGHTS, WEIGHTS)
    assert cost.traffic["activations"].read_bits == 2 * 196 * 576 * 8
    assert cost.traffic["accumulators"].read_bits == cost.traffic["accumulators"].write_bits == 18 * 196 * 64 * 32
    # Exposed, at 64 bits a cycle: the first 32 x 32 weights with the whole input, the last 32 channels of the result.
    assert cost.stall_cycles == -(-(32 * 32 * 4 + INPUTS) // 64) + -(-(196 * 32 * 6) // 64)
    assert cost.bound == "compute"


def test_inputs_that_do_not_fit_come_once_per_column_fold() -> None:
    dram = estimate([LAYER], with_capacity("activations", 2 * INPUTS - 2)).layers[0].cost.traffic["dram"]
    assert dram.read_bits == WEIGHTS + 2 * INPUTS
    dram = estimate([LAYER], with_capacity("activations", 2 * INPUTS)).layers[0].cost.traffic["dram"]
    assert dram.read_bits == WEIGHTS + INPUTS


def test_a_full_accumulator_buffer_cuts_the_rows_into_chunks() -> None:
    target = with_capacity("accumulators", 2 * 50 * 32 * 32)  # 50 rows of 32 sums of 32 bits in each half
    cost = estimate([LAYER], target).layers[0].cost
    assert cost.compute_cycles == 18 * 2 * (4 * (2 * 32 + 32 - 2) + 196)
    # All weights fit their buffer, or one strip of 32 columns does and the whole input too: nothing is fetched twice.
    assert cost.traffic["dram"].read_bits == WEIGHTS + INPUTS
    assert cost.traffic["weights"].read_bits == 4 * WEIGHTS


def test_an_accumulator_buffer_below_one_row_is_refused() -> None:
    with pytest.raises(CostError, match=r"memory\.accumulators: half of it must hold 32 partial sums of 32 bits"):
        estimate([LAYER], with_capacity("accumulators", 1024))


def test_a_narrow_port_stalls_and_is_named() -> None:
    target = load_target("systolic_ws")
    assert isinstance(target, SystolicTarget)
    port = target.memory.accumulators.bandwidth.model_copy(update={"value": 1})
    buffer = target.memory.accumulators.model_copy(update={"bandwidth": port})
    slow = target.model_copy(update={"memory": target.memory.model_copy(update={"accumulators": buffer})})
    before, after = (estimate([LAYER], t).layers[0].cost for t in (target, slow))
    assert after.bound == "accumulators"
    assert after.cycles - before.cycles == 2 * 18 * 196 * 64 * 32 // 32 - before.compute_cycles


def test_groups_wait_for_the_first_and_the_last_only() -> None:
    grouped = replace(LAYER, in_channels=256, out_channels=256, groups=4)
    one, four = (estimate([layer], "systolic_ws").layers[0].cost for layer in (LAYER, grouped))
    assert four.compute_cycles == 4 * one.compute_cycles
    assert four.stall_cycles == one.stall_cycles


def test_a_batch_is_more_rows() -> None:
    cost = estimate([LAYER], "systolic_ws", batch=3).layers[0].cost
    assert cost.compute_cycles == 18 * 2 * (2 * 32 + 32 + 3 * 196 - 2)
    assert cost.traffic["dram"].read_bits == WEIGHTS + 3 * INPUTS


def test_lanes_shrink_the_product_along_their_axes() -> None:
    narrow = replace(LAYER, act_bits=4)
    cost = estimate([narrow], "systolic_ws_fused").layers[0].cost
    assert cost.compute_cycles == 9 * 1 * (2 * 32 + 32 + 196 - 2)  # K and N in halves
    assert cost.peak_macs_per_cycle == 4 * 32 * 32
    assert cost.energy_by_component_pj["mac"] == pytest.approx(LAYER.macs / 4 * 0.4592)


def test_energy_is_bits_times_picojoules() -> None:
    cost = estimate([LAYER], "systolic_ws").layers[0].cost
    assert cost.energy_by_component_pj["dram"] == pytest.approx(8 * (WEIGHTS + INPUTS + OUTPUTS))
    assert cost.energy_by_component_pj["leakage"] == pytest.approx(0.0322 * 1024 * cost.cycles)
    fit = 0.0115 + 0.01147 * (4 + 8) / 2 + 0.001565 * 4 * 8
    assert cost.energy_by_component_pj["mac"] == pytest.approx(LAYER.macs * fit)


@pytest.mark.parametrize(("bits", "picojoules"), [(2, 0.0407), (4, 0.0824), (8, 0.2034)])
def test_the_fit_goes_through_the_synthesised_units(bits: int, picojoules: float) -> None:
    layer = Layer("x", "linear", 32, 32, bits, bits, bits)
    cost = estimate([layer], "systolic_ws").layers[0].cost
    assert cost.energy_by_component_pj["mac"] / layer.macs == pytest.approx(picojoules, abs=1e-3)
