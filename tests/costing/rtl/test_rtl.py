"""Whole layers on the arrays in SystemVerilog: outputs equal the reference bit for bit, cycles equal the estimate."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from intsim.backends import load_backend
from intsim.costing import Array, estimate, layers_of
from intsim.costing.target import BUILTIN
from intsim.exporters.vectors import export_vectors, needed_values
from intsim.ir.file import Model, load, save
from intsim.ir.graph import Graph
from intsim.ir.ops import Conv2d, Linear, Threshold
from tests.costing.rtl.networks import NETWORKS, Network
from tests.costing.rtl.simulator import RtlArray, lint, require_verilator, simulate

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


@pytest.fixture(scope="module")
def verilator() -> None:
    require_verilator()


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


def exported(net: Network, folder: Path) -> tuple[Model, list[Path]]:
    """The network saved and loaded again, and the folders of its layers."""
    save(folder / "model.intsim", Model(net.graph))
    model = load(folder / "model.intsim")
    values = load_backend("reference", model.graph).run(net.codes(), wanted=needed_values(model.graph))
    export_vectors(model.graph, values, folder / "vectors")
    listed = json.loads((folder / "vectors" / "manifest.json").read_text())["layers"]
    return model, [folder / "vectors" / layer["folder"] for layer in listed]


def target_of(array: RtlArray, folder: Path) -> Path:
    """The shipped target with the array's accumulator buffer (a half of it, the other being drained) and edge folds."""
    text = (BUILTIN / f"systolic_{array.dataflow[0]}s.toml").read_text()
    capacity = 2 * array.buffer_rows * array.columns * 32
    head, memory, tail = text.partition("[memory.accumulators]\ncapacity = { value = ")
    assert memory, "the target file states the capacity first"
    head = head.replace('count = "full"', 'count = "tight"') if array.tight else head
    path = folder / "target.toml"
    path.write_text(head + memory + str(capacity) + tail[tail.index(",") :])
    return path


def assert_equal(array: RtlArray, net: Network, folder: Path) -> None:
    model, layers = exported(net, folder)
    results = simulate(array, layers, folder / "results")
    size = Array(array.rows, array.columns)
    costs = estimate(layers_of(model.graph), target_of(array, folder), size, net.shape[0]).layers
    for layer, result, cost in zip(layers, results, costs, strict=True):
        expected = np.load(layer / "tensors.npz")
        np.testing.assert_array_equal(result.sums, expected["accumulators"].ravel())
        if "codes" in expected:
            np.testing.assert_array_equal(result.codes, expected["codes"].ravel() & 0xFF)
        assert result.cycles == cost.cost.compute_cycles, layer.name


@pytest.mark.parametrize(("array", "name"), CASES, ids=[f"{array}-{name}" for array, name in CASES])
def test_outputs_and_cycles_equal(array: RtlArray, name: str, tmp_path: Path) -> None:
    assert_equal(array, network(name), tmp_path)


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_lint_has_nothing_to_say(array: RtlArray) -> None:
    assert lint(array) == ""


def test_there_are_at_least_forty_layers_by_width_and_array() -> None:
    layers = sum(1 for _, name in CASES for node in network(name).graph if isinstance(node.op, Conv2d | Linear))
    assert layers >= 40
