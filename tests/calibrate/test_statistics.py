"""Corrections of statistics: the formula, what they leave alone, and what they gain on a real network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from intsim.calibrate import Settings, quantize_graph, statistics
from intsim.calibrate.decided import DecidedNetwork
from intsim.calibrate.method import Decision, Problem, decide
from intsim.calibrate.statistics import Moments, float_moments, tune, tune_batchnorm
from intsim.errors import CalibrationError
from intsim.frontend.execute import run_float, run_node
from intsim.ir.float_graph import FloatGraph
from intsim.ir.types import Scale, TensorType, Value
from tests.calibrate.networks import Network, problem_on, residual_network


def problem_of(graph: FloatGraph, settings: Settings, images: int = 64) -> Problem:
    torch.manual_seed(1)
    shapes = [[extent or images for extent in shape] for shape in graph.inputs.values()]
    return problem_on(graph, settings, *(torch.randn(shape) for shape in shapes))


def decided(problem: Problem) -> Decision:
    return decide("mse", problem)


def results(problem: Problem, decision: Decision, layer: str) -> np.ndarray:
    """A layer's results in the decided network, (O, samples)."""
    network, values = (
        DecidedNetwork(problem, decision),
        dict(zip(problem.placed.graph.inputs, problem.inputs, strict=True)),
    )
    for node in problem.placed.graph.nodes:
        values[node.name] = network.evaluate(node, *(values[name] for name in node.inputs))
    axis = 1 if values[layer].ndim == 4 else -1
    return values[layer].movedim(axis, 0).flatten(1).double().numpy()


def test_every_layer_gets_the_float_networks_mean_and_deviation() -> None:
    problem = problem_of(residual_network(), Settings(weight_bits=3, act_bits=3))
    tuned = tune_batchnorm(problem, decided(problem))
    for name, moments in float_moments(problem).items():
        found = results(problem, tuned, name)
        np.testing.assert_allclose(found.mean(1), moments.mean, atol=1e-5)
        np.testing.assert_allclose(found.std(1), moments.deviation, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"scales": "pow2"}, {"per_channel": False}])
def test_where_scales_stay_activations_let_the_float_networks_mean_through(settings: dict[str, Any]) -> None:
    """Behind layers, and behind the addition of two of them; without an activation the layer's own mean."""
    problem = problem_of(residual_network(), Settings(weight_bits=2, act_bits=4, **settings))
    graph, start = problem.placed.graph, decided(problem)
    tuned = tune_batchnorm(problem, start)
    activations = [node.name for node in graph.nodes if node.op == "relu"]
    last = [name for name, node in graph.by_name.items() if node in graph.weighted and name in graph.outputs]
    assert activations and last
    moved = []
    values = dict(zip(graph.inputs, problem.inputs, strict=True))
    for node in graph.nodes:
        values[node.name] = run_node(node, *(values[name] for name in node.inputs))
    for name in (*activations, *last):
        wanted = values[name].movedim(1, 0).flatten(1).double().mean(1).numpy()
        found = results(problem, tuned, name).mean(1)
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
        moved.append(np.abs(results(problem, start, name).mean(1) - wanted).max() / np.abs(wanted).max())
    assert max(moved) > 1e-2  # before, they were others


def test_what_lets_as_much_through_already_stays() -> None:
    """A channel that is never positive, in either network: any bias would do that leaves it so."""
    net = Network(x=(2, 4, 4))
    graph = net.graph(net.conv("last", net.relu("r", net.conv("conv", "x", 3)), 2))
    graph.by_name["conv"].arrays["bias"][1] = -1000
    problem = problem_of(graph, Settings(weight_bits=4, scales="pow2"))
    start = decided(problem)
    before = start.biases.get("conv", graph.by_name["conv"].arrays["bias"])
    assert tune_batchnorm(problem, start).biases["conv"][1] == pytest.approx(before[1])


def test_the_formula_by_hand() -> None:
    """One linear layer, y = 2 x, whose weight is rounded to 1.5 and bias to 1 more than it is."""
    net = Network(x=(1,))
    net.node("fc", "linear", "x", (None, 1), {"weight": [[2.0]], "bias": [3.0]})
    problem = problem_of(net.graph("fc"), Settings())
    problem = replace(problem, inputs=(torch.tensor([[-1.0], [1.0]]),))
    start = decided(problem)
    ((name, quantizer),) = start.quantizers.items()
    grid = replace(quantizer.grid, scale=Scale((1 / 64,)), zero_point=(128,))
    weight = start.weights["fc"].type.integer
    weight = replace(weight, scale=Scale((0.5,)))
    codes = Value(TensorType(weight, (1, 1)), np.array([[3]], np.int8))
    tuned = tune_batchnorm(
        problem, Decision({name: replace(quantizer, grid=grid)}, {"fc": codes}, {"fc": np.array([4.0])})
    )
    # x = -1, 1: the float results 1 and 5 have mean 3 and deviation 2; the rounded ones, 2.5 and 5.5, 4 and 1.5.
    assert tuned.weights["fc"].type.integer.scale.array == pytest.approx(0.5 * 2 / 1.5)
    assert tuned.biases["fc"] == pytest.approx(3 + 2 / 1.5 * (4 - 4))


@pytest.mark.parametrize("tuning", ["batchnorm", "bias", "both"])
@pytest.mark.parametrize("scales", ["multiplier", "pow2"])
def test_no_code_and_no_quantizer_changes(tuning: str, scales: str) -> None:
    settings = Settings(weight_bits=3, act_bits=3, tune=tuning, scales=scales)  # type: ignore[arg-type]
    problem = problem_of(residual_network(), settings)
    start = decided(problem)
    tuned = tune(problem, start)
    assert tuned.quantizers is start.quantizers
    for name, weight in start.weights.items():
        assert (tuned.weights[name].codes == weight.codes).all()
        kept = scales == "pow2" or tuning == "bias"
        assert (tuned.weights[name].type.integer == weight.type.integer) == kept
    for name, bias in tuned.biases.items():
        assert (bias != start.biases.get(name, problem.placed.graph.by_name[name].arrays["bias"])).any()


def test_one_scale_for_a_layer_stays_one() -> None:
    problem = problem_of(residual_network(), Settings(weight_bits=3, act_bits=3, per_channel=False))
    start = decided(problem)
    tuned = tune_batchnorm(problem, start)
    assert all(tuned.weights[name].type.integer == start.weights[name].type.integer for name in start.weights)


def test_matching_statistics_stay() -> None:
    """Tuning what is tuned already changes nothing but float32's last bits."""
    problem = problem_of(residual_network(), Settings(weight_bits=4, act_bits=4))
    once = tune_batchnorm(problem, decided(problem))
    twice = tune_batchnorm(problem, once)
    for name, bias in once.biases.items():
        first, second = (d.weights[name].type.integer.scale.array for d in (once, twice))
        np.testing.assert_allclose(second, first, rtol=1e-4)
        np.testing.assert_allclose(twice.biases[name], bias, atol=1e-4)


def test_constant_channels_keep_a_scale_that_is_legal() -> None:
    net = Network(x=(2, 4, 4))
    graph = net.graph(net.conv("last", net.relu("r", net.conv("conv", "x", 3)), 2))
    graph.by_name["conv"].arrays["weight"][1] = 0
    problem = problem_of(graph, Settings())
    start = decided(problem)
    tuned = tune_batchnorm(problem, start)
    scales = [decision.weights["conv"].type.integer.scale.values[1] for decision in (start, tuned)]
    assert scales[1] == pytest.approx(scales[0], rel=0.1)
    assert np.isfinite(tuned.biases["conv"]).all()


@pytest.mark.parametrize("value", [0.1, -1 / 3, 1e-6])
def test_constant_results_have_no_deviation_whatever_their_number(value: float) -> None:
    (node,) = (node for node in residual_network().weighted if node.name == "head")
    found = Moments.of(node, [torch.full((count, 3), value) for count in (7, 4)])
    assert (found.deviation == 0).all()
    np.testing.assert_allclose(found.mean, np.float32(value), rtol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_channel_that_rounding_silenced_does_not_scale_the_others(seed: int) -> None:
    """The first channel is so weak beside the others that all its codes are 0: its results are its bias."""
    torch.manual_seed(seed)
    net = Network(seed, x=(3, 7, 7))
    weak = net.relu("r", net.conv("expand", "x", 8, 1))
    net.linear("head", net.mean("m", net.relu("r1", net.conv("depthwise", weak, 8, 3, groups=8))), 5)
    graph = net.graph("head")
    arrays = graph.by_name["expand"].arrays
    arrays["weight"][0] /= 300  # type: ignore[index]
    arrays["bias"][0] = 0  # type: ignore[index]
    problem = problem_on(graph, Settings(weight_bits=8, act_bits=4), torch.randn(50, 3, 7, 7))
    start = decided(problem)
    before, after = (d.weights["depthwise"].type.integer.scale.array for d in (start, tune_batchnorm(problem, start)))
    assert after[0] == before[0]
    np.testing.assert_allclose(after, before, rtol=0.2)


def test_bias_tuning_brings_logits_nearer_and_is_deterministic() -> None:
    problem = problem_of(residual_network(), Settings(weight_bits=2, act_bits=2, tune="bias"), images=200)
    start = decided(problem)
    (logits,) = run_float(problem.placed.graph, *problem.inputs).values()
    wanted = logits.log_softmax(1).T.double().numpy()

    def divergence(decision: Decision) -> float:
        found = torch.from_numpy(results(problem, decision, "head")).log_softmax(0).numpy()
        return float((np.exp(wanted) * (wanted - found)).sum(0).mean())

    first, second = tune(problem, start), tune(problem, start)
    assert divergence(first) < 0.95 * divergence(start)
    assert all((first.biases[name] == second.biases[name]).all() for name in first.biases)


def test_bias_tuning_does_not_depend_on_the_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(residual_network(), Settings(weight_bits=3, act_bits=8, tune="bias"), images=100)
    start = decided(problem)
    found = []
    for at_once in (7, 50):
        monkeypatch.setattr(statistics, "IMAGES_AT_ONCE", at_once)
        found.append(tune(problem, start).biases)
    units = float_moments(problem)
    for name, few in found[0].items():
        assert (np.abs(few - found[1][name]) < 1e-3 * units[name].deviation).all(), name


def test_bias_tuning_needs_logits() -> None:
    net = Network(x=(2, 4, 4))
    graph = net.graph(net.conv("conv", "x", 3))
    with pytest.raises(CalibrationError, match="one output"):
        quantize_graph(graph, torch.randn(4, 2, 4, 4), Settings(tune="bias"))
