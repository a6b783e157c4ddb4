"""What calibration sees of a network, and what it says about data that it cannot use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from intsim.calibrate.observers import SAMPLE, check_inputs, observe
from intsim.calibrate.place import place
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import layer_widths
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatGraph
from intsim.progress import silent
from tests.calibrate.networks import Network, residual_network


def observed(graph: FloatGraph, images: torch.Tensor, batch: int = 50) -> dict[str, Any]:
    placed = place(graph, layer_widths(graph, Settings()), Settings())
    return observe(placed, (images,), 0, silent, batch)


def test_extremes_and_samples_are_of_the_float_values() -> None:
    net = Network(x=(2, 3, 3))
    graph = net.graph(net.conv("last", net.relu("relu", "x"), 2))
    images = torch.randn(20, 2, 3, 3)
    seen = observed(graph, images, batch=7)
    assert set(seen) == {"x.u8", "relu.u8"}
    assert (seen["x.u8"].low, seen["x.u8"].high) == (float(images.min()), float(images.max()))
    np.testing.assert_array_equal(np.sort(seen["x.u8"].sample), np.sort(images.numpy().ravel()))
    np.testing.assert_array_equal(np.sort(seen["relu.u8"].sample), np.sort(images.clamp(min=0).numpy().ravel()))


def test_large_tensors_are_sampled_evenly_and_the_same_each_time() -> None:
    net = Network(x=(2, 40, 40))
    graph = net.graph(net.conv("last", "x", 1, kernel=1))
    # Every image holds its own number, so the sample shows what share each image has of it.
    images = torch.arange(100.0)[:, None, None, None].expand(100, 2, 40, 40).contiguous()
    first, again = (observed(graph, images, batch=30)["x.u8"].sample for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert SAMPLE <= len(first) <= SAMPLE + 4
    counts = np.bincount(first.astype(int), minlength=100)
    assert abs(counts - SAMPLE / 100).max() < 0.25 * SAMPLE / 100


def test_tied_quantizers_see_the_concatenation() -> None:
    net = Network(x=(2, 3, 3))
    joined = net.concat("concat", net.relu("relu", "x"), "x")
    images = torch.randn(4, 2, 3, 3)
    seen = observed(net.graph(net.conv("last", joined, 2)), images)
    assert seen["concat.0.u8"] is seen["concat.1.u8"]
    assert seen["concat.0.u8"].low == float(images.min())
    assert len(seen["concat.0.u8"].sample) == 2 * images.numel()


def test_a_network_that_overflows_names_the_value() -> None:
    net = Network(x=(1, 2, 2))
    graph = net.graph(net.conv("last", net.node("grown", "mul", "x", arrays={"factor": 1e38}), 1, kernel=1))
    with pytest.raises(CalibrationError, match="'grown.u8': 3 of 8 values are NaN or infinite on calibration data"):
        observed(graph, torch.tensor([9.0, 9, 9, 1, 1, 1, 1, 1]).reshape(2, 1, 2, 2))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((), "expected 1 tensors, got 0"),
        ((torch.zeros(2, 3, 4, 4),) * 2, "expected 1 tensors, got 2"),
        ((torch.zeros(0, 3, 4, 4),), r"'x' is empty: float32 \[0, 3, 4, 4\]"),
        ((torch.zeros(2, 3, 4, 5),), r"'x': expected float32 \[N, 3, 4, 4\], got float32 \[2, 3, 4, 5\]"),
        ((torch.zeros(3, 4, 4),), r"'x': expected float32 \[N, 3, 4, 4\], got float32 \[3, 4, 4\]"),
        ((torch.zeros(2, 3, 4, 4, dtype=torch.uint8),), r"expected float32 .*, got uint8 \[2, 3, 4, 4\]"),
        ((torch.zeros(2, 3, 4, 4, dtype=torch.float64),), r"expected float32 .*, got float64 \[2, 3, 4, 4\]"),
        ((torch.full((2, 3, 4, 4), torch.nan),), "'x': 96 of 96 values are NaN or infinite"),
        (
            (torch.tensor([np.inf, -np.inf] + [0.0] * 46).reshape(1, 3, 4, 4),),
            "'x': 2 of 48 values are NaN or infinite",
        ),
    ],
)
def test_bad_calibration_data(images: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as raised:
        check_inputs(residual_network(), images)
    assert "\n" not in str(raised.value)


def test_all_inputs_have_as_many_images() -> None:
    net = Network(a=(3, 4), b=(4, 5))
    graph = net.graph(net.node("product", "matmul", ("a", "b"), (None, 3, 5)))
    with pytest.raises(CalibrationError, match="'b' has 3 images, not 2"):
        check_inputs(graph, (torch.zeros(2, 3, 4), torch.zeros(3, 4, 5)))
