"""The grids of minmax and mse against exhaustive search, and their rounding against PyTorch's fake-quantization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intsim.calibrate import minmax, mse
from intsim.calibrate.nearest import FINEST, SMALLEST_SHARE, quantize_weights
from intsim.calibrate.observers import Observation
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.types import Grid, Value
from tests.calibrate.networks import Network

METHODS = {"minmax": minmax, "mse": mse}


def observed(values: NDArray[Any]) -> Observation:
    return Observation(float(values.min()), float(values.max()), values.astype(np.float32))


def fake_quantize(x: NDArray[Any], scale: float, zero: int, element: IntType) -> NDArray[np.float64]:
    """(clip(round(x / scale) + zero) - zero) * scale, by PyTorch in float64."""
    tensor = torch.from_numpy(x.astype(np.float64))
    codes = torch.clamp(torch.round(tensor / scale) + zero, element.min, element.max)
    return ((codes - zero) * scale).numpy()


def error(x: NDArray[Any], scale: float, zero: int, element: IntType) -> float:
    return float(((x - fake_quantize(x, scale, zero, element)) ** 2).mean())


def error_of(x: NDArray[Any], grid: Grid) -> float:
    return error(x, float(grid.scale.array[0]), grid.zero_point[0], grid.element)


SAMPLES = {
    "bell": lambda random: random.normal(size=400),
    "positive": lambda random: np.maximum(random.normal(size=400), 0),
    "skewed": lambda random: random.gamma(1.0, size=400) - 0.3,
    "tailed": lambda random: random.standard_t(3, size=400),
}


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("element", ["u2", "u4", "s3", "s4", "u8", "s8"])
@pytest.mark.parametrize("shape", SAMPLES)
def test_mse_is_near_the_best_of_all_grids(shape: str, element: str, power_of_two: bool) -> None:
    x = SAMPLES[shape](np.random.default_rng(1)).astype(np.float32)
    kind = IntType.parse(element)
    covering = (x.max() - min(x.min(), 0)) / (kind.max - kind.min)
    scales = np.exp2(np.arange(-14.0, 4.0)) if power_of_two else covering * np.exp2(np.linspace(-6, 1.1, 120))
    zeros = [0] if kind.signed else np.unique(np.linspace(0, kind.max, 16).astype(int)).tolist()
    best = min(error(x, float(scale), zero, kind) for scale in scales for zero in zeros)
    assert error_of(x, mse.activation_grid(observed(x), kind, power_of_two)) <= 1.05 * best


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(METHODS)),
)
def test_activation_grids_are_legal_and_hold_zero(
    values: list[float], bits: int, signed: bool, power_of_two: bool, method: str
) -> None:
    grid = METHODS[method].activation_grid(observed(np.array(values)), IntType(signed, bits), power_of_two)
    assert grid.per_tensor and grid.zero_codes() is not None
    assert grid.scale.power_of_two == power_of_two
    scale = float(grid.scale.array[0])
    assert scale == np.float32(scale) > 0
    if signed or min(values) >= 0:
        assert grid.zero_point == (0,)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30), st.integers(2, 8), st.booleans())
def test_minmax_clips_nothing(values: list[float], bits: int, power_of_two: bool) -> None:
    x = np.array(values)
    for signed in (False, True):
        grid = minmax.activation_grid(observed(x), IntType(signed, bits), power_of_two)
        scale, zero = float(grid.scale.array[0]), grid.zero_point[0]
        # An unsigned grid's integer zero point shifts its ends by half a step at most.
        assert np.abs(x - fake_quantize(x, scale, zero, grid.element)).max() <= scale * (0.5 if signed else 1.0) * 1.001
        low, high = min(x.min(), 0.0), max(x.max(), 0.0)
        least, greatest = grid.element.min, grid.element.max
        needed = max(high / greatest, low / least) if signed else (high - low) / greatest
        assert needed < FINEST or needed * 0.999 <= scale <= needed * (2 if power_of_two else 1.001)


def layer(weight: NDArray[Any]) -> Network:
    net = Network(x=(weight.shape[1], 3, 3))
    net.node("conv", "conv2d", "x", (None, len(weight), 3, 3), {"weight": weight},
             stride=(1, 1), padding=(1,) * 4, dilation=(1, 1), groups=1)  # fmt: skip
    return net


def quantized(weight: NDArray[Any], bits: int, settings: Settings, method: str) -> Value:
    graph = layer(weight).graph("conv")
    return quantize_weights(graph, graph.nodes[0], IntType(True, bits), settings, METHODS[method].weight_rows)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scales", ["pow2", "multiplier"])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weight_codes_are_pytorchs(method: str, scales: Any, kind: Any, bits: int) -> None:
    weight = np.random.default_rng(2).normal(size=(6, 4, 3, 3)).astype(np.float32) + 0.1
    value = quantized(weight, bits, Settings(scales=scales, weight_grid=kind), method)
    value.check("weight")
    grid = value.type.integer
    assert len(grid.scale) == 6 and grid.axis == 0
    zeros = np.broadcast_to(grid.zero_point, (6,)).astype(np.int32)
    if kind == "symmetric":
        assert not zeros.any()
    reference = torch.fake_quantize_per_channel_affine(
        torch.from_numpy(weight), torch.from_numpy(grid.scale.array).float(), torch.from_numpy(zeros), 0,
        grid.element.min, grid.element.max,
    )  # fmt: skip
    np.testing.assert_array_equal(value.reals.astype(np.float32), reference.numpy())


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_mse_weights_are_near_the_best_of_all_scales(bits: int, power_of_two: bool) -> None:
    weight = np.random.default_rng(3).normal(size=(4, 2, 3, 3)).astype(np.float32) * [
        [[[0.1]]],
        [[[1]]],
        [[[3]]],
        [[[0.7]]],
    ]
    element = IntType(True, bits)
    value = quantized(weight, bits, Settings(scales="pow2" if power_of_two else "multiplier"), "mse")
    for row, scale in zip(weight, value.type.integer.scale.array, strict=True):
        scales = np.exp2(np.arange(-14.0, 4.0)) if power_of_two else np.geomspace(0.003, 5, 1000)
        best = min(error(row, float(s), 0, element) for s in scales)
        assert error(row, float(scale), 0, element) <= 1.05 * best


def test_one_scale_for_a_layer() -> None:
    weight = np.random.default_rng(4).normal(size=(6, 4, 3, 3))
    assert quantized(weight, 4, Settings(per_channel=False), "mse").type.integer.per_tensor


def test_a_linear_layer_over_a_sequence_has_one_scale() -> None:
    net = Network(x=(7, 4))
    graph = net.graph(net.linear("head", "x", 5))
    value = quantize_weights(graph, graph.nodes[0], IntType(True, 8), Settings(), mse.weight_rows)
    assert value.type.integer.per_tensor, "its outputs are not on axis 1, where requantization has its channels"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scales", ["pow2", "multiplier"])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_channels_of_zeros_and_of_almost_zeros_have_legal_scales(method: str, scales: Any, kind: Any) -> None:
    weight = np.random.default_rng(5).normal(size=(4, 2, 3, 3))
    weight[1] = 0
    weight[2] = 1e-30
    value = quantized(weight, 4, Settings(scales=scales, weight_grid=kind), method)
    found = value.type.integer.scale.array
    assert found.min() >= found.max() * SMALLEST_SHARE / 2
    assert not value.levels[1].any() and not value.levels[2].any()
    for dead in (np.zeros((2, 2, 3, 3)), np.full((2, 2, 3, 3), 1e-12)):
        nothing = quantized(dead, 4, Settings(scales=scales, weight_grid=kind), method)
        assert (nothing.type.integer.scale.array == 2.0**-8).all() and not nothing.levels.any()
