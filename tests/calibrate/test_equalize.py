"""Equalization keeps the function, and gives channels that a depthwise layer reads a grid each at no cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from intsim.backends.reference import ReferenceBackend
from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.equalize import equalize
from intsim.calibrate.widths import layer_widths
from intsim.frontend.capture import capture
from intsim.frontend.execute import run_float
from intsim.frontend.mirror import Mirror
from intsim.ir.float_graph import FloatGraph
from intsim.lower import lower
from intsim.progress import silent

CHANNELS = 8
UNEQUAL = torch.logspace(-1.5, 0, CHANNELS)


class Separable(nn.Module):
    """A depthwise layer that reads channels of which the smallest is 30 times smaller than the largest."""

    def __init__(self, activation: nn.Module, also_read: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.expand = nn.Conv2d(3, CHANNELS, 1)
        self.activation = activation
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)
        self.project = nn.Conv2d(CHANNELS, 4, 1)
        self.also_read = also_read
        with torch.no_grad():
            self.expand.weight *= 4 * UNEQUAL[:, None, None, None]
            self.expand.bias *= UNEQUAL
            self.depthwise.weight /= UNEQUAL[:, None, None, None]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.expand(x))
        result = self.depthwise(hidden)
        return self.project(result + hidden if self.also_read else result)


def images(count: int = 20) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def graph_of(*args: Any) -> FloatGraph:
    return capture(Separable(*args), images(2))


def equalized(graph: FloatGraph, settings: Settings) -> FloatGraph:
    return equalize(graph, (images(),), layer_widths(graph, settings), settings, silent)


@pytest.mark.parametrize(
    ("activation", "scales"), [(nn.ReLU(), "multiplier"), (nn.ReLU6(), "multiplier"), (nn.ReLU(), "pow2")]
)
def test_the_function_stays(activation: nn.Module, scales: Any) -> None:
    graph = graph_of(activation)
    result = equalized(graph, Settings(act_bits=4, scales=scales))
    assert [node.op for node in result.nodes if node.op == "mul"] == ["mul"]
    (name,) = graph.outputs
    before, after = (run_float(g, images())[name].numpy() for g in (graph, result))
    np.testing.assert_allclose(after, before, rtol=0, atol=0 if scales == "pow2" else 1e-5 * np.abs(before).max())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()])
@pytest.mark.parametrize("scales", ["multiplier", "threshold"])
def test_integers_come_closer_and_equal_the_mirror(activation: nn.Module, scales: Any) -> None:
    plain, closer = (
        error(graph_of(activation), Settings(act_bits=4, scales=scales, equalize=e)) for e in (False, True)
    )
    assert closer < 0.6 * plain


def test_powers_of_two_stay_shifts() -> None:
    plain, closer = (error(graph_of(nn.ReLU()), Settings(act_bits=4, scales="pow2", equalize=e)) for e in (False, True))
    assert closer < 0.6 * plain
    for graph in map(graph_of, (nn.ReLU(), nn.ReLU6())):
        quantized = quantize_graph(graph, images(), Settings(act_bits=4, scales="pow2", equalize=True))
        assert {chain.form for chain in quantized.chains.values()} == {"shift"}


def error(graph: FloatGraph, settings: Settings) -> float:
    """Mean square error of the integers, which equal the mirror."""
    quantized = quantize_graph(graph, images(), settings)
    lowered, (name,) = lower(quantized), graph.outputs
    codes = Mirror(quantized).run(images())[name].numpy()
    np.testing.assert_array_equal(ReferenceBackend(lowered).run(images().numpy())[name].codes, codes)
    reals = codes * lowered.types[name].integer.scale.array.reshape(1, -1, 1, 1)
    return float(np.square(reals - run_float(graph, images())[name].numpy()).mean())


@pytest.mark.parametrize(("activation", "bits"), [(nn.ReLU6(), 8), (nn.Sigmoid(), 4)])
def test_what_has_no_thresholds_stays(activation: nn.Module, bits: int) -> None:
    graph = graph_of(activation)
    assert equalized(graph, Settings(act_bits=bits)).nodes == graph.nodes


def test_values_that_others_read_stay() -> None:
    graph = graph_of(nn.ReLU(), True)
    assert equalized(graph, Settings(act_bits=4)).nodes == graph.nodes


def test_groups_of_several_channels_stay() -> None:
    network = Separable(nn.ReLU())
    network.depthwise = nn.Conv2d(CHANNELS, CHANNELS // 2, 3, padding=1, groups=CHANNELS // 2)
    network.project = nn.Conv2d(CHANNELS // 2, 4, 1)
    graph = capture(network, images(2))
    assert equalized(graph, Settings(act_bits=4)).nodes == graph.nodes


def test_channels_that_are_always_zero_keep_their_scale() -> None:
    network = Separable(nn.ReLU())
    with torch.no_grad():
        network.expand.weight[0], network.expand.bias[0] = 0, -1
    result = equalized(capture(network, images(2)), Settings(act_bits=4))
    (factor,) = (node.arrays["factor"] for node in result.nodes if node.op == "mul")
    assert factor[0] == 1 and (factor[1:] >= 1).all() and factor[1] > 4
