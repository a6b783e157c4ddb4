"""Networks with quantizers of their own become integers as they are: codes, thresholds, and the rest calibrated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intsim.backends import load_backend
from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.convert import convert, fit
from intsim.calibrate.n2uq import EntropyWeight, RPReLU, ThresholdQuantizer
from intsim.errors import CalibrationError, CaptureError
from intsim.frontend.capture import capture
from intsim.frontend.quantizers import fake_quantize, threshold_quantize, thresholds_of
from intsim.ir.file import Model, load, save
from intsim.ir.ops import Threshold
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Value
from intsim.lower import lower
from intsim.verification import prove, verify


class Residual(nn.Module):
    """A stem, a residual block with BatchNorm in both of its layers, a strided layer, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 8, 3)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)
        for bn in (self.bn1, self.bn2, self.bn3):
            nn.init.uniform_(bn.weight, -1.5, 1.5)  # negative ones turn the comparisons around
            nn.init.uniform_(bn.bias, -0.5, 0.5)
            nn.init.uniform_(bn.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(bn.running_var, 0.05, 0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(y)) + x)
        x = torch.relu(self.bn3(self.conv3(x)))
        return self.head(x.mean((2, 3)))


def images(count: int = 12) -> Tensor:
    return torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def quantized(network: nn.Module, **settings: object) -> QuantizedGraph:
    graph = capture(network, images(2))
    return quantize_graph(graph, images(), Settings(scales="threshold", **settings))  # type: ignore[arg-type]


CASES = {
    "n2uq": {"method": "n2uq"},
    "n2uq 3 bits": {"method": "n2uq", "weight_bits": 3, "act_bits": 3},
    "rprelu": {"method": "n2uq", "rprelu": True},
    "paper": {"method": "n2uq", "rprelu": True, "order": "paper"},
    "lsq": {"method": "lsq"},
}


def trained(case: str) -> nn.Module:
    network = convert(Residual(), **{"weight_bits": 2, "act_bits": 2, **CASES[case]})  # type: ignore[arg-type]
    fit(network, images())
    for module in network.modules():
        if isinstance(module, ThresholdQuantizer):
            nn.init.uniform_(module.intervals, 0.1, 0.9)
        elif isinstance(module, RPReLU):
            nn.init.uniform_(module.before, -0.1, 0.1)
            nn.init.uniform_(module.slope, -0.3, 0.5)
    return network.eval()


@pytest.mark.parametrize("case", CASES)
def test_a_trained_network_is_bit_exact_proved_and_close(case: str, tmp_path) -> None:
    network = trained(case)
    result = quantized(network)
    save(tmp_path / "model.intsim", Model(lower(result), result))
    model = load(tmp_path / "model.intsim")
    assert verify(model, (images(6).numpy(),), sample=2).bit_exact
    assert prove(model).proved
    graph = model.graph
    logits = load_backend("reference", graph).run(images(6).numpy())[graph.outputs[0]].reals
    expected = network(images(6)).detach().numpy()
    # What is left is the 8 bits of the stream and of the first and the last layer, and few-bit codes that flip.
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("case", ["n2uq", "n2uq 3 bits", "lsq"])
def test_weight_codes_are_those_that_the_network_trained(case: str) -> None:
    network = trained(case)
    result = quantized(network, weight_bits=5)
    for name in ("conv1", "conv2", "conv3"):
        weight = result.weights[name].weight
        own = network.get_submodule(name).weight.detach().numpy()
        bits = CASES[case].get("weight_bits", 2)
        assert weight.type.integer.element.bits == bits
        if "n2uq" in case:
            assert set(np.unique(weight.levels)) <= set(range(1 - 2**bits, 2**bits, 2))
        # BatchNorm has scaled whole channels, and turned some of them around.
        for kept, trained_row in zip(weight.reals.reshape(len(own), -1), own.reshape(len(own), -1), strict=True):
            factor = kept[trained_row != 0] / trained_row[trained_row != 0]
            np.testing.assert_allclose(factor, factor[0], rtol=1e-5)


def test_thresholds_on_integers_are_those_on_reals_over_all_accumulators() -> None:
    """Brute force: every accumulator that the layer can have, through BatchNorm and the learned thresholds."""
    network = trained("n2uq")
    result = quantized(network)
    graph = lower(result)
    bn, quantizer = network.bn1, network.conv2_input
    node = graph.by_name["conv2_input.quantize"]
    assert isinstance(node.op, Threshold)
    codes_in, weight = graph.types[graph.by_name["conv1"].inputs[0]].integer, result.weights["conv1"].weight
    reach = 3 * np.abs(weight.levels.reshape(8, -1)).sum(1).max()
    accumulators = np.arange(-reach, reach + 1)
    scale = codes_in.scale.array * weight.type.integer.scale.array
    factor = (bn.weight / torch.sqrt(bn.running_var.double() + bn.eps)).detach().double()
    offset = bn.bias.double() - bn.running_mean.double() * factor
    factor, offset = factor.float().double().numpy(), offset.detach().float().double().numpy()
    thresholds = thresholds_of(quantizer.start, quantizer.intervals).detach().double().numpy()
    values = (accumulators[:, None] * scale * factor + offset) * quantizer.input_scale.item()
    expected = (values[..., None] > thresholds).sum(-1)
    levels = np.broadcast_to(accumulators[:, None], (len(accumulators), 8)).astype(np.int32)
    operand = graph.types["conv1"]
    shaped = levels.astype(operand.integer.element.storage).reshape(len(levels), 8, 1, 1)
    constants = [graph.constants[name] for name in node.inputs[1:]]
    codes = node.op.evaluate(Value(operand.with_shape(shaped.shape), shaped), *constants)
    np.testing.assert_array_equal(codes.reshape(len(levels), 8), expected)
    assert (bn.weight < 0).any() and (bn.weight > 0).any()


class Own(nn.Module):
    """One layer between two others, with fake_quantize on weights and activations as users write it."""

    def __init__(self, zero: int = 0, low: int = -2, high: int = 1, channels: int = 1):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.inner, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.linspace(0.1, 0.2, channels))
        self.step = nn.Parameter(torch.tensor(0.05))
        self.grid = (zero, low, high)

    def forward(self, x: Tensor) -> Tensor:
        x = fake_quantize(F.relu(self.first(x)), self.step, 0, 0, 6)
        x = F.conv2d(x, fake_quantize(self.inner.weight, self.scale, *self.grid), self.inner.bias, padding=1)
        return self.last(F.relu(x).mean((2, 3)))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("grid", [(0, -2, 1), (0, -7, 7), (3, 0, 7), (-1, -4, 3)])
def test_fake_quantized_weights_keep_their_codes_and_zero_points(grid: tuple[int, int, int], channels: int) -> None:
    network = Own(*grid, channels=channels)
    result = quantized(network)
    name = next(node.name for node in result.graph.weighted if node.name not in ("first", "last"))
    weight = result.weights[name].weight
    expected = fake_quantize(network.inner.weight, network.scale, *grid).detach().numpy()
    np.testing.assert_allclose(weight.reals, expected, rtol=1e-6, atol=1e-7)
    model = Model(lower(result), result)
    assert verify(model, (images(4).numpy(),), sample=2).bit_exact
    codes = load_backend("reference", model.graph)
    reader = model.graph.by_name[name].inputs[0]
    found = codes.run(images(4).numpy(), wanted=(reader,))[reader].codes
    assert found.max() == 6 and result.quantizers[reader].grid.element.bits == 3  # 0..6 in three bits, and never 7


class Broken(nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 3, 1), kind
        self.scale = nn.Parameter(torch.tensor(-0.5 if kind == "negative" else 0.5))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "negative":
            return threshold_quantize(self.conv(x), torch.zeros(()), torch.ones(3), self.scale)
        weight = fake_quantize(self.conv.weight, self.scale, 0, -300 if self.kind == "wide" else -2, 1)
        return F.conv2d(x, weight * 2 if self.kind == "changed" else weight)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("negative", "threshold_quantize.* expected a positive step, got -0.5"),
        ("wide", "expected codes of 1 to 8 bits, got -300..1"),
        ("changed", "changes weights behind their quantizer"),
    ],
)
def test_quantizers_without_an_integer_meaning_are_refused(kind: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        capture(Broken(kind), images(2))


class Shared(nn.Module):
    """A stream that an addition and a learned quantizer read, whatever the widths that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 1) for _ in range(3))
        nn.utils.parametrize.register_parametrization(self.second, "weight", EntropyWeight(2))
        self.quantizer = ThresholdQuantizer(2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.third(self.second(self.quantizer(x)) + x)


def test_the_stream_keeps_8_bits_and_the_learned_quantizer_its_own() -> None:
    result = quantized(Shared(), act_bits=4)
    own = next(name for name in result.quantizers if name.startswith("quantizer"))
    (stream,) = result.chains[own].sources
    assert result.quantizers[stream].grid.element.bits == 8
    assert result.quantizers[own].grid.element.bits == 2 and result.quantizers[own].strict
    assert result.graph.by_name["second"].inputs == (own,)
    assert len(result.chains[own].tail.thresholds) == 3  # type: ignore[union-attr]


def test_what_was_trained_is_not_trained_again() -> None:
    with pytest.raises(CalibrationError, match="adaquant: the network has quantizers of its own"):
        quantized(Shared(), method="adaquant")
