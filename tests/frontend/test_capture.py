"""Capture gives the network that PyTorch runs, under the modules' own names, or one line that says why not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intsim.calibrate import Settings, quantize_graph
from intsim.dtypes import IntType
from intsim.errors import CaptureError
from intsim.frontend.capture import capture
from intsim.frontend.execute import run_float
from intsim.frontend.quantizers import fake_quantize
from intsim.frontend.reference import load_model
from intsim.ir.float_graph import OPERATORS, FloatGraph
from intsim.ir.types import Grid, Scale
from tests.frontend.networks import MODULES, Block, Lambda, conv


def assert_same(model: nn.Module, graph: FloatGraph, x: Tensor) -> None:
    with torch.no_grad():
        expected = model.eval()(x)
        torch.testing.assert_close(run_float(graph, x)[graph.outputs[0]], expected, rtol=1e-4, atol=1e-5)
    assert graph.shapes[graph.outputs[0]] == (None, *expected.shape[1:])


@pytest.mark.parametrize("name", MODULES)
def test_the_captured_graph_computes_what_the_module_does(name):
    torch.manual_seed(0)
    model, x = MODULES[name](), torch.randn(3, 6, 9, 9)
    if "attention" in name or "shuffle" in name or "adaptive pool that divides" in name:
        x = x[..., :6, :6]
    if "upsampling" in name:
        x = x[..., :4, :4]
    graph = capture(model, x)
    assert_same(model, graph, x)
    assert {node.op for node in graph.nodes} <= OPERATORS
    assert all(tuple(graph.shapes[n.name])[0] is None for n in graph.nodes)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_real_networks_are_captured_whole(shared, name):
    model = load_model(f"{shared}/zoo.py:{name}")
    x = torch.randn(2, 3, *((32, 32) if name == "resnet20" else (224, 224)))
    graph = capture(model, x)
    assert_same(model, graph, x)
    assert {n.op for n in graph.nodes} <= {
        "conv2d",
        "relu",
        "clamp",
        "add",
        "slice",
        "pad",
        "avg_pool",
        "reshape",
        "linear",
    }
    layers = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert {node.name for node in graph.weighted} == layers


def test_names_are_module_paths_and_sources_are_lines():
    graph = capture(nn.Sequential(Block(), nn.Sequential(nn.ReLU())), torch.zeros(2, 6, 9, 9))
    names = [node.name for node in graph.nodes]
    assert names == ["0.conv1", "0.relu", "0.conv2", "0.down.0", "0.add", "0.relu_2", "1.0"]
    assert all(
        node.source.startswith("networks.py:") for node in graph.nodes if node.op == "relu" and node.name != "1.0"
    )


def test_the_batch_stays_symbolic_and_the_modes_as_they_were():
    model = nn.Sequential(conv(6, 4), nn.Flatten(), nn.Linear(4 * 49, 3)).train()
    model[0].eval()
    graph = capture(model, torch.zeros(1, 6, 9, 9))
    assert model.training and not model[0].training
    assert [len(run_float(graph, torch.zeros(n, 6, 9, 9))["2"]) for n in (1, 5)] == [1, 5]


def test_folding_batchnorm_keeps_a_convolution_with_two_readers():
    shared_conv = Lambda(lambda net, x: net.bn(y := net.conv(x)) + y, conv=conv(6, 6), bn=nn.BatchNorm2d(6))
    nn.init.uniform_(shared_conv.bn.weight, 1, 2)  # type: ignore[arg-type,union-attr]
    x = torch.randn(2, 6, 9, 9)
    graph = capture(shared_conv, x)
    assert [node.op for node in graph.nodes] == ["conv2d", "affine", "add"]
    assert_same(shared_conv, graph, x)


def test_a_custom_quantizer_stays_one_node():
    scale = torch.tensor(0.25)
    model = Lambda(lambda net, x: fake_quantize(F.relu(x), net.scale, 3, 0, 15))
    model.register_buffer("scale", scale)
    x = torch.randn(2, 6, 9, 9)
    graph = capture(model, x)
    assert [node.op for node in graph.nodes] == ["relu", "quantize"]
    assert dict(graph.nodes[1].attributes) == {"zero_point": 3, "low": 0, "high": 15}
    assert_same(model, graph, x)
    expected = torch.fake_quantize_per_tensor_affine(F.relu(x), 0.25, 3, 0, 15)
    torch.testing.assert_close(fake_quantize(F.relu(x), scale, 3, 0, 15), expected, rtol=0, atol=0)


def test_a_quantizer_passes_gradients_as_its_formula_says():
    x = torch.linspace(-2, 5, 41, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    fake_quantize(x, scale, 2, 0, 15).sum().backward()
    level = x.detach() / 0.3
    inside = (level.round() >= -2) & (level.round() <= 13)
    torch.testing.assert_close(x.grad, inside.double())
    torch.testing.assert_close(
        scale.grad, torch.where(inside, level.round() - level, level.round().clamp(-2, 13)).sum()
    )


def write_into_a_view(net: nn.Module, x: Tensor) -> Tensor:
    y = F.relu(x)
    y[:, 0].add_(1)
    return y


def branches(net: nn.Module, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "softmax": (Lambda(lambda net, x: F.softmax(x, 1)), r"softmax.* at .*networks.py|softmax.*supported"),
    "layer norm": (nn.LayerNorm(9), "layer_norm.*supported: .*conv2d"),
    "a product of two tensors": (Lambda(lambda net, x: x * x.flip(1)), "flip"),
    "squaring": (Lambda(lambda net, x: x * x), "mul.*product of two computed tensors"),
    "data-dependent control flow": (Lambda(branches), r"^Lambda \(test_capture.py:\d+\): an `if`, a loop or an index"),
    "an index on values": (Lambda(lambda net, x: x[:, : int(x.sum())]), r"^Lambda \(test_capture.py:\d+\): an `if`"),
    "an operator that raises": (
        Lambda(lambda net, x: x.view(7)),
        r"cannot trace Lambda \(test_capture.py:\d+\): Run",
    ),
    "reflection": (nn.ReflectionPad2d(1), "padding by reflect|reflection"),
    "padding with ones": (nn.ConstantPad2d(1, 1.0), "padding with 1.0"),
    "bilinear upsampling": (Lambda(lambda net, x: F.interpolate(x, scale_factor=2, mode="bilinear")), "bilinear"),
    "a function with parameters of its own": (Lambda(lambda net, x: F.elu(x, 0.5)), "alpha=0.5; only 1"),
    "a pool that counts unevenly": (nn.AvgPool2d(4, 2, 1, ceil_mode=True), "ceil_mode with count_include_pad"),
    "a write into a view": (Lambda(write_into_a_view), "writes in place into a view"),
    "a cast": (Lambda(lambda net, x: x.double()), "a cast to torch.float64"),
    "a constant result": (Lambda(lambda net, x: net.conv.weight, conv=conv(6, 4)), "does not depend on it"),
    "weights that are NaN": (conv(6, 4), "'weight': 1 of 216 weights are NaN"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_meaning_is_refused_in_one_line(name, capfd):
    model, message = REFUSED[name]
    if "NaN" in name:
        with torch.no_grad():
            model.weight[0, 0, 0, 0] = torch.nan  # type: ignore[index,operator,union-attr]
    with pytest.raises(CaptureError, match=message) as error:
        capture(model, torch.zeros(2, 6, 9, 9))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_module_is_refused():
    with pytest.raises(CaptureError, match="expected an nn.Module, got int"):
        capture(3, torch.zeros(2, 6, 9, 9))  # type: ignore[arg-type]


def test_a_network_with_quantizers_of_its_own_keeps_their_grids():
    model = Lambda(lambda net, x: fake_quantize(F.relu(x), net.scale, 3, 0, 15))
    model.register_buffer("scale", torch.tensor(0.25))
    x = torch.randn(2, 6, 9, 9)
    result = quantize_graph(capture(model, x), x, Settings())
    assert result.quantizers[result.graph.outputs[0]].grid == Grid(IntType(False, 4), Scale((0.25,)), (3,))
