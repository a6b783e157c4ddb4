"""Activations that stay on the chip: what is alive by hand, what stays by capacity, and what that saves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intsim.arithmetic.rounding import Rounding
from intsim.costing import Layer, SystolicTarget, Target, estimate, layers_of, load_target, resident_layers
from intsim.costing.plan import read_plan
from intsim.dtypes import S32, IntType
from intsim.ir.file import Model, save
from intsim.ir.graph import Graph, Node
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.quantize import Quantize
from intsim.ir.ops.requantize_shift import RequantizeShift
from intsim.ir.types import Grid, Scale, TensorType, Value, plain

pytestmark = pytest.mark.torchless

PIXELS = 8 * 8


def grid(name: str, axis: int = 1) -> Grid:
    return Grid(IntType.parse(name), Scale((-4,), True), axis=axis)


def weight(outputs: int, inputs: int) -> Value:
    kind = grid("s4", axis=0)
    return Value(TensorType(kind, (outputs, inputs, 1, 1)), np.zeros((outputs, inputs, 1, 1), kind.element.storage))


def requantize(name: str, source: str, element: str) -> Node:
    return Node(name, RequantizeShift(grid(element), Rounding.HALF_EVEN), (source, "shift"))


@pytest.fixture
def graph() -> Graph:
    """Three pointwise layers; the second reads the first's result at half its width, the third at all of it."""
    nodes = (
        Node("x.u8", Quantize(grid("u8")), ("x",)),
        Node("a", Conv2d(), ("x.u8", "a.weight")),
        requantize("a.u8", "a", "u8"),
        requantize("a.u4", "a.u8", "u4"),
        Node("b", Conv2d(), ("a.u4", "b.weight")),
        requantize("b.u6", "b", "u6"),
        Node("c", Conv2d(), ("a.u8", "c.weight")),
        requantize("c.u5", "c", "u5"),
        Node("d", Conv2d(), ("b.u6", "d.weight")),
        requantize("d.u3", "d", "u3"),
    )
    constants = {
        "a.weight": weight(8, 4),
        "b.weight": weight(8, 8),
        "c.weight": weight(2, 8),
        "d.weight": weight(2, 8),
        "shift": Value(TensorType(plain(S32), (1,)), np.zeros(1, np.int32)),
    }
    return Graph({"x": TensorType(None, (None, 4, 8, 8))}, constants, nodes, ("c.u5", "d.u3"))


# Bits of each value, for one sample; a layer's result becomes codes while what it reads is still there.
X, A8, A4, B, C, D = (PIXELS * bits for bits in (4 * 8, 8 * 8, 8 * 4, 8 * 6, 2 * 5, 2 * 3))
LIVE = {"a": max(X + A8, A8 + A4), "b": A8 + A4 + B, "c": A8 + B + C, "d": B + C + D}


def kept(graph: Graph, target: Target, batch: int = 1) -> dict[str, tuple[bool, bool]]:
    layers = resident_layers(layers_of(graph), graph, target, batch)
    return {layer.name: (layer.input_on_chip, layer.output_on_chip) for layer in layers}


def with_activation_bits(bits: int) -> Target:
    """A systolic array, half of whose activation buffer holds `bits`."""
    target = load_target("systolic_ws")
    assert isinstance(target, SystolicTarget)
    activations = target.memory.activations
    capacity = activations.capacity.model_copy(update={"value": 2 * bits})
    memory = target.memory.model_copy(update={"activations": activations.model_copy(update={"capacity": capacity})})
    return target.model_copy(update={"memory": memory})


def test_what_is_alive_at_each_layer(graph: Graph) -> None:
    layers = resident_layers(layers_of(graph), graph, load_target("bitfusion"))
    assert {layer.name: layer.live_bits for layer in layers} == LIVE
    assert estimate(layers, "bitfusion", batch=3).peak_activation_bits == 3 * max(LIVE.values())
    assert estimate(layers_of(graph), "bitfusion").peak_activation_bits is None


def test_a_value_is_as_wide_as_its_widest_reader_wants(graph: Graph) -> None:
    wider = [replace(layer, act_bits=7) for layer in layers_of(graph)]
    a4, b = PIXELS * 8 * 7, PIXELS * 8 * 7
    live = {layer.name: layer.live_bits for layer in resident_layers(wider, graph, load_target("bitfusion"))}
    assert live == {"a": max(X + A8, A8 + a4), "b": A8 + a4 + b, "c": A8 + b + C, "d": b + C + D}


def test_results_stay_where_everything_alive_fits(graph: Graph) -> None:
    everything = {"a": (False, True), "b": (True, True), "c": (True, False), "d": (True, False)}
    nothing = dict.fromkeys(everything, (False, False))
    assert kept(graph, with_activation_bits(max(LIVE.values()))) == everything
    assert kept(graph, with_activation_bits(2 * max(LIVE.values())), batch=2) == everything
    # The second layer is the largest: not even the first's result stays, nor what the second makes.
    assert max(LIVE, key=LIVE.__getitem__) == "b"
    assert kept(graph, with_activation_bits(max(LIVE.values()) - 1)) == nothing
    assert kept(graph, with_activation_bits(max(LIVE.values())), batch=2) == nothing
    for name in ("bitfusion", "scalesim3_ws", "finn"):
        assert kept(graph, load_target(name)) == nothing


def test_a_sweep_keeps_what_fits_at_the_widths_of_its_points(graph: Graph, tmp_path: Path) -> None:
    save(tmp_path / "net.intsim", Model(graph))
    spec = tmp_path / "spec.toml"
    plan = 'networks = ["net.intsim"]\ntargets = ["systolic_ws", "bitfusion"]\nbatches = [1, 100000]\n'
    spec.write_text(plan)
    for point in read_plan(spec):
        target = load_target(point.key.target)
        assert list(point.layers) == resident_layers(layers_of(graph), graph, target, point.key.batch)
        stays = any(layer.output_on_chip for layer in point.layers)
        assert stays == (point.key.target == "systolic_ws" and point.key.batch == 1)
    spec.write_text(plan + "weight_bits = [4]\nact_bits = [4, 7]\n")
    narrow, wide = (max(layer.live_bits for layer in point.layers) for point in read_plan(spec)[:2])
    assert (narrow, wide) == (max(LIVE.values()), A8 + 2 * PIXELS * 8 * 7)


@pytest.mark.parametrize("name", ["systolic_ws", "systolic_os", "systolic_is", "stripes", "loom"])
def test_what_stays_does_not_cross_to_dram(graph: Graph, name: str) -> None:
    plain_layers, target = layers_of(graph), load_target(name)
    layers = resident_layers(plain_layers, graph, target)
    before, after = estimate(plain_layers, target), estimate(layers, target)
    written, read = A8 + B, A4 + A8 + B
    assert before.dram_bits - after.dram_bits == written + read
    assert after.compute_cycles == before.compute_cycles
    assert after.stall_cycles <= before.stall_cycles
    assert after.energy_pj < before.energy_pj
    reads = [layer.cost.traffic["activations"].read_bits for layer in after.layers]
    assert reads == [layer.cost.traffic["activations"].read_bits for layer in before.layers]


def test_operands_of_products_of_activations_do_not_stay() -> None:
    """Their second operand would have to move from one buffer to another."""
    from tests.ir.sample import every_operator

    graph = every_operator()
    layers = resident_layers(layers_of(graph), graph, load_target("systolic_ws"))
    products: list[Layer] = [layer for layer in layers if layer.kind == "matmul"]
    assert products
    assert not any(layer.input_on_chip for layer in products)
