"""Folding the normalisation of images into the first layer, against the network on normalised floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intsim.calibrate import Pixels, Settings, quantize_graph
from intsim.calibrate.input_u8 import fold_pixels, pixel_levels
from intsim.errors import CalibrationError
from intsim.frontend.execute import run_float
from intsim.frontend.mirror import Mirror
from intsim.lower import lower
from tests.calibrate.networks import Network, residual_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(count: int = 6, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def normalised(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    means, stds = torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(std).view(1, -1, 1, 1)
    return (pixels.float() / 255 - means) / stds


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.5,), (0.5,)), ((0.0,), (1.0,)), ((-0.1, 0.5, 1.2), (0.3,))])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_folded_layer_is_the_same_function(mean: tuple[float, ...], std: tuple[float, ...], groups: int) -> None:
    net = Network(x=(3, 4, 4))
    graph = net.graph(net.conv("conv", "x", 6, groups=groups, bias=groups == 1))
    folded, quantizers = fold_pixels(graph, Pixels(mean, std))
    pixels, grid = images(), quantizers["x"].grid
    assert str(grid.element) == "u8" and grid.scale.power_of_two and grid.zero_codes() is not None
    expected = run_float(graph, normalised(pixels, mean, std))["conv"]
    result = run_float(folded, pixel_levels(pixels, grid))["conv"]
    # Padded pixels are the rounded mean, at most half a level (or the clipped rest of a mean beyond 0..1) off.
    torch.testing.assert_close(result[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], rtol=1e-4, atol=1e-4)
    if all(0 <= m <= 1 for m in mean):
        assert (result - expected).abs().max() < 0.5 / 255 / min(std) * 5 * np.abs(
            graph.nodes[0].arrays["weight"]
        ).max() * 3


@pytest.mark.parametrize("scales", ["pow2", "multiplier"])
def test_a_graph_that_takes_pixels(scales: str) -> None:
    graph, pixels = residual_network(), images(40)
    settings = Settings(scales=scales, pixels=Pixels(MEAN, STD))  # type: ignore[arg-type]
    quantized = quantize_graph(graph, pixels, settings)
    assert quantized.graph.inputs.keys() == {"x"} and "x.u8" not in quantized.quantizers
    assert quantized.quantizers["x"].grid.zero_point == (124, 116, 104)
    lowered = lower(quantized)
    assert str(lowered.inputs["x"]) == "u8[N, 3, 4, 4]"
    head = Mirror(quantized).run(pixels)["head"].numpy()
    grid = lowered.types["head"].integer
    expected = run_float(graph, normalised(pixels, MEAN, STD))["head"].numpy()
    assert np.abs(head * grid.scale.array - expected).max() < 0.05 * np.abs(expected).max()


def test_means_and_deviations_fit_the_channels() -> None:
    with pytest.raises(CalibrationError, match="input u8: expected 1 or 3 values for mean, got 2"):
        fold_pixels(residual_network(), Pixels((0.5, 0.5), (1.0,)))


def test_pixels_go_into_one_convolution() -> None:
    net = Network(x=(3, 4, 4))
    with pytest.raises(CalibrationError, match="pixels go into one convolution, the network feeds them to relu 'relu'"):
        fold_pixels(net.graph(net.conv("conv", net.relu("relu", "x"), 2)), Pixels((0.5,), (0.5,)))


def test_data_for_a_graph_of_pixels_is_uint8() -> None:
    with pytest.raises(CalibrationError, match="expected uint8 .*, got float32"):
        quantize_graph(residual_network(), images().float(), Settings(pixels=Pixels(MEAN, STD)))
