"""ResNet-20 and MobileNetV2, captured, placed and quantized on real images."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch

from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.place import place
from intsim.calibrate.widths import layer_widths
from intsim.frontend.capture import capture
from intsim.frontend.mirror import Mirror
from intsim.ir.float_graph import FloatGraph
from tests.calibrate.test_place import assert_well_placed


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "shared" / "zoo.py"
    if not path.exists():
        pytest.skip("needs shared/zoo.py, which is not beside this checkout")
    spec = importlib.util.spec_from_file_location("zoo", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def resnet20(zoo: ModuleType) -> FloatGraph:
    return capture(zoo.resnet20(), torch.zeros(2, 3, 32, 32))


def top1(graph: FloatGraph, calibration: torch.Tensor, images: torch.Tensor, labels: torch.Tensor,
         settings: Settings) -> float:  # fmt: skip
    """Percentage that the mirror, which equals the integer graph, gets right."""
    mirror = Mirror(quantize_graph(graph, calibration, settings))
    (output,) = mirror.quantized.graph.outputs
    layer = mirror.quantized.weights[output].weight.type.integer.scale.array
    hits = 0
    for start in range(0, len(images), 100):
        levels = mirror.run(images[start : start + 100], wanted=(output,))[output]
        hits += int(((levels * torch.from_numpy(layer)).argmax(1) == labels[start : start + 100]).sum())
    return 100 * hits / len(images)


def test_resnet20_is_placed(resnet20: FloatGraph) -> None:
    settings = Settings(weight_bits=4, act_bits=4)
    placed = place(resnet20, layer_widths(resnet20, settings), settings)
    assert_well_placed(placed, resnet20)
    # Nine blocks: their streams at 8 bits (with the stem's and without the last one's at 4), and what is inside at 4;
    # the input and the average at 8.
    assert Counter(str(element) for element in placed.elements.values()) == {"u8": 12, "u4": 18}
    adds = [node for node in placed.graph.nodes if node.op == "add"]
    assert len(adds) == 9
    for add in adds:
        assert [placed.graph.by_name[name].op == "conv2d" for name in add.inputs].count(True) == 1


def test_mobilenet_is_placed(zoo: ModuleType) -> None:
    graph = capture(zoo.mobilenet_v2(), torch.zeros(2, 3, 224, 224))
    settings = Settings(weight_bits=6, act_bits=6, act_grid="symmetric")
    placed = place(graph, layer_widths(graph, settings), settings)
    assert_well_placed(placed, graph)
    signed = {name for name, element in placed.elements.items() if element.signed}
    # Linear bottlenecks are signed, whatever ReLU6 clamps is not.
    bottlenecks = {placed.graph.by_name[name].inputs[0] for name in signed}
    assert not any(placed.graph.by_name[name].op == "clamp" for name in bottlenecks if name in placed.graph.by_name)
    assert len(signed) < len(placed.elements) / 2


def test_resnet20_at_four_bits(zoo: ModuleType, resnet20: FloatGraph) -> None:
    """500 images: two standard errors below what all 5,000 give."""
    calibration, _ = zoo.cifar10("train", 200)
    images, labels = zoo.cifar10("test", 500)
    settings = Settings(weight_bits=4, act_bits=4, scales="pow2")
    result = top1(resnet20, zoo.normalize_cifar(calibration), zoo.normalize_cifar(images), labels, settings)
    assert result >= 80.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "scales", "least"),
    [(4, "pow2", 83.4), (4, "multiplier", 83.6), (8, "pow2", 87.8), (8, "multiplier", 87.8)],
)
def test_targets_of_resnet20(zoo: ModuleType, resnet20: FloatGraph, bits: int, scales: str, least: float) -> None:
    calibration, _ = zoo.cifar10_calibration()
    settings = Settings(weight_bits=bits, act_bits=bits, scales=scales)  # type: ignore[arg-type]
    images, labels = zoo.cifar10_evaluation()
    assert top1(resnet20, calibration, images, labels, settings) >= least


@pytest.mark.slow
def test_target_of_mobilenet(zoo: ModuleType) -> None:
    graph = capture(zoo.mobilenet_v2(), torch.zeros(2, 3, 224, 224))
    calibration, _ = zoo.imagenet_calibration()
    images, labels = zoo.imagenet_evaluation()
    assert top1(graph, calibration, images, labels, Settings()) >= 85.2
