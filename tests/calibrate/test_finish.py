"""From any decision to a quantized graph: biases, power-of-two checks, and no weights left in the float graph."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.calibrate.finish import finish, round_bias
from intsim.calibrate.method import Decision
from intsim.calibrate.place import Placed, place
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import layer_widths
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value
from intsim.lower import lower
from tests.calibrate.networks import residual_network


def decided(placed: Placed, scale: Scale, weight_scale: Scale) -> Decision:
    quantizers = {name: Quantizer(Grid(element, scale)) for name, element in placed.elements.items()}
    random = np.random.default_rng(0)
    weights = {}
    for node in placed.graph.weighted:
        shape = node.arrays["weight"].shape
        grid = Grid(IntType(True, 4), weight_scale, axis=0)
        weights[node.name] = Value(TensorType(grid, shape), random.integers(-8, 8, shape).astype(np.int8))
    return Decision(quantizers, weights)


def placed_with(settings: Settings) -> Placed:
    graph = residual_network()
    return place(graph, layer_widths(graph, settings), settings)


@pytest.mark.parametrize("scales", ["pow2", "multiplier", "threshold"])
def test_a_decision_becomes_a_graph_that_lowers(scales: str) -> None:
    settings = Settings(act_bits=4, scales=scales)  # type: ignore[arg-type]
    power = scales == "pow2"
    placed = placed_with(settings)
    decision = decided(placed, Scale.of(0.25 if power else 0.2, power), Scale.of(0.125 if power else 0.1, power))
    quantized = finish(placed, decision, settings)
    assert set(quantized.chains) == set(placed.elements) - {"x.u8"}
    assert all(not node.arrays for node in quantized.graph.weighted)
    assert quantized.metadata["scales"] == scales
    for node in placed.graph.weighted:
        unit = (0.25 * 0.125) if power else 0.2 * 0.1
        expected = [round(float(b) / unit) for b in node.arrays["bias"]]
        assert quantized.weights[node.name].bias is not None
        np.testing.assert_array_equal(quantized.weights[node.name].bias, expected)
    lower(quantized)


def test_a_method_may_set_biases() -> None:
    placed = placed_with(Settings())
    decision = decided(placed, Scale.of(0.5), Scale.of(0.5))
    decision = Decision(decision.quantizers, decision.weights, {"head": np.array([1.0, -0.25, 0.125, 0.375, 9.0])})
    bias = finish(placed, decision, Settings()).weights["head"].bias
    assert bias is not None
    assert bias.tolist() == [4, -1, 0, 2, 36], "0.5 and 1.5 levels are ties: to even"


def test_scales_that_are_no_powers_of_two_are_refused() -> None:
    settings = Settings(scales="pow2")
    placed = placed_with(settings)
    with pytest.raises(CalibrationError, match=r"'x.u8': expected scales that are powers of two, got 0.3"):
        finish(placed, decided(placed, Scale.of(0.3), Scale.of(0.5, True)), settings)
    with pytest.raises(CalibrationError, match=r"'stem': expected scales that are powers of two, got 0.3"):
        finish(placed, decided(placed, Scale.of(0.5, True), Scale.of(0.3)), settings)


def test_a_bias_beyond_32_bits_names_its_channel() -> None:
    node = FloatNode("layer", "conv2d", ("x",), source="net.py:3")
    with pytest.raises(CalibrationError, match=r"conv2d 'layer' \(net.py:3\): channel 1 has a bias of 3, 3e\+12 steps"):
        round_bias(node, np.array([0.0, 3.0]), Scale.of(1e-12))
