"""Whole layers on the arrays in SystemVerilog: outputs equal the reference bit for bit, cycles equal the estimate."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from intsim.ir.graph import Graph
from intsim.ir.ops import Conv2d, Linear, Threshold
from tests.costing.rtl.equality import assert_equal
from tests.costing.rtl.networks import NETWORKS, Network
from tests.costing.rtl.simulator import RtlArray, lint

pytestmark = [pytest.mark.torchless, pytest.mark.usefixtures("verilator")]

ARRAYS = [
    RtlArray("weight_stationary", 4, 4, buffer_rows=10),
    RtlArray("weight_stationary", 8, 4, activation_bits=5, weight_bits=4),
    RtlArray("weight_stationary", 5, 7, levels=255),
    RtlArray("weight_stationary", 3, 6, buffer_rows=16, tight=True),
    RtlArray("output_stationary", 4, 4),
    RtlArray("output_stationary", 8, 4, activation_bits=5, weight_bits=4),
    RtlArray("output_stationary", 5, 7, levels=255),
    RtlArray("output_stationary", 3, 6, tight=True),
]


@cache
def network(name: str) -> Network:
    return NETWORKS[name]()


def fits(graph: Graph, array: RtlArray) -> bool:
    """Whether the array's operands and thresholds hold what the layers have."""

    def holds(bits: int, name: str) -> bool:
        grid = graph.types[name].integer
        ranges = [grid.level_range(channel) for channel in range(len(grid.zero_point))]
        return all(-(1 << (bits - 1)) <= low and high < 1 << (bits - 1) for low, high in ranges)

    for node in graph:
        if isinstance(node.op, Conv2d | Linear):
            if not holds(array.activation_bits, node.inputs[0]) or not holds(array.weight_bits, node.inputs[1]):
                return False
        elif isinstance(node.op, Threshold) and (graph.types[node.inputs[1]].shape[1] or 0) > array.levels:
            return False
    return True


CASES = [(array, name) for array in ARRAYS for name in NETWORKS if fits(network(name).graph, array)]


@pytest.mark.parametrize(("array", "name"), CASES, ids=[f"{array}-{name}" for array, name in CASES])
def test_outputs_and_cycles_equal(array: RtlArray, name: str, tmp_path: Path) -> None:
    assert_equal(array, network(name), tmp_path)


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_lint_has_nothing_to_say(array: RtlArray) -> None:
    assert lint(array) == ""


def test_there_are_at_least_forty_layers_by_width_and_array() -> None:
    layers = sum(1 for _, name in CASES for node in network(name).graph if isinstance(node.op, Conv2d | Linear))
    assert layers >= 40
